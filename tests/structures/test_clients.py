"""All structures on one cluster, from asyncio and without."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from pssmr import Client, structures
from pssmr.testing import LocalCluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(structures.Structures) as running:
        yield running


@pytest.fixture(scope="module")
def client(cluster: LocalCluster) -> Iterator[Client]:
    with cluster.client(timeout=60) as connected:
        yield connected


def test_three_lines_are_enough(cluster: LocalCluster) -> None:
    with Client(cluster.cluster, timeout=60) as client:
        visits = structures.Counter("visits")
        assert client.execute(visits.add(1)) == 1


async def test_three_lines_are_enough_for_asyncio(cluster: LocalCluster) -> None:
    async with cluster.async_client(timeout=60) as client:
        prices = structures.Dict("prices")
        await client.execute(prices.set("tea", 3))
        assert await client.execute(prices.get("tea")) == 3


def test_every_structure_works_on_a_cluster(client: Client) -> None:
    seen, journal = structures.Set("seen"), structures.List("journal")
    mail, jobs = structures.Queue("mail"), structures.PriorityQueue("jobs")
    assert client.execute(seen.add("ann")) is True
    assert client.execute(seen.elements()) == {"ann"}
    assert client.execute(journal.extend(["opened", b"\0", 1.5, None])) == 4
    assert client.execute(journal.slice()) == ["opened", b"\0", 1.5, None]
    assert client.execute(mail.put("to ann", "to bob")) == 2
    assert client.execute(mail.take()) == ["to ann"]
    client.call_many([jobs.put(2, "sweep"), jobs.put(1, "cook")])
    assert client.execute(jobs.take()) == (1, "cook")
    with pytest.raises(structures.NoSuchIndex, match="journal has no index 9"):
        client.execute(journal.get(9))


def test_many_clients_take_each_value_of_a_queue_once(client: Client) -> None:
    mail = structures.Queue("shared")
    client.execute(mail.put(*range(60)))

    def take() -> list[object]:
        taken: list[object] = []
        while values := client.execute(mail.take(2)):
            taken += values
        return taken

    with ThreadPoolExecutor(3) as threads:
        taken = [value for each in [threads.submit(take) for _ in range(3)] for value in each.result()]
    assert sorted(taken, key=int) == list(range(60))  # type: ignore[call-overload]


def test_a_lock_lets_one_thread_in_at_a_time(client: Client) -> None:
    backup, inside, tokens = structures.Lock("backup"), list[int](), list[int]()

    def work(number: int) -> None:
        with backup.held(client) as lease:
            inside.append(number)
            tokens.append(lease.token)
            client.execute(structures.Counter("work").add())
            assert inside == [number]
            inside.remove(number)

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(work, range(3)))
    assert tokens == sorted(set(tokens)), "each got a greater token than those before"
    assert client.execute(backup.holder()) is None


async def test_a_lock_lets_one_task_in_at_a_time(cluster: LocalCluster) -> None:
    backup, inside = structures.Lock("of tasks"), list[int]()

    async with cluster.async_client(timeout=60) as client:

        async def work(number: int) -> None:
            async with backup.held(client):
                inside.append(number)
                await client.execute(structures.Counter("work").add())
                assert inside == [number]
                inside.remove(number)

        async with asyncio.TaskGroup() as group:
            for number in range(3):
                group.create_task(work(number))
        assert await client.execute(backup.holder()) is None


def test_who_waits_for_a_lock_gets_it_when_the_lease_of_a_dead_holder_runs_out(client: Client) -> None:
    lease = client.execute(structures.Lock("dead", lease_ms=300).acquire())
    with structures.Lock("dead").held(client) as mine:
        assert mine.token > lease.token
        assert mine.until_ns > lease.until_ns


def test_who_does_not_want_to_wait_is_told_how_long_it_would_be(client: Client) -> None:
    busy = structures.Lock("busy", lease_ms=3_600_000)
    client.execute(busy.acquire())
    with pytest.raises(structures.LockHeld) as held, busy.held(client, wait=0):
        pytest.fail("another holds it")
    assert 0 < held.value.left_ms <= 3_600_000


async def test_a_lock_that_another_got_meanwhile_is_reported_at_the_end(cluster: LocalCluster, client: Client) -> None:
    slow = structures.Lock("slow")
    with pytest.raises(structures.LeaseLost, match="slow had been given to another"), slow.held(client) as lease:
        client.execute(slow.release(lease))
    async with cluster.async_client(timeout=60) as async_client:
        with pytest.raises(structures.LeaseLost):
            async with slow.held(async_client) as lease:
                client.execute(slow.release(lease))


def test_what_a_block_raises_is_raised_and_the_lock_is_let_go(client: Client) -> None:
    fragile = structures.Lock("fragile")
    with pytest.raises(ZeroDivisionError), fragile.held(client):
        raise ZeroDivisionError
    assert client.execute(fragile.holder()) is None


def test_a_replica_can_be_lost(cluster: LocalCluster, client: Client) -> None:
    visits = structures.Counter("of survivors")
    client.execute(visits.add(5))
    cluster.kill(cluster.leader())
    assert client.execute(visits.add(1)) == 6
