"""What requests that change something bring with them."""

from __future__ import annotations

import asyncio

from aiohttp import web

from pssmr.admin.refusals import Refusal, parse_object, too_large

BODY_BYTES_MAX = 1024
_BODY_SECONDS = 5.0


async def read_body(request: web.BaseRequest, field: str, bytes_max: int = BODY_BYTES_MAX) -> dict[str, object]:
    """The JSON object that the request brings, which has this field and no other.

    Raises:
        Refusal: If it is none, is too long, or comes too slowly.
    """
    _check_type(request)
    body = parse_object(await _content(request, bytes_max))
    if unknown := set(body) - {field}:
        raise Refusal(400, "unknown_field", f"there is no field {min(unknown)!r}", f"the only one is {field!r}")
    return body


async def read_no_body(request: web.BaseRequest) -> None:
    """Takes the body of a request that needs none: nothing, or an empty JSON object.

    Raises:
        Refusal: If there is something in it.
    """
    content = await _content(request, BODY_BYTES_MAX)
    if content:
        _check_type(request)
        if unknown := set(parse_object(content)):
            raise Refusal(400, "unknown_field", f"there is no field {min(unknown)!r}", "send {}, or nothing")


def wrong_value(field: str, value: object, expected: str) -> Refusal:
    """A field's value can't be."""
    given = "is missing" if value is None else f"is {value!r:.80}"
    return Refusal(400, "wrong_value", f"{field} {given}", f"it has to be {expected}")


def _check_type(request: web.BaseRequest) -> None:
    if request.content_type != "application/json":
        message = f"the body is {request.content_type}"
        raise Refusal(415, "not_json", message, "send JSON, with Content-Type: application/json")


async def _content(request: web.BaseRequest, bytes_max: int) -> bytes:
    content = b""
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for part in request.content.iter_any():
                content += part
                if len(content) > bytes_max:
                    raise too_large(bytes_max)
    except TimeoutError:
        raise Refusal(408, "too_slow", "the body did not come in time", "send it at once") from None
    return content
