"""The thread and the socket of the admin service."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import threading
from concurrent.futures import Future

from aiohttp import web

from pssmr.admin.application import Application
from pssmr.admin.connections import Connections
from pssmr.admin.node import Node
from pssmr.cluster_fields import split_address

_log = logging.getLogger("pssmr.admin")

_SHUTDOWN_SECONDS = 1.0


class AdminServer:
    """Serves one replica's state over HTTP until it is closed."""

    def __init__(self, address: str) -> None:
        """Takes the port, and answers nobody yet.

        Args:
            address: `host:port`; port 0 takes a free one.

        Raises:
            OSError: If the address can't be listened at. The message says which and why.
        """
        self._address = address
        self._socket = _listen(address)
        self._process = os.getpid()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where it is reached."""
        host, _ = split_address(self._address)
        port = self._socket.getsockname()[1] if self._socket.fileno() >= 0 else 0
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/"

    def start(self, node: Node) -> None:
        """Begins to answer for this replica."""
        started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(node, started), name="pssmr-admin", daemon=True)
        self._thread.start()
        started.result()
        _log.info("replica %d: dashboard at %s", node.id, self.url)

    def close(self) -> None:
        """Ends all connections, and waits until the thread is gone and the port is free. May be called twice."""
        if os.getpid() == self._process:
            thread, self._thread = self._thread, None
            if thread is not None:
                if self._loop is not None and self._stop is not None:
                    with contextlib.suppress(RuntimeError):  # It has ended by itself.
                        self._loop.call_soon_threadsafe(self._stop.set)
                thread.join()
        self._socket.close()

    def _run(self, node: Node, started: Future[None]) -> None:
        try:
            # Not the loop of a policy that the application may have set: this one is of no interest to it.
            with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
                runner.run(self._serve(node, started))
        except BaseException as error:
            if started.done():
                _log.exception("replica %d: the admin service has failed; the replica goes on without it", node.id)
            else:
                started.set_exception(error)

    async def _serve(self, node: Node, started: Future[None]) -> None:
        self._loop = loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        connections = Connections()
        application = Application(node, self._address, connections)
        http = web.Server(application)
        connections.serve(http)
        server = await loop.create_server(connections, sock=self._socket)
        loop.add_reader(node.core.fileno(), node.feed.take)
        started.set_result(None)
        try:
            await self._stop.wait()
        finally:
            loop.remove_reader(node.core.fileno())
            server.close()
            application.streams.close()
            await asyncio.to_thread(node.upkeep.close)
            http.pre_shutdown()
            await http.shutdown(_SHUTDOWN_SECONDS)


def _listen(address: str) -> socket.socket:
    host, port = split_address(address)
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(place)
            listener.listen(64)
            listener.setblocking(False)
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        raise OSError(error.errno, f"cannot serve HTTP at {address}: {error.strerror}") from error
    return listener
