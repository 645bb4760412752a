"""What a service keeps beside its maps, and whether its snapshots have it."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import re
import types
from typing import TYPE_CHECKING

from pssmr.errors import DeclarationError, SnapshotError
from pssmr.state import Resource

if TYPE_CHECKING:
    from pssmr.service import Service

METHODS = {"snapshot": "snapshot(self) -> bytes", "restore": "restore(self, state: bytes) -> None"}
"""What a service with state of its own defines."""

_REMEDY = f"define {' and '.join(METHODS.values())}, or keep it in a pssmr.Map"

_SCALARS = (type(None), bool, int, float, complex, str, bytes, range, type(Ellipsis))
_CONSTANTS = (enum.Enum, type, types.FunctionType, types.BuiltinFunctionType, types.ModuleType, re.Pattern)


def can_snapshot(service: Service) -> bool:
    """Whether a snapshot of a service has its whole state. `snapshot_obstacle` says why not."""
    return snapshot_obstacle(service) is None


def snapshot_obstacle(service: Service) -> str | None:
    """What a snapshot of a service would not have, and what to do; `None` if it has all.

    A service without `snapshot` and `restore` must keep nothing beside its maps: it has no resources, and its
    attributes are constants, which no command can change.
    """
    if service._has_snapshot:
        return None
    parts = [f"the resource {name!r}" for name, table in service._tables.items() if isinstance(table, Resource)]
    own = (name for name in vars(service) if name not in service._tables and name != "_instance")
    parts += [f"the attribute {name!r}" for name in own if not _is_constant(getattr(service, name))]
    if not parts:
        return None
    return f"{type(service).__name__} keeps state that no snapshot would have: {', '.join(parts)}; {_REMEDY}"


def check_snapshot(service: Service) -> None:
    """Does nothing if a snapshot of a service has its whole state.

    Raises:
        SnapshotError: If not; the message says what is missing, and what to do.
    """
    obstacle = snapshot_obstacle(service)
    if obstacle is not None:
        raise SnapshotError(obstacle)


def assignment_refusal(service: Service, name: str) -> str:
    """Why a command can't assign an attribute of a service without snapshots."""
    return f"{type(service).__name__}.{name} is assigned by a command, but no snapshot would have it; {_REMEDY}"


def declares_snapshots(owner: type) -> bool:
    """Whether a service class has `snapshot` and `restore`.

    Raises:
        DeclarationError: If it has one of them, or they can't be called.
    """
    found = {name: inspect.getattr_static(owner, name, None) for name in METHODS}
    missing = [name for name, method in found.items() if method is None]
    if len(missing) == len(METHODS):
        return False
    if missing:
        (present,) = METHODS.keys() - missing
        raise DeclarationError(
            f"{owner.__name__} defines {present} but not {missing[0]}: a state that is frozen has to come back; "
            f"define {METHODS[missing[0]]}"
        )
    for name, method in found.items():
        arguments = (None, b"") if name == "restore" else (None,)
        if not inspect.isfunction(method) or inspect.iscoroutinefunction(method) or not _takes(method, arguments):
            raise DeclarationError(
                f"{owner.__name__}.{name}: the name is reserved for the method {METHODS[name]}, which this is not"
            )
    return True


def _takes(method: types.FunctionType, arguments: tuple[object, ...]) -> bool:
    try:
        inspect.signature(method).bind(*arguments)
    except TypeError:
        return False
    return True


def _is_constant(value: object) -> bool:
    """Whether a value can't change, so that only an assignment could make the attribute another one."""
    # A quarter of the time that it takes to import pssmr, if nobody else has.
    import logging

    if type(value) in _SCALARS or isinstance(value, (*_CONSTANTS, logging.Logger)):
        return True
    if isinstance(value, tuple | frozenset) and not hasattr(value, "__dict__"):
        return all(_is_constant(item) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        frozen: bool = value.__dataclass_params__.frozen  # type: ignore[attr-defined]
        return frozen and all(_is_constant(getattr(value, field.name)) for field in dataclasses.fields(value))
    return False
