"""Services: classes whose methods are replicated commands."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar, overload

from pssmr._core import Context, Instance, Interface, Schema
from pssmr.declare import Conflicts, Declared, Options, declare
from pssmr.declare_service import Tables, claims_of, commands_of, compile_interface, latest_version, tables_of
from pssmr.errors import DeclarationError
from pssmr.request import Request
from pssmr.snapshots import assignment_refusal, declares_snapshots
from pssmr.state import Access, Claim, Declarable, Stored

P = ParamSpec("P")
R = TypeVar("R")


class Command(Generic[P, R]):
    """A method of a service that runs at every replica, in the agreed order.

    Made by `@pssmr.command`. `Bank.transfer` names the command, for clients; `bank.transfer(...)` on an instance calls
    it right here, without a cluster.
    """

    def __init__(self, function: Callable[..., R], options: Options) -> None:
        self.function = function
        self.options = options
        self.name = ""
        self.__qualname__ = function.__qualname__
        self._declared: Declared | None = None
        functools.update_wrapper(self, function)

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = self.name or name

    @property
    def declared(self) -> Declared:
        """What was read from the function.

        Raises:
            DeclarationError: If the command is not part of a service.
        """
        if self._declared is None:
            raise DeclarationError(f"{self.__qualname__} is not in a class; commands are methods of a pssmr.Service")
        return self._declared

    def declare(self, owner: type, names: Mapping[str, Any]) -> None:
        """Reads the function, once, for the class that it is defined in. Its annotations may mention `names`."""
        if self._declared is None:
            self._declared = declare(owner, self.name, self.function, self.options, names)

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: Service, owner: type) -> Callable[P, R]: ...
    def __get__(self, instance: Service | None, owner: type) -> Self | Callable[P, R]:
        if instance is None:
            return self
        return functools.partial(self._call, instance)

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> Call[R]:
        """The command with its arguments, for `call_many`, `batch` and `transaction`.

        Raises:
            ArgumentError: If the arguments don't fit.
        """
        return Call(self, self.declared.method.encode_call(args, kwargs))

    def _call(self, service: Service, /, *args: P.args, **kwargs: P.kwargs) -> R:
        result: R = service._instance.call(self.declared.method, service, args, kwargs)
        return result

    def __call__(self, *args: object, **kwargs: object) -> object:
        """Not this way: a command runs on a service, or through a client."""
        name = self.__qualname__
        raise TypeError(f"{name} names the command; call it on an instance, or as client.call({name}, ...)")

    def __repr__(self) -> str:
        return f"<{type(self).__name__.lower()} {self.__qualname__}>"


class Query(Command[P, R]):
    """A command that changes nothing, and need not be ordered. Made by `@pssmr.query`."""


class Call(Request[R]):
    """A command with its arguments, encoded. Made by `Command.bind`."""

    def __init__(self, command: Command[Any, R], payload: bytes) -> None:
        self.command = command
        self.name = command.name
        self.payload = payload
        self.readable = command.declared.method.readable

    def decode(self, reply: bytes) -> R:
        """The command's result.

        Raises:
            Exception: What the command raised, or why it was refused.
        """
        result: R = self.command.declared.method.decode_reply(reply)
        return result

    def __repr__(self) -> str:
        return f"<call of {self.command.__qualname__}>"


class _CommandDecorator(Protocol):
    @overload
    def __call__(self, function: Callable[Concatenate[Any, Context, P], R], /) -> Command[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Any, P], R], /) -> Command[P, R]: ...


class _QueryDecorator(Protocol):
    @overload
    def __call__(self, function: Callable[Concatenate[Any, Context, P], R], /) -> Query[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Any, P], R], /) -> Query[P, R]: ...


@overload
def command(function: Callable[Concatenate[Any, Context, P], R], /) -> Command[P, R]: ...
@overload
def command(function: Callable[Concatenate[Any, P], R], /) -> Command[P, R]: ...
@overload
def command(
    *,
    reads: Sequence[Declarable] = (),
    writes: Sequence[Declarable] = (),
    commutes: Sequence[Declarable] = (),
    exclusive: bool = False,
    conflicts: Conflicts | None = None,
    vectorized: bool = False,
    since: int = 1,
) -> _CommandDecorator: ...
def command(
    function: Callable[..., Any] | None = None,
    /,
    *,
    reads: Sequence[Declarable] = (),
    writes: Sequence[Declarable] = (),
    commutes: Sequence[Declarable] = (),
    exclusive: bool = False,
    conflicts: Conflicts | None = None,
    vectorized: bool = False,
    since: int = 1,
) -> Any:
    """Makes a method a command: `@command`, or `@command(...)` with what annotations of arguments don't say.

    A command that declares nothing at all may touch everything, and so runs alone.

    Args:
        function: The method. Its arguments and its result are annotated. A first parameter that is annotated
            `pssmr.Context` gets what the replicas agree on: time, random numbers, the client.
        reads: Maps and resources of which it may read any key, and other state that it may read.
        writes: Maps and resources of which it may write any key, and other state that it may change.
        commutes: Counters that it adds to, and maps to whose keys it adds. Commands that do only that to a counter need
            no order among themselves.
        exclusive: Says that it may touch everything, for a command that declares nothing on purpose.
        conflicts: Computes what it touches: gets the service class and the command's arguments, and returns a list of
            `bank.accounts.write[key]` (a key) and `bank.accounts.read` (a whole map). It must depend on the arguments
            alone. Slower than annotations.
        vectorized: Says that the method takes many commands at once. The annotations are those of one command, and
            clients call it so; the method gets a numpy array for each argument (of int64, float64, bool, and of objects
            for all other types), and returns an array or a list with a result for each command, or None if that is the
            result of all. The commands of one call are independent of each other, by what they declare. If the method
            raises, all is undone, and each command is executed alone, in arrays of length 1. So it must not matter
            which commands come together: no sums over the arrays, and attributes of one's own are changed after
            everything is checked.
        since: The version of the service that it came with. As long as an older one is in force it is refused, with
            `VersionNotInForce`.
    """
    options = Options(
        reads=reads,
        writes=writes,
        commutes=commutes,
        exclusive=exclusive,
        conflicts=conflicts,
        vectorized=vectorized,
        since=since,
    )
    return Command(function, options) if function else lambda function: Command(function, options)


@overload
def query(function: Callable[Concatenate[Any, Context, P], R], /) -> Query[P, R]: ...
@overload
def query(function: Callable[Concatenate[Any, P], R], /) -> Query[P, R]: ...
@overload
def query(
    *, reads: Sequence[Declarable] = (), conflicts: Conflicts | None = None, vectorized: bool = False, since: int = 1
) -> _QueryDecorator: ...
def query(
    function: Callable[..., Any] | None = None,
    /,
    *,
    reads: Sequence[Declarable] = (),
    conflicts: Conflicts | None = None,
    vectorized: bool = False,
    since: int = 1,
) -> Any:
    """Makes a method a query, a command that changes nothing: `@query`, or `@query(...)`.

    A query that declares nothing at all may read everything. One that takes no context is answered without being
    ordered, if enough replicas agree. Not every replica executes every query, and not at the same place among the
    commands: one that changes anything, an attribute too, makes replicas differ.

    Args:
        function: The method, as for `command`.
        reads: Maps and resources of which it may read any key, and other state that it may read.
        conflicts: Computes what it reads, as for `command`.
        vectorized: Says that the method takes many queries at once, as for `command`.
        since: The version of the service that it came with, as for `command`.
    """
    options = Options(query=True, reads=reads, conflicts=conflicts, vectorized=vectorized, since=since)
    return Query(function, options) if function else lambda function: Query(function, options)


class Service:
    """The base of replicated applications.

    Subclasses have maps, resources, commands and queries. They are read and checked when the class is made. An
    instance is a service of its own: its commands can be called right away, without a cluster.

    Every replica runs the same commands and has to come to the same results, so a handler depends on its arguments, its
    context and the service's state alone: no clock, no random numbers but the context's, no files, no network, no
    iteration over a set, whose order differs between processes (`sorted` gives it one). Arguments come as copies, and
    dicts among them sorted by key. A handler that raises an `ApplicationError` answers with it; any other exception
    becomes `HandlerFailed`; `MemoryError` and what is no `Exception` stop the replica. A `RecursionError` is a failure
    like others, so replicas need the same recursion limit.

    A service that keeps state in attributes of its own, beside its maps, defines two methods:

    - `snapshot(self) -> bytes` (or an iterable of bytes, which are joined) returns that state, and changes nothing. The
      replicas compare the bytes by their digest, so equal states must give equal bytes: `pssmr.encode` makes such
      bytes, while pickle does not, nor does whatever follows the order of a dict or a set. No command runs meanwhile,
      and all wait for it.
    - `restore(self, state: bytes) -> None` makes the attributes what they were. It replaces everything that
      commands or `__init__` have put there. The maps are restored already, and it may read them.

    Both may read all maps, and write none. `pssmr.testing.check_snapshots` tries them out. A service without them can't
    assign attributes in commands, and if it has resources, or attributes that can change, then it has no snapshots.

    A service that runs is changed in versions. What is new says so: `@command(since=2)`, `Map[str, int](since=2)`; a
    command that does something else than before asks `Context.version`. Replicas with the new code behave as those with
    the old until all have it, and `pssmr upgrade` brings the new version into force. The latest version of a class is
    that of what came last, or `class Bank(pssmr.Service, version=3)`.
    """

    _tables: ClassVar[Tables] = {}
    _interface: ClassVar[Interface]
    _has_snapshot: ClassVar[bool] = False
    _version: ClassVar[int] = 1
    _instance: Instance

    def __init_subclass__(cls, *, version: int | None = None, **kwargs: object) -> None:
        """Reads the declarations of a new service class.

        Args:
            version: The latest version of the service; by default that of the command or the state that came last.
            kwargs: For other bases.

        Raises:
            DeclarationError: If one of them makes no sense.
        """
        super().__init_subclass__(**kwargs)
        cls._tables = tables_of(cls)
        commands = commands_of(cls, Command)
        cls._has_snapshot = declares_snapshots(cls)
        # The variables of the function that makes the class, if one does: annotations can be strings that mention them.
        names = sys._getframe(1).f_locals
        for declared in commands.values():
            declared.declare(cls, names)
        cls._version = latest_version(cls, cls._tables, commands.values(), version)
        cls._interface = compile_interface(cls, cls._tables, commands.values(), cls._version)

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        """A service with empty state."""
        if cls is Service:
            raise TypeError("pssmr.Service is a base class; make a subclass with commands")
        self = super().__new__(cls)
        vars(self)["_instance"] = Instance(cls._interface)
        for index, (name, table) in enumerate(cls._tables.items()):
            if isinstance(table, Stored):
                kind: Any = type(table)
                bound: Stored = kind.__new__(kind, self._instance, index)
                bound.name = name
                vars(self)[name] = bound
        return self

    def __setattr__(self, name: str, value: object) -> None:
        if name in self._tables:
            raise AttributeError(_not_assigned(name, self._tables[name]))
        if not self._has_snapshot and self._instance.is_executing:
            raise AttributeError(assignment_refusal(self, name))
        super().__setattr__(name, value)

    @classmethod
    def _claims(cls, claims: Iterable[Access | Claim]) -> list[tuple[int, str, tuple[object, Schema] | None]]:
        """What a `conflicts` callable returned, as the core takes it."""
        return claims_of(cls._tables, claims)


def _not_assigned(name: str, table: Declarable) -> str:
    """Why a command can't assign what it can change."""
    if table.kind == "map":
        return f"{name} is a map; change its entries, as in self.{name}[key] = value"
    if table.kind == "counter":
        return f"{name} is a counter; change its value, as in self.{name}.value = 0"
    return f"{name} is a {table.kind}; change it by its methods"
