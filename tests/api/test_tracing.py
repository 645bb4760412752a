"""Traces from a client's call to the handler's logs, and to OpenTelemetry."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import pytest

import pssmr
from pssmr import tracing
from pssmr.logs import JsonFormatter
from pssmr.testing import LocalCluster

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"

log = logging.getLogger("tests.tracing")


class Notes(pssmr.Service):
    """Logs what it does."""

    notes = pssmr.Map[str, str]()

    @pssmr.command
    def note(self, name: Annotated[str, notes.write], text: str) -> str:
        log.warning("noting %s", name)
        if not text:
            raise pssmr.Refused("nothing to note")
        self.notes[name] = text
        return text

    @pssmr.query
    def read(self, name: Annotated[str, notes.read]) -> str:
        log.warning("noting %s", name)
        return self.notes.get(name, "")

    @pssmr.query
    def read_now(self, context: pssmr.Context, name: Annotated[str, notes.read]) -> str:
        log.warning("noting %s", name)
        return self.notes.get(name, "")


def eventually(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 60
    while not (value := condition()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)
    return value


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """One replica: it learns of every command from the client."""
    with LocalCluster(Notes, replicas=1, fault_model="cft", in_process=True) as running:
        yield running


def noted(caplog: pytest.LogCaptureFixture, name: str) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.getMessage() == f"noting {name}"]


def test_what_a_handler_logs_says_which_trace_it_belongs_to(
    cluster: LocalCluster, caplog: pytest.LogCaptureFixture
) -> None:
    with cluster.client() as client, tracing.use(TRACEPARENT):
        client.call(Notes.note, "ann", "a")
    (record,) = noted(caplog, "ann")
    assert (record.trace_id, record.span_id) == (TRACE, SPAN)
    line = json.loads(JsonFormatter().format(record))
    assert (line["trace_id"], line["span_id"]) == (TRACE, SPAN)


def test_each_replica_that_was_sent_a_command_knows_its_trace(caplog: pytest.LogCaptureFixture) -> None:
    with LocalCluster(Notes, replicas=4, in_process=True) as cluster:
        with cluster.client() as client, tracing.use(TRACEPARENT):
            client.call(Notes.note, "dan", "d")
        records = eventually(lambda: found if len(found := noted(caplog, "dan")) == 4 else None)
    # One that executes it before it hears of it from the client knows none; nobody proposes what nobody was sent.
    traces = {getattr(record, "trace_id", None) for record in records}
    assert TRACE in traces
    assert traces <= {TRACE, None}


def test_what_the_handler_of_a_query_logs_says_which_trace_it_belongs_to_ordered_or_not(
    cluster: LocalCluster, caplog: pytest.LogCaptureFixture
) -> None:
    with cluster.client() as client:
        with tracing.use(TRACEPARENT):
            client.call(Notes.read, "a query")
            client.call(Notes.read_now, "one with a context, which is ordered")
        client.call(Notes.read, "a query of no trace")
    for name in ("a query", "one with a context, which is ordered"):
        (record,) = noted(caplog, name)
        assert (record.trace_id, record.span_id) == (TRACE, SPAN)
    (record,) = noted(caplog, "a query of no trace")
    assert not hasattr(record, "trace_id")


def test_queries_of_clients_with_one_key_belong_to_traces_of_their_own(
    cluster: LocalCluster, caplog: pytest.LogCaptureFixture
) -> None:
    with cluster.client() as first, cluster.client() as second:
        for number in range(1, 5):
            for place, client in enumerate((first, second)):
                with tracing.use(f"00-{10 * number + place:032x}-{SPAN}-01"):
                    client.call(Notes.read, f"query {number} of {place}")
    for number in range(1, 5):
        for place in range(2):
            (record,) = noted(caplog, f"query {number} of {place}")
            assert record.trace_id == f"{10 * number + place:032x}"


def test_a_query_that_is_not_ordered_has_the_spans_of_its_call_and_of_its_execution() -> None:
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.instrument(provider)
    try:
        with LocalCluster(Notes, replicas=1, fault_model="cft", in_process=True) as cluster, cluster.client() as client:
            client.call(Notes.read, "ann")
    finally:
        tracing.uninstrument()
        provider.shutdown()
    execution, call = sorted(exporter.get_finished_spans(), key=lambda span: span.name, reverse=True)
    assert (call.name, execution.name) == ("pssmr.call read", "pssmr.execute read")
    assert execution.parent.span_id == call.context.span_id
    assert execution.status.is_ok


def test_what_belongs_to_no_trace_is_not_marked(cluster: LocalCluster, caplog: pytest.LogCaptureFixture) -> None:
    with cluster.client() as client:
        with tracing.use(TRACEPARENT):
            client.call(Notes.note, "bob", "b")
        client.call(Notes.note, "cid", "c")
    (record,) = noted(caplog, "cid")
    assert not hasattr(record, "trace_id")
    log.warning("outside of handlers")
    assert not hasattr(caplog.records[-1], "trace_id")


async def test_calls_of_one_loop_belong_to_traces_of_their_own(
    cluster: LocalCluster, caplog: pytest.LogCaptureFixture
) -> None:
    async def call(client: pssmr.AsyncClient, number: int) -> None:
        with tracing.use(f"00-{number:032x}-{SPAN}-01"):
            await client.call(Notes.note, f"name {number}", "x")

    async with cluster.async_client() as client:
        await asyncio.gather(*(call(client, number) for number in range(1, 9)), client.call(Notes.note, "none", "x"))
        with tracing.use(f"00-{9:032x}-{SPAN}-01"):
            await client.call_many([Notes.note.bind("name 9", "x")])
    for number in range(1, 10):
        (record,) = noted(caplog, f"name {number}")
        assert record.trace_id == f"{number:032x}"
    (record,) = noted(caplog, "none")
    assert not hasattr(record, "trace_id")


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        TRACE,
        TRACEPARENT.upper(),
        f"00-{TRACE}-{SPAN}",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"{TRACEPARENT}\n",
    ],
)
def test_what_is_no_traceparent_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="is no traceparent"), tracing.use(wrong):
        pass


def test_a_call_its_ordering_and_its_execution_are_spans_of_one_trace() -> None:
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.instrument(provider)
    try:
        with LocalCluster(Notes, replicas=1, fault_model="cft", in_process=True) as cluster, cluster.client() as client:
            with provider.get_tracer("application").start_as_current_span("work"):
                client.call(Notes.note, "ann", "a")
                client.call_many([Notes.note.bind("bob", "b")])
            with pytest.raises(pssmr.Refused):
                client.call(Notes.note, "cid", "")
    finally:
        tracing.uninstrument()
        provider.shutdown()
    by_name: dict[str, list[Any]] = {}
    # A replica that has stopped has handed all over.
    for span in exporter.get_finished_spans():
        by_name.setdefault(span.name, []).append(span)
    (work,) = by_name["work"]
    first, refused = by_name["pssmr.call note"]
    assert first.parent.span_id == work.context.span_id
    assert refused.parent is None
    assert not refused.status.is_ok
    assert len(by_name["pssmr.order note"]) == len(by_name["pssmr.execute note"]) == 3
    parents = [first, work, refused]
    for order, execute, parent in zip(by_name["pssmr.order note"], by_name["pssmr.execute note"], parents, strict=True):
        for span in (order, execute):
            assert span.parent.span_id == parent.context.span_id
            assert span.context.trace_id == parent.context.trace_id
            assert span.attributes == {"pssmr.command": "note", "pssmr.replica": 0}
        assert order.start_time <= order.end_time <= execute.start_time <= execute.end_time
        assert execute.status.is_ok == (parent is not refused)


def test_calls_that_are_not_sampled_are_not_told_to_replicas(cluster: LocalCluster) -> None:
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

    tracing.instrument(TracerProvider(sampler=ALWAYS_OFF))
    try:
        with cluster.client() as client, tracing.calling("note") as trace:
            assert trace is None
            assert client.call(Notes.note, "ann", "a") == "a"
    finally:
        tracing.uninstrument()
