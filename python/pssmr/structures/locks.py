"""Locks by name, with leases and fencing tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, overload

from pssmr._core import Context
from pssmr.errors import Refused
from pssmr.service import Call, Service, command, query
from pssmr.state import Map

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from pssmr.client import AsyncClient, Client

LEASE_MS_MAX = 86_400_000
"""The longest lease: a day."""

_NS_PER_MS = 1_000_000


class LockHeld(Refused):
    """Somebody else holds the lock. Arguments: the lock's name, and the milliseconds that the lease has left."""

    def __init__(self, name: str, left_ms: int) -> None:
        super().__init__(name, left_ms)
        self.left_ms = left_ms

    def __str__(self) -> str:
        return f"{self.args[0]} is held by another for {self.left_ms} ms, unless the lease is renewed"


class LeaseLost(Refused):
    """The lease ran out and another got the lock, or it was released. What it protected may not be ours any more."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Who holds a lock, and until when."""

    token: int
    """The fencing token: each time that any lock is given to somebody, it is with a greater one. Send it along to what
    the lock protects, and have that refuse tokens that are below one that it has seen."""
    holder: str
    """The client, as `Context.client` gives it."""
    until_ns: int
    """The agreed time at which the lease runs out, in nanoseconds since 1970."""


class Locks(Service):
    """Locks by name. Commands on different locks run in parallel.

    A lock is held for a lease, which ends at an agreed time unless it is renewed before: so a holder that dies holds
    nobody up for longer. The time is the replicas', which no clock of a client has any part in. Between the end of a
    lease and the moment at which its holder notices, another may hold the lock: that is what the fencing token is for.
    """

    leases = Map[str, Lease]()

    @command
    def lock_acquire(self, context: Context, name: Annotated[str, leases.write], lease_ms: int) -> Lease:
        """Takes a lock if it is free, or its lease has run out."""
        lease = self.leases.get(name)
        if lease is not None and lease.until_ns > context.time_ns:
            raise LockHeld(name, -(-(lease.until_ns - context.time_ns) // _NS_PER_MS))
        return self._give(context, name, context.position, lease_ms)

    @command
    def lock_renew(self, context: Context, name: Annotated[str, leases.write], token: int, lease_ms: int) -> Lease:
        """Makes the lease last from now on; also one that has run out, if nobody got the lock since."""
        if not self._is_held(context, name, token):
            raise LeaseLost(f"{name} is not held with token {token}")
        return self._give(context, name, token, lease_ms)

    @command
    def lock_release(self, context: Context, name: Annotated[str, leases.write], token: int) -> bool:
        """Lets go of a lock, and says whether it was held."""
        held = self._is_held(context, name, token)
        if held:
            del self.leases[name]
        return held

    @query
    def lock_holder(self, context: Context, name: Annotated[str, leases.read]) -> Lease | None:
        """The lease that a lock is held for; `None` if it is free."""
        lease = self.leases.get(name)
        return lease if lease is not None and lease.until_ns > context.time_ns else None

    @command(writes=[leases])
    def lock_sweep(self, context: Context) -> int:
        """Forgets leases that have run out, and returns how many: for those whose names never come again."""
        over = [name for name, lease in self.leases.items() if lease.until_ns <= context.time_ns]
        for name in over:
            del self.leases[name]
        return len(over)

    def _is_held(self, context: Context, name: str, token: int) -> bool:
        lease = self.leases.get(name)
        return lease is not None and lease.token == token and lease.holder == context.client

    def _give(self, context: Context, name: str, token: int, lease_ms: int) -> Lease:
        if not 1 <= lease_ms <= LEASE_MS_MAX:
            raise Refused(f"a lease of {lease_ms} ms; expected 1 to {LEASE_MS_MAX}")
        lease = Lease(token, context.client, context.time_ns + lease_ms * _NS_PER_MS)
        self.leases[name] = lease
        return lease


@dataclass(frozen=True, slots=True)
class Lock:
    """Makes commands for one lock; `with Lock("backup").held(client) as lease:` does the whole of it."""

    name: str
    lease_ms: int = 10_000
    """How long it is held, if it is neither renewed nor released: 1 ms to a day."""

    def acquire(self) -> Call[Lease]:
        """Takes it; the result is the lease. Refused with `LockHeld` while another has it."""
        return Locks.lock_acquire.bind(self.name, self.lease_ms)

    def renew(self, lease: Lease) -> Call[Lease]:
        """Makes the lease last from now on. Refused with `LeaseLost` if another got it meanwhile."""
        return Locks.lock_renew.bind(self.name, lease.token, self.lease_ms)

    def release(self, lease: Lease) -> Call[bool]:
        """Lets go of it; the result is whether it was held."""
        return Locks.lock_release.bind(self.name, lease.token)

    def holder(self) -> Call[Lease | None]:
        """The result is the lease that it is held for, `None` if it is free."""
        return Locks.lock_holder.bind(self.name)

    @overload
    def held(self, client: Client, *, wait: float | None = None) -> AbstractContextManager[Lease]: ...
    @overload
    def held(self, client: AsyncClient, *, wait: float | None = None) -> AbstractAsyncContextManager[Lease]: ...
    def held(
        self, client: Client | AsyncClient, *, wait: float | None = None
    ) -> AbstractContextManager[Lease] | AbstractAsyncContextManager[Lease]:
        """Holds the lock for the length of a `with`, or of an `async with` if the client is one for asyncio.

        What takes longer than the lease renews it: `client.execute(lock.renew(lease))`.

        Args:
            client: Who takes it.
            wait: Seconds after which waiting ends with `LockHeld`; `None` waits for as long as it takes.

        Raises:
            LockHeld: If another holds it for all of that time.
            LeaseLost: At the end, if the lease had run out and another got the lock.
        """
        from pssmr.async_client import AsyncClient
        from pssmr.structures.holding import hold, hold_async

        return hold_async(self, client, wait) if isinstance(client, AsyncClient) else hold(self, client, wait)
