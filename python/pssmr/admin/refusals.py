"""What is answered to requests that can't be served: JSON that says what is wrong and what to do."""

from __future__ import annotations

import json
from collections.abc import Iterable

from aiohttp import web

from pssmr.cluster_fields import nearest, shown


class Refusal(Exception):
    """A request that is not served."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        remedy: str,
        headers: dict[str, str] | None = None,
        *,
        leader: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.remedy = remedy
        self.headers = headers or {}
        self.leader = leader

    def response(self) -> web.Response:
        """What is answered."""
        error = {"code": self.code, "message": self.message, "remedy": self.remedy}
        more = {} if self.leader is None else {"leader": self.leader}
        return web.json_response({"error": error | more}, status=self.status, headers=self.headers)


def no_such_path(path: str, known: Iterable[str]) -> Refusal:
    """There is nothing at this path."""
    message = f"there is nothing at {shown(path)}{nearest(path, known)}"
    return Refusal(404, "not_found", message, "GET /openapi.json lists what there is")


def wrong_method(method: str, path: str, allowed: Iterable[str]) -> Refusal:
    """The path does not take this method."""
    methods = ", ".join(sorted(allowed))
    return Refusal(405, "wrong_method", f"{path} does not take {method}", f"use {methods}", {"Allow": methods})


def too_large(limit: int) -> Refusal:
    """The body is too long."""
    return Refusal(413, "too_large", f"the body has more than {limit} bytes", "no request needs so many")


def too_often(seconds: float) -> Refusal:
    """Whoever asks has asked too often."""
    after = {"Retry-After": str(max(1, round(seconds)))}
    return Refusal(429, "too_often", "too many requests", "ask less often: once a second is enough", after)


def wrong_host(host: str, expected: str) -> Refusal:
    """The request was meant for somebody else."""
    message = f"this service is for this machine only, and answers to {expected}, not to {shown(host)}"
    return Refusal(421, "wrong_host", message, "open it by that name, through `ssh -L` from elsewhere")


def malformed() -> Refusal:
    """What came can't be read."""
    return Refusal(400, "malformed", "this is no HTTP request, or has a header of more than 4096 bytes", "correct it")


def failed(error: BaseException) -> Refusal:
    """The service has a bug."""
    message = f"the admin service failed: {type(error).__name__}"
    return Refusal(500, "failed", message, "the replica's log has the details; the replica goes on")


def parse_object(body: bytes) -> dict[str, object]:
    """The JSON object in a body.

    Raises:
        Refusal: If there is none.
    """
    try:
        value = json.loads(body)
    except ValueError as error:
        raise Refusal(400, "not_json", f"the body is not JSON: {error}", "send a JSON object") from None
    if not isinstance(value, dict):
        raise Refusal(400, "not_an_object", f"the body is {shown(value)}", "send a JSON object")
    return value
