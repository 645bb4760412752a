"""Commands that run replicas, and have them do something."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pssmr.cli.output import Options
from pssmr.cli.parameters import Application, Cluster, Model
from pssmr.settings import RECORD_BYTES_MAX


def replica(
    context: typer.Context,
    application: Application,
    cluster: Cluster,
    replica_id: Annotated[int, typer.Option("--id", min=0, help="Which replica to be.", show_default=False)],
    key: Annotated[Path | None, typer.Option(help="Its private key; keys/replica-ID.pem by default.")] = None,
    log_format: Annotated[
        Literal["text", "json"], typer.Option(help="How it logs: for people, or a line of JSON a record.")
    ] = "text",
    record: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Record what ordering is told, for `pssmr replay`: clients' requests in the clear, no private key. "
            "FILE.1 and FILE.2 are what earlier starts recorded.",
            show_default=False,
        ),
    ] = None,
    record_bytes_max: Annotated[
        int, typer.Option(min=1 << 16, help="The recording ends before it is longer.")
    ] = RECORD_BYTES_MAX,
    parent: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Runs one replica until SIGTERM or Ctrl-C; a second Ctrl-C ends it at once. Logs to standard error.

    Example: [bold]pssmr replica bank.py:Bank --cluster prod --id 0[/bold]
    """
    from pssmr.cli.replica import run_replica

    options: Options = context.obj
    verbose = options.verbose
    code = run_replica(
        application,
        cluster,
        replica_id,
        key=key,
        parent=parent,
        verbose=verbose,
        log_format=log_format,
        record=record,
        record_bytes_max=record_bytes_max,
    )
    raise typer.Exit(code)


def up(
    context: typer.Context,
    application: Application,
    replicas: Annotated[int, typer.Option("--replicas", "-n", help="How many replicas.")] = 4,
    fault_model: Model = "bft",
    cluster: Annotated[
        Path | None,
        typer.Option(
            "--cluster", "-c", help="Run this cluster; without it, one is made for the time being.", show_default=False
        ),
    ] = None,
    base_port: Annotated[
        int | None, typer.Option(help="Ports from here on; free ones by default.", show_default=False)
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Delete what the replicas have kept, and start with empty state.")
    ] = False,
    record: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Have each replica record what its ordering is told, in DIR/replica-ID.recording, for `pssmr replay`.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Once it runs, print a line of JSON: where clients find it, and its replicas."),
    ] = False,
) -> None:
    """Runs a whole cluster on this machine, a process a replica, until Ctrl-C.

    Example: [bold]pssmr up bank.py:Bank --replicas 3 --fault-model cft[/bold]
    """
    from pssmr.cli.up import run_cluster

    options: Options = context.obj
    options.as_json = as_json
    code = run_cluster(
        application,
        replicas=replicas,
        fault_model=fault_model,
        cluster=cluster,
        base_port=base_port,
        fresh=fresh,
        record=record,
        as_json=as_json,
        verbose=options.verbose,
    )
    raise typer.Exit(code)


def call(
    context: typer.Context,
    application: Application,
    cluster: Cluster,
    command: Annotated[
        str | None, typer.Argument(metavar="COMMAND", help="A command or query.", show_default=False)
    ] = None,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ARG...",
            help="Text as it is, numbers, JSON for the rest, bytes as hex:00ff.",
            show_default=False,
        ),
    ] = None,
    batch: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Send the commands of a file, a line `transfer ann bob 5` each, in one request.",
            show_default=False,
        ),
    ] = None,
    transaction: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The same as one transaction: all of them or none.", show_default=False),
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="A client's name or key file; the first whose key is there by default.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds to wait for a result.")] = 10.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result, or the error and whether it was executed, as JSON.")
    ] = False,
) -> None:
    """Sends one command, or several at once, and prints the result.

    Example: [bold]pssmr call bank.py:Bank transfer ann bob 5 --cluster prod[/bold]
    """
    from pssmr.cli.call import call_commands

    context.obj.as_json = as_json
    if [command, batch, transaction].count(None) != 2:
        raise typer.BadParameter("give one of COMMAND, --batch and --transaction")
    call_commands(
        application,
        None if command is None else [command, *(arguments or [])],
        batch=batch,
        transaction=transaction,
        cluster=cluster,
        key=key,
        timeout=timeout,
        as_json=as_json,
    )


def upgrade(
    context: typer.Context,
    cluster: Cluster,
    administrator_key: Annotated[
        Path | None,
        typer.Option(
            "--administrator-key",
            metavar="FILE",
            help="keys/administrator.pem beside cluster.toml.",
            show_default=False,
        ),
    ] = None,
    key: Annotated[str | None, typer.Option(help="A client's name or key file.")] = None,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds until the replicas have to have done it.")] = 30.0,
    force: Annotated[
        bool, typer.Option("--force", help="Leave behind replicas that don't have the version: they stop.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Has the service go over to the latest version that the replicas' code has. Needs the administrator's key.

    First start all replicas, one by one, with the new code: they behave as the old until this. There is no way back.

    Example: [bold]pssmr upgrade --cluster prod[/bold]
    """
    from pssmr.cli.upgrade import upgrade_service

    context.obj.as_json = as_json
    upgrade_service(
        cluster,
        administrator_key=administrator_key,
        client_key=key,
        timeout=timeout,
        force=force,
        ask=not yes,
        as_json=as_json,
    )


def bench(
    what: Annotated[
        Literal["cluster", "schedulers"],
        typer.Argument(help="A cluster, or the schedulers in one process, for which --json is the only option."),
    ] = "cluster",
    replicas: Annotated[int, typer.Option("--replicas", "-n", help="How many replicas.")] = 4,
    fault_model: Model = "bft",
    service: Annotated[
        Literal["native", "python"], typer.Option(help="What executes: the core, or a Python handler.")
    ] = "python",
    durability: Annotated[
        Literal["sync", "async", "memory"], typer.Option(help="What an acknowledged command survives.")
    ] = "memory",
    payload: Annotated[int, typer.Option(min=0, max=1 << 20, help="Bytes in each command.")] = 0,
    queries: Annotated[
        int, typer.Option(min=0, max=100, metavar="PERCENT", help="So many are queries, which are not ordered.")
    ] = 0,
    duration: Annotated[float, typer.Option(min=0.1, help="Seconds to measure, after a warm-up.")] = 5.0,
    clients: Annotated[int, typer.Option(min=1, max=256, help="Client processes.")] = 1,
    in_flight: Annotated[
        int, typer.Option(min=1, max=4000, help="Commands under way a client; 1 is a closed loop.")
    ] = 512,
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, help="Threads that execute, a replica.", show_default=False)
    ] = None,
    scrape: Annotated[
        float, typer.Option(min=0, help="Have each replica serve metrics, and scrape them every so many seconds.")
    ] = 0.0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures here too.")] = None,
) -> None:
    """Measures a cluster on this machine: operations a second, latency, and CPU time. Or all schedulers in one process.

    Example: [bold]pssmr bench --service native --in-flight 1[/bold]

    Example: [bold]pssmr bench schedulers[/bold]
    """
    if what == "schedulers":
        from pssmr.bench.schedulers import run_and_print_schedulers

        run_and_print_schedulers(json_file)
        return
    from pssmr.bench import Plan, run_and_print

    plan = Plan(
        replicas=replicas,
        fault_model=fault_model,
        service=service,
        durability=durability,
        payload=payload,
        queries=queries,
        duration=duration,
        clients=clients,
        in_flight=in_flight,
        workers=workers,
        scrape=scrape,
    )
    run_and_print(plan, json_file)
