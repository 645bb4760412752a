"""A cluster of processes keeps its promises while replicas are killed, paused, restarted and shouted at."""

from __future__ import annotations

import asyncio
import secrets
import socket

import pytest

from pssmr.cluster_fields import split_address
from pssmr.config import FaultModel
from pssmr.settings import Settings
from pssmr.testing import LocalCluster
from tests.cluster.ledger import Ledger, check_exactly_once, check_same_state, under_load

PATIENT = {"timeout": 60.0}


@pytest.mark.parametrize(("replicas", "fault_model"), [(1, "bft"), (3, "cft"), (4, "bft")])
async def test_commands_are_executed_and_all_replicas_have_the_same_state(
    replicas: int, fault_model: FaultModel
) -> None:
    async with (
        LocalCluster(Ledger, replicas=replicas, fault_model=fault_model) as cluster,
        cluster.async_client(**PATIENT) as client,
    ):
        async with under_load(client) as load:
            await load.wait_for(300)
        await check_exactly_once(client, load)
        await check_same_state(client, list(range(replicas)))


@pytest.mark.parametrize(("replicas", "fault_model"), [(3, "cft"), (4, "bft"), (7, "bft")])
async def test_a_killed_leader_under_load_loses_nothing(replicas: int, fault_model: FaultModel) -> None:
    async with (
        LocalCluster(Ledger, replicas=replicas, fault_model=fault_model) as cluster,
        cluster.async_client(**PATIENT) as client,
    ):
        async with under_load(client) as load:
            await load.wait_for(200)
            leader = await asyncio.to_thread(cluster.leader)
            await asyncio.to_thread(cluster.kill, leader)
            await load.wait_for(200)
        await check_exactly_once(client, load)
        assert await asyncio.to_thread(cluster.leader) != leader
        await check_same_state(client, [i for i in range(replicas) if i != leader])


@pytest.mark.parametrize("paused", ["leader", "follower"])
async def test_a_paused_replica_under_load_is_done_without_and_catches_up(paused: str) -> None:
    async with LocalCluster(Ledger) as cluster, cluster.async_client(**PATIENT) as client:
        async with under_load(client) as load:
            await load.wait_for(200)
            leader = await asyncio.to_thread(cluster.leader)
            replica = leader if paused == "leader" else (leader + 1) % 4
            cluster.pause(replica)
            await load.wait_for(200)
            cluster.resume(replica)
            await load.wait_for(200)
        await check_exactly_once(client, load)
        await check_same_state(client, [0, 1, 2, 3])


async def test_a_replica_that_is_started_again_catches_up_and_votes_again() -> None:
    async with LocalCluster(Ledger) as cluster, cluster.async_client(**PATIENT) as client:
        async with under_load(client) as load:
            await load.wait_for(100)
            follower = (await asyncio.to_thread(cluster.leader) + 1) % 4
            await asyncio.to_thread(cluster.kill, follower)
            await load.wait_for(100)
            await asyncio.to_thread(cluster.start, follower)
            await load.wait_for(100)
            while (status := (await client.status())[follower]) is None or status["role"] != "follower":
                await load.wait_for(20)
        await check_exactly_once(client, load)
        await check_same_state(client, [0, 1, 2, 3])


async def test_without_a_quorum_commands_wait_and_go_on_when_it_is_back() -> None:
    async with LocalCluster(Ledger) as cluster, cluster.async_client(**PATIENT) as client:
        assert await client.call(Ledger.add, 1) == 1
        cluster.pause(2)
        cluster.pause(3)
        waiting = asyncio.create_task(client.call(Ledger.add, 2))
        assert await asyncio.wait({waiting}, timeout=1.0) == (set(), {waiting})
        cluster.resume(2)
        assert await waiting == 1
        assert (await client.call(Ledger.all)) == {1: 1, 2: 1}


def shout(address: str) -> None:
    """Sends to a port what does not belong there, in several ways."""
    host, port = split_address(address)
    for garbage in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff", bytes(70_000), secrets.token_bytes(4096)):
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.settimeout(30)
            try:
                connection.sendall(garbage)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65_536):
                    pass
            except OSError:
                continue  # It was thrown out before it had said all.


async def test_garbage_on_every_port_changes_nothing() -> None:
    async with LocalCluster(Ledger) as cluster, cluster.async_client(**PATIENT) as client:
        async with under_load(client) as load:
            for replica in cluster.config.replicas:
                for address in (replica.peers, replica.clients):
                    await asyncio.to_thread(shout, address)
            await load.wait_for(100)
        await check_exactly_once(client, load)
        await check_same_state(client, [0, 1, 2, 3])
        statuses = await client.status()
        assert [status["view"] for status in statuses.values() if status] == [0, 0, 0, 0]


async def test_two_clusters_run_side_by_side() -> None:
    settings = Settings(workers=2)
    async with (
        LocalCluster(Ledger, replicas=3, fault_model="cft", settings=settings) as one,
        LocalCluster(Ledger, replicas=4, settings=settings) as other,
        one.async_client(**PATIENT) as client_of_one,
        other.async_client(**PATIENT) as client_of_other,
    ):
        assert one.config.id != other.config.id
        await asyncio.gather(*(client_of_one.call(Ledger.add, i) for i in range(50)))
        await asyncio.gather(*(client_of_other.call(Ledger.add, i) for i in range(50, 100)))
        assert set(await client_of_one.call(Ledger.all)) == set(range(50))
        assert set(await client_of_other.call(Ledger.all)) == set(range(50, 100))
