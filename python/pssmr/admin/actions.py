"""What can be changed at a replica that runs, by whoever bears its token."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable
from typing import Any, TypeVar

from aiohttp import web

from pssmr.admin.bodies import read_body, read_no_body, wrong_value
from pssmr.admin.node import Node
from pssmr.admin.refusals import Refusal
from pssmr.errors import Closed, OutcomeUnknown, ReconfigurationRefused, StepDownRefused, Unavailable
from pssmr.logs import LEVELS, set_level

_log = logging.getLogger("pssmr.admin")

CHANGE_BYTES_MAX = 4096
WORKERS_MAX = 256

R = TypeVar("R")


def check_token(node: Node, request: web.BaseRequest) -> None:
    """Lets a request that may change something pass.

    Raises:
        Refusal: If it bears no token, or another one, or the replica has none.
    """
    if node.token is None:
        raise Refusal(
            403,
            "no_token_here",
            "this replica has no token, so nothing can be changed through it",
            f"`pssmr keygen --token keys/admin-{node.id}.token`, and start it again",
        )
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), node.token.encode()):
        raise Refusal(
            401,
            "wrong_token",
            "this changes something, and the request does not bear the replica's token",
            f"send `Authorization: Bearer` with what is in keys/admin-{node.id}.token",
            {"WWW-Authenticate": 'Bearer realm="pssmr"'},
        )


async def set_log_level(node: Node, request: web.BaseRequest) -> dict[str, Any]:
    """Changes how much is logged."""
    level = (await read_body(request, "level")).get("level")
    if not isinstance(level, str) or level not in LEVELS:
        raise wrong_value("level", level, f"one of {', '.join(LEVELS)}")
    set_level(level)
    _log.warning("replica %d: log level set to %s by %s", node.id, level, request.remote)
    return {"level": level}


async def resize_workers(node: Node, request: web.BaseRequest) -> dict[str, Any]:
    """Changes the number of worker threads."""
    workers = (await read_body(request, "workers")).get("workers")
    if isinstance(workers, bool) or not isinstance(workers, int) or not 1 <= workers <= WORKERS_MAX:
        raise wrong_value("workers", workers, f"a number from 1 to {WORKERS_MAX}")
    await asyncio.to_thread(node.core.resize_workers, workers)
    _log.warning("replica %d: number of workers set to %d by %s", node.id, workers, request.remote)
    return {"workers": workers}


async def step_down(node: Node, request: web.BaseRequest) -> dict[str, Any]:
    """Has this replica, the leader, give up its view."""
    await read_no_body(request)
    try:
        view, leader = await asyncio.to_thread(node.core.step_down)
    except StepDownRefused as error:
        remedy = "try again in a moment" if error.leader is None else f"ask replica {error.leader}"
        code = "cannot_now" if error.leader is None else "not_leading"
        raise Refusal(
            409, code, f"replica {node.id} does not step down: {error}", remedy, leader=error.leader
        ) from None
    _log.warning("replica %d: stepped down for view %d, wanted by %s", node.id, view, request.remote)
    return {"view": view, "leader": leader}


async def take_checkpoint(node: Node, request: web.BaseRequest) -> dict[str, Any]:
    """Has all replicas take a checkpoint."""
    await read_no_body(request)
    _log.warning("replica %d: checkpoint wanted by %s", node.id, request.remote)
    digests = await _agreed(node.upkeep.checkpoint())
    return {"state_digests": {str(replica): digest.hex() for replica, digest in sorted(digests.items())}}


async def reconfigure(node: Node, request: web.BaseRequest) -> dict[str, Any]:
    """Has a change of the membership made that the administrator has signed."""
    text = (await read_body(request, "change", CHANGE_BYTES_MAX)).get("change")
    try:
        change = bytes.fromhex(text) if isinstance(text, str) and text else None
    except ValueError:
        change = None
    if change is None:
        raise wrong_value("change", text, "what `pssmr reconfigure ... --sign` prints: hexadecimal digits")
    _log.warning("replica %d: change of the membership wanted by %s", node.id, request.remote)
    await _agreed(node.upkeep.reconfigure(change))
    return {"made": True}


async def _agreed(asked: Awaitable[R]) -> R:
    """What the replicas have agreed on, or why they have not."""
    try:
        return await asked
    except ReconfigurationRefused as error:
        remedy = "sign it for the epoch in force; /status shows it"
        raise Refusal(409, "refused", str(error), remedy) from None
    except Unavailable as error:
        raise Refusal(503, "unavailable", f"it was not done: {error}", "ask again, or another replica") from None
    except (OutcomeUnknown, Closed) as error:
        raise Refusal(504, "outcome_unknown", f"it may have been done: {error}", "look at /status first") from None
