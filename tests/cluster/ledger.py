"""A service that shows whether each entry was executed exactly once, and a load on it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Annotated

import pssmr


class Ledger(pssmr.Service):
    """Counts how often each entry was executed."""

    entries = pssmr.Map[int, int]()

    @pssmr.command
    def add(self, number: Annotated[int, entries.write]) -> int:
        """Executes an entry, and returns how often that was done."""
        self.entries[number] = self.entries.get(number, 0) + 1
        return self.entries[number]

    @pssmr.query(reads=[entries])
    def all(self) -> dict[int, int]:
        """How often each entry was executed."""
        return dict(self.entries.items())


@dataclass
class Load:
    """What the clients of `under_load` did."""

    acknowledged: set[int] = field(default_factory=set)
    unknown: set[int] = field(default_factory=set)
    started: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def wait_for(self, more: int) -> None:
        """Waits until this many more entries were acknowledged."""
        goal = len(self.acknowledged) + more
        async with self.changed:
            await self.changed.wait_for(lambda: len(self.acknowledged) >= goal)


@contextlib.asynccontextmanager
async def under_load(client: pssmr.AsyncClient, in_flight: int = 16, pause: float = 0.0) -> AsyncIterator[Load]:
    """Adds entries as fast as they are acknowledged, or each `pause` seconds later; ends when all that were sent are
    answered.
    """
    load, stop = Load(), asyncio.Event()

    async def work() -> None:
        while not stop.is_set():
            number = load.started
            load.started += 1
            try:
                assert await client.call(Ledger.add, number) == 1
                load.acknowledged.add(number)
                async with load.changed:
                    load.changed.notify_all()
            except pssmr.OutcomeUnknown:
                load.unknown.add(number)
            await asyncio.sleep(pause)

    async with asyncio.TaskGroup() as group:
        for _ in range(in_flight):
            group.create_task(work())
        try:
            yield load
        finally:
            stop.set()


async def check_exactly_once(client: pssmr.AsyncClient, load: Load) -> None:
    """Checks that every acknowledged entry was executed exactly once, and no other more than once."""
    executed = await client.call(Ledger.all)
    assert {number: executed.get(number) for number in load.acknowledged} == dict.fromkeys(load.acknowledged, 1)
    assert set(executed) <= load.acknowledged | load.unknown
    assert set(executed.values()) <= {1}


async def check_same_state(client: pssmr.AsyncClient, replicas: list[int]) -> None:
    """Checks that these replicas have the same state; those that lag get the time to catch up."""
    for _ in range(600):
        digests = await client.state_digests()
        found = [digests.get(replica) for replica in replicas]
        if None not in found:
            break
        await asyncio.sleep(0.1)
    assert len(set(found)) == 1, digests
