"""A backup of all data directories brings a cluster back that has lost every disk."""

from __future__ import annotations

import shutil
from pathlib import Path

import pssmr
from tests.cluster.ledger import Ledger, check_same_state
from tests.faults.conftest import MakeReplicas, eventually, votes

BEFORE, AFTER = dict.fromkeys(range(20), 1), dict.fromkeys(range(20, 40), 1)


async def add(client: pssmr.AsyncClient, entries: dict[int, int]) -> None:
    for number in entries:
        assert await client.call(Ledger.add, number) == 1


async def test_a_cluster_is_what_it_was_when_all_its_directories_are_put_back(
    replicas: MakeReplicas, tmp_path: Path
) -> None:
    cluster = replicas(3, "cft")
    await cluster.start()
    async with cluster.client() as client:
        await add(client, BEFORE)
    await cluster.stop()
    shutil.copytree(cluster.data(0).parent, tmp_path / "backup")

    await cluster.start()
    async with cluster.client() as client:
        await add(client, AFTER)
    await cluster.kill()
    shutil.rmtree(cluster.data(0).parent)
    shutil.copytree(tmp_path / "backup", cluster.data(0).parent)

    await cluster.start()
    async with cluster.client() as client:
        assert await client.call(Ledger.all) == BEFORE
        await eventually(client, lambda statuses: all(map(votes, statuses)))
        await add(client, AFTER)
        await check_same_state(client, cluster.ids)
