"""What a service's commands touch: maps that the core keeps, and resources that the service keeps itself."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, ClassVar, Generic, Literal, TypeVar, get_args

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

    table: Map[Any, Any] | Resource[Any]
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


class _Accessible:
    """What can be declared in annotations."""

    name: str = ""
    """The attribute of the service class that this is."""

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
        raise NotImplementedError

    @functools.cached_property
    def schemas(self) -> tuple[Schema, ...]:
        """The schemas of the types in brackets, the key's first.

        Raises:
            TypeError: If they are missing, or can't be.
        """
        arguments = get_args(getattr(self, "__orig_class__", None))
        if not arguments:
            raise TypeError(f"its types are missing; write {self._example}")
        key, *rest = (schema_of(argument) for argument in arguments)
        if not key.is_key:
            raise TypeError(f"{key} can't be a key; use None, bool, int, str, bytes, an Enum, or tuples of those")
        return (key, *rest)


class Map(Table[K, V], _Accessible, Generic[K, V]):
    """A replicated map, kept by the core: `accounts = pssmr.Map[str, int]()` in the body of a service class.

    Handlers use it as `self.accounts`, much like a dict, with these differences: keys and values are checked against
    the types; iteration is sorted by key; values are kept encoded, so what is read is a copy and what has changed must
    be set again; only what the running command declares may be touched; and what a failing handler has written is
    undone. Keys are None, bool, int, str, bytes, enumerations, and tuples and unions of those.
    """

    _example = "pssmr.Map[str, int]()"

    def __init__(self) -> None:
        """A map of a service class."""

    def _access(self, mode: Mode) -> Access:
        return Access(self, mode)


class Resource(_Accessible, Generic[K]):
    """A name space of conflict keys without storage: `books = pssmr.Resource[str]()` in the body of a service class.

    For state that the service keeps in attributes of its own. Commands that declare the same key of a resource run in
    order, others in parallel. Nothing checks what the handlers really touch, and nothing undoes what a failing handler
    has changed: it must check first and change then. The service's `snapshot` and `restore` must cover
    the state.
    """

    _example = "pssmr.Resource[str]()"

    def _access(self, mode: Mode) -> Access:
        return Access(self, mode)
