"""A replica whose log was damaged while it was down says so, and gets what it lost from the others before it votes."""

from __future__ import annotations

import shutil

import pytest

import pssmr
from tests.cluster.ledger import Ledger, check_exactly_once, check_same_state, under_load
from tests.faults.conftest import MakeReplicas, eventually, flip, is_back, votes


async def test_damaged_and_lost_logs_are_made_good_by_the_other_replicas(replicas: MakeReplicas) -> None:
    cluster = replicas()
    await cluster.start()
    async with cluster.client() as client:
        async with under_load(client) as load:
            await load.wait_for(300)
            # A replica may lag: what is flipped must be a part of its log, and not the end of it.
            await eventually(client, lambda statuses: all(s and s["log"]["bytes"] > 50_000 for s in statuses))
        for victim in (3, 2):
            await cluster.kill(victim)
            log = cluster.segments(victim)[0]
            if victim == 3:
                flip(log, 5000, 64)
            else:
                shutil.rmtree(log.parent)
            await cluster.start(victim)
            await eventually(client, lambda statuses: all(map(votes, statuses)))
        await cluster.kill(1)
        assert await client.call(Ledger.add, -1) == 1, "the quorum needs both"
        load.acknowledged.add(-1)
        await cluster.start(1)
        await check_exactly_once(client, load)
        await check_same_state(client, cluster.ids)
    told = [line for line in cluster.log if line.startswith("3 ")]
    assert any("the log is damaged" in line and str(cluster.data(3)) in line for line in told), "\n".join(told)


async def test_a_replica_that_lost_a_part_of_its_log_and_has_no_others_to_ask_does_nothing(
    replicas: MakeReplicas,
) -> None:
    cluster = replicas(1)
    await cluster.start()
    async with cluster.client() as client:
        assert [await client.call(Ledger.add, number) for number in range(50)] == [1] * 50
    await cluster.kill()
    flip(cluster.segments(0)[0], 5000, 64)
    await cluster.start()
    async with pssmr.AsyncClient(cluster.cluster, timeout=1.0) as client:
        with pytest.raises(pssmr.Error):
            await client.call(Ledger.add, 0)
        statuses = await eventually(client, lambda statuses: all(map(is_back, statuses)))
    assert [status and status["role"] for status in statuses] == ["learner"]
    assert any("the log is damaged" in line for line in cluster.log)
