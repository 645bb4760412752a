"""State of a service's own among checkpoints: who lags gets it, and a snapshot that fails loses nothing."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Annotated, Any

import pytest

import pssmr
from tests.api.conftest import StartCluster

OFTEN: dict[str, Any] = {"checkpoint_slots": 10, "retained_slots_max": 32, "durability": "async", "workers": 2}


class Diary(pssmr.Service):
    days = pssmr.Resource[int]()
    owners = pssmr.Map[int, str]()

    def __init__(self) -> None:
        self.pages: dict[int, list[str]] = {}
        self.restored = 0
        """Not a part of the state: how often this object was restored."""

    def snapshot(self) -> bytes:
        return pssmr.encode(dict[int, list[str]], self.pages)

    def restore(self, state: bytes) -> None:
        self.pages = pssmr.decode(dict[int, list[str]], state)
        self.restored += 1

    @pssmr.command
    def write(self, day: Annotated[int, days.write], text: str, owner: Annotated[int, owners.write]) -> int:
        self.pages.setdefault(day, []).append(text)
        self.owners[owner] = text
        return len(self.pages[day])

    @pssmr.query
    def read(self, day: Annotated[int, days.read]) -> list[str]:
        return self.pages.get(day, [])


class Blotched(Diary):
    def snapshot(self) -> bytes:
        raise OSError("no ink")


async def written(client: pssmr.AsyncClient, first: int, last: int) -> None:
    """Writes one after the other, so that each has a slot of its own."""
    for number in range(first, last):
        assert await client.call(Diary.write, number % 7, f"{number}", number) == number // 7 + 1


async def digests(client: pssmr.AsyncClient, count: int) -> set[bytes]:
    """The state digests of so many replicas, as soon as all answer."""
    async with asyncio.timeout(60):
        while True:
            found = await client.state_digests()
            if len(found) == count:
                return set(found.values())


async def test_a_replica_that_lags_too_far_gets_the_services_own_state(start_cluster: StartCluster) -> None:
    directory = start_cluster(Diary, replicas=4, run=0, **OFTEN)
    async with contextlib.AsyncExitStack() as running, pssmr.AsyncClient(directory, timeout=60) as client:
        for i in range(3):
            await running.enter_async_context(pssmr.Replica(Diary(), directory, id=i))
        await written(client, 0, 80)
        late = Diary()
        await running.enter_async_context(pssmr.Replica(late, directory, id=3))
        number = 80
        async with asyncio.timeout(60):
            while not late.restored:
                await written(client, number, number + 7)
                number += 7
        assert len(await digests(client, 4)) == 1
        assert await client.call(Diary.read, 1) == [str(each) for each in range(1, number, 7)]
    assert late.pages[1] == [str(each) for each in range(1, number, 7)]


async def test_a_snapshot_that_fails_loses_nothing(
    start_cluster: StartCluster, caplog: pytest.LogCaptureFixture
) -> None:
    directory: Path = start_cluster(Blotched, replicas=1, run=0, **OFTEN)
    async with pssmr.AsyncClient(directory, timeout=60) as client:
        async with pssmr.Replica(Blotched(), directory, id=0) as replica:
            await written(client, 0, 40)
            assert replica.status()["checkpoint"] == 0
        assert "Blotched.snapshot failed" in caplog.text
        again = Blotched()
        async with pssmr.Replica(again, directory, id=0):
            await written(client, 40, 50)
    assert again.restored == 0
    assert again.pages[0] == ["0", "7", "14", "21", "28", "35", "42", "49"]
