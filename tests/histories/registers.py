"""A service of registers, and clients that use it at random and write down their history."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import pssmr
from tests.histories.history import Action, History, Operation
from tests.histories.linearizability import check_linearizable
from tests.histories.once import check_exactly_once


class Registers(pssmr.Service):
    """Registers, and how often each change was executed. A register that nobody wrote is 0."""

    values = pssmr.Map[int, int]()
    executed = pssmr.Map[int, int]()

    @pssmr.query
    def read(self, key: Annotated[int, values.read]) -> int:
        """The value."""
        return self.values.get(key, 0)

    @pssmr.command
    def write(self, number: Annotated[int, executed.write], key: Annotated[int, values.write], value: int) -> int:
        """Sets a register, and returns what it was."""
        before = self.values.get(key, 0)
        self._change(number, key, value)
        return before

    @pssmr.command
    def add(self, number: Annotated[int, executed.write], key: Annotated[int, values.write], amount: int) -> int:
        """Adds to a register, and returns the sum."""
        value = self.values.get(key, 0) + amount
        self._change(number, key, value)
        return value

    @pssmr.command
    def replace(
        self, number: Annotated[int, executed.write], key: Annotated[int, values.write], expected: int, value: int
    ) -> bool:
        """Sets a register if it has the expected value, and returns whether it had."""
        before = self.values.get(key, 0)
        self._change(number, key, value if before == expected else before)
        return before == expected

    @pssmr.query(reads=[executed])
    def all_executed(self) -> dict[int, int]:
        """How often each change was executed."""
        return dict(self.executed.items())

    def _change(self, number: int, key: int, value: int) -> None:
        self.executed[number] = self.executed.get(number, 0) + 1
        self.values[key] = value


PATIENCE = 120.0
"""Seconds until something has to be acknowledged that takes one or two."""

OPERATIONS_MAX = 60
"""Of one register: then the clients take a new one, which keeps the search for an order short."""

REGISTERS = 3
"""How many are in use at a time: few, so that the clients meet."""


@dataclass
class Users:
    """Clients at work."""

    history: History = field(default_factory=History)
    draw: random.Random = field(default_factory=lambda: random.Random(7))
    seen: dict[int, int] = field(default_factory=dict)
    """What a register was when one of them last heard of it."""
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def wait_for(self, more: int) -> None:
        """Waits until this many more operations were acknowledged."""
        goal = self.history.acknowledged + more
        async with asyncio.timeout(PATIENCE), self.changed:
            await self.changed.wait_for(lambda: self.history.acknowledged >= goal)

    async def use(self, client: pssmr.AsyncClient, number: int) -> None:
        """Has one client do one thing."""
        operation = self._choose(number)
        try:
            result = await _send(client, operation)
        except pssmr.OutcomeUnknown:
            return
        except pssmr.Unavailable:
            self.history.withdraw(operation)
            return
        self.history.end(operation, result)
        if operation.action in ("read", "add"):
            self.seen[operation.key] = result
        async with self.changed:
            self.changed.notify_all()

    def _choose(self, client: int) -> Operation:
        draw = self.draw
        generation = len(self.history.operations) // (OPERATIONS_MAX * REGISTERS)
        key = REGISTERS * generation + draw.randrange(REGISTERS)
        action: Action = draw.choice(["read", "write", "add", "replace"])
        # Each writes what nobody else does, so that what a read sees says whose it is.
        argument = draw.randrange(1, 1000) if action == "add" else 1000 * len(self.history.operations)
        return self.history.begin(client, key, action, argument, self.seen.get(key, 0))


async def _send(client: pssmr.AsyncClient, operation: Operation) -> int:
    number, key, argument = operation.number, operation.key, operation.argument
    match operation.action:
        case "read":
            return await client.call(Registers.read, key)
        case "write":
            return await client.call(Registers.write, number, key, argument)
        case "add":
            return await client.call(Registers.add, number, key, argument)
        case "replace":
            return int(await client.call(Registers.replace, number, key, operation.expected, argument))


@contextlib.asynccontextmanager
async def in_use(cluster: Path, *, clients: int = 3, each: int = 2, timeout: float = PATIENCE) -> AsyncIterator[Users]:
    """Lets clients use the registers, each for several things at a time; afterwards judges their history.

    Args:
        cluster: The cluster's configuration.
        clients: How many, with a session each.
        each: How many things each one does at a time.
        timeout: Seconds until a client no longer waits for a result.
    """
    users, stop = Users(), asyncio.Event()

    async def work(client: pssmr.AsyncClient, number: int) -> None:
        while not stop.is_set():
            await users.use(client, number)

    async with contextlib.AsyncExitStack() as opened:
        open_clients = [
            await opened.enter_async_context(pssmr.AsyncClient(cluster, timeout=timeout)) for _ in range(clients)
        ]
        async with asyncio.TaskGroup() as group:
            for number, client in enumerate(open_clients):
                for _ in range(each):
                    group.create_task(work(client, number))
            try:
                yield users
            finally:
                stop.set()
        async with pssmr.AsyncClient(cluster, timeout=PATIENCE) as judge:
            executed = await judge.call(Registers.all_executed)
    check_exactly_once(users.history, executed)
    check_linearizable(users.history)
