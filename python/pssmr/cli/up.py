"""`pssmr up`: a whole cluster on this machine until Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import time
from pathlib import Path

from rich.text import Text

from pssmr.cli.output import messages
from pssmr.cli.services import load_service_class
from pssmr.cluster_fields import check_integer
from pssmr.cluster_local import LocalProcesses, make_local, start_temporary
from pssmr.cluster_processes import describe_exit
from pssmr.cluster_temporary import TemporaryDirectory
from pssmr.config import FaultModel
from pssmr.errors import ConfigError
from pssmr.exit_codes import ExitCode

_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "bright_red", "bright_cyan", "bright_magenta")


def run_cluster(
    application: str,
    *,
    replicas: int,
    fault_model: FaultModel,
    cluster: Path | None,
    base_port: int | None,
    verbose: bool,
) -> ExitCode:
    """Runs a cluster until a signal, or until no replica is left."""
    service_class = load_service_class(application)
    if cluster is not None and base_port is not None:
        raise ConfigError(
            "the cluster's configuration has its ports", field="--base-port", remedy="give one of the two"
        )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.ExitStack() as closing:
        running = _start(
            closing,
            application,
            replicas=replicas,
            fault_model=fault_model,
            cluster=cluster,
            base_port=base_port,
            verbose=verbose,
        )
        config = running.config
        for note in config.notes:
            messages.print(f"note: {note}")
        place = running.cluster if cluster is not None else running.cluster.parent
        query = next(iter(service_class.commands()), "COMMAND")
        messages.print(
            f"{len(config.replicas)} replicas run ({config.fault_model}, survive {config.faults} faulty). "
            f"Clients find them in {place}\n"
            f"Try: pssmr call {application} {query} ... --cluster {place}\n"
            "Ctrl-C stops them.",
            markup=False,
        )
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
    verbose: bool,
) -> LocalProcesses:
    if cluster is None and base_port is None:
        directory, running = start_temporary(
            application, replicas=replicas, fault_model=fault_model, on_line=_print_line, verbose=verbose
        )
        closing.callback(directory.close)
    else:
        if cluster is None:
            assert base_port is not None
            check_integer(base_port, "--base-port", 1, 65_536 - 2 * max(1, replicas))
            directory = TemporaryDirectory()
            closing.callback(directory.close)
            cluster = make_local(directory.path, replicas=replicas, fault_model=fault_model, base_port=base_port)
        running = LocalProcesses(application, cluster, on_line=_print_line, verbose=verbose)
        running.start_all()
    closing.callback(_stop, running)
    return running


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
