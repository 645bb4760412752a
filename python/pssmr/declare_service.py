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

VERSION_MAX = 1_000_000
"""The last version that a service can have."""

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


def compile_interface(owner: type, tables: Tables, commands: Iterable[Command[Any, Any]], latest: int) -> Interface:
    """Compiles a class whose commands are declared, and whose latest version is this."""
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
        for access in (*(key.access for key in declared.keys), *declared.tables):
            if access.table.since > options.since:
                raise DeclarationError(
                    f"{where} declares {access}, but {access.table.name} came with version {access.table.since}; "
                    f"a command that uses it has since={access.table.since}"
                )
        compiled.append((declared.method, keys, scopes, options.conflicts))
    maps = [
        (name, table.schemas[0], table.schemas[1], table.since)
        for name, table in tables.items()
        if isinstance(table, Stored)
    ]
    resources_since = [table.since for table in tables.values() if isinstance(table, Resource)]
    return Interface(owner, maps, compiled, resources_since, latest)


def latest_version(owner: type, tables: Tables, commands: Iterable[Command[Any, Any]], said: int | None) -> int:
    """The latest version of a service class: what it says itself, or what came last.

    Raises:
        DeclarationError: If something is of a version that can't be, or a later one than the class says.
    """
    since = {f"{owner.__name__}.{name}": table.since for name, table in tables.items()}
    since |= {f"{owner.__name__}.{command.name}": command.options.since for command in commands}
    for what, version in [(f"{owner.__name__}: version", said), *((f"{name}: since", n) for name, n in since.items())]:
        is_number = isinstance(version, int) and not isinstance(version, bool)
        if version is not None and not (is_number and 1 <= version <= VERSION_MAX):
            raise DeclarationError(f"{what} is {version!r}, expected 1 to {VERSION_MAX}")
    for name, version in since.items():
        if said is not None and version > said:
            raise DeclarationError(f"{name} has since={version}, but {owner.__name__} says that its version is {said}")
    inherited: int = owner._version  # type: ignore[attr-defined]
    return said or max(inherited, *since.values(), 1)


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
