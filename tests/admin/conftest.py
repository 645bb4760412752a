"""One replica in this process, and what its admin service answers."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import pytest

import pssmr
from pssmr.admin.application import OPERATIONS
from pssmr.admin.openapi import document
from pssmr.cluster_create import create_cluster
from pssmr.cluster_local import make_local
from pssmr.cluster_ports import free_ports
from pssmr.testing.in_process import InProcessReplicas

DOCUMENTED = document(operation for operation, _ in OPERATIONS)["paths"]

TIMEOUT = 60.0
"""Seconds until something has to happen that takes one or two."""


class Counters(pssmr.Service):
    """Counters by name, and two ways to misbehave."""

    counters = pssmr.Map[str, int]()
    gate = threading.Event()
    entered = threading.Event()

    @pssmr.command
    def add(self, name: Annotated[str, counters.write], amount: int) -> int:
        self.counters[name] = self.counters.get(name, 0) + amount
        return self.counters[name]

    @pssmr.command
    def block(self) -> None:
        self.entered.set()
        self.gate.wait(TIMEOUT)

    @pssmr.command
    def stop(self) -> None:
        raise MemoryError


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Admin:
    """A replica's admin service, as seen by whoever asks it."""

    url: str
    token: str
    cluster: Path

    @property
    def address(self) -> tuple[str, int]:
        place = urlsplit(self.url)
        assert place.hostname is not None
        assert place.port is not None
        return place.hostname, place.port

    def ask(self, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
        """Asks once, on a connection of its own. Headers are written with `_` for `-`."""
        connection = http.client.HTTPConnection(*self.address, timeout=TIMEOUT)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body=body, headers=named)
            response = connection.getresponse()
            operation = DOCUMENTED.get(path, {}).get(method.lower())
            assert operation is None or str(response.status) in operation["responses"], "an answer that is documented"
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def act(self, path: str, value: object, *, token: str | None = None) -> Answer:
        """Asks to change something, with the replica's token or another one."""
        authorization = f"Bearer {self.token if token is None else token}"
        body = json.dumps(value).encode()
        return self.ask(path, "POST", body, Authorization=authorization, Content_Type="application/json")

    def client(self) -> pssmr.Client:
        return pssmr.Client(self.cluster, timeout=TIMEOUT)


@dataclass
class ThreeReplicas:
    """Replicas in this process, and what asks each of them."""

    running: InProcessReplicas
    admins: list[Admin]

    @property
    def config(self) -> pssmr.ClusterConfig:
        return self.running.config

    def client(self) -> pssmr.Client:
        return pssmr.Client(self.config, timeout=TIMEOUT)

    def leads(self, replica: int) -> bool:
        statuses = [each.ask("/status").json for each in self.admins]
        return all(status["leader"] == replica and status["active"] for status in statuses)


@contextlib.contextmanager
def three_replicas(directory: Path) -> Iterator[ThreeReplicas]:
    """A `cft` cluster in which nobody waits for a time-out: that would take longer than a test does."""
    settings = pssmr.Settings(durability="memory", request_timeout_ms=600_000, request_timeout_max_ms=600_000)
    file = make_local(directory, replicas=3, fault_model="cft", settings=settings, admin=True)
    running = InProcessReplicas(Counters, file)
    try:
        running.start_all()
        tokens = [(file.parent / "keys" / f"admin-{each.id}.token").read_text() for each in running.config.replicas]
        places = zip(running.config.replicas, tokens, strict=True)
        yield ThreeReplicas(running, [Admin(f"http://{each.admin}/", token.strip(), file) for each, token in places])
    finally:
        running.stop_all()


def make_cluster(directory: Path, **settings: Any) -> Path:
    """The configuration of a single replica that serves HTTP at a free port."""
    ports = free_ports(2)
    create_cluster(
        directory,
        replicas=1,
        address=lambda _: (f"127.0.0.1:{ports[0]}", f"127.0.0.1:{ports[1]}"),
        settings=pssmr.Settings(**{"durability": "memory", "workers": 2, **settings}),
        admin=lambda _: "127.0.0.1:0",
    )
    return directory


def admin_of(replica: pssmr.Replica, cluster: Path) -> Admin:
    """What asks this replica."""
    assert replica.admin_url is not None
    return Admin(replica.admin_url, (cluster / "keys" / "admin-0.token").read_text().strip(), cluster)


def eventually(condition: Callable[[], object]) -> Any:
    """What the condition gives as soon as it is true."""
    deadline = time.monotonic() + TIMEOUT
    while not (value := condition()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)
    return value


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    """The configuration of a single replica."""
    return make_cluster(tmp_path / "cluster")


@pytest.fixture
def admin(cluster: Path) -> Iterator[Admin]:
    """A replica that runs."""
    with pssmr.Replica(Counters(), cluster, id=0) as replica:
        yield admin_of(replica, cluster)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Admin]:
    """A replica for tests that change nothing at it, or nothing that matters to others."""
    cluster = make_cluster(tmp_path_factory.mktemp("shared") / "cluster")
    with pssmr.Replica(Counters(), cluster, id=0) as replica:
        yield admin_of(replica, cluster)
