"""Attributes that commands assign while others, which may run at once, use them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pssmr.service import Command, Service
from pssmr.state import Stored


@dataclass
class Used:
    """The service's own attributes that one command has used."""

    read: set[str] = field(default_factory=set)
    assigned: set[str] = field(default_factory=set)


class Watch:
    """A service whose attributes are watched."""

    def __init__(self, service: type[Service]) -> None:
        """A new service object, in which nothing is watched yet."""
        watch = self
        self._used: Used | None = None

        def get(this: Service, name: str) -> Any:
            value = object.__getattribute__(this, name)
            # Not `vars`, which would ask here again.
            if watch._used is not None and name in object.__getattribute__(this, "__dict__") and _is_own(name, value):
                watch._used.read.add(name)
            return value

        def assign(this: Service, name: str, value: object) -> None:
            service.__setattr__(this, name, value)
            if watch._used is not None:
                watch._used.assigned.add(name)

        watched = type(service.__name__, (service,), {"__getattribute__": get, "__setattr__": assign})
        self.service: Service = watched()

    @contextlib.contextmanager
    def watching(self) -> Iterator[Used]:
        """What is used meanwhile."""
        self._used = Used()
        try:
            yield self._used
        finally:
            self._used = None


def race(
    requests: Sequence[Sequence[Command[..., Any]]], used: Sequence[Used], conflicts: Sequence[Sequence[int]]
) -> tuple[int, int, str] | None:
    """Two requests, by their places, that may run at once, and an attribute that one assigns and the other uses.

    If commands of both declare to commute on the same table, they have been said to bear that, and are left out.

    Args:
        requests: The commands of each.
        used: What each has used.
        conflicts: For each the earlier ones that it conflicts with.
    """
    for later, earlier in ((b, a) for b in range(len(used)) for a in range(b)):
        if earlier in conflicts[later] or _commuting(requests[earlier]) & _commuting(requests[later]):
            continue
        first, second = used[earlier], used[later]
        shared = first.assigned & (second.read | second.assigned) | first.read & second.assigned
        if shared:
            return earlier, later, min(shared)
    return None


def _is_own(name: str, value: object) -> bool:
    return name != "_instance" and not isinstance(value, Stored)


def _commuting(commands: Sequence[Command[..., Any]]) -> set[int]:
    """The tables on which some of these commands declare that they commute."""
    declared = [command.declared for command in commands]
    accesses = [access for each in declared for access in (*(key.access for key in each.keys), *each.tables)]
    return {id(access.table) for access in accesses if access.mode == "commute"}
