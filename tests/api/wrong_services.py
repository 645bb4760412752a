"""Services that are wrong, each in one way, and one that is right: what `pssmr check` has to tell apart."""

from __future__ import annotations

import datetime
import itertools
import pickle
import random
import signal
import sys
import threading
import time
from typing import Annotated

import pssmr


class Right(pssmr.Service):
    """Of everything that is wrong below, the right way."""

    stock = pssmr.Map[str, int]()
    notes = pssmr.Resource[str]()

    def __init__(self) -> None:
        self.seen: dict[str, list[str]] = {}

    def snapshot(self) -> bytes:
        return pssmr.encode(dict[str, list[str]], self.seen)

    def restore(self, state: bytes) -> None:
        self.seen = pssmr.decode(dict[str, list[str]], state)

    @pssmr.command
    def add(self, item: Annotated[str, stock.write], amount: int) -> int:
        self.stock[item] = self.stock.get(item, 0) + amount
        if self.stock[item] < 0:
            raise pssmr.Refused("too little", item)
        return self.stock[item]

    @pssmr.command
    def count(self, item: Annotated[str, stock.commute]) -> None:
        self.stock.add(item, 1)

    @pssmr.query(reads=[stock])
    def items(self, *, least: int = 0) -> list[str]:
        return [item for item, amount in self.stock.items() if amount >= least]

    @pssmr.command
    def note(self, key: Annotated[str, notes.write], text: str) -> list[str]:
        self.seen.setdefault(key, []).append(text)
        return self.seen[key]

    @pssmr.command
    def forget(self) -> int:
        before, self.seen = self.seen, {}
        return len(before)

    @pssmr.command
    def lot(self, context: pssmr.Context, item: Annotated[str, stock.write]) -> int:
        self.stock[item] = context.random.randrange(100) + context.time.year
        return self.stock[item]

    @pssmr.command
    def fail(self, values: dict[str, int]) -> int:
        return values["a"]


class UndeclaredConflict(Right):
    """Counts all commands, which no two of them declare."""

    @pssmr.command
    def note(self, key: Annotated[str, Right.notes.write], text: str) -> list[str]:
        count = len(self.seen)
        self.seen.setdefault(key, []).append(text)
        return [str(count)]


class LostUpdates(Right):
    """Counts all commands, which comes to the same in any order, but not if two of them do it at once."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def snapshot(self) -> bytes:
        return pssmr.encode(tuple[int, dict[str, list[str]]], (self.total, self.seen))

    def restore(self, state: bytes) -> None:
        self.total, self.seen = pssmr.decode(tuple[int, dict[str, list[str]]], state)

    @pssmr.command
    def note(self, key: Annotated[str, Right.notes.write], text: str) -> list[str]:
        self.total += 1
        return super().note(key, text)


class ToleratedUpdates(pssmr.Service):
    """Counts under a lock, and says that it commutes: right."""

    totals = pssmr.Resource[None]()

    def __init__(self) -> None:
        self.total = 0
        self.lock = threading.Lock()

    def snapshot(self) -> bytes:
        return pssmr.encode(int, self.total)

    def restore(self, state: bytes) -> None:
        self.total = pssmr.decode(int, state)

    @pssmr.command
    def add(self, where: Annotated[None, totals.commute], amount: int) -> None:
        with self.lock:
            self.total += amount


class OrderDependentState(Right):
    """Answers right, but its snapshot has the order of filling."""

    def snapshot(self) -> bytes:
        return pssmr.encode(list[tuple[str, list[str]]], list(self.seen.items()))

    def restore(self, state: bytes) -> None:
        self.seen = dict(pssmr.decode(list[tuple[str, list[str]]], state))


class NotCommuting(pssmr.Service):
    """Declares that a change commutes, and it does not."""

    slots = pssmr.Resource[str]()

    def __init__(self) -> None:
        self.latest: dict[str, int] = {}

    def snapshot(self) -> bytes:
        return pssmr.encode(dict[str, int], self.latest)

    def restore(self, state: bytes) -> None:
        self.latest = pssmr.decode(dict[str, int], state)

    @pssmr.command
    def put(self, slot: Annotated[str, slots.commute], value: int) -> None:
        self.latest[slot] = value


class CountedQueries(Right):
    """A query that counts its executions, which are not the same at all replicas."""

    def __init__(self) -> None:
        super().__init__()
        self.queries = 0

    @pssmr.query
    def ask(self) -> int:
        self.queries += 1
        return 0


class LoggedQueries(Right):
    """A query that changes a dict, which nobody sees assigned."""

    @pssmr.query
    def ask(self, key: str) -> int:
        self.seen[key] = []
        return 0


class UndeclaredAccess(Right):
    @pssmr.command
    def add(self, item: Annotated[str, Right.stock.write], amount: int) -> int:
        self.stock[item] = amount
        return self.stock.get("total", 0)


class Clock(Right):
    @pssmr.command
    def add(self, item: Annotated[str, Right.stock.write], amount: int) -> int:
        self.stock[item] = time.perf_counter_ns()
        return amount


class Chance(Right):
    """Now and then only, so that what was seen does not come again when it is asked for."""

    @pssmr.command
    def add(self, item: Annotated[str, Right.stock.write], amount: int) -> int:
        return int(random.random() < 0.3)


_executions = itertools.count()


class Executions(pssmr.Service):
    """Answers something else each time."""

    keys = pssmr.Resource[str]()

    @pssmr.query
    def ask(self, key: Annotated[str, keys.read]) -> int:
        return next(_executions)

    def snapshot(self) -> bytes:
        return b""

    def restore(self, snapshot: bytes) -> None:
        pass


class Identity(Right):
    @pssmr.command
    def add(self, item: Annotated[str, Right.stock.write], amount: int) -> int:
        return id(self)


_REMEMBERED: list[list[str]] = []


class RemembersGlobally(Right):
    """What it remembers is the process's, not the replica's."""

    @pssmr.query(reads=[Right.stock])
    def items(self, *, least: int = 0) -> list[str]:
        _REMEMBERED.append([f"{item} {amount}" for item, amount in self.stock.items()])
        return _REMEMBERED[0]


class HashSeed(Right):
    @pssmr.query
    def items(self, *, least: int = 0) -> list[str]:
        return [str(hash("item") % 1000)]


class SetOrder(Right):
    @pssmr.query(reads=[Right.stock])
    def items(self, *, least: int = 0) -> list[str]:
        return list({f"item {item}" for item in ("one", "two", "three", "four", "five", "six")})


class Calendar(Right):
    @pssmr.query
    def items(self, *, least: int = 0) -> list[str]:
        return [str(datetime.date.today().year)]


class LostState(Right):
    def restore(self, state: bytes) -> None:
        self.seen = {}


class NotUndone(pssmr.Service):
    """Its sum is right after each command, and wrong after a transaction that is undone: the map is, the sum is not."""

    stock = pssmr.Map[str, int]()

    def __init__(self) -> None:
        self.total = 0

    def snapshot(self) -> bytes:
        return b""

    def restore(self, state: bytes) -> None:
        self.total = sum(self.stock.values())

    @pssmr.command(writes=[stock])
    def add(self, item: str, amount: int) -> int:
        if amount < 0:
            raise pssmr.Refused("too little")
        self.stock[item] = self.stock.get(item, 0) + amount
        self.total += amount
        return self.total


class Pickled(Right):
    def snapshot(self) -> bytes:
        return pickle.dumps(sorted(self.seen.items()))

    def restore(self, state: bytes) -> None:
        self.seen = dict(pickle.loads(state))


class Choosy(pssmr.Service):
    """Right, and refuses some commands before they run."""

    stock = pssmr.Map[int, int]()

    @pssmr.command(conflicts=lambda shop, item: [shop.stock.write[100 // item]])
    def put(self, item: int) -> None:
        self.stock[100 // item] = 1


class Endless(Right):
    @pssmr.command
    def fail(self, values: dict[str, int]) -> int:
        while True:
            try:
                time.sleep(60)
            except Exception:
                continue


class Interrupted(Right):
    """Right, but somebody presses Ctrl-C meanwhile."""

    @pssmr.command
    def fail(self, values: dict[str, int]) -> int:
        signal.raise_signal(signal.SIGINT)
        return 0


class Talkative(Right):
    @pssmr.command
    def fail(self, values: dict[str, int]) -> int:
        print("failing")  # noqa: T201
        return values["a"]


class WithArguments(Right):
    def __init__(self, place: str) -> None:
        super().__init__()


class Empty(pssmr.Service):
    """Has no commands."""


class Exit(Right):
    @pssmr.command
    def fail(self, values: dict[str, int]) -> int:
        sys.exit(3)


class Uncovered(pssmr.Service):
    """Its state is in no snapshot, so it can't be compared."""

    notes = pssmr.Resource[str]()

    @pssmr.query
    def nothing(self, key: Annotated[str, notes.read]) -> int:
        return 5
