"""A replica's status as Prometheus has it: one table, from which the documentation of the metrics is made, too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.process_collector import ProcessCollector

Status = Mapping[str, Any]

Samples = Iterable[tuple[tuple[str, ...], Any]]
"""Values by the values of their labels."""

ROLES = ("leader", "follower", "learner", "retired", "halted")

_NANOS = 1e-9


def _bounds(powers: Iterable[int], scale: float) -> tuple[tuple[int, str], ...]:
    """Powers of two, each with how it is written."""
    return tuple((1 << power, repr(float(f"{(1 << power) * scale:.9g}"))) for power in powers)


_DURATION_BOUNDS = _bounds(range(10, 36), _NANOS)
"""From 1 µs to 34 s."""
_COUNT_BOUNDS = _bounds(range(17), 1)


@dataclass(frozen=True, slots=True)
class Family:
    """A metric, and where its values are in a status."""

    name: str
    kind: Literal["counter", "gauge", "seconds", "sizes"]
    help: str
    path: str
    """Where the value is: names with dots between. `*` stands for each item of a list. `null` has no values."""
    labels: tuple[str, ...] = ()
    """The fields that tell the items of the list apart; `#` is an item's place."""
    scale: float = 1


def _links(name: str, field: str, what: str) -> list[Family]:
    return [
        Family(f"pssmr_{kind}_{name}", "counter", f"{what}: links to {kind}s.", f"{kind}_links.{field}")
        for kind in ("peer", "client")
    ]


FAMILIES: tuple[Family, ...] = (
    Family("pssmr_uptime_seconds", "gauge", "Since the replica's start.", "uptime_ms", scale=1e-3),
    # Ordering.
    Family("pssmr_epoch", "gauge", "How often the membership has changed.", "epoch"),
    Family("pssmr_replicas", "gauge", "How many replicas there are.", "replicas"),
    Family("pssmr_view", "gauge", "The view that the replica is in, counted from 0 in each epoch.", "view"),
    Family("pssmr_leader", "gauge", "The id of the view's leader.", "leader"),
    Family("pssmr_view_active", "gauge", "1 if ordering goes on in the view, 0 during a view change.", "active"),
    Family("pssmr_view_changes", "counter", "Views entered.", "counters.view_changes"),
    Family("pssmr_decided_slot", "gauge", "The last slot decided.", "decided"),
    Family("pssmr_executed_slot", "gauge", "The last slot executed.", "executed"),
    Family("pssmr_head_slot", "gauge", "The last slot of the replica's chain.", "head"),
    Family("pssmr_oldest_kept_slot", "gauge", "The oldest slot kept for others.", "oldest_kept"),
    Family("pssmr_lag_slots", "gauge", "Slots to execute to be where one correct replica, at least, is.", "lag"),
    Family("pssmr_checkpoint_slot", "gauge", "The slot of the last stable checkpoint.", "checkpoint"),
    Family("pssmr_snapshots_written", "counter", "Snapshots written.", "snapshots.written"),
    Family("pssmr_snapshot_bytes", "gauge", "Bytes of the last snapshot written.", "snapshots.last_bytes"),
    Family(
        "pssmr_snapshot_seconds", "gauge", "How long writing the last snapshot took.", "snapshots.last_ms", scale=1e-3
    ),
    Family(
        "pssmr_transfer_bytes", "gauge", "Bytes of the snapshot that is being fetched, if one is.", "transfer.bytes"
    ),
    Family("pssmr_transfer_done_bytes", "gauge", "Bytes of it that are here.", "transfer.bytes_done"),
    Family("pssmr_slots", "counter", "Slots decided.", "counters.slots"),
    Family("pssmr_commands", "counter", "Commands decided.", "counters.commands"),
    Family("pssmr_slot_commands", "sizes", "Commands per decided slot.", "slot_commands"),
    Family("pssmr_pending_requests", "gauge", "Requests that wait to be decided.", "pending"),
    Family("pssmr_queued_requests", "gauge", "Requests that the ordering thread has not taken.", "queued_requests"),
    Family("pssmr_queued_results", "gauge", "Results that the client thread has not taken.", "queued_results"),
    # Clients.
    Family("pssmr_sessions", "gauge", "Open sessions.", "sessions"),
    Family("pssmr_clients_connected", "gauge", "Client links that are up.", "clients.links"),
    Family("pssmr_requests", "counter", "Requests received, retries included.", "counters.requests"),
    Family("pssmr_requests_refused", "counter", "Requests refused: too many waited.", "counters.requests_refused"),
    Family("pssmr_replies", "counter", "Replies sent.", "counters.replies"),
    Family("pssmr_replies_from_cache", "counter", "Replies to retries.", "counters.replies_from_cache"),
    Family("pssmr_read_replies", "counter", "Answers to queries that were not ordered.", "counters.read_replies"),
    Family(
        "pssmr_reads_refused",
        "counter",
        "Of these, refusals: to be ordered, too many, or no vote.",
        "counters.reads_refused",
    ),
    Family(
        "pssmr_request_seconds",
        "seconds",
        "From a request's arrival to its result, both at this replica: of samples.",
        "request_ns",
    ),
    # Execution.
    Family("pssmr_execution_submitted", "counter", "Commands given to the scheduler.", "execution.submitted"),
    Family("pssmr_execution_completed", "counter", "Commands executed.", "execution.completed"),
    Family("pssmr_execution_delayed", "counter", "Commands that waited for conflicting ones.", "execution.delayed"),
    Family("pssmr_execution_runs", "counter", "Runs of commands given to workers.", "execution.runs"),
    Family("pssmr_execution_pending", "gauge", "Commands submitted and not executed.", "execution.pending"),
    Family("pssmr_workers", "gauge", "Worker threads.", "execution.workers"),
    Family(
        "pssmr_worker_busy_seconds",
        "counter",
        "How long a worker has executed commands.",
        "execution.worker.*.busy_ns",
        ("#worker",),
        _NANOS,
    ),
    Family(
        "pssmr_interpreter_wait_seconds",
        "counter",
        "How long workers have waited for Python's interpreter with commands to execute, all together.",
        "execution.interpreter_wait_ns",
        scale=_NANOS,
    ),
    Family(
        "pssmr_handler_seconds",
        "seconds",
        "How long a handler took, with decoding and encoding.",
        "handlers.*.duration_ns",
        ("name=command",),
    ),
    # The log.
    Family("pssmr_log_records", "counter", "Records written to the log.", "log.records"),
    Family("pssmr_log_bytes", "counter", "Bytes written to the log, roughly.", "log.bytes"),
    Family("pssmr_log_queued_bytes", "gauge", "Bytes that wait to be written, roughly.", "log.queued_bytes"),
    Family("pssmr_log_group_records", "sizes", "Records written together.", "log.group_records"),
    Family("pssmr_log_sync_seconds", "seconds", "How long a sync of the log took.", "log.sync_ns"),
    # Other replicas.
    Family("pssmr_peer_up", "gauge", "1 if the link to the replica can be used.", "peers.*.up", ("id=peer",)),
    Family("pssmr_peer_decided_slot", "gauge", "What it last said it decided.", "peers.*.decided", ("id=peer",)),
    Family("pssmr_peer_view", "gauge", "The view that it last said it is in.", "peers.*.view", ("id=peer",)),
    Family("pssmr_messages_sent", "counter", "Messages sent to replicas.", "counters.messages_sent"),
    Family("pssmr_messages_dropped", "counter", "Messages not sent: link down or full.", "counters.messages_dropped"),
    Family("pssmr_messages_received", "counter", "Messages received from replicas.", "counters.messages_received"),
    Family("pssmr_bad_frames", "counter", "Frames that were no message; each closed its link.", "counters.bad_frames"),
    Family("pssmr_peer_sent_bytes", "counter", "Bytes sent to replicas, encrypted.", "counters.peer_bytes_sent"),
    Family(
        "pssmr_peer_received_bytes",
        "counter",
        "Bytes received from replicas, encrypted.",
        "counters.peer_bytes_received",
    ),
    Family("pssmr_client_sent_bytes", "counter", "Bytes sent to clients, encrypted.", "counters.client_bytes_sent"),
    Family(
        "pssmr_client_received_bytes",
        "counter",
        "Bytes received from clients, encrypted.",
        "counters.client_bytes_received",
    ),
    *_links("connections_accepted", "accepted", "Connections accepted"),
    *_links("links_opened", "links_up", "Links that came up"),
    *_links("handshakes_refused", "handshakes_refused", "Connections that did not become a link"),
    *_links("handshakes_timed_out", "handshakes_timed_out", "Connections that did not prove a key in time"),
    *_links("handshakes_evicted", "handshakes_evicted", "Connections that made place for newer ones"),
    *_links("links_refused", "links_refused", "Connections that found all links taken"),
    *_links("links_replaced", "links_replaced", "Links closed because their key connected again"),
    *_links("links_violated", "links_violated", "Links closed because of what came on them"),
    *_links("accept_pauses", "accept_pauses", "Times without file descriptors or memory left"),
    *_links("frames_sent", "frames_sent", "Frames queued for sending"),
    *_links("frames_refused", "frames_refused", "Frames refused because a queue was full"),
    *_links("frames_received", "frames_received", "Frames received"),
)
"""All that is taken from a status as it is."""


class ReplicaCollector:
    """What one scrape gets."""

    def __init__(self, status: Status, events: Mapping[str, int], about: Mapping[str, str]) -> None:
        """Takes what the replica shows now.

        Args:
            status: Its status.
            events: How often each kind of event has happened.
            about: What does not change while it runs.
        """
        self._status = status
        self._events = events
        self._about = about

    def collect(self) -> Iterator[Metric]:
        """All metrics."""
        yield InfoMetricFamily("pssmr", "What does not change while the replica runs.", value=dict(self._about))
        role = GaugeMetricFamily("pssmr_role", "1 for what the replica does, 0 for the others.", labels=["role"])
        for name in ROLES:
            role.add_metric([name], float(self._status["role"] == name))
        yield role
        yield GaugeMetricFamily(
            "pssmr_log_writable", "0 while the log can't be written.", value=self._status["log_error"] is None
        )
        events = CounterMetricFamily("pssmr_events", "How often each kind of event has happened.", labels=["event"])
        for name, count in sorted(self._events.items()):
            events.add_metric([name], count)
        yield events
        for family in FAMILIES:
            yield _metric(family, _samples(family, self._status))
        yield from ProcessCollector(registry=None).collect()


def _samples(family: Family, status: Status) -> Samples:
    head, star, tail = family.path.partition(".*.")
    found = _at(status, head)
    if not star:
        return [((), found)]

    def labels(place: int, item: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(_label(label, place, item) for label in family.labels)

    return [(labels(place, item), _at(item, tail)) for place, item in enumerate(found)]


def _at(value: Any, path: str) -> Any:
    for name in path.split("."):
        value = None if value is None else value[name]
    return value


def label_name(label: str) -> str:
    """What a label is called, of an entry of `Family.labels`."""
    return label.removeprefix("#").partition("=")[2] or label.removeprefix("#")


def _label(label: str, place: int, item: Mapping[str, Any]) -> str:
    return str(place if label.startswith("#") else item[label.partition("=")[0]])


def _metric(family: Family, samples: Samples) -> Metric:
    labels = [label_name(label) for label in family.labels]
    if family.kind in ("seconds", "sizes"):
        histogram = HistogramMetricFamily(family.name, family.help, labels=labels)
        for values, reading in samples:
            buckets, total = _buckets(reading, family.kind)
            histogram.add_metric(values, buckets, total)
        return histogram
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = kind(family.name, family.help, labels=labels)
    for values, value in samples:
        if value is not None:
            metric.add_metric(values, value * family.scale)
    return metric


def _buckets(reading: Mapping[str, Any], kind: str) -> tuple[list[tuple[str, float]], float]:
    """How many values there were up to each bound; their sum. The bounds are some of the reading's own."""
    scale, bounds = (_NANOS, _DURATION_BOUNDS) if kind == "seconds" else (1, _COUNT_BOUNDS)
    counted, total = iter(reading["buckets"]), 0
    upper, count = next(counted, (None, 0))
    buckets = []
    for bound, written in bounds:
        while upper is not None and upper <= bound:
            total += count
            upper, count = next(counted, (None, 0))
        buckets.append((written, float(total)))
    return [*buckets, ("+Inf", float(reading["count"]))], reading["sum"] * scale
