"""`pssmr.testing.LocalCluster`, beyond what the tests of faults use of it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import pssmr
from pssmr.config import ClusterConfig
from pssmr.errors import ConfigError, Error
from pssmr.settings import Settings
from pssmr.testing import LocalCluster
from pssmr.testing.local_cluster import application_of
from tests.cluster.ledger import Ledger


def test_replicas_in_this_process_work_like_processes() -> None:
    with LocalCluster(Ledger, in_process=True) as cluster, cluster.client(timeout=60) as client:
        assert client.call_many(Ledger.add.bind(i) for i in range(100)) == [1] * 100
        assert cluster.running() == [0, 1, 2, 3]
        leader = cluster.leader()
        cluster.stop(leader)
        assert client.call(Ledger.add, 0) == 2
        assert cluster.leader() != leader
        cluster.start(leader)
        assert cluster.running() == [0, 1, 2, 3]
        with pytest.raises(Error, match="can't be killed or paused"):
            cluster.kill(0)


def test_the_leader_steps_down_and_the_next_one_leads() -> None:
    # Nobody is deposed for being slow.
    settings = Settings(durability="memory", request_timeout_ms=600_000, request_timeout_max_ms=600_000)
    with (
        LocalCluster(Ledger, replicas=3, fault_model="cft", settings=settings, in_process=True) as cluster,
        cluster.client(timeout=60) as client,
    ):
        for turn in range(1, 5):
            assert cluster.step_down() == turn % 3
            assert client.call(Ledger.add, 0) == turn
        # What a replica says of itself may be some milliseconds old.
        deadline = time.monotonic() + 30
        while cluster.leader() != 1:
            assert time.monotonic() < deadline


def test_replicas_that_are_processes_are_not_asked_to_step_down() -> None:
    cluster = LocalCluster(Ledger, replicas=1)
    with pytest.raises(Error, match="does not run"):
        cluster.step_down()


def test_a_stopped_replica_ends_in_an_orderly_way_and_can_be_started_again() -> None:
    with LocalCluster(Ledger, replicas=3, fault_model="cft") as cluster:
        cluster.stop(2)
        assert cluster.process(2).code == 0
        assert cluster.running() == [0, 1]
        assert any("stopping" in line for line in cluster.log(2))
        cluster.start(2)
        assert cluster.running() == [0, 1, 2]
        with pytest.raises(Error, match="runs already"):
            cluster.start(2)
        with pytest.raises(Error, match="there is no replica 3; the ids are 0 to 2"):
            cluster.start(3)


def states_of_threads(pid: int) -> set[str]:
    """What the system says of a process's threads: T is stopped."""
    return {file.read_text().rpartition(")")[2].split()[0] for file in Path(f"/proc/{pid}/task").glob("*/stat")}


def test_nothing_of_a_paused_replica_runs() -> None:
    with LocalCluster(Ledger, replicas=1) as cluster, cluster.client(timeout=60) as client:
        for _ in range(5):
            cluster.pause(0)
            assert states_of_threads(cluster.process(0).pid) == {"T"}
            cluster.pause(0)
            cluster.resume(0)
            assert client.call(Ledger.all) == {}
        cluster.pause(0)
        cluster.kill(0)
        assert cluster.running() == []


def test_the_configuration_is_there_for_other_programs() -> None:
    with LocalCluster(Ledger, replicas=1, in_process=True) as cluster:
        assert ClusterConfig.load(cluster.cluster) == cluster.config
        with pssmr.Client(str(cluster.cluster), timeout=60) as client:
            assert client.call(Ledger.add, 7) == 1


def test_outside_its_context_there_is_no_cluster() -> None:
    cluster = LocalCluster(Ledger, replicas=1, in_process=True)
    for use in (lambda: cluster.cluster, lambda: cluster.kill(0), cluster.leader, cluster.client):
        with pytest.raises(Error, match="does not run"):
            use()
    with cluster, pytest.raises(Error, match="runs already"):
        cluster.__enter__()


def test_a_service_that_no_other_process_finds_is_refused_with_a_remedy() -> None:
    class Hidden(pssmr.Service):
        @pssmr.command
        def nothing(self) -> None:
            """Does nothing."""

    with pytest.raises(ConfigError, match="in_process=True"):
        application_of(Hidden)
    with LocalCluster(Hidden, replicas=1, in_process=True) as cluster, cluster.client(timeout=60) as client:
        assert client.call(Hidden.nothing) is None


@pytest.mark.parametrize("scheduler", ["sequential", "static", "graph-coarse", "graph-fine", "graph-lock-free"])
def test_every_scheduler_can_be_chosen(scheduler: str) -> None:
    settings = Settings(scheduler=scheduler, durability="memory")  # type: ignore[arg-type]
    with LocalCluster(Ledger, replicas=1, in_process=True, settings=settings) as cluster, cluster.client() as client:
        assert client.call_many(Ledger.add.bind(i % 10) for i in range(100)) == [i // 10 + 1 for i in range(100)]
