"""What a service's commands touch: state that the core keeps, and resources that the service keeps itself."""

from __future__ import annotations

import dataclasses
import functools
from typing import ClassVar, Generic, Literal, TypeVar, get_args

from pssmr import _core
from pssmr._core import Schema, Table
from pssmr.schema import schema_of

K = TypeVar("K")
V = TypeVar("V")

Mode = Literal["read", "commute", "write"]


@dataclasses.dataclass(frozen=True, eq=False)
class Access:
    """A way of touching a table: `accounts.read`, `accounts.write`, `accounts.commute`.

    In an annotation, as in `Annotated[str, accounts.write]`, the argument is the key. `accounts.write("order.account")`
    takes the key from a field of an argument that is a dataclass. In what a `conflicts` callable returns,
    `accounts.write[key]` is one key, and `accounts.write` the whole table.
    """

    table: Declarable
    mode: Mode
    path: tuple[str, ...] = ()

    def __call__(self, path: str) -> Access:
        """The same of the key that a field is: `path` is names joined by dots."""
        return Access(self.table, self.mode, tuple(path.split(".")))

    def __getitem__(self, key: object) -> Claim:
        return Claim(self, key)

    def __str__(self) -> str:
        path = f"({'.'.join(self.path)!r})" if self.path else ""
        return f"{self.table.name}.{self.mode}{path}"


@dataclasses.dataclass(frozen=True, eq=False)
class Claim:
    """One key of a table that a command touches in a mode: what a `conflicts` callable returns."""

    access: Access
    key: object


class Declarable:
    """What commands can declare that they touch."""

    name: str = ""
    """The attribute of the service class that this is."""

    kind: ClassVar[str]
    """What it is called."""

    has_keys: ClassVar[bool] = True
    """Whether an argument can be a key of it."""

    since: int = 1
    """The version of the service that it came with."""

    _example: ClassVar[str]

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = self.name or name

    @property
    def read(self) -> Access:
        """Looks at a key. Commands that only read a key run in parallel."""
        return self._access("read")

    @property
    def write(self) -> Access:
        """Reads and changes a key. Such commands run one after the other."""
        return self._access("write")

    @property
    def commute(self) -> Access:
        """Changes a key in a way whose order makes no difference, without looking: such commands run in parallel."""
        return self._access("commute")

    def _access(self, mode: Mode) -> Access:
        return Access(self, mode)

    @functools.cached_property
    def schemas(self) -> tuple[Schema, ...]:
        """The schemas of the types in brackets, the key's first.

        Raises:
            TypeError: If they are missing, or can't be.
        """
        key, *rest = _schemas_in_brackets(self, self._example)
        if not key.is_key:
            raise TypeError(f"{key} can't be a key; use None, bool, int, str, bytes, an Enum, or tuples of those")
        return (key, *rest)


class Stored(Declarable):
    """State that the core keeps: it is part of snapshots, guarded by what commands declare, and rolled back."""


class Map(Table[K, V], Stored, Generic[K, V]):
    """A replicated map, kept by the core: `accounts = pssmr.Map[str, int]()` in the body of a service class.

    Handlers use it as `self.accounts`, much like a dict, with these differences: keys and values are checked against
    the types; iteration is sorted by key; values are kept encoded, so what is read is a copy and what has changed must
    be set again; only what the running command declares may be touched; and what a failing handler has written is
    undone. Keys are None, bool, int, str, bytes, enumerations, and tuples and unions of those.
    """

    kind = "map"
    _example = "pssmr.Map[str, int]()"

    def __init__(self, *, since: int = 1) -> None:
        """A map of a service class.

        Args:
            since: The version of the service that it came with: only commands of that version, or a later one, use it.
        """
        self.since = since


class Set(_core.Set[K], Stored, Generic[K]):
    """A replicated set, kept by the core: `members = pssmr.Set[str]()` in the body of a service class.

    Handlers use it as `self.members`, much like a set, with the same differences as `Map` has from a dict: elements are
    checked against the type, iteration is sorted, and elements are declared like keys, as in
    `Annotated[str, members.write]`. What can be a key of a map can be an element.
    """

    kind = "set"
    _example = "pssmr.Set[str]()"

    def __init__(self, *, since: int = 1) -> None:
        """A set of a service class.

        Args:
            since: The version of the service that it came with: only commands of that version, or a later one, use it.
        """
        self.since = since

    @functools.cached_property
    def schemas(self) -> tuple[Schema, ...]:
        """The schema of the elements, and that of nothing."""
        return (*super().schemas, Schema.scalar("None"))


class Counter(_core.Counter, Stored):
    """A replicated number, kept by the core: `hits = pssmr.Counter()` in the body of a service class.

    Commands that only add to it, declared with `commutes=[hits]`, run in parallel; one that reads it, with
    `reads=[hits]`, waits for those before it. Numbers by key are a `Map[str, int]`, whose `add` does the same.
    """

    kind = "counter"
    has_keys = False

    def __init__(self, *, since: int = 1) -> None:
        """A counter of a service class; it begins at 0.

        Args:
            since: The version of the service that it came with: only commands of that version, or a later one, use it.
        """
        self.since = since

    @functools.cached_property
    def schemas(self) -> tuple[Schema, ...]:
        """The schema of its one key, and that of the number."""
        return (Schema.scalar("None"), Schema.scalar("int"))


class Queue(_core.Queue[V], Stored, Generic[V]):
    """A replicated queue, first in, first out, kept by the core: `jobs = pssmr.Queue[str]()` in a service class.

    All that touches it keeps its order, so it is declared as a whole: `writes=[jobs]` to push and to pop,
    `reads=[jobs]` to look at it. For many queues that commands use in parallel take a `Map` from the queue's name and a
    number.
    """

    kind = "queue"
    has_keys = False
    _example = "pssmr.Queue[str]()"

    def __init__(self, *, since: int = 1) -> None:
        """A queue of a service class.

        Args:
            since: The version of the service that it came with: only commands of that version, or a later one, use it.
        """
        self.since = since

    @functools.cached_property
    def schemas(self) -> tuple[Schema, ...]:
        """The schema of the numbers of its values, and that of the values."""
        return (Schema.scalar("int"), *_schemas_in_brackets(self, self._example))


class Resource(Declarable, Generic[K]):
    """A name space of conflict keys without storage: `books = pssmr.Resource[str]()` in the body of a service class.

    For state that the service keeps in attributes of its own. Commands that declare the same key of a resource run in
    order, others in parallel. Nothing checks what the handlers really touch, and nothing undoes what a failing handler
    has changed: it must check first and change then. The service's `snapshot` and `restore` must cover
    the state.
    """

    kind = "resource"
    _example = "pssmr.Resource[str]()"

    def __init__(self, *, since: int = 1) -> None:
        """A resource of a service class.

        Args:
            since: The version of the service that it came with: only commands of that version, or a later one, use it.
        """
        self.since = since


def _schemas_in_brackets(declared: object, example: str) -> tuple[Schema, ...]:
    arguments = get_args(getattr(declared, "__orig_class__", None))
    if not arguments:
        raise TypeError(f"its types are missing; write {example}")
    return tuple(schema_of(argument) for argument in arguments)
