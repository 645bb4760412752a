"""What has happened at a replica, for all who want to know."""

from __future__ import annotations

import json
import threading
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

Event = dict[str, Any]
"""What happened: `event` says what, `number` counts from 1, `time` is in seconds since the Unix epoch."""

Listener = Callable[[list[Event]], None]
"""Is given what is new, in order, by any thread. It must return at once."""

EVENTS_MAX = 1000
"""How many events are kept."""


class EventFeed:
    """Takes events from the core, keeps the latest, and tells its listeners."""

    def __init__(self, drain: Callable[[], list[str]]) -> None:
        """Takes nothing yet.

        Args:
            drain: Gives what is new, each as a JSON object.
        """
        self._drain = drain
        self._lock = threading.Lock()
        self._latest: deque[Event] = deque(maxlen=EVENTS_MAX)
        self._counts: Counter[str] = Counter()
        self._listeners: list[Listener] = []

    def take(self) -> None:
        """Takes what is new. Any thread may: who comes first tells all."""
        with self._lock:
            events: list[Event] = [json.loads(text) for text in self._drain()]
            if not events:
                return
            self._latest.extend(events)
            self._counts.update(event["event"] for event in events)
            for listener in self._listeners:
                listener(events)

    def latest(self) -> list[Event]:
        """What was taken, the oldest first."""
        with self._lock:
            return list(self._latest)

    def counts(self) -> dict[str, int]:
        """How often each kind of event has happened."""
        with self._lock:
            return dict(self._counts)

    def listen(self, listener: Listener) -> list[Event]:
        """Tells this listener too, from now on; returns what was taken before."""
        with self._lock:
            self._listeners.append(listener)
            return list(self._latest)

    def unlisten(self, listener: Listener) -> None:
        """Tells this listener no more."""
        with self._lock:
            self._listeners.remove(listener)
