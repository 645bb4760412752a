"""From a service class to its compiled interface: its tables and its commands together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pssmr._core import Interface, Schema
from pssmr.errors import DeclarationError
from pssmr.state import Access, Claim, Declarable, Resource, Stored

if TYPE_CHECKING:
    from pssmr.service import Command

RESERVED = frozenset({"snapshot", "restore"})
"""Names that mean something else in a service class."""

Tables = dict[str, Declarable]


def tables_of(owner: type) -> Tables:
    """The state and the resources of a class by name, bases first; resources come after what is stored."""
    found: Tables = {}
    for base in reversed(owner.__mro__):
        for name, value in vars(base).items():
            if isinstance(value, Declarable):
                found[name] = value
            elif name in found:
                raise DeclarationError(
                    f"{owner.__name__}.{name} hides a {found[name].kind} of a base class; choose another name"
                )
    for name, table in found.items():
        if table.name != name:
            raise DeclarationError(f"{owner.__name__}.{name} is {table.name} again; make a {table.kind} of its own")
        try:
            assert table.schemas
        except TypeError as error:
            raise DeclarationError(f"{owner.__name__}.{name}: {error}") from None
    return dict(sorted(found.items(), key=lambda item: isinstance(item[1], Resource)))


def commands_of(owner: type, kind: type[Command[Any, Any]]) -> dict[str, Command[Any, Any]]:
    """The commands of a class by name, bases first."""
    found: dict[str, Command[Any, Any]] = {}
    for base in reversed(owner.__mro__):
        for name, value in vars(base).items():
            if isinstance(value, kind):
                if name in RESERVED:
                    raise DeclarationError(f"{owner.__name__}.{name}: the name is reserved; choose another")
                if value.name != name:
                    raise DeclarationError(f"{owner.__name__}.{name} is {value.name} again; a command has one name")
                found[name] = value
            elif name in found:
                raise DeclarationError(
                    f"{owner.__name__}.{name} hides a command of a base class without being one; decorate it"
                )
    return found


def compile_interface(owner: type, tables: Tables, commands: Iterable[Command[Any, Any]]) -> Interface:
    """Compiles a class whose commands are declared."""
    ids = {id(table): index for index, table in enumerate(tables.values())}

    def table_id(where: str, access: Access) -> int:
        index = ids.get(id(access.table))
        if index is None:
            kind = access.table.kind
            name = access.table.name or f"a {kind}"
            raise DeclarationError(
                f"{where}: {name} is not a {kind} of {owner.__name__}; declare it in the class, as in "
                f"{name.replace(' ', '_')} = pssmr.Map[str, int]()"
            )
        return index

    compiled = []
    for command in commands:
        where = f"{owner.__name__}.{command.name}"
        declared, options = command.declared, command.options
        keys = [(key.argument, list(key.path), table_id(where, key.access), key.access.mode) for key in declared.keys]
        scopes: list[tuple[str, int]] = [(access.mode, table_id(where, access)) for access in declared.tables]
        if options.exclusive:
            scopes.append(("exclusive", 0))
        compiled.append((declared.method, keys, scopes, options.conflicts))
    maps = [(name, table.schemas[0], table.schemas[1]) for name, table in tables.items() if isinstance(table, Stored)]
    return Interface(owner, maps, compiled)


def claims_of(tables: Tables, claims: Iterable[Access | Claim]) -> list[tuple[int, str, tuple[object, Schema] | None]]:
    """What a `conflicts` callable returned, as the core takes it.

    Raises:
        TypeError: If it is something else.
    """
    ids = {id(table): index for index, table in enumerate(tables.values())}
    result: list[tuple[int, str, tuple[object, Schema] | None]] = []
    for claim in claims:
        access = claim.access if isinstance(claim, Claim) else claim
        if not isinstance(access, Access) or id(access.table) not in ids:
            raise TypeError(f"conflicts returned {claim!r}; return a list of accounts.write[key] or accounts.read")
        key = (claim.key, access.table.schemas[0]) if isinstance(claim, Claim) else None
        result.append((ids[id(access.table)], access.mode, key))
    return result
