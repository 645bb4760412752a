"""Replicas that are killed and paused again and again lose nothing, execute nothing twice, and stay one copy."""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import pssmr
from pssmr.config import FaultModel
from tests.cluster.ledger import check_exactly_once, check_same_state, under_load
from tests.faults.conftest import MakeReplicas, Replicas, eventually, is_back, votes
from tests.histories.registers import Registers, Users, in_use

ROUNDS = int(os.environ.get("STORM_ROUNDS", "4"))
"""How often something is done to the replicas; `STORM_ROUNDS=500 pytest tests/faults/test_kill_storm.py` is long."""

SEED = os.environ.get("STORM_SEED", "0")

OFTEN = {"checkpoint_slots": 25, "retained_slots_max": 60}
"""Checkpoints several times a second, and little kept beside them: whoever is away for a moment needs a snapshot."""

log = logging.getLogger(__name__)


class Storm:
    """What is done to replicas, at random."""

    def __init__(self, cluster: Replicas, users: Users, client: pssmr.AsyncClient, draw: random.Random) -> None:
        self.cluster, self.users, self.client, self.draw = cluster, users, client, draw
        self.faults_max = (len(cluster.ids) - 1) // (3 if len(cluster.ids) == 4 else 2)
        self.deeds: list[Callable[[], Coroutine[Any, Any, None]]] = [
            self.kill_some,
            self.kill_all,
            self.kill_again_while_they_come_back,
            self.leave_some_behind,
            self.kill_leaders,
            self.kill_while_a_checkpoint_is_taken,
            self.pause_some,
            self.pause_the_leader,
        ]

    async def rage(self, rounds: int) -> None:
        """Does so many things, each at least once if there are as many."""
        order = [
            deed for _ in range(0, rounds, len(self.deeds)) for deed in self.draw.sample(self.deeds, len(self.deeds))
        ]
        for deed in order[:rounds]:
            await self.users.wait_for(self.draw.randrange(1, 150))
            log.info(
                "%s, after %d kills, %d acknowledged",
                deed.__name__,
                self.cluster.kills,
                self.users.history.acknowledged,
            )
            try:
                await deed()
            except TimeoutError:
                statuses = (await self.client.status()).values()
                told = "\n".join([*map(str, statuses), *self.cluster.log[-400:]])
                raise AssertionError(f"nothing goes on after {deed.__name__}:\n{told}") from None

    async def kill_some(self) -> None:
        await self._restart(self._some(len(self.cluster.ids)))

    async def kill_all(self) -> None:
        await self._restart(self.cluster.ids)

    async def kill_again_while_they_come_back(self) -> None:
        killed = self._some(len(self.cluster.ids))
        await self.cluster.kill(*killed)
        for _ in range(2):
            for replica in killed:
                self.cluster.launch(replica)
            await asyncio.sleep(self.draw.uniform(0, 1.2))
            await self.cluster.kill(*killed)
        await self.cluster.start(*killed)

    async def leave_some_behind(self) -> None:
        await self._all_vote()
        killed = self._some(self.faults_max)
        await self.cluster.kill(*killed)
        await self.users.wait_for(self.draw.randrange(50, 200))
        if self.draw.random() < 0.5:
            # It is killed in the middle of what it is given.
            await self.cluster.start(*killed)
            await asyncio.sleep(self.draw.uniform(0, 0.5))
            await self.cluster.kill(*killed)
        await self.cluster.start(*killed)

    async def kill_leaders(self) -> None:
        leader = await self._leader()
        await self.cluster.kill(leader)
        # The next one is chosen meanwhile, and perhaps killed before it leads.
        await asyncio.sleep(self.draw.uniform(0.3, 0.9))
        following = (leader + 1) % len(self.cluster.ids)
        await self.cluster.kill(following)
        await self.cluster.start(leader, following)

    async def kill_while_a_checkpoint_is_taken(self) -> None:
        asked = asyncio.create_task(self._checkpoint())
        await asyncio.sleep(self.draw.uniform(0, 0.05))
        await self._restart(self._some(len(self.cluster.ids)))
        await asked

    async def pause_some(self) -> None:
        await self._pause(self._some(len(self.cluster.ids)))

    async def pause_the_leader(self) -> None:
        await self._all_vote()
        leader = await self._leader()
        await self.cluster.pause(leader)
        # The others go on without it, and it comes back as one that led a view that is over.
        await self.users.wait_for(20)
        self.cluster.resume(leader)

    async def _restart(self, replicas: list[int]) -> None:
        await self.cluster.kill(*replicas)
        await self.cluster.start(*replicas)

    async def _pause(self, replicas: list[int]) -> None:
        await self.cluster.pause(*replicas)
        await asyncio.sleep(self.draw.uniform(0, 1.5))
        self.cluster.resume(*replicas)

    async def _checkpoint(self) -> None:
        # What is asked for here may come to nothing.
        try:
            await self.client.checkpoint()
        except pssmr.Error as error:
            log.info("no checkpoint: %s", error)

    async def _all_vote(self) -> None:
        """Who has forgotten its votes is one of the f: then nothing could go on without another one."""
        await eventually(self.client, lambda statuses: all(map(votes, statuses)))

    async def _leader(self) -> int:
        statuses = await eventually(
            self.client, lambda statuses: any(status and status["role"] == "leader" for status in statuses)
        )
        leaders = [status for status in statuses if status and status["role"] == "leader"]
        return int(max(leaders, key=lambda status: status["view"])["id"])

    def _some(self, most: int) -> list[int]:
        return self.draw.sample(self.cluster.ids, self.draw.randrange(1, most + 1))


@pytest.mark.parametrize(
    ("count", "fault_model", "durability", "often"),
    [(4, "bft", "sync", True), (3, "cft", "sync", False), (4, "bft", "async", False), (3, "cft", "async", True)],
)
async def test_what_is_killed_and_paused_at_any_moment_stays_one_copy(
    replicas: MakeReplicas, count: int, fault_model: FaultModel, durability: str, often: bool
) -> None:
    draw = random.Random(f"{SEED} {count} {durability}")
    settings = OFTEN if often else {}
    cluster = replicas(count, fault_model, Registers, durability=durability, **settings)
    await cluster.start()
    async with cluster.client() as client:
        async with in_use(cluster.cluster) as users:
            await Storm(cluster, users, client, draw).rage(ROUNDS)
            await users.wait_for(50)
            await eventually(client, lambda statuses: all(map(votes, statuses)))
        await check_same_state(client, cluster.ids)
        statuses = await eventually(client, lambda statuses: all(map(is_back, statuses)))
        assert not often or all(status["checkpoint"] > 0 for status in statuses if status)
    # The last stable one and a newer one or two, the same from before it was last given one by others, which go when
    # the next one is stable, and what each other replica has fetched in the last minute.
    for i in cluster.ids:
        kept = [path.name for path in (cluster.data(i) / "snapshots").glob("*.snapshot")]
        assert len(kept) <= 6 + len(cluster.ids) - 1, kept
    log.info("%d kills, %d operations", cluster.kills, len(users.history.operations))


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
