"""Lists by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pssmr.errors import Refused
from pssmr.service import Call, Service, command, query
from pssmr.state import Map
from pssmr.structures.values import Value


class NoSuchIndex(Refused):
    """The list has no value at that index."""


class Lists(Service):
    """Lists by name: values by index, from 0 on; a list grows and shrinks at its end.

    Commands on different indices run in parallel. Where `list_extend` and `list_pop` find the end is not known before
    they run, so they wait for all commands on any list.
    """

    list_values = Map[tuple[str, int], Value]()
    list_lengths = Map[str, int]()

    @command(writes=[list_values])
    def list_extend(self, name: Annotated[str, list_lengths.write], values: list[Value]) -> int:
        """Appends values, and returns how many there are then."""
        length = self.list_lengths.get(name, 0)
        for index, value in enumerate(values, length):
            self.list_values[name, index] = value
        if values:
            self.list_lengths[name] = length + len(values)
        return length + len(values)

    @command(writes=[list_values])
    def list_pop(self, name: Annotated[str, list_lengths.write]) -> Value:
        """Removes the last value, and returns it."""
        last = self.list_lengths.get(name, 0) - 1
        if last < 0:
            raise NoSuchIndex(f"{name} is empty")
        if last:
            self.list_lengths[name] = last
        else:
            del self.list_lengths[name]
        return self.list_values.pop((name, last))

    @command
    def list_set(self, place: Annotated[tuple[str, int], list_values.write], value: Value) -> Value:
        """Replaces the value at an index, and returns what it was."""
        before = self._at(place)
        self.list_values[place] = value
        return before

    @query
    def list_get(self, place: Annotated[tuple[str, int], list_values.read]) -> Value:
        """The value at an index."""
        return self._at(place)

    @query
    def list_len(self, name: Annotated[str, list_lengths.read]) -> int:
        """How many values a list has."""
        return self.list_lengths.get(name, 0)

    @query(reads=[list_values])
    def list_slice(self, name: Annotated[str, list_lengths.read], start: int, stop: int | None) -> list[Value]:
        """The values from `start` up to `stop`, as Python's slices mean it."""
        length = self.list_lengths.get(name, 0)
        return [self.list_values[name, index] for index in range(*slice(start, stop).indices(length))]

    def _at(self, place: tuple[str, int]) -> Value:
        if place not in self.list_values:
            raise NoSuchIndex(f"{place[0]} has no index {place[1]}")
        return self.list_values[place]


@dataclass(frozen=True, slots=True)
class List:
    """Makes commands for one list: `client.execute(List("journal").append("opened"))`."""

    name: str

    def append(self, value: Value) -> Call[int]:
        """Appends a value; the result is how many there are then."""
        return Lists.list_extend.bind(self.name, [value])

    def extend(self, values: Sequence[Value]) -> Call[int]:
        """Appends values; the result is how many there are then."""
        return Lists.list_extend.bind(self.name, list(values))

    def pop(self) -> Call[Value]:
        """Removes the last value; the result is that. Refused with `NoSuchIndex` if there is none."""
        return Lists.list_pop.bind(self.name)

    def set(self, index: int, value: Value) -> Call[Value]:
        """Replaces a value; the result is what it was. Refused with `NoSuchIndex` if there is none."""
        return Lists.list_set.bind((self.name, index), value)

    def get(self, index: int) -> Call[Value]:
        """The result is the value at an index, from 0 on. Refused with `NoSuchIndex` if there is none."""
        return Lists.list_get.bind((self.name, index))

    def len(self) -> Call[int]:
        """The result is how many values there are."""
        return Lists.list_len.bind(self.name)

    def slice(self, start: int = 0, stop: int | None = None) -> Call[list[Value]]:
        """The result is the values from `start` up to `stop`, as Python's slices mean it."""
        return Lists.list_slice.bind(self.name, start, stop)
