"""The client for asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import time
from collections.abc import Callable, Iterable
from os import PathLike
from types import TracebackType
from typing import Any, Literal, NamedTuple, ParamSpec, Self, TypeVar, overload

from pssmr import upgrades
from pssmr._core import ClientCore
from pssmr.client_options import ClientOptions, ClusterSource, check_command, check_timeout, status_of
from pssmr.closing import close_at_exit
from pssmr.errors import Busy, Closed, Error, OutcomeUnknown
from pssmr.membership import Change, Membership
from pssmr.reconfiguration import NOT_TOLD, STATUS_TIMEOUT, TOLD_POLL, check_made
from pssmr.request import Batch, Request, Transaction, results_of
from pssmr.service import Call, Command
from pssmr.tracing import calling, outgoing

P = ParamSpec("P")
R = TypeVar("R")


class _Request(NamedTuple):
    """A command on its way."""

    future: asyncio.Future[Any]
    decode: Callable[[Any], Any]
    payload: bytes
    timeout: float
    is_read: bool = False
    trace: bytes | None = None


class _Connection:
    """A core, and the requests of one asyncio loop that it has."""

    def __init__(self, options: ClientOptions) -> None:
        self.loop = asyncio.get_running_loop()
        self.core: ClientCore = options.connect(for_loop=True)
        self.room = asyncio.Semaphore(options.in_flight_max)
        self.closed = False
        self._sent: dict[int, _Request] = {}
        self._unsent: list[_Request] = []
        self._fileno = self.core.fileno()
        self.loop.add_reader(self._fileno, self._drain)

    def send(self, request: _Request) -> None:
        """Sends a request together with all others of this turn of the loop. There must be room for it."""
        if not self._unsent:
            self.loop.call_soon(self._flush)
        self._unsent.append(request)

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        alike: dict[tuple[float, bool], list[_Request]] = {}
        for request in unsent:
            if request.future.done():
                self.room.release()
            else:
                alike.setdefault((request.timeout, request.is_read), []).append(request)
        for (timeout, is_read), requests in alike.items():
            self._submit(requests, timeout, is_read=is_read)

    def _submit(self, requests: list[_Request], timeout: float, *, is_read: bool) -> None:
        error: Exception = Busy("the client has as many bytes under way as it may: wait for some commands to complete")
        tokens: list[int] = []
        try:
            traces = [request.trace for request in requests]
            payloads = [request.payload for request in requests]
            tokens = self.core.submit(payloads, timeout, traces if any(traces) else None, is_read)
        except Exception as refused:
            error = refused
        self._sent.update(zip(tokens, requests, strict=False))
        for request in requests[len(tokens) :]:
            self.room.release()
            _fail(request.future, error)

    def ask(self, token: int, decode: Callable[[Any], Any]) -> asyncio.Future[Any]:
        """The result of what was submitted beside the commands."""
        future = self.loop.create_future()
        self._sent[token] = _Request(future, decode, b"", 0.0)
        return future

    def _drain(self) -> None:
        for token, value, failed in self.core.drain():
            request = self._sent.pop(token)
            if request.payload:
                self.room.release()
            if request.future.done():
                continue
            if failed:
                request.future.set_exception(value)
                continue
            try:
                request.future.set_result(request.decode(value))
            except Exception as error:
                request.future.set_exception(error)

    async def close(self) -> None:
        """Ends the core. What is under way ends with `OutcomeUnknown`."""
        if self.closed:
            return
        self.closed = True
        self._flush()
        await asyncio.to_thread(self.core.close)
        self._drain()
        self.loop.remove_reader(self._fileno)
        for request in self._sent.values():
            _fail(request.future, OutcomeUnknown("the client was closed: whether the command is executed is not known"))
        self._sent.clear()


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


class AsyncClient:
    """A client of a cluster, for asyncio. All tasks of one loop may use one.

    ```python
    async with pssmr.AsyncClient("cluster.toml") as client:
        await client.call(Bank.transfer, "ann", "bob", 5)
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
        """Connects to nothing yet: that is for `async with`, or `open`.

        Args:
            cluster: The cluster, in any form that `ClusterConfig.load` takes.
            key: Who the client is: a client's name in the configuration, or the path of a key file. By default the
                first client of the configuration whose key file is there.
            timeout: Seconds that a command may take, from when there is room for it in flight.
            in_flight_max: Most commands that are sent and not answered at once, 1 to 4000. More wait here.
            order_queries: Have queries ordered like commands. By default the replicas answer a query without ordering
                it, if it takes no context and enough of them agree: sooner, and seeing all that had completed before.

        Raises:
            ConfigError: If the configuration or the key can't be used.
        """
        self._options = ClientOptions.load(cluster, key, timeout, in_flight_max, order_queries=order_queries)
        self._timeout = timeout
        self._connection: _Connection | None = None

    async def open(self) -> Self:
        """Starts connecting. Commands wait until enough replicas are reached.

        Raises:
            Error: If the client is open already.
        """
        if self._connection is not None:
            raise Error("the client was opened before; make a new one")
        self._connection = _Connection(self._options)
        close_at_exit(self._connection.core)
        return self

    async def close(self) -> None:
        """Ends the client. What other tasks wait for ends with `OutcomeUnknown`. May be called twice."""
        if self._connection is not None:
            await self._connection.close()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def with_timeout(self, seconds: float) -> Self:
        """The same client with another time-out: `client.with_timeout(2).call(...)`. Shares the connections.

        Raises:
            ConfigError: If the time-out is not above 0.
        """
        check_timeout(seconds)
        self._open_connection()
        view = copy.copy(self)
        view._timeout = seconds
        return view

    async def call(self, command: Command[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Has a command executed, and returns its result: `await client.call(Bank.transfer, "ann", "bob", 5)`.

        A task that is cancelled meanwhile gets its `CancelledError`, and leaves open whether the command is executed:
        it may have been sent, and can't be called back.

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
        return await self.execute(command.bind(*args, **kwargs))

    async def execute(self, call: Request[R]) -> R:
        """Has a command executed that has its arguments already: `await client.execute(Bank.deposit.bind("ann", 5))`.

        Also a `pssmr.Batch` or a `pssmr.Transaction`.

        Raises:
            Exception: What `call` raises.
        """
        self._options.check_request(call)
        with calling(call.name) as trace:
            result: R = await (await self._send(call, trace))
        return result

    @overload
    async def call_many(self, calls: Iterable[Request[R]], *, return_exceptions: Literal[False] = False) -> list[R]: ...
    @overload
    async def call_many(
        self, calls: Iterable[Request[R]], *, return_exceptions: Literal[True]
    ) -> list[R | Exception]: ...
    async def call_many(self, calls: Iterable[Request[Any]], *, return_exceptions: bool = False) -> list[Any]:
        """Has many commands executed, without waiting for one before sending the next, and returns their results.

        ```python
        await client.call_many(Bank.deposit.bind(name, 10) for name in names)
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
        trace = outgoing()
        futures: list[asyncio.Future[Any]] = []
        try:
            for call in calls:
                self._options.check_request(call)
                futures.append(await self._send(call, trace))
            results: list[Any] = await asyncio.gather(*futures, return_exceptions=True)
        except BaseException:
            for future in futures:
                future.cancel()
            raise
        return results_of(results, return_exceptions=return_exceptions)

    @overload
    async def batch(self, calls: Iterable[Call[R]], *, return_exceptions: Literal[False] = False) -> list[R]: ...
    @overload
    async def batch(self, calls: Iterable[Call[R]], *, return_exceptions: Literal[True]) -> list[R | Exception]: ...
    async def batch(self, calls: Iterable[Call[Any]], *, return_exceptions: bool = False) -> list[Any]:
        """Has commands executed that are sent and answered together, and returns their results.

        ```python
        await client.batch([Bank.deposit.bind("ann", 5), Bank.deposit.bind("bob", 5)])
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
        return results_of(await self.execute(Batch(calls)), return_exceptions=return_exceptions)

    async def transaction(self, calls: Iterable[Call[R]]) -> list[R]:
        """Has commands executed as one, and returns their results.

        ```python
        await client.transaction([Bank.withdraw.bind("ann", 5), Bank.deposit.bind("bob", 5)])
        ```

        No other command comes between them. The first that raises ends it: what it and those before it have written to
        maps is undone, those after it are not executed, and its exception is raised. See `pssmr.Transaction`.

        Args:
            calls: Commands with their arguments, made by `bind`: 1 to 1024, in one request's bytes.

        Raises:
            Exception: What `call` raises; `RequestTooLarge` if there are too many.
        """
        return await self.execute(Transaction(calls))

    async def status(self, *, timeout: float = 3.0) -> dict[int, dict[str, Any] | None]:
        """How each replica of the newest membership says it is, by id; `None` for one that does not answer.

        Args:
            timeout: Seconds to wait for each at most; one that refuses the connection is not waited for.
        """
        return (await self._look(timeout))[1]

    async def _look(self, timeout: float) -> tuple[Membership, dict[int, dict[str, Any] | None]]:
        """The newest membership, and how each of its replicas is."""
        connection = self._open_connection()
        while True:
            membership = self.membership()
            asked = {
                each: connection.ask(connection.core.submit_status(each, timeout), status_of) for each in membership.ids
            }
            statuses: dict[int, dict[str, Any] | None] = dict.fromkeys(membership.ids)
            for replica, future in asked.items():
                with contextlib.suppress(Error):
                    statuses[replica] = await future
            if self.membership().epoch == membership.epoch:
                return membership, statuses

    async def state_digests(self) -> dict[int, bytes]:
        """The digest of each replica's state at one position of the total order: of those that answer in time.

        Equal digests mean equal states. They cover the maps, and what the service's `snapshot` returns.

        Raises:
            Unavailable: If the cluster can't do it now.
            OutcomeUnknown: If too few replicas answered in time.
        """
        connection = self._open_connection()
        token = connection.core.submit_state_digests(self._timeout)
        digests: dict[int, bytes] = await connection.ask(token, dict)
        return digests

    async def checkpoint(self) -> dict[int, bytes]:
        """Has a checkpoint taken: the digest of each replica's state there, as `state_digests` gives it.

        Each replica writes a snapshot of its state in the background; when f + 1 have found the same, `status` shows
        its slot as `checkpoint`, and the log before it goes. None is taken if the last one that was asked for is
        younger than 10 s.

        Raises:
            Unavailable: If the cluster can't do it now.
            OutcomeUnknown: If too few replicas answered in time.
        """
        connection = self._open_connection()
        token = connection.core.submit_checkpoint(self._timeout)
        digests: dict[int, bytes] = await connection.ask(token, dict)
        return digests

    def membership(self) -> Membership:
        """The newest membership that the client knows: that of its configuration, until the replicas tell it more."""
        return self._options.membership(self._open_connection().core)

    async def reconfigure(
        self,
        change: Change,
        administrator_key: str | PathLike[str] | None = None,
        *,
        force: bool = False,
    ) -> Membership:
        """Changes the membership: adds a replica, removes one, or puts one in the place of another.

        ```python
        await client.reconfigure(pssmr.AddReplica(pssmr.Member(id=4, key=..., peers=..., clients=...)))
        ```

        One change at a time. It is ordered like a command, and takes effect where it is ordered; commands go on
        meanwhile. A replica that comes is to be started with a configuration of the new membership
        (`ClusterConfig.with_membership`), and gets the state from the others.

        Before the change is sent, enough replicas have to have the state: see `Client.reconfigure`.

        Args:
            change: `AddReplica`, `RemoveReplica` or `ReplaceReplica`.
            administrator_key: The path of the administrator's key; `keys/administrator.pem` by default.
            force: Send it whatever the replicas say of themselves.

        Returns:
            The newest membership, which has the change.

        Raises:
            ReconfigurationRefused: If the change can't be made, or the cluster might stand still; not made.
            ConfigError: If the configuration has no administrator, or the key is another one; not made.
            Unavailable: If the cluster can't take it now; not made.
            OutcomeUnknown: If no answer came in time.
        """
        connection = self._open_connection()
        membership, statuses = await self._look(STATUS_TIMEOUT)
        payload = self._options.signed(membership, change, statuses, administrator_key, force=force)
        token = connection.core.submit_reconfiguration(payload, self._timeout)
        check_made(await connection.ask(token, bytes))
        deadline = time.monotonic() + self._timeout
        while (newest := self.membership()).epoch == membership.epoch:
            if time.monotonic() > deadline:
                raise OutcomeUnknown(NOT_TOLD)
            await asyncio.sleep(TOLD_POLL)
        return newest

    async def upgrade(self, administrator_key: str | PathLike[str] | None = None, *, force: bool = False) -> int:
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
        connection = self._open_connection()
        step = upgrades.step(*await self._look(STATUS_TIMEOUT), force=force)
        key = self._options.cluster.administrator_key(administrator_key)
        if not step.is_made:
            payload = upgrades.sign(self._options.cluster, step.to, key)
            upgrades.check_made(await connection.ask(connection.core.submit_upgrade(payload, self._timeout), bytes))
        return step.to.number

    async def _send(self, call: Request[Any], trace: bytes | None) -> asyncio.Future[Any]:
        """Sends a request as soon as there is room for it."""
        connection = self._open_connection()
        await connection.room.acquire()
        if connection.closed:
            connection.room.release()
            raise Closed("the client was closed before the command was sent")
        future = connection.loop.create_future()
        is_read = self._options.is_read(call)
        connection.send(_Request(future, call.decode, call.payload, self._timeout, is_read, trace))
        return future

    def _open_connection(self) -> _Connection:
        if self._connection is None or self._connection.closed:
            raise Closed("the client is not open: use it in `async with`, or call open()")
        if self._connection.loop is not asyncio.get_running_loop():
            raise Error("the client was opened in another event loop; make one for each loop")
        return self._connection
