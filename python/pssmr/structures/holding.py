"""Holding a lock for the length of a block: what a client does beside sending the commands."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator

from pssmr.async_client import AsyncClient
from pssmr.client import Client
from pssmr.errors import Error
from pssmr.structures.locks import Lease, LeaseLost, Lock, LockHeld

_ASK_AGAIN_SECONDS = 0.25
"""The longest pause before a lock that another holds is asked for again."""


@contextlib.contextmanager
def hold(lock: Lock, client: Client, wait: float | None) -> Iterator[Lease]:
    """Takes the lock, and lets go of it at the end."""
    waiting = _Waiting(wait)
    while True:
        try:
            lease = client.execute(lock.acquire())
            break
        except LockHeld as held:
            time.sleep(waiting.pause(held))
    try:
        yield lease
    except BaseException:
        with contextlib.suppress(Error):  # what the block raised matters more, and the lease runs out by itself
            client.execute(lock.release(lease))
        raise
    _check(client.execute(lock.release(lease)), lock)


@contextlib.asynccontextmanager
async def hold_async(lock: Lock, client: AsyncClient, wait: float | None) -> AsyncIterator[Lease]:
    """The same for asyncio."""
    waiting = _Waiting(wait)
    while True:
        try:
            lease = await client.execute(lock.acquire())
            break
        except LockHeld as held:
            await asyncio.sleep(waiting.pause(held))
    try:
        yield lease
    except BaseException:
        with contextlib.suppress(Error):  # what the block raised matters more, and the lease runs out by itself
            await client.execute(lock.release(lease))
        raise
    _check(await client.execute(lock.release(lease)), lock)


class _Waiting:
    """How long to wait for a lock."""

    def __init__(self, seconds: float | None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds

    def pause(self, held: LockHeld) -> float:
        """Seconds until it is worth asking again.

        Raises:
            LockHeld: If that is too late.
        """
        pause = min(held.left_ms / 1000, _ASK_AGAIN_SECONDS)
        if self._end is not None and time.monotonic() + pause > self._end:
            raise held
        return pause


def _check(released: bool, lock: Lock) -> None:
    if not released:
        raise LeaseLost(f"{lock.name} had been given to another before it was released; renew it, or ask for longer")
