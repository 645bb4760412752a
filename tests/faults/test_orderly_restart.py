"""A cluster that is stopped and started again goes on where it was, with the clients that waited."""

from __future__ import annotations

import asyncio

from tests.cluster.ledger import Ledger, check_same_state
from tests.faults.conftest import MakeReplicas, eventually, is_back, votes


async def test_a_stopped_cluster_goes_on_with_its_state_and_its_clients(replicas: MakeReplicas) -> None:
    cluster = replicas(3, "cft")
    await cluster.start()
    async with cluster.client() as client:
        assert await asyncio.gather(*(client.call(Ledger.add, number) for number in range(100))) == [1] * 100
        await check_same_state(client, cluster.ids)
        before = await client.state_digests()
        await cluster.stop()
        assert cluster.running() == []
        waiting = asyncio.create_task(client.call(Ledger.add, 100))
        await cluster.start()
        assert await waiting == 1
        assert await client.call(Ledger.all) == dict.fromkeys(range(101), 1)
        await check_same_state(client, cluster.ids)
        assert set((await client.state_digests()).values()) != set(before.values())
        statuses = await eventually(client, lambda statuses: all(map(is_back, statuses)))
        assert all(map(votes, statuses))
        assert [status and status["sessions"] for status in statuses] == [1, 1, 1]
    async with cluster.client() as another:
        assert await another.call(Ledger.add, 101) == 1
