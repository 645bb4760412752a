"""Replicas that take checkpoints are left behind and robbed of their disks, and come back from snapshots."""

from __future__ import annotations

import shutil

import pytest

from tests.cluster.ledger import check_exactly_once, check_same_state, under_load
from tests.faults.conftest import MakeReplicas, eventually, flip, votes

OFTEN = {"checkpoint_slots": 25, "retained_slots_max": 60}
"""Checkpoints several times a second, and little kept beside them: whoever is away for a moment needs a snapshot."""


async def test_a_replica_that_was_away_is_given_a_snapshot_under_load(replicas: MakeReplicas) -> None:
    cluster = replicas(**OFTEN)
    await cluster.start()
    async with cluster.client() as client:
        async with under_load(client) as load:
            await load.wait_for(200)
            await cluster.kill(3)
            await eventually(client, lambda statuses: bool(statuses[0] and statuses[0]["oldest_kept"] > 200))
            await cluster.start(3)
            statuses = await eventually(client, lambda statuses: votes(statuses[3]) and _is_near(statuses))
            assert any("going on from a snapshot" in line for line in cluster.log)
            # The others need it from here on.
            await cluster.kill(0)
            await load.wait_for(200)
            await cluster.start(0)
            statuses = await eventually(client, lambda statuses: all(map(votes, statuses)))
            assert all(statuses)
        await check_exactly_once(client, load)
        await check_same_state(client, cluster.ids)


@pytest.mark.parametrize("loss", ["a bit of the snapshot", "all snapshots"])
async def test_what_a_disk_lost_of_snapshots_comes_from_the_others(replicas: MakeReplicas, loss: str) -> None:
    cluster = replicas(**OFTEN)
    await cluster.start()
    async with cluster.client() as client:
        async with under_load(client) as load:
            await eventually(client, lambda statuses: bool(statuses[2] and statuses[2]["checkpoint"] > 100))
            await cluster.kill(2)
            snapshots = cluster.data(2) / "snapshots"
            if loss == "all snapshots":
                shutil.rmtree(snapshots)
            else:
                for snapshot in snapshots.glob("*.snapshot"):
                    flip(snapshot, 4096 + 40)
            await cluster.start(2)
            await eventually(client, lambda statuses: votes(statuses[2]) and _is_near(statuses))
        await check_exactly_once(client, load)
        await check_same_state(client, cluster.ids)


def _is_near(statuses: list[dict[str, object] | None]) -> bool:
    """Whether no replica is far behind the others."""
    decided = [int(str(status["decided"])) for status in statuses if status]
    return len(decided) == len(statuses) and max(decided) - min(decided) < 60
