"""Plans for the scheduler `early`: which lanes run the commands of which class.

An `EarlyPlan` is a plain Python object that a `plan.toml` yields, and `pssmr plan` computes. It checks itself when it
is made: one that exists is safe for any service with these tables, because replicas find the class of a command from
what the command touches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pssmr import cluster_fields
from pssmr.errors import ConfigError

if TYPE_CHECKING:
    from pssmr.planning import RuleBroken

LANES_MAX = 256
KEY_PARTITIONS_MAX = 1024
CLASSES_MAX = 1024

MODES = ("read", "commute", "write")

CorePlan = tuple[str, int, int, Sequence[tuple[str, Sequence[tuple[int, str]], Sequence[int], bool]]]
"""A plan as the core takes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedClass:
    """A class of commands, by what they touch, and its lanes."""

    name: str
    """For people."""
    touches: tuple[str, ...]
    """`accounts.write`: a table with `read`, `commute` or `write`; or `3.write`: a partition of the keys. A command
    belongs to the first class that has all that it touches."""
    lanes: tuple[int, ...]
    """Numbers from 0 on. No two commands of one lane run at once."""
    synchronised: bool = False
    """Whether a command goes to all of the lanes, and runs when it has come to the front of each. Otherwise it goes to
    one of them."""

    def __post_init__(self) -> None:
        cluster_fields.check_type(self.name, "name", str, "text")
        cluster_fields.check_type(self.synchronised, "synchronised", bool, "true or false")
        object.__setattr__(self, "touches", cluster_fields.check_items(self.touches, "touches", str))
        lanes = cluster_fields.check_items(self.lanes, "lanes", int)
        object.__setattr__(self, "lanes", tuple(sorted(lanes)))


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyPlan:
    """Which lanes run the commands of which class.

    The state is divided either by table or by key. A command that no class covers goes to all lanes, so it is safe, and
    slow.
    """

    lanes: int
    """How many."""
    classes: tuple[PlannedClass, ...]
    """In the order in which they are tried."""
    tables: tuple[str, ...] = ()
    """The tables of the service, in its order, if the state is divided by table."""
    key_partitions: int = 0
    """Into how many partitions the keys are divided, by their hashes, if it is divided by key."""

    def __post_init__(self) -> None:
        cluster_fields.check_integer(self.lanes, "lanes", 1, LANES_MAX, "lanes")
        object.__setattr__(self, "tables", cluster_fields.check_items(self.tables, "tables", str))
        object.__setattr__(self, "classes", cluster_fields.check_items(self.classes, "classes", PlannedClass))
        if not self.tables:
            cluster_fields.check_integer(self.key_partitions, "key_partitions", 1, KEY_PARTITIONS_MAX, "partitions")
        elif self.key_partitions:
            raise ConfigError(
                f"is {self.key_partitions}, but the state is divided by table already",
                field="key_partitions",
                remedy="leave out tables or key_partitions",
            )
        if not 1 <= len(self.classes) <= CLASSES_MAX:
            raise ConfigError(
                f"has {len(self.classes)} classes, but a plan has 1 to {CLASSES_MAX}",
                field="classes",
                remedy="compute it with `pssmr plan`",
            )
        for index, each in enumerate(self.classes):
            self._check_class(f"classes[{index}]", each, [other.name for other in self.classes[:index]])
        self._check_rules()

    @property
    def partitions(self) -> int:
        """Into how many parts the state is divided."""
        return len(self.tables) or self.key_partitions

    def touched(self, each: PlannedClass) -> dict[int, str]:
        """The strongest mode in which a class touches each partition that it does."""
        modes: dict[int, str] = {}
        for touch in each.touches:
            place, _, mode = touch.rpartition(".")
            partition = self.tables.index(place) if self.tables else int(place)
            held = modes.get(partition, mode)
            modes[partition] = mode if held == mode else "write"
        return modes

    def for_core(self, tables: Sequence[str] | None) -> CorePlan:
        """The plan as the core takes it.

        Args:
            tables: The names of the service's tables, in order; `None` if it is a native one.

        Raises:
            ConfigError: If it was made for other tables.
        """
        if self.tables and list(self.tables) != list(tables or ()):
            has = ", ".join(tables) if tables else "no declared tables"
            raise ConfigError(
                f"is for the tables {', '.join(self.tables)}, but the service has {has}",
                field="plan.tables",
                remedy="compute it again with `pssmr plan`, or divide by key: key_partitions",
            )
        classes = [
            (each.name, list(self.touched(each).items()), each.lanes, each.synchronised) for each in self.classes
        ]
        return ("tables" if self.tables else "keys", self.partitions, self.lanes, classes)

    def _check_class(self, field: str, each: PlannedClass, others: Sequence[str]) -> None:
        if each.name in others:
            raise ConfigError(f"is {each.name!r} again", field=f"{field}.name", remedy="give each class its own name")
        for touch in each.touches:
            self._check_touch(f"{field}.touches", touch)
        for lane in each.lanes:
            cluster_fields.check_integer(lane, f"{field}.lanes", 0, self.lanes - 1)
        if len(set(each.lanes)) < len(each.lanes):
            raise ConfigError(
                f"has lane {next(lane for lane in each.lanes if each.lanes.count(lane) > 1)} twice",
                field=f"{field}.lanes",
                remedy="name each lane once",
            )

    def _check_touch(self, field: str, touch: str) -> None:
        place, _, mode = touch.rpartition(".")
        if mode not in MODES:
            raise ConfigError(
                f"has {touch!r}, which ends in no mode{cluster_fields.nearest(mode, MODES)}",
                field=field,
                remedy=f"write {place or touch}.read, .commute or .write",
            )
        if self.tables and place not in self.tables:
            raise ConfigError(
                f"has {touch!r}, but there is no table {place!r}{cluster_fields.nearest(place, self.tables)}",
                field=field,
                remedy=f"the tables are {', '.join(self.tables)}",
            )
        is_number = place.isascii() and place.isdigit()
        if not self.tables and not (is_number and int(place) < self.key_partitions):
            raise ConfigError(
                f"has {touch!r}, but there is no partition {place!r}",
                field=field,
                remedy=f"the partitions of the keys are 0 to {self.key_partitions - 1}",
            )

    def _check_rules(self) -> None:
        from pssmr.planning import Assignment, ConflictClass, RuleBroken, check

        touched = {each.name: self.touched(each) for each in self.classes}
        classes = [
            ConflictClass(name, 1, [other for other in touched if conflict(modes, touched[other])])
            for name, modes in touched.items()
        ]
        mapping = {each.name: Assignment(each.lanes, each.synchronised) for each in self.classes}
        try:
            check(classes, mapping, self.lanes)
        except RuleBroken as error:
            names = [each.name for each in self.classes]
            field = f"classes[{names.index(error.classes[0])}].{'lanes' if error.rule in (1, 4, 5) else 'synchronised'}"
            raise ConfigError(str(error), field=field, remedy=_remedy(error, self.lanes)) from None


def conflict(first: dict[int, str], second: dict[int, str]) -> bool:
    """Whether commands that touch this conflict with commands that touch that."""
    return any(
        partition in second and (mode, second[partition]) not in (("read", "read"), ("commute", "commute"))
        for partition, mode in first.items()
    )


def _remedy(error: RuleBroken, lanes: int) -> str:
    names = " and ".join(error.classes)
    remedy = {
        1: f"give it a lane from 0 to {lanes - 1}",
        2: f"write synchronised = true for {names}, or give it one lane",
        3: f"write synchronised = true for {names.replace(' and ', ' or ')}",
        4: "give the synchronised class that lane too, or take it from the other",
        5: f"give {names} a lane in common",
    }[error.rule]
    return f"{remedy}; `pssmr plan` computes a plan that keeps the rules"
