"""Queues by name: first in, first out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pssmr.service import Call, Service, command, query
from pssmr.state import Map
from pssmr.structures.values import Value


class Queues(Service):
    """Queues by name: first in, first out, in the agreed order.

    Which entries `queue_put` and `queue_take` touch is not known before they run, so they run one by one, for all
    queues; beside commands on other structures.
    """

    queue_values = Map[tuple[str, int], Value]()
    queue_ends = Map[str, tuple[int, int]]()
    """The number of the first value, and the number that the next one gets."""

    @command(writes=[queue_values])
    def queue_put(self, name: Annotated[str, queue_ends.write], values: list[Value]) -> int:
        """Puts values at the end, and returns how many there are then."""
        first, end = self.queue_ends.get(name, (0, 0))
        for number, value in enumerate(values, end):
            self.queue_values[name, number] = value
        end += len(values)
        if end > first:
            self.queue_ends[name] = (first, end)
        return end - first

    @command(writes=[queue_values])
    def queue_take(self, name: Annotated[str, queue_ends.write], most: int) -> list[Value]:
        """Takes up to `most` values from the front. A queue that is empty then leaves nothing behind."""
        first, end = self.queue_ends.get(name, (0, 0))
        after = min(end, first + max(most, 0))
        taken = [self.queue_values.pop((name, number)) for number in range(first, after)]
        if after < end:
            self.queue_ends[name] = (after, end)
        else:
            self.queue_ends.pop(name, None)
        return taken

    @query(reads=[queue_values])
    def queue_peek(self, name: Annotated[str, queue_ends.read], most: int) -> list[Value]:
        """Up to `most` values at the front, which stay."""
        first, end = self.queue_ends.get(name, (0, 0))
        return [self.queue_values[name, number] for number in range(first, min(end, first + max(most, 0)))]

    @query
    def queue_len(self, name: Annotated[str, queue_ends.read]) -> int:
        """How many values a queue has."""
        first, end = self.queue_ends.get(name, (0, 0))
        return end - first


@dataclass(frozen=True, slots=True)
class Queue:
    """Makes commands for one queue: `client.execute(Queue("mail").put("to ann"))`."""

    name: str

    def put(self, *values: Value) -> Call[int]:
        """Puts values at the end; the result is how many there are then."""
        return Queues.queue_put.bind(self.name, list(values))

    def take(self, most: int = 1) -> Call[list[Value]]:
        """Takes values from the front; the result is up to `most` of them, none if the queue is empty.

        What is taken is gone, whatever becomes of who took it: work that must not be lost needs a lease, as the
        job queue among the examples has.
        """
        return Queues.queue_take.bind(self.name, most)

    def peek(self, most: int = 1) -> Call[list[Value]]:
        """The result is up to `most` values at the front, which stay."""
        return Queues.queue_peek.bind(self.name, most)

    def len(self) -> Call[int]:
        """The result is how many values there are."""
        return Queues.queue_len.bind(self.name)
