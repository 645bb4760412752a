"""The best mapping that can be had."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pssmr.errors import Error
from pssmr.planning import greedy, program
from pssmr.planning.classes import ConflictClass, Conflicts, PlanningError
from pssmr.planning.mapping import Assignment, check_conflicts, cost_of

#: Most workers, and most classes, that are planned for.
WORKERS_MAX = 1024
CLASSES_MAX = 1024

Method = Literal["auto", "solver", "greedy"]


class SolverMissing(Error, ImportError):
    """The solver is not installed: `pip install pssmr[plan]`."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A mapping, and how it was found.

    Attributes:
        mapping: The workers of each class, by its name.
        cost: See `cost`: smaller is better.
        method: What has found it.
        proven: Whether the solver has proven that no mapping is better, if workers share a concurrent class as suits
            best.
    """

    mapping: dict[str, Assignment]
    cost: float
    method: Literal["solver", "greedy"]
    proven: bool


def plan(
    classes: Sequence[ConflictClass], workers: int, *, method: Method = "auto", time_limit_s: float = 10.0
) -> Plan:
    """Finds workers for each class. The mapping keeps all rules, whatever has found it.

    Args:
        classes: The classes of commands.
        workers: The number of workers.
        method: `solver` and `greedy` ask for one; `auto` takes the better of both, or greedy if there is no solver. If
            the solver finds nothing in time, greedy is what is left.
        time_limit_s: How long the solver may search; what it has found until then counts.

    Raises:
        PlanningError: The classes or the number of workers can't be.
        SolverMissing: The solver was asked for and is not installed.
    """
    if not 1 <= workers <= WORKERS_MAX:
        raise PlanningError(f"workers is {workers}, expected 1 to {WORKERS_MAX}")
    if len(classes) > CLASSES_MAX:
        raise PlanningError(f"there are {len(classes)} classes, expected at most {CLASSES_MAX}")
    conflicts = Conflicts.of(classes)
    if method == "solver" and not program.is_installed():
        raise SolverMissing("the solver HiGHS is not installed: pip install pssmr[plan]")
    candidates: list[Plan] = []
    if method != "greedy" and program.is_installed():
        solution = program.solve(conflicts, workers, time_limit_s)
        if solution is not None:
            mapping, proven = solution
            candidates.append(Plan(mapping, cost_of(conflicts, mapping, workers), "solver", proven))
    if method != "solver" or not candidates:
        mapping = greedy.search(conflicts, workers)
        candidates.append(Plan(mapping, cost_of(conflicts, mapping, workers), "greedy", proven=False))
    best = min(candidates, key=lambda candidate: candidate.cost)
    check_conflicts(conflicts, best.mapping, workers)
    return best
