"""Replicas that are killed again and again under load lose nothing that was acknowledged and execute nothing twice."""

from __future__ import annotations

import random

import pytest

from pssmr.config import FaultModel
from tests.cluster.ledger import check_exactly_once, check_same_state, under_load
from tests.faults.conftest import MakeReplicas, eventually, is_back, votes

ROUNDS = 3


@pytest.mark.parametrize(
    ("count", "fault_model", "durability", "victims"),
    [(4, "bft", "sync", 4), (3, "cft", "sync", 2), (4, "bft", "async", 4)],
)
async def test_replicas_that_are_killed_at_once_come_back_as_they_were(
    replicas: MakeReplicas, count: int, fault_model: FaultModel, durability: str, victims: int
) -> None:
    draw = random.Random(f"{count} {durability}")
    cluster = replicas(count, fault_model, durability=durability)
    await cluster.start()
    async with cluster.client() as client:
        async with under_load(client) as load:
            for _ in range(ROUNDS):
                await load.wait_for(draw.randrange(50, 500))
                killed = draw.sample(cluster.ids, victims)
                await cluster.kill(*killed)
                await cluster.start(*killed)
                statuses = await eventually(client, lambda statuses: all(map(is_back, statuses)))
                assert all(map(votes, statuses)), statuses
            await load.wait_for(200)
        await check_exactly_once(client, load)
        await check_same_state(client, cluster.ids)


async def test_replicas_that_forget_one_after_the_other_learn_and_vote_again(replicas: MakeReplicas) -> None:
    cluster = replicas(durability="memory")
    await cluster.start()
    async with cluster.client() as client:
        async with under_load(client) as load:
            for victim in (0, 2):
                await load.wait_for(200)
                await cluster.kill(victim)
                await cluster.start(victim)
                await eventually(client, lambda statuses: all(map(votes, statuses)))
            await load.wait_for(200)
        await check_exactly_once(client, load)
        await check_same_state(client, cluster.ids)
