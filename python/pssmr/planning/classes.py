"""Classes of commands, and which of them conflict."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pssmr.errors import Error


class PlanningError(Error, ValueError):
    """There can be no mapping for what was asked, or a given one is not safe."""


@dataclass(frozen=True, slots=True)
class ConflictClass:
    """Commands that conflict with the same others.

    Attributes:
        name: Its name.
        weight: How much of the work its commands are, relative to the other classes: above 0.
        conflicts: The names of the classes that its commands conflict with; its own if they conflict with each other.
            It is enough if one of two classes names the other.
    """

    name: str
    weight: float
    conflicts: frozenset[str]

    def __init__(self, name: str, weight: float, conflicts: Iterable[str] = ()) -> None:
        if not (math.isfinite(weight) and weight > 0):
            raise PlanningError(f"class {name} has weight {weight}, but a weight is a finite number above 0")
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "weight", float(weight))
        object.__setattr__(self, "conflicts", frozenset(conflicts))


@dataclass(frozen=True, slots=True)
class Conflicts:
    """What a list of classes says: weights that add up to 1, and conflicts both ways."""

    weights: dict[str, float]
    neighbours: dict[str, frozenset[str]]

    @classmethod
    def of(cls, classes: Sequence[ConflictClass]) -> Conflicts:
        """Checks the classes.

        Raises:
            PlanningError: There are none, two have one name, or one conflicts with a class that is not there.
        """
        if not classes:
            raise PlanningError("there are no classes")
        names = [each.name for each in classes]
        for name in names:
            if names.count(name) > 1:
                raise PlanningError(f"there are two classes {name}")
        neighbours: dict[str, set[str]] = {name: set() for name in names}
        for each in classes:
            for other in each.conflicts:
                if other not in neighbours:
                    raise PlanningError(f"class {each.name} conflicts with {other}, which is no class")
                neighbours[each.name].add(other)
                neighbours[other].add(each.name)
        # The sum of the weights themselves may be too large for a float.
        largest = max(each.weight for each in classes)
        total = sum(each.weight / largest for each in classes)
        return cls(
            {each.name: each.weight / largest / total for each in classes},
            {name: frozenset(others) for name, others in neighbours.items()},
        )

    def conflicts_with_itself(self, name: str) -> bool:
        """Whether commands of this class conflict with each other."""
        return name in self.neighbours[name]

    def pairs(self) -> list[tuple[str, str]]:
        """Two different classes that conflict, each pair once, in the order of the classes."""
        names = list(self.weights)
        return [(a, b) for i, a in enumerate(names) for b in names[i + 1 :] if b in self.neighbours[a]]
