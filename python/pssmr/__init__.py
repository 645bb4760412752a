"""Parallel state machine replication: fault-tolerant replicated applications in Python on a Rust core.

Write a `Service` whose methods are commands, say which state each one touches, and run it on several replicas.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from pssmr._core import Context
from pssmr.encoding import decode, encode
from pssmr.errors import (
    ApplicationError,
    ArgumentError,
    Busy,
    Closed,
    CommandError,
    ConfigError,
    DeclarationError,
    Error,
    HandlerFailed,
    NoQuorum,
    OutcomeUnknown,
    ReconfigurationRefused,
    Refused,
    ReplicaStopped,
    RequestTooLarge,
    SessionExpired,
    SnapshotError,
    StepDownRefused,
    Unavailable,
    UndeclaredAccess,
    UnknownCommand,
    UpgradeRefused,
    VersionNotInForce,
    WrongKey,
)
from pssmr.request import Batch, Request, Transaction
from pssmr.service import Call, Command, Query, Service, command, query
from pssmr.state import Counter, Map, Queue, Resource, Set

if TYPE_CHECKING:
    from pssmr.async_client import AsyncClient
    from pssmr.client import Client
    from pssmr.config import ClusterConfig
    from pssmr.membership import AddReplica, Member, Membership, RemoveReplica, ReplaceReplica
    from pssmr.replica import Replica
    from pssmr.settings import Settings

__all__ = [
    "AddReplica",
    "ApplicationError",
    "ArgumentError",
    "AsyncClient",
    "Batch",
    "Busy",
    "Call",
    "Client",
    "Closed",
    "ClusterConfig",
    "Command",
    "CommandError",
    "ConfigError",
    "Context",
    "Counter",
    "DeclarationError",
    "Error",
    "HandlerFailed",
    "Map",
    "Member",
    "Membership",
    "NoQuorum",
    "OutcomeUnknown",
    "Query",
    "Queue",
    "ReconfigurationRefused",
    "Refused",
    "RemoveReplica",
    "ReplaceReplica",
    "Replica",
    "ReplicaStopped",
    "Request",
    "RequestTooLarge",
    "Resource",
    "Service",
    "SessionExpired",
    "Set",
    "Settings",
    "SnapshotError",
    "StepDownRefused",
    "Transaction",
    "Unavailable",
    "UndeclaredAccess",
    "UnknownCommand",
    "UpgradeRefused",
    "VersionNotInForce",
    "WrongKey",
    "command",
    "decode",
    "encode",
    "query",
]

_LATER = {
    "AddReplica": "pssmr.membership",
    "AsyncClient": "pssmr.async_client",
    "Client": "pssmr.client",
    "ClusterConfig": "pssmr.config",
    "Member": "pssmr.membership",
    "Membership": "pssmr.membership",
    "RemoveReplica": "pssmr.membership",
    "ReplaceReplica": "pssmr.membership",
    "Replica": "pssmr.replica",
    "Settings": "pssmr.settings",
}
"""What takes long to import, as asyncio does, and is not needed where a service is declared."""


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LATER[name]), name)
