"""Schedulers in virtual time: what each one leaves of the parallelism that is in the commands."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

from pssmr import _core

Axis = Literal["conflict", "workers", "skew", "wide"]

AXES: dict[Axis, tuple[float, ...]] = {
    "conflict": (0, 1, 5, 10, 15, 20, 25, 50, 100),
    "workers": (1, 2, 4, 8, 16, 32, 64),
    "skew": (0, 0.5, 0.8, 0.99, 1.2, 1.5),
    "wide": (0, 0.1, 1, 5, 10, 20, 50),
}
"""What is drawn against, and the values it takes."""


@dataclasses.dataclass(frozen=True)
class Load:
    """A random load, and who executes it."""

    workers: int = 8
    conflict: float = 0.0
    """Of 100 commands so many write one key that all these have in common."""
    skew: float = 0.0
    """The exponent of the Zipf distribution of the keys."""
    wide: float = 0.0
    """Of 100 commands so many touch all keys."""
    writes: float = 100.0
    """Of 100 commands so many write; others read."""
    keys: int = 100_000
    keys_each: int = 1
    commands: int = 20_000
    window: int = 1024
    """Most commands that are submitted and not complete."""
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Point:
    """The schedulers under one load, in commands that complete in the mean time of one."""

    at: float
    speed_ups: tuple[float, ...]
    bound: float
    """What no scheduler exceeds."""


def simulate(load: Load, axis: Axis, schedulers: Sequence[str]) -> list[Point]:
    """Executes a load in virtual time under each scheduler, once for each value of the axis.

    Raises:
        ValueError: If the load can't be.
    """
    points = []
    for value in AXES[axis]:
        varied = _varied(load, axis, value)
        speed_ups, bound = _core.simulate(
            schedulers,
            workers=varied.workers,
            window=varied.window,
            commands=varied.commands,
            keys=varied.keys,
            keys_each=varied.keys_each,
            skew=varied.skew,
            writes=varied.writes / 100,
            conflicts=varied.conflict / 100,
            wide=varied.wide / 100,
            seed=varied.seed,
        )
        points.append(Point(value, tuple(speed_ups), bound))
    return points


def _varied(load: Load, axis: Axis, value: float) -> Load:
    match axis:
        case "workers":
            return dataclasses.replace(load, workers=int(value))
        case "conflict":
            return dataclasses.replace(load, conflict=value)
        case "skew":
            return dataclasses.replace(load, skew=value)
        case "wide":
            return dataclasses.replace(load, wide=value)
