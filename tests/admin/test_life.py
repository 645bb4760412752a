"""Where the admin service listens, and what is left of it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import socket
import threading
from pathlib import Path

import pytest

import pssmr
from pssmr.cluster_ports import free_ports
from tests.admin.conftest import Counters, admin_of
from tests.admin.test_events import Listener

CYCLES = 10


def at(cluster: Path, admin: str) -> pssmr.ClusterConfig:
    """The configuration, with another place for HTTP."""
    config = pssmr.ClusterConfig.load(cluster)
    return dataclasses.replace(config, replicas=(dataclasses.replace(config.replicas[0], admin=admin),))


def test_without_an_address_there_is_no_service(cluster: Path) -> None:
    with pssmr.Replica(Counters(), at(cluster, ""), id=0) as replica:
        assert replica.admin_url is None
        assert not [thread for thread in threading.enumerate() if thread.name == "pssmr-admin"]


def has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", *(["[::1]"] if has_ipv6() else [])])
def test_it_listens_where_it_is_told(cluster: Path, host: str) -> None:
    with pssmr.Replica(Counters(), at(cluster, f"{host}:0"), id=0) as replica:
        assert replica.admin_url is not None
        assert replica.admin_url.startswith(f"http://{host}:")
        assert admin_of(replica, cluster).ask("/livez").status == 200


def test_a_taken_port_is_named_and_the_replica_does_not_run(cluster: Path) -> None:
    with socket.create_server(("127.0.0.1", free_ports(1)[0])) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(OSError, match=f"cannot serve HTTP at {place}: Address already in use"):
            pssmr.Replica(Counters(), at(cluster, place), id=0).start()
    with pssmr.Replica(Counters(), at(cluster, place), id=0) as replica:
        assert replica.admin_url == f"http://{place}/"


def test_a_replica_that_can_not_start_frees_the_port(cluster: Path) -> None:
    config = at(cluster, f"127.0.0.1:{free_ports(1)[0]}")
    with pssmr.Replica(Counters(), config, id=0):
        pass
    with socket.create_server(("127.0.0.1", int(config.replicas[0].peers.rpartition(":")[2]))):
        for _ in range(2):
            with pytest.raises(OSError, match="another process listens there"):
                pssmr.Replica(Counters(), config, id=0).start()


def descriptors() -> set[str]:
    gc.collect()
    return {str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()}


def test_nothing_is_left_of_it_though_others_hold_connections(cluster: Path) -> None:
    def run_once() -> None:
        with pssmr.Replica(Counters(), cluster, id=0) as replica:
            admin = admin_of(replica, cluster)
            listener = Listener(admin)
            held = socket.create_connection(admin.address, timeout=60)
            assert admin.act("/actions/resize-workers", {"workers": 3}).status == 200
        assert b"retry" in listener._response.readline()
        listener.close()
        assert held.recv(1) == b""
        held.close()
        with pytest.raises(ConnectionRefusedError):
            admin.ask("/livez")

    run_once()  # What stays is imported and started once.
    before = (descriptors(), threading.active_count())
    for _ in range(CYCLES):
        run_once()
    assert (descriptors(), threading.active_count()) == before


async def test_events_reach_both_loops(cluster: Path) -> None:
    async with pssmr.Replica(Counters(), cluster, id=0) as replica:
        admin = admin_of(replica, cluster)
        listener = await asyncio.to_thread(Listener, admin)
        async with pssmr.AsyncClient(cluster, timeout=1) as client:
            with pytest.raises((pssmr.OutcomeUnknown, pssmr.Unavailable)):
                await client.call(Counters.stop)
        with pytest.raises(pssmr.ReplicaStopped):
            await asyncio.wait_for(replica.wait(), 60)
        _, event = await asyncio.to_thread(listener.next)
        assert event["event"] == "halted"
        assert replica.events()[-1] == event
        listener.close()


@pytest.mark.parametrize(
    ("admin", "problem"),
    [
        ("127.0.0.1", "no port"),
        (":7208", "no host"),
        ("127.0.0.1:70000", "0 to 65535"),
        ("127.0.0.1:x", "0 to 65535"),
        (7208, "text"),
    ],
)
def test_an_address_that_can_not_be_is_refused(cluster: Path, admin: str, problem: str) -> None:
    with pytest.raises(pssmr.ConfigError, match=problem) as refused:
        at(cluster, admin)
    assert refused.value.field == "admin"


def test_a_replica_can_not_serve_http_where_it_listens(cluster: Path) -> None:
    config = pssmr.ClusterConfig.load(cluster)
    with pytest.raises(pssmr.ConfigError, match="give it another port"):
        at(cluster, config.replicas[0].clients)


def test_a_place_that_others_can_reach_is_noted(cluster: Path) -> None:
    assert not any("unencrypted" in note for note in at(cluster, "localhost:7208").notes)
    assert any("0.0.0.0:7208" in note for note in at(cluster, "0.0.0.0:7208").notes)
