"""A plan for a service: its classes of commands, their lanes, and what to expect of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pssmr.early_plan import EarlyPlan, PlannedClass, conflict
from pssmr.planning.classes import ConflictClass, PlanningError
from pssmr.planning.mapping import Assignment, loads
from pssmr.planning.planner import Method, Plan, plan
from pssmr.planning.shares import Shares, Touches
from pssmr.service import Service

ANYTHING = "anything else"
NOTHING = "nothing"

_STRENGTH = {"read": 0, "commute": 0, "write": 1}


@dataclass(frozen=True, slots=True)
class ClassShare:
    """One class, or what is in none.

    Attributes:
        name: What it touches.
        commands: The share that each command has in all of the work.
        lanes: Its lanes.
        synchronised: Whether its commands go to all of them.
        planned: Whether it is a class of the plan; otherwise it is what touches nothing, or what no class covers.
    """

    name: str
    commands: dict[str, float]
    lanes: tuple[int, ...]
    synchronised: bool
    planned: bool

    @property
    def share(self) -> float:
        """Its part of all of the work."""
        return sum(self.commands.values())


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """A plan, and what to expect of it.

    Attributes:
        service: The name of the service's class.
        early: The plan, for a configuration.
        classes: The classes with their shares, and what is in none.
        loads: The load of each lane, as a share of all of the work.
        method: What has found the plan.
        proven: Whether the solver has proven that none is better, for these classes.
    """

    service: str
    early: EarlyPlan
    classes: tuple[ClassShare, ...]
    loads: tuple[float, ...]
    method: str
    proven: bool

    @property
    def speed_up(self) -> float:
        """How many times as much as one lane all lanes can do, at most, if all commands take the same time."""
        return 1 / max(self.loads)


def plan_service(
    service: type[Service],
    shares: Shares,
    lanes: int,
    *,
    classes_max: int = 64,
    method: Method = "auto",
    time_limit_s: float = 10.0,
) -> ServicePlan:
    """Finds classes and lanes for what the commands of a service touch.

    Args:
        service: The service.
        shares: What its commands touch.
        lanes: How many lanes there are: as many as workers.
        classes_max: Most classes. What touches the rarest combinations goes to all lanes instead.
        method: As for `plan`.
        time_limit_s: How long the solver may search.

    Raises:
        PlanningError: If nothing can run at once, or the arguments can't be.
        SolverMissing: As for `plan`.
    """
    tables = tuple(service._tables)
    commands = dict(shares.known)
    anything, nothing = dict(shares.anything), dict(commands.pop((), {}))
    ranked = sorted(commands, key=lambda touches: (-sum(commands[touches].values()), touches))
    for touches in ranked[classes_max:]:
        for name, share in commands.pop(touches).items():
            anything[name] = anything.get(name, 0) + share
    if not commands:
        raise PlanningError(
            f"every command of {service.__name__} may touch anything, so nothing can run at once: "
            "declare what they touch"
        )
    name_of = _namer(shares, tables)
    # What touches less comes first: a command belongs to the first class that covers it.
    ordered = sorted(commands, key=lambda touches: (len(touches), sum(_STRENGTH[m] for _, m in touches), touches))
    names = {touches: name_of(touches) for touches in ordered}
    found = plan(_conflict_classes(names, commands, anything), lanes, method=method, time_limit_s=time_limit_s)
    every_lane = tuple(range(lanes))
    rows = [
        ClassShare(names[each], dict(commands[each]), *_assignment(found, names[each]), planned=True)
        for each in ordered
    ]
    if nothing:
        rows.append(ClassShare(NOTHING, nothing, every_lane, synchronised=False, planned=False))
    if anything:
        rows.append(ClassShare(ANYTHING, anything, every_lane, synchronised=True, planned=False))
    planned = tuple(
        PlannedClass(name=row.name, touches=tuple(row.name.split()), lanes=row.lanes, synchronised=row.synchronised)
        for row in rows
        if row.planned
    )
    by_table = shares.division == "tables"
    early = EarlyPlan(
        lanes=lanes,
        classes=planned,
        tables=tables if by_table else (),
        key_partitions=0 if by_table else shares.partitions,
    )
    weighted = [ConflictClass(row.name, row.share) for row in rows]
    expected = loads(weighted, {row.name: Assignment(row.lanes, row.synchronised) for row in rows}, lanes)
    return ServicePlan(service.__name__, early, tuple(rows), tuple(expected), found.method, found.proven)


def _namer(shares: Shares, tables: tuple[str, ...]) -> Callable[[Touches], str]:
    def place(partition: int) -> str:
        return tables[partition] if shares.division == "tables" else str(partition)

    return lambda touches: " ".join(f"{place(partition)}.{mode}" for partition, mode in touches)


def _conflict_classes(
    names: dict[Touches, str], commands: dict[Touches, dict[str, float]], anything: dict[str, float]
) -> list[ConflictClass]:
    modes = {name: dict(touches) for touches, name in names.items()}
    classes = [
        ConflictClass(
            name,
            sum(commands[touches].values()),
            [other for other in modes if conflict(modes[name], modes[other])],
        )
        for touches, name in names.items()
    ]
    if anything:
        classes.append(ConflictClass(ANYTHING, sum(anything.values()), [*modes, ANYTHING]))
    return classes


def _assignment(found: Plan, name: str) -> tuple[tuple[int, ...], bool]:
    assignment = found.mapping[name]
    return assignment.workers, assignment.synchronised
