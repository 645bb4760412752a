"""How much of the work touches which parts of a service's state: by its declarations, or counted."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pssmr.cluster_fields import nearest
from pssmr.errors import CommandError
from pssmr.planning.classes import PlanningError
from pssmr.service import Command, Service
from pssmr.signatures import commands_of

Division = Literal["tables", "keys"]
"""What the parts of the state are: tables, or parts of the keys by their hashes."""

Touches = tuple[tuple[int, str], ...]
"""Partitions, ascending, each with the strongest mode in which it is touched."""

COMBINATIONS_MAX = 4096
"""Most combinations of partitions that are tried for the keys of one command."""


@dataclass(slots=True)
class Shares:
    """How much of the work touches what: the shares add up to 1."""

    division: Division
    partitions: int
    known: dict[Touches, dict[str, float]] = field(default_factory=dict)
    """For each combination, the share of each command. That of nothing is empty."""
    anything: dict[str, float] = field(default_factory=dict)
    """The share of each command that may touch anything."""

    def add(self, touched: Iterable[tuple[int, str]] | None, command: str, share: float) -> None:
        """Some of the work is commands that touch this; `None`: that may touch anything."""
        if touched is None:
            self.anything[command] = self.anything.get(command, 0.0) + share
            return
        modes: dict[int, str] = {}
        for partition, mode in touched:
            held = modes.get(partition, mode)
            modes[partition] = mode if held == mode else "write"
        held_shares = self.known.setdefault(tuple(sorted(modes.items())), {})
        held_shares[command] = held_shares.get(command, 0.0) + share


def declared_shares(
    service: type[Service], weights: Mapping[str, float], division: Division, partitions: int
) -> Shares:
    """What the declarations say, for commands of these weights; keys are taken to be spread evenly.

    A list of keys is taken to touch all partitions. What a `conflicts` callable says is not known: it may be anything.

    Raises:
        PlanningError: If a weight is of no command, or there is none above 0.
    """
    commands = commands_of(service)
    for name, weight in weights.items():
        if name not in commands:
            raise PlanningError(f"{service.__name__} has no command {name!r}{nearest(name, commands)}")
        if not 0 <= weight < math.inf:
            raise PlanningError(f"the weight of {name} is {weight}, but a weight is a finite number of 0 or above")
    largest = max(weights.values(), default=0)
    if largest == 0:
        raise PlanningError("no command has a weight: give at least one a number above 0")
    # The sum of the weights themselves may be too large for a float.
    relative = {name: weight / largest for name, weight in weights.items()}
    total = sum(relative.values())
    shares = Shares(division, partitions)
    tables = {id(table): index for index, table in enumerate(service._tables.values())}
    for name, weight in relative.items():
        if weight > 0:
            outcomes = _outcomes(commands[name], tables, division, partitions)
            for touched in outcomes:
                shares.add(touched, name, weight / total / len(outcomes))
    return shares


def counted_shares(service: type[Service], payloads: Iterable[bytes], division: Division, partitions: int) -> Shares:
    """What these commands touch, counted.

    Raises:
        PlanningError: If there are none, or replicas would refuse one.
    """
    counts: Counter[tuple[str, tuple[tuple[int, str], ...] | None]] = Counter()
    for payload in payloads:
        name = payload[1 : 1 + payload[0]].decode()
        try:
            touched = service._interface.touches(payload, division, partitions)
        except CommandError as error:
            raise PlanningError(f"{name}: {error}") from None
        counts[name, None if touched is None else tuple(touched)] += 1
    total = counts.total()
    if not total:
        raise PlanningError("there are no commands to count")
    shares = Shares(division, partitions)
    for (name, counted), count in counts.items():
        shares.add(counted, name, count / total)
    return shares


def _outcomes(
    command: Command[..., Any], tables: Mapping[int, int], division: Division, partitions: int
) -> list[list[tuple[int, str]] | None]:
    """What calls of a command touch: each outcome is as likely as the others."""
    declared, options = command.declared, command.options
    if options.exclusive or options.conflicts is not None:
        return [None]
    everywhere = range(partitions)
    if not declared.keys and not declared.tables:
        reads_all = options.query and division == "keys"
        return [[(partition, "read") for partition in everywhere] if reads_all else None]
    whole = [(tables[id(access.table)], access.mode) for access in declared.tables]
    keys = [(tables[id(key.access.table)], key.access.mode, key.path[-1:] == (None,)) for key in declared.keys]
    if division == "tables":
        return [[*whole, *((table, mode) for table, mode, _ in keys)]]
    certain = [mode for _, mode in whole] + [mode for _, mode, is_list in keys if is_list]
    fixed = [(partition, mode) for mode in certain for partition in everywhere]
    single = [mode for _, mode, is_list in keys if not is_list]
    if partitions ** len(single) > COMBINATIONS_MAX:
        return [None]
    return [[*fixed, *zip(places, single, strict=True)] for places in itertools.product(everywhere, repeat=len(single))]
