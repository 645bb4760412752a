"""Commands for whoever writes a service: they need no cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pssmr.cli.parameters import Application


def check(
    application: Application,
    runs: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many runs of commands.")] = 200,
    length: Annotated[int, typer.Option(min=1, max=1000, help="How many commands in a run.")] = 12,
    seed: Annotated[int, typer.Option(help="What the commands are drawn with.")] = 0,
    commands: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Draw from these commands instead: a line `transfer ann bob 5` each, as for `pssmr call`.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Checks that replicas of a service would agree, whatever their workers do."""
    from pssmr.cli.check import check_service

    code = check_service(application, runs=runs, length=length, seed=seed, commands=commands, as_json=as_json)
    raise typer.Exit(code)


def plan(
    application: Application,
    lanes: Annotated[
        int | None,
        typer.Option(
            "--lanes", "-l", min=1, max=256, help="How many: the workers of a replica; one a core.", show_default=False
        ),
    ] = None,
    by: Annotated[
        Literal["auto", "tables", "keys"],
        typer.Option(help="What divides the state. auto takes what promises more."),
    ] = "auto",
    partitions: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="Parts of the keys; as many as lanes by default.", show_default=False),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="How much of the work each command is: a line `transfer = 70` each. All the same by default.",
            show_default=False,
        ),
    ] = None,
    commands: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Counts instead: commands as they come, a line `transfer ann bob 5` each, as for `pssmr call`.",
            show_default=False,
        ),
    ] = None,
    method: Annotated[
        Literal["auto", "solver", "greedy"],
        typer.Option(help="solver needs `pip install pssmr\\[plan]`; auto takes the better of what there is."),
    ] = "auto",
    time_limit: Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds that the solver may search.")] = 10.0,
    write: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Write the plan to this file, or as plan.toml into this directory, in place of what is there.",
            show_default=False,
        ),
    ] = None,
    picture: Annotated[Path | None, typer.Option(metavar="FILE.svg", help="Draw the plan.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Plans which lanes run which commands, for the scheduler `early`."""
    from pssmr.cli.plan import make_plan

    make_plan(
        application,
        lanes=lanes,
        by=by,
        partitions=partitions,
        weights=weights,
        commands=commands,
        method=method,
        time_limit=time_limit,
        as_json=as_json,
        picture=picture,
        write=write,
    )


def simulate_schedulers(
    against: Annotated[
        Literal["conflict", "workers", "skew", "wide"], typer.Option(help="What is varied; the rest stays.")
    ] = "conflict",
    workers: Annotated[int, typer.Option(min=1, max=1024, help="Workers that execute.")] = 8,
    conflict: Annotated[
        float, typer.Option(min=0, max=100, help="Of 100 commands so many write one key that these have in common.")
    ] = 0.0,
    skew: Annotated[float, typer.Option(min=0, max=10, help="The exponent of the Zipf distribution of keys.")] = 0.0,
    wide: Annotated[float, typer.Option(min=0, max=100, help="Of 100 commands so many touch all keys.")] = 0.0,
    writes: Annotated[float, typer.Option(min=0, max=100, help="Of 100 commands so many write; others read.")] = 100.0,
    keys: Annotated[int, typer.Option(min=1, max=10_000_000, help="How many keys there are.")] = 100_000,
    keys_each: Annotated[int, typer.Option(min=1, max=100, help="How many keys a command draws.")] = 1,
    commands: Annotated[int, typer.Option(min=1, max=10_000_000, help="How many commands.")] = 20_000,
    window: Annotated[int, typer.Option(min=1, max=1_000_000, help="Most commands that are pending.")] = 1024,
    seed: Annotated[int, typer.Option(min=0, help="For the random numbers.")] = 0,
    schedulers: Annotated[
        list[str] | None, typer.Option("--scheduler", help="Compare these; by default all kinds.", show_default=False)
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE.svg", help="Draw the curves.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compares schedulers in virtual time: how many workers each one keeps busy, beside what no scheduler exceeds.

    Nothing is executed and nothing is measured: it shows how much of a load's parallelism a scheduler leaves, for any
    number of workers, on any machine. What scheduling costs is not in it.

    Example: [bold]pssmr simulate --against conflict --workers 16 --picture conflict.svg[/bold]
    """
    from pssmr.cli.simulate import run_simulation
    from pssmr.planning.simulation import Load

    load = Load(workers, conflict, skew, wide, writes, keys, keys_each, commands, window, seed)
    chosen = schedulers or ["sequential", "keyed", "graph-lock-free", "early", "static"]
    run_simulation(load, against, chosen, as_json=as_json, picture=picture)
