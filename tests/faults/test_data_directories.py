"""A replica starts only with its own data directory, and only with promises that it can read."""

from __future__ import annotations

import dataclasses
import shutil

import pytest

import pssmr
from pssmr.config import ClusterConfig
from pssmr.errors import ConfigError
from pssmr.exit_codes import ExitCode
from tests.cluster.ledger import Ledger, check_same_state
from tests.faults.conftest import MakeReplicas, Replicas, eventually, flip, is_back, votes

PROMISES = ("promise-a", "promise-b")
ENTRIES = dict.fromkeys(range(20), 1)


async def use(cluster: Replicas) -> None:
    """Lets the cluster do something, and stops it."""
    await cluster.start()
    async with cluster.client() as client:
        for number in ENTRIES:
            assert await client.call(Ledger.add, number) == 1
        await check_same_state(client, cluster.ids)
    await cluster.stop()


async def check_starts_as_it_was(cluster: Replicas) -> None:
    """Checks that the cluster has its state and its votes, and stops it."""
    await cluster.start()
    async with cluster.client() as client:
        assert await client.call(Ledger.all) == ENTRIES
        await check_same_state(client, cluster.ids)
        assert all(map(votes, await eventually(client, lambda statuses: all(map(is_back, statuses)))))
    await cluster.stop()


async def check_refused(cluster: Replicas, replica: int, *words: str) -> None:
    """Checks that a replica does not start, and says why in words that name its directory."""
    ended = await cluster.refusal(replica)
    assert ended.returncode == ExitCode.CONFIG, ended
    assert "Traceback" not in ended.stderr
    for word in (str(cluster.data(replica)), *words):
        assert word in ended.stderr


async def test_the_directories_of_other_replicas_and_clusters_are_refused_and_not_changed(
    replicas: MakeReplicas,
) -> None:
    cluster, other = replicas(3, "cft"), replicas(1)
    await use(cluster)

    aside = cluster.data(0).with_name("aside")
    cluster.data(0).rename(aside)
    cluster.data(1).rename(cluster.data(0))
    aside.rename(cluster.data(1))
    await check_refused(cluster, 0, "belongs to replica")
    await check_refused(cluster, 1, "belongs to replica")
    shutil.copytree(cluster.data(0), other.data(0), dirs_exist_ok=True)
    await check_refused(other, 0, "cluster")

    cluster.data(1).rename(aside)
    cluster.data(0).rename(cluster.data(1))
    aside.rename(cluster.data(0))
    logs = [cluster.data(replica) / "log" for replica in (0, 1)]
    logs[0].rename(aside)
    shutil.copytree(logs[1], logs[0])
    await check_refused(cluster, 0)

    shutil.rmtree(logs[0])
    aside.rename(logs[0])
    await check_starts_as_it_was(cluster)


async def test_a_directory_that_another_process_uses_is_refused(replicas: MakeReplicas) -> None:
    cluster = replicas(1)
    await cluster.start()
    await check_refused(cluster, 0)
    async with cluster.client() as client:
        assert await client.call(Ledger.add, 1) == 1


async def test_of_two_promise_files_one_is_enough_and_none_is_refused(replicas: MakeReplicas) -> None:
    cluster = replicas(1)
    await use(cluster)
    # One after the other: each start makes the damaged one good.
    for name in PROMISES:
        flip(cluster.data(0) / name, 100)
        await check_starts_as_it_was(cluster)
    for name in PROMISES:
        flip(cluster.data(0) / name, 100)
    await check_refused(cluster, 0, "promise")
    for name in PROMISES:
        (cluster.data(0) / name).write_bytes(b"")
    await check_refused(cluster, 0, "promise")


def test_durability_without_a_data_directory_is_refused(replicas: MakeReplicas) -> None:
    config = dataclasses.replace(ClusterConfig.load(replicas(1).cluster), data=None)
    with pytest.raises(ConfigError, match="needs a data directory"):
        pssmr.Replica(Ledger(), config, id=0).start()
