"""A replica whose disk is full stops voting, says so, and goes on by itself when there is space."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.ledger import Ledger, check_exactly_once, check_same_state, under_load
from tests.faults.conftest import MakeReplicas, Status, eventually, votes

REPLICA = 3
DISK_BYTES = 8 << 20
LEFT_BYTES = 256 << 10
"""What is left for the log at first: a second of load."""


@pytest.fixture
def mount() -> Iterator[Callable[[Path], None]]:
    """Mounts small, empty file systems for the time of the test."""
    mounted: list[Path] = []

    def mount(directory: Path) -> None:
        directory.mkdir(parents=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", "tmpfs", str(directory)]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"this user can't mount a file system here: {getattr(error, 'stderr', error)}")
        mounted.append(directory)

    yield mount
    for directory in mounted:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def is_full(status: Status | None) -> bool:
    """Whether a replica says that it can't write its log."""
    return status is not None and "no space" in (status["log_error"] or "")


async def test_a_replica_on_a_full_disk_does_not_vote_and_says_so_and_goes_on_when_there_is_space(
    mount: Callable[[Path], None], replicas: MakeReplicas
) -> None:
    cluster = replicas()
    mount(cluster.data(REPLICA))
    filler = cluster.data(REPLICA) / "filler"
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, DISK_BYTES - LEFT_BYTES)
    await cluster.start()
    async with cluster.client() as client:
        async with under_load(client) as load:
            await eventually(client, lambda statuses: is_full(statuses[REPLICA]))
            await load.wait_for(500)
        await cluster.kill(1)
        waiting = asyncio.create_task(client.call(Ledger.add, -1))
        assert await asyncio.wait({waiting}, timeout=1.0) == (set(), {waiting}), "two votes are no quorum"
        filler.unlink()
        assert await waiting == 1
        load.acknowledged.add(-1)
        await cluster.start(1)
        statuses = await eventually(client, lambda statuses: all(map(votes, statuses)))
        assert not any(map(is_full, statuses))
        await check_exactly_once(client, load)
        await check_same_state(client, cluster.ids)
