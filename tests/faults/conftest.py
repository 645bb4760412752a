"""Clusters whose data directories outlive their replicas, so that a test can break in between."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pssmr
from pssmr.cluster_local import LocalProcesses, make_local
from pssmr.cluster_processes import ReplicaProcess
from pssmr.config import ClusterConfig, FaultModel
from pssmr.settings import Settings
from pssmr.testing.local_cluster import application_of
from tests.cluster.ledger import Ledger

DEADLINE = 60.0
"""Seconds until something has to happen that takes one or two."""


class Replicas:
    """The replicas of a cluster in a directory of its own, each a process."""

    def __init__(self, cluster: Path, service: type[pssmr.Service] = Ledger) -> None:
        """Starts nothing yet: `cluster` is the path of a configuration."""
        self.cluster = cluster
        self.log: list[str] = []
        """What they logged."""
        self.kills = 0
        """How many of them were killed so far."""
        self._application = application_of(service)
        self._processes = LocalProcesses(
            self._application, self.cluster, on_line=lambda replica, line: self.log.append(f"{replica} | {line}")
        )

    @property
    def config(self) -> ClusterConfig:
        """The configuration, as it was read last."""
        return self._processes.config

    @property
    def ids(self) -> list[int]:
        """All replicas."""
        return [replica.id for replica in self.config.replicas]

    def reload(self) -> None:
        """Reads the configuration again."""
        self._processes.reload()

    def data(self, replica: int) -> Path:
        """Its data directory."""
        directory = self._processes.config.replica_data(replica)
        assert directory is not None
        return directory

    def segments(self, replica: int) -> list[Path]:
        """The files of its log, oldest first."""
        return sorted((self.data(replica) / "log").glob("*.log"))

    def client(self) -> pssmr.AsyncClient:
        """A client that waits as long as it takes."""
        return pssmr.AsyncClient(self.cluster, timeout=2 * DEADLINE)

    async def start(self, *replicas: int) -> None:
        """Starts these at the same time, or all, and waits until they listen."""
        processes = [self.launch(replica) for replica in replicas or self.ids]
        await asyncio.gather(*(asyncio.to_thread(process.wait_ready) for process in processes))

    def launch(self, replica: int) -> ReplicaProcess:
        """Starts one, and does not wait."""
        return self._processes.launch(replica)

    async def kill(self, *replicas: int) -> None:
        """Kills these at the same time, or all."""
        self.kills += len(replicas or self.ids)
        await self._end(signal.SIGKILL, replicas)

    async def stop(self, *replicas: int) -> None:
        """Stops these, or all, in an orderly way."""
        await self._end(signal.SIGTERM, replicas)

    async def _end(self, number: signal.Signals, replicas: tuple[int, ...]) -> None:
        processes = [self._processes.process(replica) for replica in replicas or self.ids]
        for process in processes:
            process.signal(number)
        codes = await asyncio.gather(*(asyncio.to_thread(process.wait, DEADLINE) for process in processes))
        assert set(codes) <= {0, -number}, self.log

    async def pause(self, *replicas: int) -> None:
        """Stops the clocks of these (SIGSTOP): they hear, say and do nothing."""
        for replica in replicas:
            await asyncio.to_thread(self._processes.process(replica).pause)

    def resume(self, *replicas: int) -> None:
        """Lets these go on."""
        for replica in replicas:
            self._processes.process(replica).resume()

    async def ended(self, replica: int) -> int:
        """Waits until one has ended by itself, and returns its exit code."""
        deadline = time.monotonic() + DEADLINE
        while self._processes.process(replica).running:
            assert time.monotonic() < deadline, self.log
            await asyncio.sleep(0.02)
        return await asyncio.to_thread(self._processes.process(replica).wait, DEADLINE)

    def running(self) -> list[int]:
        """Those that run."""
        return self._processes.running()

    async def refusal(self, replica: int) -> subprocess.CompletedProcess[str]:
        """How a replica ends that should not start."""
        command = [sys.executable, "-m", "pssmr", "replica", self._application]
        return await asyncio.to_thread(
            subprocess.run,
            [*command, "--cluster", str(self.cluster), "--id", str(replica)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p or "." for p in sys.path), "COLUMNS": "1000"},
        )

    def kill_all(self) -> None:
        """Leaves none."""
        self._processes.kill_all()

    def check_log(self) -> None:
        """Checks that none has met what it can't explain."""
        said = "\n".join(self.log)
        for word in ("Traceback", "panicked", "agreement is broken", "it has diverged", "broke the protocol"):
            assert word not in said, said


MakeReplicas = Callable[..., Replicas]


@pytest.fixture
def replicas(tmp_path: Path) -> Iterator[MakeReplicas]:
    """Makes clusters of which nothing is left, and that have never ended in a traceback."""
    made: list[Replicas] = []

    def make(
        count: int = 4, fault_model: FaultModel = "bft", service: type[pssmr.Service] = Ledger, **settings: Any
    ) -> Replicas:
        settings = {"durability": "sync", "workers": 2, **settings}
        directory = tmp_path / f"c{len(made)}"
        cluster = make_local(directory, replicas=count, fault_model=fault_model, settings=Settings(**settings))
        made.append(Replicas(cluster, service))
        return made[-1]

    yield make
    for each in made:
        each.kill_all()
    for each in made:
        each.check_log()


def flip(file: Path, offset: int, length: int = 1) -> None:
    """Flips a bit in each of some bytes of a file. A log has zeros between its entries, but never 64 bytes of them."""
    data = bytearray(file.read_bytes())
    for at in range(offset, offset + length):
        data[at] ^= 1
    file.write_bytes(data)


Status = dict[str, Any]


async def eventually(
    client: pssmr.AsyncClient, condition: Callable[[list[Status | None]], bool]
) -> list[Status | None]:
    """The replicas' statuses, by seniority, as soon as they fulfil the condition."""
    deadline = time.monotonic() + DEADLINE
    while True:
        statuses = list((await client.status()).values())
        if condition(statuses):
            return statuses
        assert time.monotonic() < deadline, statuses
        await asyncio.sleep(0.05)


def is_back(status: Status | None) -> bool:
    """Whether a replica has read its log: before that, what it says of itself does not count."""
    return status is not None and status["decided"] > 0


def votes(status: Status | None) -> bool:
    """Whether a replica has a vote."""
    return status is not None and is_back(status) and status["role"] in {"leader", "follower"}
