"""Parallel execution without replicas, for tests of services."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Self

from pssmr import _core
from pssmr.closing import close_at_exit
from pssmr.early_plan import EarlyPlan
from pssmr.request import Request
from pssmr.service import Service
from pssmr.settings import Scheduler


class Executor:
    """Executes commands of a service on worker threads, ordered by what they declare, as a replica does.

    ```python
    with Executor(Bank(), workers=4) as executor:
        executor.run([Bank.deposit.bind("ann", 5), Bank.deposit.bind("bob", 5)])
    ```
    """

    def __init__(
        self,
        service: Service,
        *,
        workers: int = 2,
        scheduler: Scheduler = "keyed",
        plan: EarlyPlan | None = None,
        version: int | None = None,
    ) -> None:
        """Starts the workers.

        Args:
            service: A service object of its own. From now on, nothing else may touch its maps.
            workers: How many threads execute.
            scheduler: What decides which commands run at once, as in `pssmr.Settings`.
            plan: The plan for the scheduler `early`.
            version: The version of the service that is in force; its latest by default.

        Raises:
            ValueError: If the service has no such version.
            ConfigError: If there is no such scheduler, it takes no plan, or the plan is for other tables.
            Closed: If the service object belongs to a replica or another executor.
        """
        core_plan = None if plan is None else plan.for_core(list(service._tables))
        self._core = _core.Executor(service, workers, scheduler, core_plan, version)
        close_at_exit(self)

    def run(self, calls: Iterable[Request[Any]], *, time_ns: int = 0, seed: bytes = bytes(32)) -> list[Any]:
        """Executes requests of one slot, and returns the result of each, or the exception in its place.

        Args:
            calls: Commands with their arguments, made by `bind`, batches and transactions, in the agreed order.
            time_ns: The agreed time, in nanoseconds since 1970.
            seed: The agreed seed: 32 bytes.

        Raises:
            ReplicaStopped: If one of them stops a replica, or the executor is closed.
        """
        calls = list(calls)
        outcomes: list[Any] = []
        replies = self.execute([call.payload for call in calls], time_ns=time_ns, seed=seed)
        for call, reply in zip(calls, replies, strict=True):
            try:
                outcomes.append(call.decode(reply))
            except Exception as error:
                outcomes.append(error)
        return outcomes

    def execute(self, payloads: Sequence[bytes], *, time_ns: int = 0, seed: bytes = bytes(32)) -> list[bytes]:
        """The same with encoded commands and replies."""
        return self._core.execute(payloads, time_ns=time_ns, seed=seed)

    def state_digest(self) -> bytes:
        """The digest of the state: of the maps, and of what the service's `snapshot` returns.

        Raises:
            ReplicaStopped: If the executor has stopped.
        """
        return self._core.state_digest()

    def snapshot(self) -> bytes:
        """The state, as the bytes that one replica gives to another.

        Raises:
            SnapshotError: If the service has state that its snapshots don't have, or its `snapshot` has failed.
            ReplicaStopped: If the executor has stopped.
        """
        return self._core.snapshot()

    def restore(self, snapshot: bytes) -> None:
        """Replaces the whole state by that of a snapshot.

        Raises:
            SnapshotError: If the bytes are no snapshot of such a service, or its `restore` has failed. The state may be
                anything then.
            ReplicaStopped: If the executor has stopped.
        """
        self._core.restore(snapshot)

    def close(self) -> None:
        """Ends the workers. May be called twice."""
        self._core.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
