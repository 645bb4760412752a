"""What the command line says: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass

from rich.console import Console

from pssmr import errors
from pssmr.cluster_processes import ReplicaFailed
from pssmr.exit_codes import ExitCode

results = Console(soft_wrap=True, highlight=False, markup=False)
"""Where results go."""

messages = Console(stderr=True, soft_wrap=True, highlight=False)
"""Where everything else goes."""


@dataclass
class Options:
    """What holds for all commands."""

    verbose: bool = False
    as_json: bool = False
    """Whether errors are printed as JSON, too, where results go."""


def interruptible() -> None:
    """Has Ctrl-C raise `KeyboardInterrupt`, though a shell starts what runs behind it with SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def exit_code_of(error: BaseException) -> ExitCode:
    """The exit code that tells a script what kind of error it was."""
    match error:
        case errors.ConfigError() | errors.DeclarationError():
            return ExitCode.CONFIG
        case errors.Unavailable():
            return ExitCode.UNREACHABLE
        case errors.OutcomeUnknown() | errors.SessionExpired():
            return ExitCode.UNKNOWN
        case ReplicaFailed() if error.address_in_use:
            return ExitCode.ADDRESS
        case _:
            return ExitCode.FAILED


def executed(error: BaseException) -> str:
    """Whether a command that ended with this error was executed: `no`, `undone`, or `unknown`."""
    match error:
        case errors.ApplicationError() | errors.HandlerFailed():
            return "undone"
        case (
            errors.CommandError()
            | errors.Unavailable()
            | errors.ConfigError()
            | errors.DeclarationError()
            | errors.ReconfigurationRefused()
            | errors.StepDownRefused()
            | errors.UpgradeRefused()
        ):
            return "no"
        case _:
            return "unknown"


def report(error: Exception, options: Options) -> ExitCode:
    """Says an error and its notes in one line, `--verbose` also where it came from, and returns its exit code."""
    notes = list(getattr(error, "__notes__", ()))
    if options.as_json:
        said = {"kind": type(error).__name__, "message": str(error), "executed": executed(error), "notes": notes}
        results.print(json.dumps({"error": said}, ensure_ascii=False))
    if options.verbose:
        from rich.traceback import Traceback

        messages.print(Traceback.from_exception(type(error), error, error.__traceback__))
    named = isinstance(error, errors.ApplicationError) or not isinstance(error, errors.Error)
    kind = f"{type(error).__name__}: " if named else ""
    more = "" if options.verbose or isinstance(error, errors.Error) else " (--verbose shows where)"
    text = " ".join("; ".join([str(error), *notes]).split())
    messages.print(f"pssmr: error: {kind}{text}{more}", style="red", markup=False)
    return exit_code_of(error)
