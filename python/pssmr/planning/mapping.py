"""Mappings of classes to workers: the rules that make one safe, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping as MappingABC
from collections.abc import Sequence
from dataclasses import dataclass

from pssmr.planning.classes import ConflictClass, Conflicts, PlanningError

#: What it costs, beside the time that it takes, that a synchronised command makes workers meet: for all workers and
#: all of the work, as a share of the work.
MEETING_PRICE = 0.1


@dataclass(frozen=True, slots=True)
class Assignment:
    """The workers of one class.

    Attributes:
        workers: Their numbers, ascending, each once.
        synchronised: Whether a command goes to all of them, and runs when it has come to the front of each; otherwise
            it goes to one.
    """

    workers: tuple[int, ...]
    synchronised: bool


Mapping = MappingABC[str, Assignment]


class RuleBroken(PlanningError):
    """A mapping is not safe: commands that conflict could run beside each other.

    Attributes:
        rule: The number of the rule, from 1 to 5.
        classes: The class, or the two classes, that break it.
    """

    def __init__(self, rule: int, classes: tuple[str, ...], problem: str) -> None:
        super().__init__(f"R{rule}: {problem}")
        self.rule = rule
        self.classes = classes


def check(classes: Sequence[ConflictClass], mapping: Mapping, workers: int) -> None:
    """Checks the rules of early scheduling (Alchieri et al., 2018).

    Raises:
        RuleBroken: One of the rules R1 to R5 is broken.
        PlanningError: The mapping is of other classes, or has workers that are not there.
    """
    check_conflicts(Conflicts.of(classes), mapping, workers)


def check_conflicts(conflicts: Conflicts, mapping: Mapping, workers: int) -> None:
    """As `check`."""
    if mapping.keys() != conflicts.weights.keys():
        raise PlanningError(f"the mapping is of {sorted(mapping)}, the classes are {sorted(conflicts.weights)}")
    for name, assignment in mapping.items():
        if not assignment.workers:
            raise RuleBroken(1, (name,), f"class {name} has no lane")
        if list(assignment.workers) != sorted(set(assignment.workers)):
            raise PlanningError(f"the workers of class {name} are {assignment.workers}, expected ascending numbers")
        if assignment.workers[0] < 0 or assignment.workers[-1] >= workers:
            raise PlanningError(f"class {name} has workers {assignment.workers}, expected 0 to {workers - 1}")
        alone = assignment.synchronised or len(assignment.workers) == 1
        if conflicts.conflicts_with_itself(name) and not alone:
            raise RuleBroken(2, (name,), f"commands of class {name} conflict with each other and run beside each other")
    for first, second in conflicts.pairs():
        _check_pair((first, mapping[first]), (second, mapping[second]))


def _check_pair(first: tuple[str, Assignment], second: tuple[str, Assignment]) -> None:
    (a, of_a), (b, of_b) = sorted((first, second), key=lambda each: each[1].synchronised)
    names = (first[0], second[0])
    if not of_b.synchronised:
        raise RuleBroken(3, names, f"classes {names[0]} and {names[1]} conflict, and neither is synchronised")
    if not of_a.synchronised:
        missing = set(of_a.workers) - set(of_b.workers)
        if missing:
            problem = f"class {a} has lane {min(missing)}, but class {b}, which conflicts with it, does not"
            raise RuleBroken(4, names, problem)
    elif not set(of_a.workers) & set(of_b.workers):
        raise RuleBroken(5, names, f"classes {names[0]} and {names[1]} conflict and have no lane in common")


def cost(classes: Sequence[ConflictClass], mapping: Mapping, workers: int) -> float:
    """How good a mapping is: the load of the busiest worker, as a share of all work, and a price for meetings.

    A concurrent class is shared equally by its workers; a synchronised one keeps all of its workers busy.
    """
    return cost_of(Conflicts.of(classes), mapping, workers)


def cost_of(conflicts: Conflicts, mapping: Mapping, workers: int) -> float:
    """As `cost`."""
    meetings = sum(
        conflicts.weights[name] * len(assignment.workers)
        for name, assignment in mapping.items()
        if assignment.synchronised
    )
    return max(loads_of(conflicts, mapping, workers)) + MEETING_PRICE * meetings / workers


def loads(classes: Sequence[ConflictClass], mapping: Mapping, workers: int) -> list[float]:
    """The load of each worker, as a share of all work, under the same assumptions as `cost`."""
    return loads_of(Conflicts.of(classes), mapping, workers)


def loads_of(conflicts: Conflicts, mapping: Mapping, workers: int) -> list[float]:
    """As `loads`."""
    sums = [0.0] * workers
    for name, assignment in mapping.items():
        weight = conflicts.weights[name]
        share = weight if assignment.synchronised else weight / len(assignment.workers)
        for worker in assignment.workers:
            sums[worker] += share
    return sums
