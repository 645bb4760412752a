"""A whole cluster for a test: real processes that can be paused and killed, or threads of the test's own process."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
import threading
from collections import deque
from importlib.machinery import PathFinder
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pssmr.client import AsyncClient, Client
from pssmr.cluster_local import START_TIMEOUT, LocalProcesses, start_temporary
from pssmr.cluster_processes import ReplicaProcess
from pssmr.config import ClusterConfig, FaultModel
from pssmr.errors import ConfigError, Error
from pssmr.service import Service
from pssmr.settings import Settings
from pssmr.testing.in_process import InProcessReplicas, start_in_process

_LOG_LINES = 1000


class LocalCluster:
    """A cluster on this machine's loopback interface, at free ports, with keys of its own.

    Each replica is a process, so it can be paused and killed; with `in_process=True` it is a set of threads of this
    process, which starts sooner and shows its state. Nothing is left when the context ends, nor when this process is
    killed.

    ```python
    with LocalCluster(Bank, replicas=4) as cluster, cluster.client() as client:
        client.call(Bank.transfer, "ann", "bob", 5)
        cluster.kill(cluster.leader())
        client.call(Bank.transfer, "ann", "bob", 5)
    ```
    """

    def __init__(
        self,
        service: type[Service] | str,
        *,
        replicas: int = 4,
        fault_model: FaultModel = "bft",
        settings: Settings | None = None,
        version: int | None = None,
        in_process: bool = False,
        start_timeout: float = START_TIMEOUT,
    ) -> None:
        """Starts nothing yet: that is for `with` or `async with`.

        Args:
            service: The service class, at the top level of a module; or `module:Class` or `path/file.py:Class`.
            replicas: How many.
            fault_model: What a faulty one may do.
            settings: How the cluster runs; by default with durability `memory`.
            version: The version of the service that the cluster begins with; by default the latest of a class that is
                given as such, and else what `settings` say.
            in_process: Whether the replicas are threads of this process.
            start_timeout: Seconds until every replica has to listen.
        """
        self._service = service
        self._in_process = in_process
        self._replicas = replicas
        self._fault_model: FaultModel = fault_model
        self._settings = _beginning_with(version, service, settings)
        self._start_timeout = start_timeout
        self._running: LocalProcesses | InProcessReplicas | None = None
        self._directory: Any = None
        self._logs: dict[int, deque[str]] = {}
        self._logs_lock = threading.Lock()

    def __enter__(self) -> Self:
        """Starts the cluster, and waits until every replica listens."""
        if self._running is not None:
            raise Error("this cluster runs already")
        if self._in_process:
            self._directory, self._running = start_in_process(
                self._service_class(), replicas=self._replicas, fault_model=self._fault_model, settings=self._settings
            )
        else:
            self._directory, self._running = start_temporary(
                self._service if isinstance(self._service, str) else application_of(self._service),
                replicas=self._replicas,
                fault_model=self._fault_model,
                settings=self._settings,
                on_line=self._keep_line,
                timeout=self._start_timeout,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stops every replica and removes every file."""
        running, self._running = self._running, None
        try:
            if running is not None:
                running.stop_all()
        finally:
            if self._directory is not None:
                self._directory.close()

    async def __aenter__(self) -> Self:
        """Starts the cluster, and waits until every replica listens."""
        starting = asyncio.ensure_future(asyncio.to_thread(self.__enter__))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            # The thread goes on starting: what it has started has to be stopped.
            await asyncio.wait({starting})
            if starting.exception() is None:
                await self.__aexit__(None, None, None)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stops every replica and removes every file."""
        await asyncio.to_thread(self.__exit__, kind, error, traceback)

    @property
    def cluster(self) -> Path:
        """The `cluster.toml`."""
        return self._running_or_raise().cluster

    @property
    def config(self) -> ClusterConfig:
        """The configuration."""
        return self._running_or_raise().config

    def client(self, **options: Any) -> Client:
        """A client of this cluster, not yet connected. Takes the options of `pssmr.Client`."""
        return Client(self.config, **options)

    def async_client(self, **options: Any) -> AsyncClient:
        """A client of this cluster, not yet connected. Takes the options of `pssmr.AsyncClient`."""
        return AsyncClient(self.config, **options)

    def start(self, replica: int) -> None:
        """Starts a replica that was stopped or killed, and waits until it listens.

        With durability `memory` it has forgotten its votes: it follows without voting until they no longer matter.
        """
        self._running_or_raise().start(replica, self._start_timeout)

    def stop(self, replica: int) -> None:
        """Stops a replica in an orderly way."""
        self._running_or_raise().stop(replica)

    def kill(self, replica: int) -> None:
        """Kills a replica with SIGKILL, as a power cut would."""
        self.process(replica).kill()

    def add_replica(self) -> int:
        """Adds a replica, and returns its id. It runs, has the state, and votes when this returns."""
        from pssmr.testing import changes

        return changes.add(self._running_or_raise(), self._start_timeout)

    def remove_replica(self, replica: int) -> None:
        """Removes a replica, and stops it if it runs."""
        from pssmr.testing import changes

        changes.remove(self._running_or_raise(), replica, self._start_timeout)

    def replace_replica(self, replica: int) -> int:
        """Puts a new replica in the place of another, whether that runs or not, and returns the id of the new one.

        The new one runs, has the state, and votes when this returns; the old one is stopped.
        """
        from pssmr.testing import changes

        return changes.replace(self._running_or_raise(), replica, self._start_timeout)

    def pause(self, replica: int) -> None:
        """Pauses a replica with SIGSTOP: its links stay up and nothing comes."""
        self.process(replica).pause()

    def resume(self, replica: int) -> None:
        """Lets a paused replica go on with SIGCONT."""
        self.process(replica).resume()

    def process(self, replica: int) -> ReplicaProcess:
        """A replica's process.

        Raises:
            Error: If the replicas are threads of this process.
        """
        running = self._running_or_raise()
        if isinstance(running, InProcessReplicas):
            raise Error("a replica in this process can't be killed or paused; leave out in_process=True")
        return running.process(replica)

    def running(self) -> list[int]:
        """The replicas that run; paused ones do."""
        return self._running_or_raise().running()

    def leader(self, timeout: float = 30.0) -> int:
        """The leader that most replicas follow, as soon as there is one.

        Raises:
            Error: If there is none within `timeout` seconds.
        """
        from pssmr.testing.leader import wait_for_leader

        with self.client() as client:
            return wait_for_leader(client, timeout)

    def step_down(self) -> int:
        """Has the leader give up its view, and returns the replica that leads next. Takes milliseconds.

        Raises:
            Error: If the replicas are processes: they serve no HTTP.
            StepDownRefused: If no leader is found for as long as a replica may take to start.
        """
        running = self._running_or_raise()
        if not isinstance(running, InProcessReplicas):
            raise Error("a replica in another process can't be asked without an admin address; use in_process=True")
        return running.step_down(self._start_timeout)

    def log(self, replica: int) -> list[str]:
        """The last lines that a replica's process logged."""
        with self._logs_lock:
            return list(self._logs.get(replica, ()))

    def _keep_line(self, replica: int, line: str) -> None:
        with self._logs_lock:
            self._logs.setdefault(replica, deque(maxlen=_LOG_LINES)).append(line)

    def _running_or_raise(self) -> LocalProcesses | InProcessReplicas:
        if self._running is None:
            raise Error("this cluster does not run: use it in `with` or `async with`")
        return self._running

    def _service_class(self) -> type[Service]:
        if isinstance(self._service, str):
            from pssmr.cli.services import load_service_class

            return load_service_class(self._service)
        return self._service


def _beginning_with(version: int | None, service: type[Service] | str, settings: Settings | None) -> Settings | None:
    """The settings of a cluster that begins with this version of the service."""
    if version is None and not isinstance(service, str):
        version = service._version
    if version is None or version == 1:
        return settings
    return dataclasses.replace(settings or Settings(durability="memory"), first_service_version=version)


def application_of(service: type[Service]) -> str:
    """How another process finds a service class.

    That is `module:Class`, or `path/file.py:Class` where the module can't be imported by its name.

    Raises:
        ConfigError: If it can't be found at all.
    """
    module = sys.modules.get(service.__module__)
    file = getattr(module, "__file__", None)
    if "<locals>" in service.__qualname__ or file is None:
        raise ConfigError(
            f"{service.__qualname__} can't be found by another process",
            field="service",
            remedy="define it at the top level of a module, or use in_process=True",
        )
    # `sys.modules` is not asked: a test runner puts modules there that no other process can import.
    top = PathFinder.find_spec(service.__module__.partition(".")[0])
    folders = list(top.submodule_search_locations or ()) if top else []
    if any(Path(file).resolve().is_relative_to(Path(folder).resolve()) for folder in folders):
        return f"{service.__module__}:{service.__qualname__}"
    return f"{Path(file).resolve()}:{service.__qualname__}"
