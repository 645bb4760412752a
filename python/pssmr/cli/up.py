"""`pssmr up`: a whole cluster on this machine until Ctrl-C."""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
import signal
import time
from pathlib import Path

from rich.text import Text

from pssmr import Query, Service
from pssmr.cli.output import messages, results
from pssmr.cli.services import load_service_class
from pssmr.cluster_fields import check_integer
from pssmr.cluster_local import LocalProcesses, make_local, start_temporary
from pssmr.cluster_processes import describe_exit
from pssmr.cluster_temporary import TemporaryDirectory
from pssmr.config import ClusterConfig, FaultModel
from pssmr.errors import ConfigError
from pssmr.exit_codes import ExitCode
from pssmr.signatures import commands_of, parameters_of

_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "bright_red", "bright_cyan", "bright_magenta")


def run_cluster(
    application: str,
    *,
    replicas: int,
    fault_model: FaultModel,
    cluster: Path | None,
    base_port: int | None,
    fresh: bool,
    record: Path | None,
    as_json: bool,
    verbose: bool,
) -> ExitCode:
    """Runs a cluster until a signal, or until no replica is left."""
    service_class = load_service_class(application)
    if cluster is not None and base_port is not None:
        raise ConfigError(
            "the cluster's configuration has its ports", field="--base-port", remedy="give one of the two"
        )
    if cluster is not None:
        _check_that_it_can_vote(ClusterConfig.load(cluster), fresh=fresh)
    if record is not None:
        record.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Both, since a shell starts what runs behind it with SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    with contextlib.ExitStack() as closing:
        running = _start(
            closing,
            application,
            replicas=replicas,
            fault_model=fault_model,
            cluster=cluster,
            base_port=base_port,
            record=record,
            verbose=verbose,
        )
        config = running.config
        for note in config.notes:
            messages.print(f"note: {note}")
        place = running.cluster if cluster is not None else running.cluster.parent
        messages.print(
            f"{len(config.replicas)} replicas run ({config.fault_model}, survive {config.faults} faulty). "
            f"Clients find them in {place}\n"
            f"Try: pssmr call {application} {_example(service_class)} --cluster {place}\n"
            f"{_dashboards(config)}Ctrl-C stops them.",
            markup=False,
        )
        if as_json:
            results.print(json.dumps(_described(running, place)))
        try:
            return _watch(running)
        except KeyboardInterrupt:
            messages.print("stopping")
            return ExitCode.OK


def _start(
    closing: contextlib.ExitStack,
    application: str,
    *,
    replicas: int,
    fault_model: FaultModel,
    cluster: Path | None,
    base_port: int | None,
    record: Path | None,
    verbose: bool,
) -> LocalProcesses:
    if cluster is None and base_port is None:
        directory, running = start_temporary(
            application,
            replicas=replicas,
            fault_model=fault_model,
            on_line=_print_line,
            verbose=verbose,
            admin=True,
            record=record,
        )
        closing.callback(directory.close)
    else:
        if cluster is None:
            assert base_port is not None
            check_integer(base_port, "--base-port", 1, 65_536 - 3 * max(1, replicas))
            directory = TemporaryDirectory()
            closing.callback(directory.close)
            cluster = make_local(
                directory.path, replicas=replicas, fault_model=fault_model, base_port=base_port, admin=True
            )
        running = LocalProcesses(application, cluster, on_line=_print_line, verbose=verbose, record=record)
        running.start_all(None)
    closing.callback(_stop, running)
    return running


def _described(running: LocalProcesses, place: Path) -> dict[str, object]:
    """What runs, for programs."""
    processes = {process.replica: process.pid for process in running.processes}
    replicas = [
        {"id": each.id, "process": processes[each.id], "clients": each.clients, "admin": each.admin}
        for each in running.config.replicas
    ]
    return {"cluster": str(place), "fault_model": running.config.fault_model, "replicas": replicas}


def _dashboards(config: ClusterConfig) -> str:
    """Where to look at the replicas in a browser."""
    places = [f"http://{each.admin}/" for each in config.replicas if each.admin and not each.admin.endswith(":0")]
    return f"Dashboards: {' '.join(places)}\n" if places else ""


def _example(service_class: type[Service]) -> str:
    """A command of the service as one writes it; a query without arguments, if there is one."""

    def words(name: str) -> list[str]:
        parameters, _ = parameters_of(service_class, commands[name])
        return [name, *(each.name.upper() for each in parameters if each.default is each.empty)]

    commands = commands_of(service_class)
    written = sorted(
        (words(name) for name in commands), key=lambda each: (not isinstance(commands[each[0]], Query), len(each))
    )
    return " ".join(written[0]) if written else "COMMAND"


def _check_that_it_can_vote(config: ClusterConfig, *, fresh: bool) -> None:
    """Refuses a cluster whose replicas ran before and kept nothing, or lets them forget that they ran with `fresh`.

    With durability `memory` all have forgotten what they voted for. So none would vote again, and no command would ever
    be executed.

    To forget is safe here and nowhere else: all replicas run on this machine, so all of the state goes, and with it
    everything that a forgotten vote could contradict.
    """
    directories = [path for each in config.replicas if (path := config.replica_data(each.id)) is not None]
    if not any((path / name).exists() for path in directories for name in ("promise-a", "promise-b", "voted")):
        return
    if not fresh and config.settings.durability != "memory":
        return
    if not fresh:
        raise ConfigError(
            f'the replicas of {config.name!r} ran before, and their state is gone: durability is "memory"',
            field="--cluster",
            remedy="`pssmr up --fresh` starts the cluster again with empty state",
        )
    for path in directories:
        with contextlib.suppress(FileNotFoundError), (path / "lock").open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigError(
                    "a replica that runs uses this directory", source=str(path), remedy="stop it first"
                ) from None
    for path in directories:
        shutil.rmtree(path, ignore_errors=True)


def _watch(running: LocalProcesses) -> ExitCode:
    """Waits until no replica is left, and says when one ends by itself."""
    ended: set[int] = set()
    while True:
        time.sleep(0.2)
        for process in running.processes:
            if process.code is not None and process.replica not in ended:
                ended.add(process.replica)
                _print_line(process.replica, f"ended with {describe_exit(process.code)}")
        if len(ended) == len(running.processes):
            messages.print("pssmr: error: no replica is left", style="red")
            return ExitCode.FAILED


def _print_line(replica: int, line: str) -> None:
    colour = _COLOURS[replica % len(_COLOURS)]
    messages.print(Text.assemble((f"replica {replica} | ", colour), Text.from_ansi(line)))


def _stop(running: LocalProcesses) -> None:
    """Stops the replicas; at once if Ctrl-C comes again."""
    try:
        running.stop_all()
    except KeyboardInterrupt:
        running.kill_all()
