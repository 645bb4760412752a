"""The commands of `pssmr`: what they are called and which options they have. What they do is in the modules beside."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pssmr.cli import long_help
from pssmr.cli.output import Options, results

_EPILOG = (
    "[bold]On this machine, until Ctrl-C[/bold]",
    "pssmr up bank.py:Bank",
    "pssmr call bank.py:Bank balance ann --cluster DIR       [dim]`up` prints DIR[/dim]",
    "",
    "[bold]A cluster that stays[/bold]",
    "pssmr init prod --replicas 4 --fault-model bft          [dim]keys, cluster.toml[/dim]",
    "pssmr replica bank.py:Bank --cluster prod --id 0        [dim]and 1, 2, 3[/dim]",
    "pssmr status --cluster prod",
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

Application = Annotated[
    str, typer.Argument(metavar="APP", help="The service: `module:Class` or `path/file.py:Class`.", show_default=False)
]
Cluster = Annotated[
    Path,
    typer.Option(
        "--cluster",
        "-c",
        envvar="PSSMR_CLUSTER",
        help="The cluster's directory, cluster.toml or cluster.py.",
        show_default=False,
    ),
]
Model = Annotated[
    Literal["bft", "cft"],
    typer.Option("--fault-model", help="What a faulty replica may do: anything at all (bft), or stop (cft)."),
]


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


@app.command()
def init(
    context: typer.Context,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where to; made if need be.", show_default=False)],
    replicas: Annotated[int, typer.Option("--replicas", "-n", help="How many replicas.")] = 4,
    fault_model: Model = "bft",
    name: Annotated[str, typer.Option(help="What to call it; the directory's name by default.")] = "",
    host: Annotated[
        str, typer.Option(help="Where replicas are reached. With {id} in it, each has a host of its own.")
    ] = "127.0.0.1",
    base_port: Annotated[
        int,
        typer.Option(
            help="Replica i is reached by replicas at base + 2i, by clients at base + 2i + 1,"
            " and over HTTP, from its own machine only, at base + 2n + i."
        ),
    ] = 7100,
    administrator: Annotated[
        bool,
        typer.Option(
            help="Make keys/administrator.pem, too: who has it can add, remove and replace replicas; without it,"
            " nobody ever can."
        ),
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Makes a cluster: keys and a commented cluster.toml. Nothing is overwritten.

    Example: [bold]pssmr init prod -n 4 --host node-{id}.example[/bold]
    """
    from pssmr.cli.clusters import init_cluster

    context.obj.as_json = as_json
    init_cluster(
        directory,
        replicas=replicas,
        fault_model=fault_model,
        name=name,
        host=host,
        base_port=base_port,
        administrator=administrator,
        as_json=as_json,
    )


@app.command()
def keygen(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The private key file.", show_default=False)],
    public: Annotated[bool, typer.Option("--public", help="Make nothing; print the public key of FILE.")] = False,
    token: Annotated[
        bool, typer.Option("--token", help="Make a token instead, for actions on a replica's admin service.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Makes an Ed25519 key for a replica or a client, and prints its public half for cluster.toml.

    Example: [bold]pssmr keygen prod/keys/reports.pem[/bold]
    """
    from pssmr.cli.clusters import make_key

    context.obj.as_json = as_json
    make_key(file, public=public, token=token, as_json=as_json)


@app.command()
def replica(
    context: typer.Context,
    application: Application,
    cluster: Cluster,
    replica_id: Annotated[int, typer.Option("--id", min=0, help="Which replica to be.", show_default=False)],
    key: Annotated[Path | None, typer.Option(help="Its private key; keys/replica-ID.pem by default.")] = None,
    log_format: Annotated[
        Literal["text", "json"], typer.Option(help="How it logs: for people, or a line of JSON a record.")
    ] = "text",
    parent: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Runs one replica until SIGTERM or Ctrl-C; a second Ctrl-C ends it at once. Logs to standard error.

    Example: [bold]pssmr replica bank.py:Bank --cluster prod --id 0[/bold]
    """
    from pssmr.cli.replica import run_replica

    options: Options = context.obj
    verbose = options.verbose
    code = run_replica(application, cluster, replica_id, key=key, parent=parent, verbose=verbose, log_format=log_format)
    raise typer.Exit(code)


@app.command()
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
) -> None:
    """Runs a whole cluster on this machine, a process a replica, until Ctrl-C.

    Example: [bold]pssmr up bank.py:Bank --replicas 3 --fault-model cft[/bold]
    """
    from pssmr.cli.up import run_cluster

    options: Options = context.obj
    code = run_cluster(
        application,
        replicas=replicas,
        fault_model=fault_model,
        cluster=cluster,
        base_port=base_port,
        fresh=fresh,
        verbose=options.verbose,
    )
    raise typer.Exit(code)


@app.command(context_settings={"ignore_unknown_options": True})
def call(
    context: typer.Context,
    application: Application,
    command: Annotated[str, typer.Argument(metavar="COMMAND", help="A command or query.", show_default=False)],
    cluster: Cluster,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ARG...",
            help="Text as it is, numbers, JSON for the rest, bytes as hex:00ff.",
            show_default=False,
        ),
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="A client's name or key file; the first whose key is there by default.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds to wait for a result.")] = 10.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result, or the error and whether it was executed, as JSON.")
    ] = False,
) -> None:
    """Sends one command and prints its result.

    Example: [bold]pssmr call bank.py:Bank transfer ann bob 5 --cluster prod[/bold]
    """
    from pssmr.cli.call import call_command

    context.obj.as_json = as_json
    call_command(application, command, arguments or [], cluster=cluster, key=key, timeout=timeout, as_json=as_json)


@app.command()
def status(
    cluster: Cluster,
    key: Annotated[str | None, typer.Option(help="A client's name or key file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds to wait for each replica.")] = 3.0,
) -> None:
    """Shows how each replica is. Exit code 4 if too few can be reached for a quorum.

    Example: [bold]pssmr status --cluster prod[/bold]
    """
    from pssmr.cli.status import show_status

    raise typer.Exit(show_status(cluster, key=key, as_json=as_json, timeout=timeout))


@app.command()
def checkpoint(
    cluster: Cluster,
    key: Annotated[str | None, typer.Option(help="A client's name or key file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds until the snapshots have to be written.")] = 60.0,
) -> None:
    """Has all replicas take a checkpoint, and waits until it is stable: before a backup, or for a quick restart.

    Replicas take checkpoints by themselves, too: see checkpoint_slots and checkpoint_bytes in the settings.

    Example: [bold]pssmr checkpoint --cluster prod[/bold]
    """
    from pssmr.cli.checkpoint import take_checkpoint

    raise typer.Exit(take_checkpoint(cluster, key=key, as_json=as_json, timeout=timeout))


@app.command(help="\n\n".join(long_help.CHECK))
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


@app.command(help="\n\n".join(long_help.PLAN))
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
        typer.Option(help="solver needs `pip install pssmr\\[planning]`; auto takes the better of what there is."),
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


@app.command()
def top(
    cluster: Cluster,
    key: Annotated[str | None, typer.Option(help="A client's name or key file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON each time.")] = False,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds from one look to the next.")] = 1.0,
    count: Annotated[
        int | None, typer.Option(min=1, help="Look so often, then end; by default until Ctrl-C.", show_default=False)
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds to wait for each replica.")] = 3.0,
) -> None:
    """Shows what all replicas do, again and again: commands a second, latency, lag, how busy they are.

    Exit code 4 if too few could be reached for a quorum at the last look.

    Example: [bold]pssmr top --cluster prod[/bold]
    """
    from pssmr.cli.top import show_top

    raise typer.Exit(show_top(cluster, key=key, as_json=as_json, interval=interval, count=count, timeout=timeout))


@app.command()
def events(
    cluster: Cluster,
    replica_id: Annotated[
        int | None, typer.Option("--id", min=0, help="Of this replica; of all by default.", show_default=False)
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what happens, until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each.")] = False,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds to wait for each replica.")] = 3.0,
) -> None:
    """Prints what has happened: view changes, lost links, full disks, broken rules.

    It asks the replicas at their `admin` addresses, which as a rule answer to their own machine only. Exit code 4 if
    none answers.

    Example: [bold]pssmr events --cluster prod --follow[/bold]
    """
    from pssmr.cli.events import show_events

    raise typer.Exit(show_events(cluster, replica_id=replica_id, follow=follow, as_json=as_json, timeout=timeout))


@app.command()
def doctor(
    cluster: Cluster,
    replica_id: Annotated[
        int | None,
        typer.Option("--id", min=0, help="What this replica needs here; all by default.", show_default=False),
    ] = None,
    application: Annotated[
        str | None, typer.Option("--app", metavar="APP", help="A service that has to be found.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds to wait for each replica.")] = 3.0,
) -> None:
    """Looks for what is wrong: configuration, keys, ports, names, disks, clocks, versions. Says what to do.

    Changes nothing. Exit code 1 if something is wrong; what is only worth a look is none.

    Example: [bold]pssmr doctor --cluster prod --id 0 --app bank.py:Bank[/bold]
    """
    from pssmr.cli.doctor import examine

    raise typer.Exit(examine(cluster, replica_id=replica_id, application=application, as_json=as_json, timeout=timeout))


@app.command(name="simulate")
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


@app.command()
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
        duration=duration,
        clients=clients,
        in_flight=in_flight,
        workers=workers,
        scrape=scrape,
    )
    run_and_print(plan, json_file)
