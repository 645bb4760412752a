"""A whole cluster on this machine: a process a replica, keys and configuration in a temporary directory."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

from pssmr import cluster_files
from pssmr.cluster_create import create_cluster
from pssmr.cluster_ports import free_ports
from pssmr.cluster_processes import ReplicaFailed, ReplicaProcess, stop_all
from pssmr.cluster_temporary import TemporaryDirectory
from pssmr.config import ClusterConfig, FaultModel
from pssmr.errors import Error
from pssmr.settings import Settings

_TRIES = 5
START_TIMEOUT = 60.0
"""Seconds until a replica has to listen: imports on a busy machine take their time."""

LogLine = Callable[[int, str], None]
"""Takes a replica's id and a line that it logged."""


class LocalProcesses:
    """The replicas of one cluster, each a process of this machine."""

    def __init__(
        self,
        application: str,
        cluster: Path,
        *,
        on_line: LogLine,
        verbose: bool = False,
        record: Path | None = None,
    ) -> None:
        """Starts nothing yet.

        Args:
            application: `module:Class` or `path/file.py:Class`.
            cluster: The directory or file of the configuration.
            on_line: Takes what they log, in threads of its own.
            verbose: Have them log more.
            record: A directory in which each records what its ordering is told, as `replica-ID.recording`.
        """
        self.application = application
        self.cluster = cluster
        self.config = ClusterConfig.load(cluster)
        self._on_line = on_line
        self._verbose = verbose
        self._record = record
        self._processes: dict[int, ReplicaProcess] = {}

    def reload(self) -> None:
        """Takes the configuration from its file, which has changed. Replicas that run go on."""
        self.config = ClusterConfig.load(self.cluster)

    @property
    def processes(self) -> list[ReplicaProcess]:
        """Those that were started, by id; ended ones too."""
        return [self._processes[i] for i in sorted(self._processes)]

    def process(self, replica: int) -> ReplicaProcess:
        """The latest process of a replica.

        Raises:
            Error: If the replica was never started.
        """
        if replica not in self._processes:
            self.config.replica(replica)
            raise Error(f"replica {replica} was never started")
        return self._processes[replica]

    def launch(self, replica: int) -> ReplicaProcess:
        """Starts a replica's process and does not wait until it listens.

        Raises:
            Error: If it runs already, or there is no such replica.
        """
        self.config.replica(replica)
        if replica in self._processes and self._processes[replica].running:
            raise Error(f"replica {replica} runs already")
        process = ReplicaProcess(
            self.application,
            self.cluster,
            replica,
            on_line=lambda line: self._on_line(replica, line),
            verbose=self._verbose,
            record=None if self._record is None else self._record / f"replica-{replica}.recording",
        )
        self._processes[replica] = process
        return process

    def start_all(self, timeout: float | None = START_TIMEOUT) -> None:
        """Starts all replicas, and waits until they listen. If one fails, none is left.

        Args:
            timeout: Seconds for each; `None` waits for as long as they run, since a long log takes long to replay.

        Raises:
            ReplicaFailed: If one ends instead.
            Error: If one takes too long.
        """
        try:
            for process in [self.launch(replica.id) for replica in self.config.replicas]:
                process.wait_ready(timeout)
        except BaseException:
            self.kill_all()
            raise

    def start(self, replica: int, timeout: float = START_TIMEOUT) -> None:
        """Starts a replica, and waits until it listens.

        Raises:
            ReplicaFailed: If it ends instead.
            Error: If it runs already, there is none, or it takes too long.
        """
        self.launch(replica).wait_ready(timeout)

    def stop(self, replica: int) -> None:
        """Stops a replica in an orderly way."""
        self.process(replica).stop()

    def running(self) -> list[int]:
        """The replicas that run; paused ones do."""
        return [process.replica for process in self.processes if process.running]

    def stop_all(self, timeout: float = 10.0) -> None:
        """Stops all replicas; kills those that take longer than `timeout` seconds."""
        stop_all(self.processes, timeout)

    def kill_all(self) -> None:
        """Kills all replicas."""
        for process in self.processes:
            process.signal(signal.SIGKILL)
        for process in self.processes:
            process.wait(10.0)


def start_temporary(
    application: str,
    *,
    replicas: int,
    fault_model: FaultModel,
    settings: Settings | None = None,
    on_line: LogLine,
    verbose: bool = False,
    timeout: float = START_TIMEOUT,
    admin: bool = False,
    record: Path | None = None,
) -> tuple[TemporaryDirectory, LocalProcesses]:
    """Makes a cluster at free ports of the loopback interface, in a directory of its own, and starts it.

    Raises:
        ConfigError: If such a cluster can't be.
        ReplicaFailed: If a replica ends instead of starting.
    """
    for attempt in range(1, _TRIES + 1):
        directory = TemporaryDirectory()
        try:
            cluster = make_local(
                directory.path, replicas=replicas, fault_model=fault_model, settings=settings, admin=admin
            )
            processes = LocalProcesses(application, cluster, on_line=on_line, verbose=verbose, record=record)
            processes.start_all(timeout)
        except BaseException as error:
            directory.close()
            if isinstance(error, ReplicaFailed) and error.address_in_use and attempt < _TRIES:
                continue  # Somebody took a port between our look and the replica's bind.
            raise
        return directory, processes
    raise AssertionError("the last attempt returns or raises")


def make_local(
    directory: Path,
    *,
    replicas: int,
    fault_model: FaultModel,
    settings: Settings | None = None,
    base_port: int = 0,
    admin: bool = False,
) -> Path:
    """Makes a cluster on the loopback interface, and returns the path of its `cluster.toml`.

    Its ports are free ones, or those from `base_port` on: two a replica, and then one a replica for HTTP, with `admin`.
    Unless `settings` say otherwise it keeps everything in memory: it goes when its directory goes.
    """
    members = max(1, min(replicas, 64))
    count = (3 if admin else 2) * members
    ports = list(range(base_port, base_port + count)) if base_port else free_ports(count)
    create_cluster(
        directory,
        name="local",
        replicas=replicas,
        fault_model=fault_model,
        settings=settings or Settings(durability="memory"),
        address=lambda i: (f"127.0.0.1:{ports[2 * i]}", f"127.0.0.1:{ports[2 * i + 1]}"),
        admin=(lambda i: f"127.0.0.1:{ports[2 * members + i]}") if admin else None,
    )
    return directory / cluster_files.TOML_NAME
