"""The `pssmr` command: what holds for all its commands, and the list of them.

The modules `..._commands` have their names and options; what they do is in the modules beside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from pssmr.cli import (
    backup_commands,
    cluster_commands,
    long_help,
    reconfigure_commands,
    recording_commands,
    running_commands,
    service_commands,
    watching_commands,
)
from pssmr.cli.output import results

_EPILOG = (
    "[bold]On this machine, until Ctrl-C[/bold]",
    "pssmr up bank.py:Bank",
    "pssmr call bank.py:Bank balance ann --cluster DIR       [dim]`up` prints DIR[/dim]",
    "",
    "[bold]A cluster that stays[/bold]",
    "pssmr init prod --replicas 4 --fault-model bft          [dim]keys, cluster.toml[/dim]",
    "pssmr replica bank.py:Bank --cluster prod --id 0        [dim]and 1, 2, 3[/dim]",
    "pssmr status --cluster prod",
    "pssmr reconfigure --help                                [dim]add, remove, replace replicas[/dim]",
    "pssmr upgrade --cluster prod                            [dim]when all run the new code[/dim]",
    "",
    "[bold]Exit codes[/bold]",
    "0 done; 1 failed, or refused by the application; 2 wrong command line;",
    "3 the configuration, a key or the application can't be used;",
    "4 too few replicas answered: it did not happen; 5 unknown whether it happened;",
    "6 a replica's address is in use; 130 Ctrl-C",
)

app = typer.Typer(
    help="Fault-tolerant replicated applications in Python: runs replicas, talks to them, measures them.",
    epilog="\n".join(_EPILOG),
    rich_markup_mode="rich",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        results.print(f"pssmr {version('pssmr')}")
        raise typer.Exit


@app.callback()
def common(
    context: typer.Context,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log more, and show where errors come from.")
    ] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Takes the options that hold for all commands."""
    context.obj.verbose = verbose


def _add(command: Callable[..., Any], **options: Any) -> None:
    app.command(**{"help": long_help.of(command), **options})(command)


_add(cluster_commands.init)
_add(cluster_commands.keygen)
_add(running_commands.replica)
_add(running_commands.up)
_add(running_commands.call, context_settings={"ignore_unknown_options": True})
_add(watching_commands.status)
_add(cluster_commands.checkpoint)
_add(cluster_commands.step_down)
_add(backup_commands.backup)
_add(backup_commands.backups)
_add(backup_commands.restore)
_add(service_commands.check, help="\n\n".join(long_help.CHECK))
_add(service_commands.plan, help="\n\n".join(long_help.PLAN))
_add(watching_commands.top)
_add(watching_commands.events)
_add(watching_commands.doctor)
_add(recording_commands.replay, help="\n\n".join(long_help.REPLAY))
_add(service_commands.simulate_schedulers, name="simulate")
_add(running_commands.bench)
_add(running_commands.upgrade)
app.add_typer(reconfigure_commands.app, name="reconfigure")
