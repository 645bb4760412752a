"""How many connections there may be, and for how long one may say nothing."""

from __future__ import annotations

import asyncio
import logging

from aiohttp import web

from pssmr.admin import refusals
from pssmr.admin.headers import HEADERS

_log = logging.getLogger("pssmr.admin")

CONNECTIONS_MAX = 64
FIRST_REQUEST_SECONDS = 10.0
_KEEP_ALIVE_SECONDS = 30.0
_HEADER_BYTES_MAX = 4096

_REFUSAL = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"


class _Refused(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(_REFUSAL)
        transport.close()


class _Connection(web.RequestHandler):
    """aiohttp's, but for what it answers to what is no request: that is an error like any other, and no news."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what could not be read, or not be answered. The connection ends after it."""
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun")
        if status == 400:
            _log.debug("malformed request from %s: %s", request.remote, exc)
            response = refusals.malformed().response()
        else:
            _log.error("the admin service failed at a request from %s", request.remote, exc_info=exc)
            response = refusals.failed(exc or RuntimeError(message)).response()
        response.headers.update(HEADERS)
        response.force_close()
        return response


class Connections:
    """Makes the protocol of each connection: aiohttp's, or a refusal if there are too many."""

    def __init__(self) -> None:
        """Has none yet. Made in the loop that serves."""
        self._loop = asyncio.get_running_loop()
        self._server: web.Server | None = None
        self._silent: dict[asyncio.BaseProtocol, asyncio.TimerHandle] = {}

    def serve(self, server: web.Server) -> None:
        """From now on this is what connections belong to."""
        self._server = server

    def heard(self, protocol: asyncio.BaseProtocol) -> None:
        """A whole request has come on this connection."""
        if (timer := self._silent.pop(protocol, None)) is not None:
            timer.cancel()

    def __call__(self) -> asyncio.Protocol:
        """The protocol of a new connection."""
        assert self._server is not None
        if len(self._server.connections) >= CONNECTIONS_MAX:
            return _Refused()
        protocol = _Connection(
            self._server,
            loop=self._loop,
            access_log=None,  # type: ignore[arg-type]  # As `web.Server` takes it and hands it on.
            keepalive_timeout=_KEEP_ALIVE_SECONDS,
            max_line_size=_HEADER_BYTES_MAX,
            max_field_size=_HEADER_BYTES_MAX,
        )
        self._silent[protocol] = self._loop.call_later(FIRST_REQUEST_SECONDS, self._end, protocol)
        return protocol

    def _end(self, protocol: web.RequestHandler) -> None:
        del self._silent[protocol]
        if protocol.transport is not None:
            protocol.transport.close()
