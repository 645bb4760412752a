"""How many connections there may be, and for how long one may say nothing."""

from __future__ import annotations

import asyncio

from aiohttp import web

CONNECTIONS_MAX = 64
FIRST_REQUEST_SECONDS = 10.0

_REFUSAL = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"


class _Refused(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(_REFUSAL)
        transport.close()


class Connections:
    """Makes the protocol of each connection: aiohttp's, or a refusal if there are too many."""

    def __init__(self) -> None:
        """Has none yet. Made in the loop that serves."""
        self._loop = asyncio.get_running_loop()
        self._server: web.Server | None = None
        self._silent: dict[asyncio.BaseProtocol, asyncio.TimerHandle] = {}

    def serve(self, server: web.Server) -> None:
        """From now on this is what makes protocols."""
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
        protocol = self._server()
        self._silent[protocol] = self._loop.call_later(FIRST_REQUEST_SECONDS, self._end, protocol)
        return protocol

    def _end(self, protocol: web.RequestHandler) -> None:
        del self._silent[protocol]
        if protocol.transport is not None:
            protocol.transport.close()
