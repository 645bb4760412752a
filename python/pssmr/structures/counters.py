"""Counters by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pssmr.errors import Refused
from pssmr.service import Call, Service, command, query
from pssmr.state import Map

_LOW, _HIGH = -(1 << 63), (1 << 63) - 1


class CounterOverflow(Refused):
    """The sum does not fit into 64 bits with a sign. The counter is unchanged."""


class Counters(Service):
    """Counters by name. One that was never touched is 0. Commands on different counters run in parallel."""

    counters = Map[str, int]()

    @command
    def counter_add(self, name: Annotated[str, counters.write], amount: int) -> int:
        """Adds, and returns the sum."""
        total = self.counters.get(name, 0) + amount
        if not _LOW <= total <= _HIGH:
            raise CounterOverflow(f"{name} would be {total}")
        self.counters[name] = total
        return total

    @command
    def counter_count(self, name: Annotated[str, counters.commute], amount: int) -> None:
        """Adds without looking: such commands run in parallel even on one counter. The sum wraps around at 64 bits."""
        self.counters.add(name, amount)

    @command
    def counter_set(self, name: Annotated[str, counters.write], value: int) -> int:
        """Sets a counter, and returns what it was."""
        if not _LOW <= value <= _HIGH:
            raise CounterOverflow(f"{name} would be {value}")
        before = self.counters.get(name, 0)
        self.counters[name] = value
        return before

    @command
    def counter_compare_and_set(self, name: Annotated[str, counters.write], expected: int, value: int) -> bool:
        """Sets a counter if it is `expected`, and says whether it was."""
        if not _LOW <= value <= _HIGH:
            raise CounterOverflow(f"{name} would be {value}")
        if self.counters.get(name, 0) != expected:
            return False
        self.counters[name] = value
        return True

    @query
    def counter_get(self, name: Annotated[str, counters.read]) -> int:
        """What a counter is."""
        return self.counters.get(name, 0)


@dataclass(frozen=True, slots=True)
class Counter:
    """Makes commands for one counter: `client.execute(Counter("visits").add(1))`."""

    name: str

    def add(self, amount: int = 1) -> Call[int]:
        """Adds; the result is the sum. Refused with `CounterOverflow` if that does not fit into 64 bits."""
        return Counters.counter_add.bind(self.name, amount)

    def count(self, amount: int = 1) -> Call[None]:
        """Adds without looking: cheaper where many do that at once, for they need no order."""
        return Counters.counter_count.bind(self.name, amount)

    def set(self, value: int) -> Call[int]:
        """Sets it; the result is what it was."""
        return Counters.counter_set.bind(self.name, value)

    def compare_and_set(self, expected: int, value: int) -> Call[bool]:
        """Sets it if it is `expected`; the result is whether it was."""
        return Counters.counter_compare_and_set.bind(self.name, expected, value)

    def get(self) -> Call[int]:
        """The result is what it is."""
        return Counters.counter_get.bind(self.name)
