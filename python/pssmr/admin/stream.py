"""Events on their way to browsers and scripts: server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

from aiohttp import web

from pssmr.admin.headers import HEADERS
from pssmr.admin.node import Node
from pssmr.admin.refusals import Refusal
from pssmr.event_feed import Event

STREAMS_MAX = 16
"""How many may listen at a time."""

WAITING_MAX = 1000
"""How many events may wait for a listener: one that is slower is sent away, and asks again for what it missed."""

KEEP_ALIVE_SECONDS = 15.0
"""How often a stream says something, whatever happens."""

WRITE_SECONDS = 10.0
"""How long a listener may take to make room for more."""


class Streams:
    """All who listen."""

    def __init__(self, node: Node) -> None:
        """Nobody listens yet. Made in the loop that serves."""
        self._node = node
        self._loop = asyncio.get_running_loop()
        self._queues: set[asyncio.Queue[Event | None]] = set()
        self._closed = False
        node.feed.listen(self._hear)

    def close(self) -> None:
        """Ends all streams."""
        self._closed = True
        self._node.feed.unlisten(self._hear)
        for queue in self._queues:
            _end(queue)

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Sends what has happened, and what happens from now on, until one of the two sides has enough."""
        if len(self._queues) >= STREAMS_MAX:
            message = f"{STREAMS_MAX} streams are open already"
            raise Refusal(503, "too_many_streams", message, "close one, or ask for JSON: Accept: application/json")
        response = web.StreamResponse(
            headers=HEADERS | {"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
        )
        await response.prepare(request)
        with suppress(ConnectionError, TimeoutError):
            async with aclosing(self._texts(request.headers.get("Last-Event-ID", ""))) as texts:
                async for text in texts:
                    async with asyncio.timeout(WRITE_SECONDS):
                        await response.write(text.encode())
        return response

    def _hear(self, events: list[Event]) -> None:
        """Any thread."""
        with suppress(RuntimeError):  # The loop is closed.
            self._loop.call_soon_threadsafe(self._tell, events)

    def _tell(self, events: list[Event]) -> None:
        for queue in self._queues:
            for event in events:
                try:
                    queue.put_nowait(event)
                except asyncio.QueueFull:
                    _end(queue)
                    break

    async def _texts(self, last_id: str) -> AsyncGenerator[str, None]:
        queue: asyncio.Queue[Event | None] = asyncio.Queue(WAITING_MAX)
        self._queues.add(queue)
        try:
            yield "retry: 2000\n\n"
            # What is told between these two comes twice: its number says so.
            sent = self._number_of(last_id)
            for event in self._node.feed.latest():
                if event["number"] > sent:
                    yield self._text(event)
                    sent = event["number"]
            while not self._closed:
                try:
                    async with asyncio.timeout(KEEP_ALIVE_SECONDS):
                        told = await queue.get()
                except TimeoutError:
                    yield ": nothing new\n\n"
                    continue
                if told is None:
                    return
                if told["number"] > sent:
                    yield self._text(told)
                    sent = told["number"]
        finally:
            self._queues.discard(queue)

    @property
    def _start(self) -> str:
        """Numbers count from the replica's start: this tells one start from the next."""
        return f"{self._node.started:.0f}"

    def _text(self, event: Event) -> str:
        return f"id: {self._start}-{event['number']}\ndata: {json.dumps(event)}\n\n"

    def _number_of(self, last_id: str) -> int:
        start, _, number = last_id.partition("-")
        return int(number) if start == self._start and number.isascii() and number.isdigit() else 0


def _end(queue: asyncio.Queue[Event | None]) -> None:
    """Has the stream end when it looks for its next event."""
    while not queue.empty():
        queue.get_nowait()
    queue.put_nowait(None)
