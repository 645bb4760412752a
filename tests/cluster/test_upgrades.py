"""A service goes over to a later version while it runs: replica by replica, and then all at one place in the order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pssmr
from pssmr.client import Client
from pssmr.cluster_keys import generate_key
from pssmr.settings import Settings
from pssmr.testing import LocalCluster
from tests.api.banks import first, second
from tests.cluster.ledger import Ledger, check_exactly_once, check_same_state, under_load

Old, New = first(), second()
THREE = {"replicas": 3, "fault_model": "cft", "settings": Settings(durability="async", workers=2), "in_process": True}


def run_code(cluster: LocalCluster, service: type[pssmr.Service], *replicas: int) -> None:
    """Starts these replicas anew, with this code."""
    cluster._running._service_class = service  # type: ignore[union-attr]
    for replica in replicas:
        cluster.stop(replica)
        cluster.start(replica)


def wait_until(client: Client, holds: Callable[[dict[int, Any]], bool]) -> None:
    """Waits until this holds of what the replicas say of themselves."""
    deadline = time.monotonic() + 60
    while not holds(statuses := client.status()):
        assert time.monotonic() < deadline, statuses


def is_in_force(statuses: dict[int, Any]) -> bool:
    """Whether all replicas have come to version 2."""
    return all(each and each["service"]["version"] == 2 for each in statuses.values())


@pytest.fixture
def three() -> Iterator[tuple[LocalCluster, Client]]:
    """Three replicas with the old code, of which one may stop."""
    with LocalCluster(Old, **THREE) as cluster, cluster.client(timeout=60) as client:
        assert client.call(Old.deposit, "ann", 10) == 10
        yield cluster, client


def test_replicas_with_new_code_behave_as_the_old_until_the_service_is_upgraded(
    three: tuple[LocalCluster, Client],
) -> None:
    cluster, client = three
    for replica in range(3):
        run_code(cluster, New, replica)
        assert client.call(New.deposit, "ann", 1) == 11 + replica
        with pytest.raises(pssmr.VersionNotInForce):
            client.call(New.close, "ann")
        if replica < 2:
            with pytest.raises(pssmr.UpgradeRefused, match="replica 2 goes up to version 1"):
                client.upgrade()
    assert client.upgrade() == 2
    assert client.upgrade() == 2, "there is nothing to do"
    assert client.call(New.deposit, "ann", 1) == 13, "with a fee"
    assert client.call(New.close, "bob") == 0
    assert len(set(client.state_digests().values())) == 1
    wait_until(client, is_in_force)


def test_code_that_does_not_have_the_version_in_force_does_not_start_and_says_why(
    three: tuple[LocalCluster, Client],
) -> None:
    cluster, client = three
    run_code(cluster, New, 0, 1, 2)
    assert client.upgrade() == 2
    wait_until(client, is_in_force)
    with pytest.raises(pssmr.ConfigError, match=r"version 2 of the service is in force, .* goes up to version 1"):
        run_code(cluster, Old, 2)

    class Bank(New):  # type: ignore[misc, valid-type]
        @pssmr.command(since=2)
        def reopen(self) -> None:
            """Is no command of version 2 elsewhere."""

    cluster._running._service_class = Bank  # type: ignore[union-attr]
    with pytest.raises(pssmr.ConfigError, match="what the code of this replica calls version 2 has other commands"):
        cluster.start(2)
    # From a snapshot, the log before which has gone.
    cluster._running._service_class = New  # type: ignore[union-attr]
    cluster.start(2)
    client.checkpoint()
    wait_until(client, lambda statuses: all(each and each["checkpoint"] for each in statuses.values()))
    with pytest.raises(pssmr.ConfigError, match=r"version 2 of the service is in force, .* goes up to version 1"):
        run_code(cluster, Old, 2)
    cluster._running._service_class = New  # type: ignore[union-attr]
    cluster.start(2)


def test_a_replica_that_is_left_behind_stops_before_it_does_something_else(
    three: tuple[LocalCluster, Client],
) -> None:
    cluster, client = three
    run_code(cluster, New, 0, 1)
    with pytest.raises(
        pssmr.UpgradeRefused, match="not all replicas run the code that has version 2; replica 2 goes up"
    ):
        client.upgrade()
    assert client.upgrade(force=True) == 2
    assert client.call(New.close, "ann") == 10
    why = "version 2 of the service is in force, and the code of this replica goes up to version 1"
    wait_until(client, lambda statuses: why in ((statuses[2] or {}).get("halted") or ""))
    run_code(cluster, New, 2)
    while len(digests := client.state_digests()) < 3:
        assert len(set(digests.values())) == 1
    assert len(set(digests.values())) == 1


def test_only_the_administrator_upgrades_a_service(tmp_path: Path) -> None:
    with LocalCluster(New, version=1, **THREE) as cluster, cluster.client(timeout=60) as client:
        generate_key(tmp_path / "other.pem")
        with pytest.raises(pssmr.ConfigError, match="administrator"):
            client.upgrade(tmp_path / "other.pem")
        with pytest.raises(pssmr.VersionNotInForce):
            client.call(New.close, "ann")
        assert client.upgrade() == 2


def test_a_new_cluster_may_begin_with_a_later_version() -> None:
    with LocalCluster(New, **THREE) as cluster, cluster.client(timeout=60) as client:
        assert client.call(New.deposit, "ann", 5) == 4
        assert client.upgrade() == 2
    with pytest.raises(pssmr.ConfigError, match="version 3 of the service is in force"):
        LocalCluster(New, version=3, **THREE).__enter__()


CODE = """
from typing import Annotated

import pssmr


class Ledger(pssmr.Service):
    entries = pssmr.Map[int, int]()

    @pssmr.command
    def add(self, number: Annotated[int, entries.write]) -> int:
        self.entries[number] = self.entries.get(number, 0) + 1
        return self.entries[number]

    @pssmr.query(reads=[entries])
    def all(self) -> dict[int, int]:
        return dict(self.entries.items())
"""

LATER = """
    removed = pssmr.Counter(since=2)

    @pssmr.command(since=2, commutes=[removed])
    def remove(self, number: Annotated[int, entries.write]) -> int:
        self.removed.add(1)
        return self.entries.pop(number, 0)
"""


async def test_the_code_of_all_processes_is_replaced_under_load_and_nothing_is_lost(tmp_path: Path) -> None:
    file = tmp_path / "ledger_service.py"
    file.write_text(CODE)
    settings = Settings(durability="async", workers=2)
    async with (
        LocalCluster(f"{file}:Ledger", replicas=3, fault_model="cft", settings=settings) as cluster,
        cluster.async_client(timeout=60) as client,
    ):
        async with under_load(client, in_flight=4, pause=0.01) as load:
            await load.wait_for(100)
            file.write_text(CODE + LATER)
            for replica in range(3):
                await asyncio.to_thread(cluster.kill, replica)
                await asyncio.to_thread(cluster.start, replica)
                await _eventually(client, lambda statuses: all(_is_well(each) for each in statuses.values()))
                await load.wait_for(50)
            assert await client.upgrade() == 2
            await load.wait_for(100)
        await check_exactly_once(client, load)
        later: Any = _later_class()
        number = min(load.acknowledged)
        assert await client.call(later.remove, number) == 1
        assert number not in await client.call(Ledger.all)
        await check_same_state(client, [0, 1, 2])


def _later_class() -> type[pssmr.Service]:
    names: dict[str, Any] = {"__name__": "later"}
    exec(CODE + LATER, names)
    return names["Ledger"]  # type: ignore[no-any-return]


def _is_well(status: Any) -> bool:
    return status is not None and status["role"] in ("leader", "follower")


async def _eventually(client: pssmr.AsyncClient, holds: Callable[[dict[int, Any]], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds(statuses := await client.status()):
        assert time.monotonic() < deadline, statuses
        await asyncio.sleep(0.05)
