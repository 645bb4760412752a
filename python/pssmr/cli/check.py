"""`pssmr check`: whether replicas of a service would agree."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pssmr.cli.command_files import read_commands
from pssmr.cli.output import messages, results
from pssmr.cli.services import load_service_class, require_no_arguments
from pssmr.exit_codes import ExitCode
from pssmr.testing.checker import Report, check
from pssmr.testing.findings import CheckFailed, Finding


def check_service(
    application: str, *, runs: int, length: int, seed: int, commands: Path | None, as_json: bool
) -> ExitCode:
    """Checks a service, and prints what was found, or what was tried."""
    service = load_service_class(application)
    require_no_arguments(service)
    calls = [] if commands is None else read_commands(service, commands)
    try:
        # What handlers print is no result.
        with contextlib.redirect_stdout(sys.stderr):
            report = check(service, calls=calls, runs=runs, length=length, seed=seed)
    except CheckFailed as error:
        found = error.finding and _described(error.finding)
        results.print(json.dumps({"finding": found}, indent=2) if as_json else str(error))
        return ExitCode.FAILED
    if as_json:
        results.print(json.dumps({"finding": None, "tried": _tried(report)}, indent=2))
        return ExitCode.OK
    # A table that is piped somewhere is as wide as it needs to be.
    console = results if results.is_terminal else Console(width=160, highlight=False)
    console.print(_table(service.__name__, report))
    together = " and ".join(f"{count} {_plural(kind, count)}" for kind, count in sorted(report.together.items()))
    if together:
        results.print(f"Some of these commands were in {together}.")
    for note in report.notes:
        messages.print(f"note: {note}", markup=False)
    results.print(f"Nothing wrong was found in {report.runs} runs of commands. What they did not do was not checked.")
    return ExitCode.OK


def _plural(kind: str, count: int) -> str:
    """The word for so many batches or transactions."""
    return kind if count == 1 else {"batch": "batches"}.get(kind, f"{kind}s")


def _table(name: str, report: Report) -> Table:
    table = Table(title=f"{name}: what was tried", title_justify="left")
    for column in ("command", "executed", "refused", "failed", "with"):
        table.add_column(column, justify="left" if column in ("command", "with") else "right")
    for command, executed in sorted(report.executed.items()):
        prefix = f"{command}: "
        failed = {name.removeprefix(prefix): count for name, count in report.failed.items() if name.startswith(prefix)}
        refused = report.refused[command]
        table.add_row(command, f"{executed:,}", f"{refused:,}", f"{sum(failed.values()):,}", ", ".join(sorted(failed)))
    return table


def _tried(report: Report) -> dict[str, object]:
    return {
        "runs": report.runs,
        "executed": dict(report.executed),
        "refused": dict(report.refused),
        "failed": dict(report.failed),
        "together": dict(report.together),
        "notes": report.notes,
    }


def _described(finding: Finding) -> dict[str, object]:
    return {
        "kind": finding.kind,
        "title": finding.title,
        "commands": [str(step) for step in finding.history],
        "observed": [{"when": when, "answers": list(answers)} for when, answers in finding.observed],
        "remedy": finding.remedy,
    }
