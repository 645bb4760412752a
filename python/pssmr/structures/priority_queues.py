"""Priority queues by name: binary heaps in a map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pssmr._core import Context
from pssmr.service import Call, Service, command, query
from pssmr.state import Map
from pssmr.structures.values import Value

_Entry = tuple[int, int, Value]
"""Priority, position of the command that put it in, value: sorted as it is taken."""


class PriorityQueues(Service):
    """Priority queues by name: the smallest number first, and among equal ones who came first.

    Which entries a command touches is not known before it runs, so they run one by one, for all priority queues; beside
    commands on other structures. Putting and taking take time that grows with the logarithm of the length.
    """

    heap_entries = Map[tuple[str, int], tuple[int, int, Value]]()
    """A binary heap for each name: the entry at i is not above those at 2i + 1 and 2i + 2."""
    heap_lengths = Map[str, int]()

    @command(writes=[heap_entries])
    def heap_put(self, context: Context, name: Annotated[str, heap_lengths.write], priority: int, value: Value) -> int:
        """Puts a value in, and returns how many there are then."""
        length = self.heap_lengths.get(name, 0)
        self._rise(name, length, (priority, context.position, value))
        self.heap_lengths[name] = length + 1
        return length + 1

    @command(writes=[heap_entries])
    def heap_take(self, name: Annotated[str, heap_lengths.write]) -> tuple[int, Value] | None:
        """Takes the first value, and returns its priority and itself; `None` if there is none."""
        last = self.heap_lengths.get(name, 0) - 1
        if last < 0:
            return None
        first = self.heap_entries[name, 0]
        moved = self.heap_entries.pop((name, last))
        if last:
            self.heap_lengths[name] = last
            self._sink(name, last, moved)
        else:
            del self.heap_lengths[name]
        return first[0], first[2]

    @query(reads=[heap_entries])
    def heap_peek(self, name: Annotated[str, heap_lengths.read]) -> tuple[int, Value] | None:
        """The first value's priority and itself; `None` if there is none."""
        first = self.heap_entries.get((name, 0))
        return None if first is None else (first[0], first[2])

    @query
    def heap_len(self, name: Annotated[str, heap_lengths.read]) -> int:
        """How many values there are."""
        return self.heap_lengths.get(name, 0)

    def _rise(self, name: str, index: int, entry: _Entry) -> None:
        """Puts an entry where it belongs between `index`, a free place at the end, and the root."""
        while index:
            parent = (index - 1) // 2
            above = self.heap_entries[name, parent]
            if above[:2] <= entry[:2]:
                break
            self.heap_entries[name, index] = above
            index = parent
        self.heap_entries[name, index] = entry

    def _sink(self, name: str, length: int, entry: _Entry) -> None:
        """Puts an entry where it belongs below the root, whose place is free."""
        index = 0
        while (child := 2 * index + 1) < length:
            below = self.heap_entries[name, child]
            if child + 1 < length:
                other = self.heap_entries[name, child + 1]
                if other[:2] < below[:2]:
                    child, below = child + 1, other
            if entry[:2] <= below[:2]:
                break
            self.heap_entries[name, index] = below
            index = child
        self.heap_entries[name, index] = entry


@dataclass(frozen=True, slots=True)
class PriorityQueue:
    """Makes commands for one priority queue: `client.execute(PriorityQueue("jobs").put(3, "sweep"))`."""

    name: str

    def put(self, priority: int, value: Value) -> Call[int]:
        """Puts a value in; small numbers are taken first. The result is how many there are then."""
        return PriorityQueues.heap_put.bind(self.name, priority, value)

    def take(self) -> Call[tuple[int, Value] | None]:
        """Takes the first value; the result is its priority and itself, `None` if there is none."""
        return PriorityQueues.heap_take.bind(self.name)

    def peek(self) -> Call[tuple[int, Value] | None]:
        """The result is the first value's priority and itself, which stay; `None` if there is none."""
        return PriorityQueues.heap_peek.bind(self.name)

    def len(self) -> Call[int]:
        """The result is how many values there are."""
        return PriorityQueues.heap_len.bind(self.name)
