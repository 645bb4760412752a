"""Replicas that are threads of this process."""

from __future__ import annotations

import time
from pathlib import Path

from pssmr.cluster_local import make_local
from pssmr.cluster_temporary import TemporaryDirectory
from pssmr.config import ClusterConfig, FaultModel
from pssmr.errors import Error, StepDownRefused
from pssmr.replica import Replica
from pssmr.service import Service
from pssmr.settings import Settings

_TRIES = 5
_PAUSE = 0.001
"""Seconds between two looks for the leader."""


class InProcessReplicas:
    """The replicas of one cluster, each a set of threads of this process."""

    def __init__(self, service_class: type[Service], cluster: Path) -> None:
        """Starts nothing yet."""
        self.cluster = cluster
        self.config = ClusterConfig.load(cluster)
        self._service_class = service_class
        self._replicas: dict[int, Replica] = {}

    def reload(self) -> None:
        """Takes the configuration from its file, which has changed. Replicas that run go on."""
        self.config = ClusterConfig.load(self.cluster)

    def start_all(self) -> None:
        """Starts all replicas. If one fails, none is left."""
        try:
            for replica in self.config.replicas:
                self.start(replica.id)
        except BaseException:
            self.stop_all()
            raise

    def start(self, replica: int, timeout: float = 0.0) -> None:
        """Starts a replica; it listens when this returns.

        Raises:
            Error: If it runs already, or there is no such replica.
        """
        self.config.replica(replica)
        if replica in self._replicas:
            raise Error(f"replica {replica} runs already")
        self._replicas[replica] = Replica(self._service_class(), self.config, id=replica).start()

    def stop(self, replica: int) -> None:
        """Stops a replica.

        Raises:
            Error: If it does not run.
        """
        if replica not in self._replicas:
            raise Error(f"replica {replica} does not run")
        self._replicas.pop(replica).stop()

    def step_down(self, timeout: float) -> int:
        """Has the leader give up its view, and returns the replica that leads next.

        Raises:
            StepDownRefused: If no leader could be found that does within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        asked = next(iter(self._replicas.values()))
        while True:
            try:
                return asked.step_down()
            except StepDownRefused as refusal:
                if time.monotonic() > deadline:
                    raise
                asked = self._replicas.get(asked.id if refusal.leader is None else refusal.leader, asked)
                time.sleep(_PAUSE)

    def running(self) -> list[int]:
        """The replicas that run."""
        return sorted(self._replicas)

    def stop_all(self) -> None:
        """Stops all replicas."""
        for replica in self.running():
            self.stop(replica)


def start_in_process(
    service_class: type[Service], *, replicas: int, fault_model: FaultModel, settings: Settings | None
) -> tuple[TemporaryDirectory, InProcessReplicas]:
    """Makes a cluster at free ports of the loopback interface, in a directory of its own, and starts it."""
    for attempt in range(1, _TRIES + 1):
        directory = TemporaryDirectory()
        try:
            cluster = make_local(directory.path, replicas=replicas, fault_model=fault_model, settings=settings)
            running = InProcessReplicas(service_class, cluster)
            running.start_all()
        except BaseException as error:
            directory.close()
            if isinstance(error, OSError) and attempt < _TRIES:
                continue  # Somebody took a port between our look and the replica's bind.
            raise
        return directory, running
    raise AssertionError("the last attempt returns or raises")
