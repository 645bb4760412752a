"""What can be changed at a replica that runs, by whoever bears its token."""

from __future__ import annotations

import asyncio
import hmac
import logging
from typing import Any

from aiohttp import web

from pssmr.admin.node import Node
from pssmr.admin.refusals import Refusal, parse_object, too_large
from pssmr.logs import LEVELS, set_level

_log = logging.getLogger("pssmr.admin")

BODY_BYTES_MAX = 1024
_BODY_SECONDS = 5.0
WORKERS_MAX = 256


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
    level = (await _body(request, "level")).get("level")
    if not isinstance(level, str) or level not in LEVELS:
        raise _wrong("level", level, f"one of {', '.join(LEVELS)}")
    set_level(level)
    _log.warning("replica %d: log level set to %s by %s", node.id, level, request.remote)
    return {"level": level}


async def resize_workers(node: Node, request: web.BaseRequest) -> dict[str, Any]:
    """Changes the number of worker threads."""
    workers = (await _body(request, "workers")).get("workers")
    if isinstance(workers, bool) or not isinstance(workers, int) or not 1 <= workers <= WORKERS_MAX:
        raise _wrong("workers", workers, f"a number from 1 to {WORKERS_MAX}")
    await asyncio.to_thread(node.core.resize_workers, workers)
    _log.warning("replica %d: number of workers set to %d by %s", node.id, workers, request.remote)
    return {"workers": workers}


async def _body(request: web.BaseRequest, field: str) -> dict[str, object]:
    """The JSON object that the request brings, which has this field and no other."""
    if request.content_type != "application/json":
        message = f"the body is {request.content_type}"
        raise Refusal(415, "not_json", message, "send JSON, with Content-Type: application/json")
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            content = await _content(request)
    except TimeoutError:
        raise Refusal(408, "too_slow", "the body did not come in time", "send it at once") from None
    body = parse_object(content)
    if unknown := set(body) - {field}:
        raise Refusal(400, "unknown_field", f"there is no field {min(unknown)!r}", f"the only one is {field!r}")
    return body


async def _content(request: web.BaseRequest) -> bytes:
    content = b""
    async for part in request.content.iter_any():
        content += part
        if len(content) > BODY_BYTES_MAX:
            raise too_large(BODY_BYTES_MAX)
    return content


def _wrong(field: str, value: object, expected: str) -> Refusal:
    given = "is missing" if value is None else f"is {value!r:.80}"
    return Refusal(400, "wrong_value", f"{field} {given}", f"it has to be {expected}")
