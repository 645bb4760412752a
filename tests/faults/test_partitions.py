"""Replicas that can't hear each other, both ways or one way, stay one copy; and go on when they can."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

import pssmr
from pssmr.settings import Settings
from tests.cluster.ledger import check_same_state
from tests.faults.conftest import eventually, votes
from tests.faults.networks import NetworkedReplicas, networked_replicas
from tests.histories.registers import Registers, in_use

ROUNDS = int(os.environ.get("STORM_ROUNDS", "0"))
"""How many partitions at random; `STORM_ROUNDS=100 pytest tests/faults/test_partitions.py` takes minutes."""

SEED = os.environ.get("STORM_SEED", "0")

log = logging.getLogger(__name__)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[NetworkedReplicas]:
    """Four replicas."""
    yield from networked_replicas(tmp_path / "c", 4, "bft", Registers, Settings(durability="async", workers=2))


async def leader_of(client: pssmr.AsyncClient, *, but: int = -1) -> int:
    """Who leads the latest view, as soon as somebody else does."""

    def leaders(statuses: list[dict[str, object] | None]) -> list[int]:
        active = [status for status in statuses if status and status["role"] == "leader" and status["active"]]
        return [int(str(status["id"])) for status in active if status["id"] != but]

    statuses = await eventually(client, lambda statuses: bool(leaders(statuses)))
    return leaders(statuses)[-1]


async def test_a_leader_that_the_others_do_not_hear_is_replaced_and_comes_back(cluster: NetworkedReplicas) -> None:
    await cluster.start()
    async with cluster.client() as client:
        async with in_use(cluster.cluster) as users:
            await users.wait_for(50)
            deaf_to = await leader_of(client)
            for other in set(cluster.ids) - {deaf_to}:
                # It hears them, and they don't hear it.
                cluster.networks.cut(deaf_to, other)
            await leader_of(client, but=deaf_to)
            await users.wait_for(50)
            cluster.networks.heal()
            await eventually(client, lambda statuses: all(map(votes, statuses)))
            await users.wait_for(50)
        await check_same_state(client, cluster.ids)


async def test_two_halves_wait_for_each_other(cluster: NetworkedReplicas) -> None:
    await cluster.start()
    async with cluster.client() as client:
        async with in_use(cluster.cluster) as users:
            await users.wait_for(50)
            for one, other in itertools.product((0, 1), (2, 3)):
                cluster.networks.cut(one, other)
                cluster.networks.cut(other, one)
            waiting = asyncio.create_task(client.state_digests())
            assert await asyncio.wait({waiting}, timeout=1.0) == (set(), {waiting}), "two votes are no quorum"
            cluster.networks.heal()
            await waiting
            await users.wait_for(50)
        await check_same_state(client, cluster.ids)


@pytest.mark.skipif(not ROUNDS, reason="takes long: set STORM_ROUNDS")
async def test_links_that_are_cut_at_random_leave_one_copy(cluster: NetworkedReplicas) -> None:
    draw = random.Random(SEED)
    await cluster.start()
    async with cluster.client() as client:
        async with in_use(cluster.cluster) as users:
            for _ in range(ROUNDS):
                ways = list(itertools.permutations(cluster.ids, 2))
                for sender, receiver in draw.sample(ways, draw.randrange(1, len(ways))):
                    cluster.networks.cut(sender, receiver)
                await asyncio.sleep(draw.uniform(0, 3))
                cluster.networks.heal()
                await users.wait_for(draw.randrange(1, 100))
            await eventually(client, lambda statuses: all(map(votes, statuses)))
        await check_same_state(client, cluster.ids)
    log.info("%d partitions, %d operations", ROUNDS, len(users.history.operations))
