"""How often somebody may ask."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

_SOURCES_MAX = 1024


class RateLimit:
    """A bucket of tokens for each source: a request takes one, and they come back with time."""

    def __init__(self, per_second: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        """All buckets are full.

        Args:
            per_second: How many requests a second a source may send for ever.
            burst: How many it may send at once.
            clock: What time it is, in seconds.
        """
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, source: str) -> float:
        """Takes a token for a request; 0, or, if there is none, how many seconds until there is."""
        now = self._clock()
        tokens, since = self._buckets.pop(source, (float(self._burst), now))
        tokens = min(self._burst, tokens + (now - since) * self._per_second)
        allowed = tokens >= 1
        self._buckets[source] = (tokens - 1 if allowed else tokens, now)
        if len(self._buckets) > _SOURCES_MAX:
            # Whose bucket is the oldest has asked for nothing for the longest time.
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - tokens) / self._per_second
