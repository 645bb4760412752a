"""From two statuses of a replica to what happened between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

Status = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What a replica did between two looks. `None`: there is nothing to tell."""

    commands: float | None
    """Commands decided a second."""
    requests: float | None
    """Requests received a second."""
    queries: float | None
    """Queries answered without being ordered, a second."""
    p50_ms: float | None
    """Of a request's time at this replica."""
    p99_ms: float | None
    """Of a request's time at this replica."""
    sync_p99_ms: float | None
    """Of the log's syncs."""
    batch: float | None
    """Commands per slot."""
    busy: float | None
    """The share of their time that workers execute, 0 to 1."""
    interpreter_wait: float | None
    """The share of their time that workers wait for the interpreter, 0 to 1."""
    delayed: float | None
    """The share of commands that waited for a conflicting one, 0 to 1."""

    def to_json(self) -> dict[str, float | None]:
        """As JSON has it."""
        return asdict(self)


_NOTHING = Rates(
    commands=None, requests=None, queries=None, p50_ms=None, p99_ms=None, sync_p99_ms=None, batch=None, busy=None,
    interpreter_wait=None, delayed=None,
)  # fmt: skip


def rates(before: Status | None, now: Status) -> Rates:
    """What happened between two statuses of one replica; nothing, if it was started anew between them."""
    if before is None or now["uptime_ms"] <= before["uptime_ms"]:
        return _NOTHING
    seconds = (now["uptime_ms"] - before["uptime_ms"]) / 1000
    execution, earlier = now["execution"], before["execution"]
    requests = _since(before["request_ns"], now["request_ns"])
    syncs = _since(before["log"]["sync_ns"], now["log"]["sync_ns"])
    slots = now["slot_commands"]["count"] - before["slot_commands"]["count"]
    submitted = execution["submitted"] - earlier["submitted"]
    time_of_workers = seconds * 1e9 * execution["workers"]
    busy = sum(each["busy_ns"] for each in execution["worker"]) - sum(each["busy_ns"] for each in earlier["worker"])
    waited = execution["interpreter_wait_ns"] - earlier["interpreter_wait_ns"]
    return Rates(
        commands=(now["counters"]["commands"] - before["counters"]["commands"]) / seconds,
        requests=(now["counters"]["requests"] - before["counters"]["requests"]) / seconds,
        queries=max(0.0, (_queries(now) - _queries(before)) / seconds),
        p50_ms=_milliseconds(percentile(requests, 50)),
        p99_ms=_milliseconds(percentile(requests, 99)),
        sync_p99_ms=_milliseconds(percentile(syncs, 99)),
        batch=(now["slot_commands"]["sum"] - before["slot_commands"]["sum"]) / slots if slots else None,
        busy=min(1.0, busy / time_of_workers),
        interpreter_wait=min(1.0, waited / time_of_workers),
        delayed=(execution["delayed"] - earlier["delayed"]) / submitted if submitted else None,
    )


def _queries(status: Status) -> int:
    counters = status["counters"]
    # A replica of an older version has none.
    return int(counters.get("read_replies", 0)) - int(counters.get("reads_refused", 0))


def percentile(buckets: Sequence[tuple[int, int]], percent: float) -> float | None:
    """The value below which so many percent of the values are, as far as the buckets tell; `None` of none."""
    left = sum(count for _, count in buckets) * percent / 100
    for upper, count in buckets:
        if left <= count:
            return upper - _width(upper) * (1 - left / count)
        left -= count
    return None


def _width(upper: int) -> float:
    """How wide the bucket is that ends here: a quarter of the power of two below it."""
    return 1 if upper <= 4 else (1 << ((upper - 1).bit_length() - 1)) / 4


def _since(before: Status, now: Status) -> list[tuple[int, int]]:
    counted = dict(before["buckets"])
    buckets = [(upper, count - counted.get(upper, 0)) for upper, count in now["buckets"]]
    return [(upper, count) for upper, count in buckets if count > 0]


def _milliseconds(nanoseconds: float | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e6
