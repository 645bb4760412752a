"""Commands that look at what a replica has recorded: they need no cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def replay(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `pssmr replica --record FILE` has recorded.")],
    first: Annotated[int, typer.Option("--from", min=1, help="Show steps from this one on.", show_default=False)] = 1,
    last: Annotated[
        int | None, typer.Option("--to", min=1, help="Show steps up to this one, and stop.", show_default=False)
    ] = None,
    kinds: Annotated[
        list[str] | None,
        typer.Option(
            "--kind",
            "-k",
            metavar="KIND",
            help="Show steps with such an input or effect: propose, write, accept, stop, sync, request, executed, "
            "deliver, event ... May be given more than once.",
            show_default=False,
        ),
    ] = None,
    slot: Annotated[
        int | None, typer.Option(min=1, help="Show steps that are about this slot.", show_default=False)
    ] = None,
    by_hand: Annotated[
        bool, typer.Option("--step", help="Go step by step, as you say: Enter for the next, ? for help.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON a step, and the summary last.")] = False,
) -> None:
    """Plays back what one replica's ordering was told, and compares what it does with what it did."""
    from pssmr.cli.recordings import Selection, replay

    context.obj.as_json = as_json
    if by_hand and as_json:
        raise typer.BadParameter("--step is for people: leave --json away")
    if last is not None and last < first:
        raise typer.BadParameter("--to is before --from")
    selection = Selection(first, last, tuple(kinds or ()), slot)
    raise typer.Exit(replay(file, selection, by_hand=by_hand, as_json=as_json))
