"""Queries are answered without being ordered, where that shows in nothing but the time that it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Annotated, Any

import pytest

import pssmr
from pssmr.testing import LocalCluster


class Empty(pssmr.Refused):
    """There is nothing."""


class Shelf(pssmr.Service):
    """Numbers by name, and queries of all kinds."""

    values = pssmr.Map[str, int]()

    @pssmr.command
    def put(self, name: Annotated[str, values.write], value: int) -> int:
        self.values[name] = value
        return value

    @pssmr.query
    def get(self, name: Annotated[str, values.read]) -> int:
        if name not in self.values:
            raise Empty(name)
        return self.values[name]

    @pssmr.query(reads=[values])
    def total(self) -> int:
        return sum(self.values.values())

    @pssmr.query(vectorized=True)
    def doubled(self, number: int) -> int:
        return 2 * number

    @pssmr.query
    def now(self, context: pssmr.Context) -> float:
        return context.time.timestamp()

    @pssmr.query
    def now_by_another(self) -> float:
        return self.now()

    @pssmr.query
    def quietly(self) -> str:
        try:
            self.now()
        except Exception:
            return "no context"
        return "a context"

    @pssmr.query
    def writes(self, name: Annotated[str, values.read]) -> None:
        self.values[name] = 0

    def snapshot(self) -> bytes:
        return b""

    def restore(self, state: bytes) -> None:
        assert state == b""


@pytest.fixture(scope="module", params=["bft", "cft"])
def cluster(request: pytest.FixtureRequest) -> Iterator[Any]:
    replicas = {"bft": 4, "cft": 3}[request.param]
    with LocalCluster(Shelf, replicas=replicas, fault_model=request.param, in_process=True) as running:
        yield running.config


def counters(client: pssmr.Client) -> list[dict[str, int]]:
    return [status["counters"] for status in client.status().values() if status is not None]


def test_a_query_is_not_ordered(cluster: Any) -> None:
    with pssmr.Client(cluster, timeout=60) as client:
        client.call(Shelf.put, "a", 1)
        answered = sum(each["read_replies"] - each["reads_refused"] for each in counters(client))
        for _ in range(2000):
            assert client.call(Shelf.get, "a") == 1
            if sum(each["read_replies"] - each["reads_refused"] for each in counters(client)) >= answered + 20:
                return
        pytest.fail("no replica has answered one")


def test_queries_are_ordered_where_that_is_asked_for(cluster: Any) -> None:
    with pssmr.Client(cluster, timeout=60, order_queries=True) as client:
        client.call(Shelf.put, "a", 1)
        ordered = max(each["commands"] for each in counters(client))
        for _ in range(2000):
            assert client.call(Shelf.get, "a") == 1
            if max(each["commands"] for each in counters(client)) >= ordered + 20:
                return
        pytest.fail("they are not ordered")


def test_a_query_sees_what_had_completed_anywhere(cluster: Any) -> None:
    with pssmr.Client(cluster, timeout=60) as writer, pssmr.Client(cluster, timeout=60) as reader:
        for value in range(200):
            writer.call(Shelf.put, "b", value)
            assert reader.call(Shelf.get, "b") == value


def test_queries_amid_commands_never_go_back(cluster: Any) -> None:
    async def main() -> None:
        async with pssmr.AsyncClient(cluster, timeout=60) as client:
            done = 0

            async def write() -> None:
                nonlocal done
                for value in range(300):
                    await client.call(Shelf.put, "c", value)
                    done = value

            async def read() -> None:
                while done < 299:
                    before = done
                    assert await client.call(Shelf.get, "c") >= before

            await client.call(Shelf.put, "c", 0)
            await asyncio.gather(write(), *(read() for _ in range(4)))

    asyncio.run(main())


def test_what_a_query_raises_is_raised(cluster: Any) -> None:
    with pssmr.Client(cluster, timeout=60) as client:
        with pytest.raises(Empty, match="nowhere"):
            client.call(Shelf.get, "nowhere")
        with pytest.raises(pssmr.HandlerFailed, match="UndeclaredAccess"):
            client.call(Shelf.writes, "a")


def test_a_query_that_wants_its_place_in_the_order_gets_one(cluster: Any) -> None:
    assert not Shelf.now.bind().readable
    with pssmr.Client(cluster, timeout=60) as client:
        first = client.call(Shelf.now)
        assert client.call(Shelf.now_by_another) >= first > 1e9
        assert client.call(Shelf.quietly) == "a context", "what a read came to without one is void"


def test_queries_and_commands_go_together(cluster: Any) -> None:
    with pssmr.Client(cluster, timeout=60) as client:
        client.call(Shelf.put, "d", 4)
        calls = [Shelf.get.bind("d"), Shelf.put.bind("e", 5), Shelf.get.bind("nowhere"), Shelf.doubled.bind(21)]
        results = client.call_many(calls, return_exceptions=True)
        assert [each if isinstance(each, int) else repr(each) for each in results] == [4, 5, "Empty('nowhere')", 42]
        assert client.batch([Shelf.get.bind("d"), Shelf.doubled.bind(3)]) == [4, 6]
        assert client.call(Shelf.total) > 0
