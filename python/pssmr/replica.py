"""A running replica."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import threading
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pssmr import tracing
from pssmr._core import NativeService, ReplicaCore
from pssmr.client_options import ClusterSource
from pssmr.closing import close_at_exit
from pssmr.config import ClusterConfig
from pssmr.errors import Closed, Error, ReplicaStopped
from pssmr.event_feed import Event, EventFeed
from pssmr.logs import start_forwarding
from pssmr.reconfiguration import for_core
from pssmr.service import Service
from pssmr.settings import RECORD_BYTES_MAX

if TYPE_CHECKING:
    from pssmr.admin import AdminServer


class Replica:
    """One replica of a cluster, in this process.

    ```python
    async with pssmr.Replica(Bank(), "cluster.toml", id=0) as replica:
        await replica.wait()
    ```

    Its threads end with the context. Without asyncio, `with` does the same.
    """

    def __init__(
        self,
        service: Service | NativeService,
        cluster: ClusterSource,
        *,
        id: int,  # noqa: A002 - what configurations and people call it
        key: str | PathLike[str] | None = None,
        record: str | PathLike[str] | None = None,
        record_bytes_max: int = RECORD_BYTES_MAX,
    ) -> None:
        """Starts nothing yet: that is for `async with`, `with`, or `start`.

        Args:
            service: A service object of its own, whose commands this replica executes. From the start on, nothing else
                may touch its maps.
            cluster: The cluster, in any form that `ClusterConfig.load` takes.
            id: Which of the cluster's replicas to be.
            key: The path of the replica's private key; `keys/replica-N.pem` by default.
            record: A file in which to record what the replica's ordering is told, for `pssmr replay`. It has the
                requests of clients in the clear. What was recorded there before is kept as `FILE.1` and `FILE.2`.
            record_bytes_max: The recording ends before it is longer than this, and the replica goes on.

        Raises:
            ConfigError: If the configuration or the key can't be used.
        """
        self._service = service
        self._config = ClusterConfig.load(cluster)
        self._id = id
        self._key = self._config.replica_key(id, key)
        self._record = None if record is None else (Path(record), record_bytes_max)
        self._core: ReplicaCore | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Event | None = None
        self._feed: EventFeed | None = None
        self._admin: AdminServer | None = None
        self._exporter: threading.Thread | None = None

    def start(self) -> Self:
        """Starts the replica: its ports are open when this returns, its links come up behind it.

        Raises:
            ConfigError: If a setting can't be, or the data directory or the file to record in can't be used.
            Closed: If the service object belongs to another replica.
            OSError: If an address can't be listened at: for replicas, for clients, or for HTTP.
            Error: If the replica was started before.
        """
        if self._core is not None:
            raise Error("the replica was started before; make a new one, with a new service object")
        config, me = self._config, self._config.replica(self._id)
        data = config.replica_data(self._id)
        if data is not None:
            data.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        plan = None if config.plan is None else config.plan.for_core(_tables_of(self._service))
        start_forwarding()
        tracing.mark_records()
        spans = tracing.spans()
        admin = _admin_server(me.admin) if me.admin else None
        try:
            token = config.replica_token(self._id) if admin is not None else None
            self._core = ReplicaCore(
                self._service,
                cluster=config.id,
                fault_model=config.fault_model,
                epoch=config.epoch,
                administrator=config.administrator or None,
                members=[for_core(member) for member in config.membership.members],
                me=self._id,
                key=self._key,
                listen_peers=me.peers_listener,
                listen_clients=me.clients_listener,
                clients=[client.key for client in config.clients],
                settings=dataclasses.asdict(config.settings),
                data=data,
                plan=plan,
                spans=spans is not None,
                record=self._record,
            )
        except BaseException:
            if admin is not None:
                admin.close()
            raise
        close_at_exit(self, serves=True)
        self._feed = EventFeed(self._core.events)
        if spans is not None:
            self._exporter = threading.Thread(
                target=_export, args=(self._core, self._id, spans), name="pssmr-spans", daemon=True
            )
            self._exporter.start()
        if admin is not None:
            self._admin = admin
            try:
                _serve_admin(admin, self._id, config, self._core, self._feed, self._key, token)
            except BaseException:
                self.stop()
                raise
        return self

    def stop(self) -> None:
        """Stops the replica, and waits until its threads are gone. Commands that have begun are finished.

        May be called twice. Never call it from a handler.
        """
        if self._admin is not None:
            self._admin.close()
        if self._core is not None:
            self._core.stop()
        if self._exporter is not None and self._exporter is not threading.current_thread():
            self._exporter.join()

    def close(self) -> None:
        """The same as `stop`."""
        self.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.start)
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        feed = self._started_feed()
        feed.listen(self._hear)
        self._loop.add_reader(self._started_core().fileno(), feed.take)
        self._look_whether_it_has_ended()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._loop is not None:
            self._loop.remove_reader(self._started_core().fileno())
            self._started_feed().unlisten(self._hear)
        await asyncio.to_thread(self.stop)
        if self._ended is not None:
            self._ended.set()

    async def wait(self) -> None:
        """Waits until the replica is stopped. Needs `async with`.

        Raises:
            ReplicaStopped: When the replica has stopped by itself, for good.
        """
        if self._ended is None:
            raise Error("wait() needs `async with pssmr.Replica(...)`")
        core = self._started_core()
        if core.halted() is None:
            await self._ended.wait()
        if (reason := core.halted()) is not None:
            raise ReplicaStopped(reason)

    @property
    def id(self) -> int:
        """Which replica this is."""
        return self._id

    @property
    def config(self) -> ClusterConfig:
        """The cluster's configuration."""
        return self._config

    @property
    def halted(self) -> str | None:
        """Why the replica has stopped for good; `None` if it has not."""
        return self._started_core().halted()

    @property
    def peer_address(self) -> str:
        """Where it listens for other replicas."""
        return self._started_core().peer_address

    @property
    def client_address(self) -> str:
        """Where it listens for clients."""
        return self._started_core().client_address

    @property
    def admin_url(self) -> str | None:
        """Where its dashboard is; `None` if it serves no HTTP."""
        return None if self._admin is None else self._admin.url

    def status(self) -> dict[str, Any]:
        """How it is: the same as `Client.status` shows of it."""
        status: dict[str, Any] = json.loads(self._started_core().status())
        return status

    def step_down(self) -> int:
        """Has this replica, if it leads, give up its view, and returns the replica that leads next.

        The others leave the view at once: within milliseconds, without any time-out. No command is lost. This replica
        goes on as a follower: before its machine is restarted, say.

        Raises:
            StepDownRefused: If another replica leads (`leader` says which), a view change is under way, or this replica
                does not vote yet.
        """
        _, leader = self._started_core().step_down()
        return leader

    def events(self) -> list[Event]:
        """The latest of what has happened, the oldest first.

        A dict each: `event` says what it is, `number` counts from 1, `time` is in seconds since the Unix epoch.
        """
        feed = self._started_feed()
        feed.take()
        return feed.latest()

    def _hear(self, _: list[Event]) -> None:
        """Something has happened. Any thread."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._look_whether_it_has_ended)

    def _look_whether_it_has_ended(self) -> None:
        if self._ended is not None and self.halted is not None:
            self._ended.set()

    def _started_feed(self) -> EventFeed:
        self._started_core()
        assert self._feed is not None
        return self._feed

    def _started_core(self) -> ReplicaCore:
        if self._core is None:
            raise Closed("the replica is not started: use it in `async with` or `with`, or call start()")
        return self._core


def _tables_of(service: Service | NativeService) -> list[str] | None:
    """The names of a service's tables, in order; `None` if it is a native one."""
    return list(service._tables) if isinstance(service, Service) else None


def _export(core: ReplicaCore, replica: int, makes: tracing.Spans) -> None:
    """Makes spans of traced commands until the replica is stopped."""
    while (spans := core.next_spans()) is not None:
        makes.executed(replica, spans)


def _admin_server(address: str) -> AdminServer:
    # Only now, since aiohttp takes long to import.
    from pssmr.admin import AdminServer

    return AdminServer(address)


def _serve_admin(
    admin: AdminServer,
    replica: int,
    config: ClusterConfig,
    core: ReplicaCore,
    feed: EventFeed,
    key: str,
    token: str | None,
) -> None:
    from pssmr.admin import Node, Upkeep

    admin.start(Node(id=replica, config=config, core=core, feed=feed, upkeep=Upkeep(config, key), token=token))
