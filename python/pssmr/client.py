"""Clients: they send commands, and believe a result when enough replicas agree on it. This one is without asyncio."""

from __future__ import annotations

import copy
import time
from collections import deque
from collections.abc import Iterable
from os import PathLike
from types import TracebackType
from typing import Any, Literal, ParamSpec, Self, TypeVar, overload

from pssmr import upgrades
from pssmr._core import ClientCore
from pssmr.async_client import AsyncClient
from pssmr.client_options import ClientOptions, ClusterSource, check_command, check_timeout, status_of
from pssmr.closing import close_at_exit
from pssmr.errors import Closed, Error, OutcomeUnknown
from pssmr.membership import Change, Membership
from pssmr.reconfiguration import NOT_TOLD, STATUS_TIMEOUT, TOLD_POLL, Statuses, check_made
from pssmr.request import Batch, Request, Transaction, results_of
from pssmr.service import Call, Command
from pssmr.tracing import calling, outgoing

__all__ = ["AsyncClient", "Client"]

P = ParamSpec("P")
R = TypeVar("R")


class Client:
    """A client of a cluster, for code without asyncio. Any number of threads may use one.

    ```python
    with pssmr.Client("cluster.toml") as client:
        client.call(Bank.transfer, "ann", "bob", 5)
    ```
    """

    def __init__(
        self,
        cluster: ClusterSource,
        *,
        key: str | PathLike[str] | None = None,
        timeout: float = 10.0,
        in_flight_max: int = 1024,
        order_queries: bool = False,
    ) -> None:
        """Connects to nothing yet: that is for `with`, or `open`.

        Args:
            cluster: The cluster, in any form that `ClusterConfig.load` takes.
            key: Who the client is: a client's name in the configuration, or the path of a key file. By default the
                first client of the configuration whose key file is there.
            timeout: Seconds that a command may take.
            in_flight_max: Most commands that are sent and not answered at once, 1 to 4000. More wait here.
            order_queries: Have queries ordered like commands. By default the replicas answer a query without ordering
                it, if it takes no context and enough of them agree: sooner, and seeing all that had completed before.

        Raises:
            ConfigError: If the configuration or the key can't be used.
        """
        self._options = ClientOptions.load(cluster, key, timeout, in_flight_max, order_queries=order_queries)
        self._timeout = timeout
        self._core: ClientCore | None = None

    def open(self) -> Self:
        """Starts connecting. Commands wait until enough replicas are reached.

        Raises:
            Error: If the client is open already.
        """
        if self._core is not None:
            raise Error("the client was opened before; make a new one")
        self._core = self._options.connect(for_loop=False)
        close_at_exit(self)
        return self

    def close(self) -> None:
        """Ends the client. What other threads wait for ends with `OutcomeUnknown`. May be called twice."""
        if self._core is not None:
            self._core.close()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def with_timeout(self, seconds: float) -> Self:
        """The same client with another time-out: `client.with_timeout(2).call(...)`. Shares the connections.

        Raises:
            ConfigError: If the time-out is not above 0.
        """
        check_timeout(seconds)
        self._open_core()
        view = copy.copy(self)
        view._timeout = seconds
        return view

    def call(self, command: Command[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Has a command executed, and returns its result: `client.call(Bank.transfer, "ann", "bob", 5)`.

        Interrupted by Ctrl-C, it leaves open whether the command is executed.

        Raises:
            CommandError: If the command is refused; not executed.
            ApplicationError: What the command itself raised; executed.
            HandlerFailed: If its handler failed; executed, and undone as far as tables go.
            Unavailable: If the cluster can't take it now; not executed.
            OutcomeUnknown: If no answer came in time.
            SessionExpired: If the replicas have forgotten this client.
            Closed: If the client is not open.
        """
        check_command(command)
        return self.execute(command.bind(*args, **kwargs))

    def execute(self, call: Request[R]) -> R:
        """Has a command executed that has its arguments already: `client.execute(Bank.deposit.bind("ann", 5))`.

        Also a `pssmr.Batch` or a `pssmr.Transaction`.

        Raises:
            Exception: What `call` raises.
        """
        self._options.check_request(call)
        core = self._open_core()
        with calling(call.name) as trace:
            token = self._submit(core, call, trace)
            result: R = call.decode(core.wait(token))
        return result

    def _submit(self, core: ClientCore, call: Request[Any], trace: bytes | None) -> int:
        traces = None if trace is None else [trace]
        (token,) = core.submit([call.payload], self._timeout, traces, self._options.is_read(call))
        return token

    @overload
    def call_many(self, calls: Iterable[Request[R]], *, return_exceptions: Literal[False] = False) -> list[R]: ...
    @overload
    def call_many(self, calls: Iterable[Request[R]], *, return_exceptions: Literal[True]) -> list[R | Exception]: ...
    def call_many(self, calls: Iterable[Request[Any]], *, return_exceptions: bool = False) -> list[Any]:
        """Has many commands executed, without waiting for one before sending the next, and returns their results.

        ```python
        client.call_many(Bank.deposit.bind(name, 10) for name in names)
        ```

        They may be executed in any order. `batch` sends them as one request.

        Args:
            calls: Commands with their arguments, made by `bind`, or other requests. Taken as far as there is room in
                flight.
            return_exceptions: Whether errors take the place of results. If not, the first one is raised when all are
                done.

        Raises:
            Exception: What `call` raises.
        """
        core = self._open_core()
        trace = outgoing()
        results: list[Any] = []
        waiting: deque[tuple[Request[Any], int]] = deque()

        def take_oldest() -> None:
            call, token = waiting.popleft()
            try:
                results.append(call.decode(core.wait(token)))
            except Exception as error:
                results.append(error)

        try:
            for call in calls:
                self._options.check_request(call)
                if len(waiting) == self._options.in_flight_max:
                    take_oldest()
                waiting.append((call, self._submit(core, call, trace)))
            while waiting:
                take_oldest()
        finally:
            core.forget([token for _, token in waiting])
        return results_of(results, return_exceptions=return_exceptions)

    @overload
    def batch(self, calls: Iterable[Call[R]], *, return_exceptions: Literal[False] = False) -> list[R]: ...
    @overload
    def batch(self, calls: Iterable[Call[R]], *, return_exceptions: Literal[True]) -> list[R | Exception]: ...
    def batch(self, calls: Iterable[Call[Any]], *, return_exceptions: bool = False) -> list[Any]:
        """Has commands executed that are sent and answered together, and returns their results.

        ```python
        client.batch([Bank.deposit.bind("ann", 5), Bank.deposit.bind("bob", 5)])
        ```

        Those that are independent run at once, those that conflict in their order; commands of others may come between
        them. Each has its own result, or its own error. See `pssmr.Batch`.

        Args:
            calls: Commands with their arguments, made by `bind`: 1 to 1024, in one request's bytes.
            return_exceptions: Whether errors take the place of results. If not, the first one is raised; the others are
                executed nevertheless.

        Raises:
            Exception: What `call` raises; `RequestTooLarge` if there are too many.
        """
        return results_of(self.execute(Batch(calls)), return_exceptions=return_exceptions)

    def transaction(self, calls: Iterable[Call[R]]) -> list[R]:
        """Has commands executed as one, and returns their results.

        ```python
        client.transaction([Bank.withdraw.bind("ann", 5), Bank.deposit.bind("bob", 5)])
        ```

        No other command comes between them. The first that raises ends it: what it and those before it have written to
        maps is undone, those after it are not executed, and its exception is raised. See `pssmr.Transaction`.

        Args:
            calls: Commands with their arguments, made by `bind`: 1 to 1024, in one request's bytes.

        Raises:
            Exception: What `call` raises; `RequestTooLarge` if there are too many.
        """
        return self.execute(Transaction(calls))

    def status(self, *, timeout: float = 3.0) -> dict[int, dict[str, Any] | None]:
        """How each replica of the newest membership says it is, by id; `None` for one that does not answer.

        Args:
            timeout: Seconds to wait for each at most; one that refuses the connection is not waited for.
        """
        return self._look(timeout)[1]

    def _look(self, timeout: float) -> tuple[Membership, dict[int, dict[str, Any] | None]]:
        """The newest membership, and how each of its replicas is."""
        core = self._open_core()
        while True:
            membership = self.membership()
            tokens = {each: core.submit_status(each, timeout) for each in membership.ids}
            statuses: dict[int, dict[str, Any] | None] = {}
            for replica, token in tokens.items():
                try:
                    statuses[replica] = status_of(core.wait(token))
                except Error:
                    statuses[replica] = None
            if self.membership().epoch == membership.epoch:
                return membership, statuses

    def state_digests(self) -> dict[int, bytes]:
        """The digest of each replica's state at one position of the total order: of those that answer in time.

        Equal digests mean equal states. They cover the maps, and what the service's `snapshot` returns.

        Raises:
            Unavailable: If the cluster can't do it now.
            OutcomeUnknown: If too few replicas answered in time.
        """
        core = self._open_core()
        digests: dict[int, bytes] = core.wait(core.submit_state_digests(self._timeout))
        return digests

    def checkpoint(self) -> dict[int, bytes]:
        """Has a checkpoint taken: the digest of each replica's state there, as `state_digests` gives it.

        Each replica writes a snapshot of its state in the background; when f + 1 have found the same, `status` shows
        its slot as `checkpoint`, and the log before it goes. None is taken if the last one that was asked for is
        younger than 10 s.

        Raises:
            Unavailable: If the cluster can't do it now.
            OutcomeUnknown: If too few replicas answered in time.
        """
        core = self._open_core()
        digests: dict[int, bytes] = core.wait(core.submit_checkpoint(self._timeout))
        return digests

    def membership(self) -> Membership:
        """The newest membership that the client knows: that of its configuration, until the replicas tell it more."""
        return self._options.membership(self._open_core())

    def reconfigure(
        self,
        change: Change,
        administrator_key: str | PathLike[str] | None = None,
        *,
        force: bool = False,
    ) -> Membership:
        """Changes the membership: adds a replica, removes one, or puts one in the place of another.

        ```python
        client.reconfigure(pssmr.ReplaceReplica(2, pssmr.Member(id=4, key=..., peers=..., clients=...)))
        ```

        One change at a time. It is ordered like a command, and takes effect where it is ordered; commands go on
        meanwhile. A replica that comes is to be started with a configuration of the new membership
        (`ClusterConfig.with_membership`), and gets the state from the others.

        Before the change is sent, the replicas that are in both memberships have to be a quorum of the next one by
        themselves. Such a replica counts if it answers, is in the newest epoch, has a vote, can write its log, and is
        at most `unexecuted_slots_max` slots behind. So the next change waits until whoever came has the state, if that
        is what a quorum lacks.

        Args:
            change: `AddReplica`, `RemoveReplica` or `ReplaceReplica`.
            administrator_key: The path of the administrator's key; `keys/administrator.pem` by default.
            force: Send it whatever the replicas say of themselves. Commands may wait until the new one has the state,
                or for ever.

        Returns:
            The newest membership, which has the change.

        Raises:
            ReconfigurationRefused: If the change can't be made, or the cluster might stand still; not made.
            ConfigError: If the configuration has no administrator, or the key is another one; not made.
            Unavailable: If the cluster can't take it now; not made.
            OutcomeUnknown: If no answer came in time.
        """
        return self._change(*self._look(STATUS_TIMEOUT), change, administrator_key, force=force)

    def upgrade(self, administrator_key: str | PathLike[str] | None = None, *, force: bool = False) -> int:
        """Has the service go over to the latest version that the replicas' code has, and returns its number.

        It is ordered like a command, and in force for all commands that are ordered after it. There is no way back. All
        replicas have to run the same code: one that does not have the version stops when it comes to it.

        Args:
            administrator_key: The path of the administrator's key; `keys/administrator.pem` by default.
            force: Leave behind the replicas that don't answer or run other code. A quorum has to have the version.

        Raises:
            UpgradeRefused: If not all replicas have the same latest version, or they refuse; not made.
            ConfigError: If the configuration has no administrator, or the key is another one; not made.
            Unavailable: If the cluster can't take it now; not made.
            OutcomeUnknown: If no answer came in time.
        """
        core = self._open_core()
        step = upgrades.step(*self._look(STATUS_TIMEOUT), force=force)
        key = self._options.cluster.administrator_key(administrator_key)
        if not step.is_made:
            payload = upgrades.sign(self._options.cluster, step.to, key)
            upgrades.check_made(core.wait(core.submit_upgrade(payload, self._timeout)))
        return step.to.number

    def _change(
        self,
        membership: Membership,
        statuses: Statuses,
        change: Change,
        administrator_key: str | PathLike[str] | None,
        *,
        force: bool,
    ) -> Membership:
        """Changes this membership, whose replicas have just said this of themselves."""
        core = self._open_core()
        payload = self._options.signed(membership, change, statuses, administrator_key, force=force)
        check_made(core.wait(core.submit_reconfiguration(payload, self._timeout)))
        deadline = time.monotonic() + self._timeout
        while (newest := self.membership()).epoch == membership.epoch:
            if time.monotonic() > deadline:
                raise OutcomeUnknown(NOT_TOLD)
            time.sleep(TOLD_POLL)
        return newest

    def _open_core(self) -> ClientCore:
        if self._core is None:
            raise Closed("the client is not open: use it in `with`, or call open()")
        return self._core
