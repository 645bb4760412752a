"""`pssmr doctor`: what is wrong, and what to do."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from rich.text import Text

from pssmr.cli.output import results
from pssmr.cli.services import new_service
from pssmr.config import ClusterConfig
from pssmr.diagnosis import Finding, ask, compare_epochs, examine_here, examine_running
from pssmr.errors import ConfigError, Error
from pssmr.exit_codes import ExitCode

_MARKS = {
    "ok": ("ok     ", "green"),
    "note": ("note   ", ""),
    "warning": ("warning", "yellow"),
    "error": ("error  ", "red"),
}


def examine(
    cluster: Path, *, replica_id: int | None, application: str | None, as_json: bool, timeout: float
) -> ExitCode:
    """Looks at everything, and prints what it found."""
    known = ClusterConfig.load(cluster)
    answers = ask(known, timeout)
    config = answers.newest
    here = [config.replica(replica_id)] if replica_id is not None else list(config.replicas)
    answering = {replica for replica, status in answers.statuses.items() if status is not None}
    findings = [Finding("ok", "configuration", f"{config.name}: {len(config.replicas)} replicas, {config.fault_model}")]
    findings += compare_epochs(known, config)
    findings += examine_here(config, here, answering)
    if answers.why_not:
        remedy = "a client's key is needed to ask the replicas how they are"
        findings.append(Finding("note", "replicas", f"not asked: {answers.why_not}", remedy))
    elif not answering:
        findings.append(Finding("note", "replicas", "none answers: the cluster does not run", "start them"))
    else:
        findings += examine_running(config, answers.statuses, answers.asked)
    if application is not None:
        findings.append(_service(application))
    if as_json:
        results.print(json.dumps([dataclasses.asdict(each) for each in findings], indent=2))
    else:
        _print(findings)
    return ExitCode.FAILED if any(each.level == "error" for each in findings) else ExitCode.OK


def _service(application: str) -> Finding:
    try:
        service = new_service(application)
    except Error as error:
        remedy = error.remedy if isinstance(error, ConfigError) else "correct the class"
        return Finding("error", "service", error.problem if isinstance(error, ConfigError) else str(error), remedy)
    except Exception as error:
        return Finding("error", "service", f"{application} raised {type(error).__name__}: {error}", "correct it")
    return Finding("ok", "service", f"{type(service).__name__} can be made")


def _print(findings: list[Finding]) -> None:
    for each in findings:
        mark, style = _MARKS[each.level]
        results.print(Text.assemble((mark, style), f" {each.what}: {each.says}"))
        if each.remedy and each.level != "ok":
            results.print(f"        -> {each.remedy}")
    count = {level: sum(each.level == level for each in findings) for level in _MARKS}
    summary = f"{count['error']} errors, {count['warning']} warnings, {count['note']} notes, {count['ok']} ok"
    results.print(Text(summary, style="red" if count["error"] else "yellow" if count["warning"] else "green"))
