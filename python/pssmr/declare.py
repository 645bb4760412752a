"""From a function to a compiled command: its arguments, its result, and the keys that it touches."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, get_args, get_origin

from pssmr._core import Context, Method, Schema
from pssmr.errors import DeclarationError
from pssmr.schema import schema_of
from pssmr.state import Access, Claim, Counter, Declarable, Map, Resource

Conflicts = Callable[..., Iterable[Access | Claim]]

NAME_BYTES_MAX = 255


@dataclasses.dataclass(frozen=True)
class Options:
    """What `@command(...)` was given beside the annotations."""

    query: bool = False
    reads: Sequence[Declarable] = ()
    writes: Sequence[Declarable] = ()
    commutes: Sequence[Declarable] = ()
    exclusive: bool = False
    conflicts: Conflicts | None = None
    vectorized: bool = False
    since: int = 1

    @property
    def decorator(self) -> str:
        """How the user wrote it."""
        return "@pssmr.query" if self.query else "@pssmr.command"


@dataclasses.dataclass(frozen=True)
class Key:
    """A key that a command touches."""

    argument: int
    path: tuple[int | None, ...]
    """Indices of fields; `None`, the last, is each element."""
    access: Access


@dataclasses.dataclass(frozen=True)
class Declared:
    """A command, read from its function."""

    method: Method
    keys: tuple[Key, ...]
    tables: tuple[Access, ...]
    """Whole tables that it touches."""


def declare(
    owner: type, name: str, function: Callable[..., Any], options: Options, names: Mapping[str, Any]
) -> Declared:
    """Reads and checks the declaration of one command.

    Args:
        owner: The class that it is defined in.
        name: What the class calls it.
        function: The method.
        options: What the decorator was given.
        names: What annotations can mention beside the names of the module and the class.

    Raises:
        DeclarationError: If it makes no sense.
    """
    where = f"{owner.__name__}.{name}"
    _check_function(where, function, options)
    hints = _hints_of(where, owner, function, names)
    parameters = list(inspect.signature(function).parameters.values())[1:]
    context = bool(parameters) and hints.get(parameters[0].name) is Context
    if context:
        parameters = parameters[1:]
    if options.vectorized:
        _check_vectorized(where, parameters, context)
    compiled, keys = [], list[Key]()
    for index, parameter in enumerate(parameters):
        place = f"{where}: argument '{parameter.name}'"
        annotation = _checked_annotation(place, parameter, hints)
        schema = _schema_at(place, annotation)
        default = None if parameter.default is parameter.empty else (parameter.default,)
        compiled.append((parameter.name, schema, default, parameter.kind is parameter.KEYWORD_ONLY))
        keys += _keys_of(place, index, schema, annotation, options)
    if "return" not in hints:
        raise DeclarationError(f"{where}: the result has no annotation; write -> None if there is none")
    result = _schema_at(f"{where}: the result", hints["return"])
    try:
        method = Method(
            name, function, options.query, context, compiled, result, options.vectorized, since=options.since
        )
    except TypeError as error:
        raise DeclarationError(f"{where}: {error}") from None
    return Declared(method, tuple(keys), _tables_of(where, options, bool(keys)))


def _check_function(where: str, function: Callable[..., Any], options: Options) -> None:
    if not inspect.isfunction(function):
        raise DeclarationError(f"{where}: {options.decorator} needs a plain method, and comes before other decorators")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise DeclarationError(
            f"{where} is async, but replicas run commands to their end, in order; write a plain def, "
            "and do input and output at the client"
        )
    if inspect.isgeneratorfunction(function):
        raise DeclarationError(f"{where} is a generator; return a list")
    if len(where.partition(".")[2].encode()) > NAME_BYTES_MAX:
        raise DeclarationError(f"{where}: the name is longer than {NAME_BYTES_MAX} bytes")
    if not inspect.signature(function).parameters:
        raise DeclarationError(f"{where} has no parameters; the first one is self")


def _check_vectorized(where: str, parameters: Sequence[inspect.Parameter], context: bool) -> None:
    if context:
        raise DeclarationError(f"{where}: a vectorised command has no context: it is called for many commands at once")
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY:
            raise DeclarationError(
                f"{where}: argument '{parameter.name}': a vectorised command takes its arguments by position"
            )


def _hints_of(where: str, owner: type, function: Callable[..., Any], names: Mapping[str, Any]) -> dict[str, Any]:
    known = dict(names)
    for base in reversed(owner.__mro__):
        known.update(vars(base))
    try:
        return typing.get_type_hints(function, localns=known, include_extras=True)
    except NameError as error:
        raise DeclarationError(
            f"{where}: an annotation can't be read: {error}; names in annotations must be known where the class is"
        ) from error
    except TypeError as error:
        raise DeclarationError(f"{where}: an annotation can't be read: {error}") from error


def _checked_annotation(place: str, parameter: inspect.Parameter, hints: dict[str, Any]) -> object:
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        raise DeclarationError(f"{place}: *args and **kwargs can't be checked; use a list or a dict")
    if parameter.name not in hints:
        raise DeclarationError(f"{place} has no annotation, so that it can't be checked; add its type")
    annotation: object = hints[parameter.name]
    if annotation is Context:
        raise DeclarationError(f"{place}: a context is the first parameter after self")
    return annotation


def _schema_at(place: str, annotation: object) -> Schema:
    try:
        return schema_of(annotation)
    except TypeError as error:
        raise DeclarationError(f"{place}: {error}") from None


def _keys_of(place: str, index: int, schema: Schema, annotation: object, options: Options) -> list[Key]:
    """The keys that an argument's annotation declares."""
    outer: object = annotation
    metadata: list[object] = []
    if get_origin(annotation) is Annotated:
        outer, *metadata = get_args(annotation)
    if _mentions_access(outer):
        raise DeclarationError(
            f"{place}: the key is declared inside of {schema}; declare it outside, as in "
            'Annotated[list[str], accounts.write] for each element, or Annotated[Order, accounts.write("account")]'
        )
    keys = []
    for access in metadata:
        if isinstance(access, Declarable):
            raise DeclarationError(f"{place}: says which {access.kind} but not how; write {access.name}.read or .write")
        if not isinstance(access, Access):
            continue
        if not access.table.has_keys:
            option = f"{access.mode}s=[{access.table.name}]"
            raise DeclarationError(
                f"{place}: a {access.table.kind} has no keys; declare it with {option} at the command"
            )
        _check_mode(f"{place}: {access}", access, options)
        keys.append(Key(index, _path_of(place, schema, access), access))
    return keys


def _mentions_access(annotation: object) -> bool:
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        return any(isinstance(item, Access) for item in metadata) or _mentions_access(inner)
    return any(_mentions_access(argument) for argument in get_args(annotation))


def _path_of(place: str, schema: Schema, access: Access) -> tuple[int | None, ...]:
    """The way to the key, or to the keys, if it leads to the type of the table's keys."""
    path: list[int | None] = []
    at, reached = schema, ""
    for name in access.path:
        field = at.field(name)
        if field is None:
            raise DeclarationError(f"{place}{reached}: {at} is no dataclass with a field {name!r}")
        index, at = field
        path.append(index)
        reached += f".{name}"
    try:
        expected = access.table.schemas[0]
    except TypeError as error:
        raise DeclarationError(f"{place}: the {access.table.kind} {access.table.name}: {error}") from None
    if at != expected and at.element == expected:
        return (*path, None)
    if at != expected:
        raise DeclarationError(
            f"{place}{reached} is {at}, but {access.table.name} has keys of {expected}; make the types the same"
        )
    return tuple(path)


def _check_mode(place: str, access: Access, options: Options) -> None:
    if options.query and access.mode != "read":
        raise DeclarationError(f"{place}: a query only reads; make it a @pssmr.command, or declare read")
    if options.exclusive:
        raise DeclarationError(f"{place}: exclusive=True means everything already; leave one of them out")
    if access.mode == "commute" and not _has_commuting_change(access.table):
        raise DeclarationError(
            f"{place}: only a counter, and a map with int values, have a commuting change, which is add"
        )


def _has_commuting_change(table: Declarable) -> bool:
    return isinstance(table, Counter | Resource) or (isinstance(table, Map) and str(table.schemas[1]) == "int")


def _tables_of(where: str, options: Options, has_keys: bool) -> tuple[Access, ...]:
    """The whole tables that the options declare."""
    tables = []
    for mode, named in (("read", options.reads), ("commute", options.commutes), ("write", options.writes)):
        option = f"{mode}s"
        if isinstance(named, Declarable):
            raise DeclarationError(f"{where}: {option}= takes a list; write {option}=[{named.name}]")
        for table in named:
            if not isinstance(table, Declarable):
                raise DeclarationError(f"{where}: {option}= takes maps, other state and resources, not {table!r}")
            access: Access = getattr(table, mode)
            _check_mode(f"{where}: {option}=[{table.name}]", access, options)
            tables.append(access)
    if options.exclusive and (tables or has_keys or options.conflicts):
        raise DeclarationError(f"{where}: exclusive=True means everything already; leave the rest out")
    return tuple(tables)
