"""Replicas that come and go while clients use them, with kills in between: nothing is lost, and all stay one copy."""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import AbstractAsyncContextManager

import pytest

import pssmr
from pssmr.cluster_keys import generate_key
from pssmr.cluster_newcomers import free_id, key_file
from pssmr.cluster_ports import free_ports
from pssmr.cluster_rewrite import rewrite
from pssmr.config import ClusterConfig, FaultModel
from pssmr.settings import Settings
from pssmr.testing import LocalCluster
from tests.cluster.ledger import Ledger, Load, check_exactly_once, check_same_state, under_load
from tests.faults.conftest import DEADLINE, MakeReplicas, eventually, votes

SEED = os.environ.get("STORM_SEED", "0")

SETTINGS = Settings(durability="sync", workers=2)


def gently(client: pssmr.AsyncClient) -> AbstractAsyncContextManager[Load]:
    """A load that leaves the machine to the replicas that start."""
    return under_load(client, in_flight=2, pause=0.03)


@pytest.mark.parametrize(("replicas", "fault_model"), [(3, "cft"), (4, "bft")])
async def test_all_replicas_can_be_exchanged_under_load_and_nothing_is_lost(
    replicas: int, fault_model: FaultModel
) -> None:
    exchanged = LocalCluster(Ledger, replicas=replicas, fault_model=fault_model, settings=SETTINGS)
    async with exchanged as cluster, cluster.async_client(timeout=2 * DEADLINE) as client:
        first = cluster.config
        async with gently(client) as load:
            await load.wait_for(20)
            await asyncio.to_thread(cluster.add_replica)
            await load.wait_for(20)
            leader = await asyncio.to_thread(cluster.leader)
            await asyncio.to_thread(cluster.kill, leader)
            await asyncio.to_thread(cluster.replace_replica, leader)
            await load.wait_for(20)
            others = [each.id for each in first.replicas if each.id != leader]
            await asyncio.to_thread(cluster.remove_replica, others[0])
            for original in others[1:-1]:
                await asyncio.to_thread(cluster.replace_replica, original)
            # A client that was away all the time, and knows one of those that are left.
            async with pssmr.AsyncClient(first, timeout=2 * DEADLINE) as late:
                assert await late.call(Ledger.add, -1) == 1
                assert late.membership() == cluster.config.membership
            await load.wait_for(20)
            await asyncio.to_thread(cluster.replace_replica, others[-1])
            await load.wait_for(20)
        load.acknowledged.add(-1)
        assert not {each.key for each in first.replicas} & {each.key for each in cluster.config.replicas}
        assert len(cluster.config.replicas) == replicas
        await check_exactly_once(client, load)
        await check_same_state(client, cluster.running())
    for replica in range(2 * replicas):
        assert not any("Traceback" in line or "panicked" in line for line in cluster.log(replica))


async def test_one_that_was_down_during_two_changes_comes_back_and_follows() -> None:
    five = LocalCluster(Ledger, replicas=5, fault_model="cft", settings=SETTINGS, in_process=True)
    async with five as cluster, cluster.async_client(timeout=2 * DEADLINE) as client:
        async with gently(client) as load:
            await load.wait_for(20)
            await asyncio.to_thread(cluster.stop, 0)
            await asyncio.to_thread(cluster.replace_replica, 1)
            await asyncio.to_thread(cluster.remove_replica, 2)
            await load.wait_for(20)
            await asyncio.to_thread(cluster.start, 0)
            await eventually(
                client, lambda statuses: all(votes(each) and each["epoch"] == 2 for each in statuses if each)
            )
        await check_exactly_once(client, load)
        await check_same_state(client, [0, 3, 4, 5])


def with_newcomer(config: ClusterConfig) -> pssmr.Member:
    """Somebody new, who has a key."""
    number = free_id(config, config.membership)
    peers, clients = (f"127.0.0.1:{port}" for port in free_ports(2))
    return pssmr.Member(id=number, key=generate_key(key_file(config, number)), peers=peers, clients=clients)


@pytest.mark.parametrize(("count", "fault_model"), [(3, "cft"), (4, "bft")])
async def test_replicas_that_are_killed_in_the_middle_of_a_change_make_it(
    replicas: MakeReplicas, count: int, fault_model: FaultModel
) -> None:
    draw = random.Random(f"{SEED} {count} {fault_model}")
    cluster = replicas(count, fault_model)
    await cluster.start()
    async with cluster.client() as client:
        async with gently(client) as load:
            goes = draw.choice(cluster.ids)
            await load.wait_for(20)
            member = with_newcomer(cluster.config)
            changing = asyncio.create_task(client.reconfigure(pssmr.ReplaceReplica(goes, member), force=True))
            # At any moment from the look at them until the end of the epoch: whoever leads, who stays, who goes.
            await asyncio.sleep(draw.uniform(0, 0.02))
            victims = draw.sample(cluster.ids, 2)
            await cluster.kill(*victims)
            await cluster.start(*victims)
            membership = await changing
            assert membership.ids[-1] == member.id
            rewrite(cluster.cluster, cluster.config.with_membership(membership))
            await cluster.stop(goes)
            cluster.reload()
            await cluster.start(member.id)
            await eventually(client, lambda statuses: all(map(votes, statuses)))
        await check_exactly_once(client, load)
        await check_same_state(client, cluster.ids)
