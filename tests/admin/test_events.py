"""Events, as they happen."""

from __future__ import annotations

import asyncio
import http.client
import json
from typing import Any

import pytest

from pssmr.admin import stream
from pssmr.event_feed import EVENTS_MAX, Event, EventFeed
from tests.admin.conftest import Admin


class Listener:
    """An open stream of events."""

    def __init__(self, admin: Admin, **headers: str) -> None:
        self._connection = http.client.HTTPConnection(*admin.address, timeout=60)
        self._connection.request("GET", "/events", headers={k.replace("_", "-"): v for k, v in headers.items()})
        self._response = self._connection.getresponse()
        self.status = self._response.status
        self.kind = self._response.headers.get_content_type()

    def next(self) -> tuple[str, Any]:
        """The next event, with its id."""
        fields: dict[str, str] = {}
        while True:
            line = self._response.readline().decode()
            assert line, "the stream has ended"
            name, _, value = line.rstrip("\n").partition(": ")
            if not name and "data" in fields:
                return fields["id"], json.loads(fields["data"])
            fields[name] = value

    def close(self) -> None:
        self._response.close()
        self._connection.close()


def resize(admin: Admin, workers: int) -> None:
    """Has something happen."""
    assert admin.act("/actions/resize-workers", {"workers": workers}).status == 200


def test_a_stream_has_what_was_and_what_is(admin: Admin) -> None:
    resize(admin, 3)
    listener = Listener(admin)
    assert listener.kind == "text/event-stream"
    _, was = listener.next()
    assert (was["event"], was["workers"], was["number"]) == ("workers_resized", 3, 1)
    assert was["time"] > 1.7e9
    resize(admin, 4)
    last, event = listener.next()
    assert (event["workers"], event["number"]) == (4, 2)
    listener.close()
    resize(admin, 5)
    resize(admin, 6)
    again = Listener(admin, Last_Event_ID=last)
    assert [again.next()[1]["workers"] for _ in range(2)] == [5, 6]
    again.close()
    # The number of an earlier start of the replica says nothing of this one.
    other = Listener(admin, Last_Event_ID="1234-4")
    assert other.next()[1]["number"] == 1
    other.close()


def test_the_latest_as_a_list(admin: Admin) -> None:
    resize(admin, 3)
    answer = admin.ask("/events", Accept="application/json")
    assert [event["event"] for event in answer.json] == ["workers_resized"]


def test_streams_are_bounded(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "STREAMS_MAX", 2)
    resize(admin, 3)
    listeners = [Listener(admin) for _ in range(2)]
    for listener in listeners:
        listener.next()
    refused = admin.ask("/events")
    assert refused.status == 503
    assert refused.json["error"]["code"] == "too_many_streams"
    for listener in listeners:
        listener.close()


def test_the_end_of_a_stream_goes_before_all_that_waits_in_it() -> None:
    queue: asyncio.Queue[Event | None] = asyncio.Queue(2)
    queue.put_nowait({"number": 1})
    queue.put_nowait({"number": 2})
    stream._end(queue)
    assert queue.get_nowait() is None


def test_a_feed_keeps_the_latest_and_counts_all() -> None:
    waiting = [[json.dumps({"event": "a", "number": n}) for n in range(EVENTS_MAX + 5)], ['{"event": "b"}']]
    feed = EventFeed(lambda: waiting.pop(0) if waiting else [])
    heard: list[Any] = []
    assert feed.listen(heard.extend) == []
    feed.take()
    feed.take()
    feed.unlisten(heard.extend)
    assert len(heard) == EVENTS_MAX + 6
    assert len(feed.latest()) == EVENTS_MAX
    assert feed.latest()[-1] == {"event": "b"}
    assert feed.counts() == {"a": EVENTS_MAX + 5, "b": 1}
