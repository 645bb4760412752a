"""Each example does what it says."""

from __future__ import annotations

import runpy
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer

import pssmr
from pssmr.executor import Executor
from pssmr.testing import LocalCluster, check, check_snapshots
from tests.examples.conftest import EXAMPLES

Example = Callable[[str], ModuleType]
SECOND_NS = 1_000_000_000


def test_the_quick_start_runs(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / "quick_start.py"))
    assert capsys.readouterr().out.splitlines()[1:] == [
        "the winner is bob",
        "and still is bob with a replica less",
    ]


# The key-value store


@pytest.fixture(scope="module")
def key_value_cluster(example: Example) -> Iterator[LocalCluster]:
    service = example("key_value_http").KeyValue
    with LocalCluster(service, replicas=1, in_process=True) as cluster:
        yield cluster


async def test_values_can_be_put_read_and_deleted_over_http(example: Example, key_value_cluster: LocalCluster) -> None:
    app = example("key_value_http").front(key_value_cluster.async_client(timeout=60))
    async with TestClient(TestServer(app)) as http:
        assert (await http.get("/tea")).status == 404
        first = await http.put("/tea", data=b"three")
        assert (first.status, first.headers["ETag"]) == (204, '"1"')
        found = await http.get("/tea")
        assert (await found.read(), found.headers["ETag"]) == (b"three", '"1"')
        assert (await http.put("/tea", data=b"four", headers={"If-Match": '"1"'})).status == 204
        assert (await http.put("/tea", data=b"five", headers={"If-Match": '"1"'})).status == 412
        assert (await http.put("/tea", data=b"five", headers={"If-Match": "new"})).status == 400
        assert await (await http.get("/tea")).read() == b"four"
        assert (await http.delete("/tea")).status == 204
        assert (await http.delete("/tea")).status == 404
        refused = await http.get("/" + "x" * 5000)
        assert refused.status == 400
        assert "the key is too long" in await refused.text()


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (pssmr.NoQuorum("two replicas are gone"), 503, "nothing happened: two replicas"),
        (pssmr.OutcomeUnknown("no answer"), 504, "whether it happened is not known"),
    ],
)
async def test_what_is_not_known_is_another_answer_than_what_did_not_happen(
    example: Example, key_value_cluster: LocalCluster, error: Exception, status: int, words: str
) -> None:
    client = key_value_cluster.async_client()

    async def fail(*_: Any) -> None:
        raise error

    client.call = fail  # type: ignore[method-assign, assignment]
    async with TestClient(TestServer(example("key_value_http").front(client))) as http:
        answer: aiohttp.ClientResponse = await http.put("/tea", data=b"")
        assert answer.status == status
        assert words in await answer.text()


# The job queue


def test_a_job_comes_back_when_its_lease_runs_out(example: Example) -> None:
    module = example("job_queue")
    with Executor(module.Jobs()) as executor:

        def run(seconds: float, call: Any) -> Any:
            (outcome,) = executor.run([call], time_ns=int(seconds * SECOND_NS))
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        jobs = module.Jobs
        assert [run(0, jobs.add.bind(text)) for text in ("sweep", "cook")] == [0, 1]
        first = run(0, jobs.take.bind(10))
        second = run(1, jobs.take.bind(10))
        assert [first.text, second.text] == ["sweep", "cook"]
        assert run(1, jobs.take.bind(10)) is None
        run(9, jobs.renew.bind(first, 10))
        again = run(11, jobs.take.bind(10))
        assert (again.number, again.attempt) == (second.number, 2)
        with pytest.raises(module.NotYours):
            run(11, jobs.finish.bind(second))
        with pytest.raises(module.NotYours):
            run(11, jobs.renew.bind(second, 10))
        run(18, jobs.finish.bind(first))
        run(18, jobs.finish.bind(again))
        assert run(18, jobs.counts.bind()) == (0, 0)


def test_workers_do_all_jobs(example: Example, capsys: pytest.CaptureFixture[str]) -> None:
    module = example("job_queue")
    with LocalCluster(module.Jobs, replicas=1, in_process=True) as cluster, cluster.client(timeout=60) as client:
        client.call_many(module.Jobs.add.bind(f"job {i}") for i in range(5))
        assert module.work(client) == 5
        assert client.call(module.Jobs.counts) == (0, 0)
    assert capsys.readouterr().out.count("attempt 1") == 5


# The order book


def test_orders_are_matched_by_price_and_then_by_time(example: Example) -> None:
    module = example("order_book")
    market, trade = module.Market(), module.Trade
    dear, _ = market.sell("gold", 102, 5)
    early, _ = market.sell("gold", 101, 5)
    late, _ = market.sell("gold", 101, 5)
    assert market.best("gold") == (None, 101)
    _, trades = market.buy("gold", 102, 12)
    assert trades == [trade(early, 101, 5), trade(late, 101, 5), trade(dear, 102, 2)]
    rest, trades = market.buy("gold", 101, 4)
    assert trades == []
    assert market.best("gold") == (101, 102)
    assert market.sell("gold", 100, 1)[1] == [trade(rest, 101, 1)]
    assert market.cancel("gold", rest) == 3
    assert market.cancel("gold", rest) == 0
    assert market.best("gold") == (None, 102)
    assert market.best("salt") == (None, None)
    with pytest.raises(pssmr.Refused):
        market.buy("gold", 0, 1)


def test_replicas_of_the_examples_would_agree(example: Example) -> None:
    market = example("order_book").Market
    calls = [side.bind("gold", price, 2) for side in (market.buy, market.sell) for price in (99, 100)]
    more = [market.buy.bind("salt", 1, 1), market.cancel.bind("gold", 1), market.best.bind("gold")]
    check(market, calls=[*calls, *more], runs=30, other_processes=False)
    check_snapshots(market, calls * 3, other_processes=False)
    for name, service in (("job_queue", "Jobs"), ("key_value_http", "KeyValue"), ("bank", "Bank")):
        check(getattr(example(name), service), runs=20, other_processes=False)
