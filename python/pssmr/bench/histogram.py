"""Latencies in buckets of 1 % width: millions of them in a few kilobytes, added up across processes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_WIDTH = np.log(1.01)
_LOWEST = 1e-6
_BUCKETS = 2048
"""From 1 µs to 700 s."""


class Histogram:
    """How often which latency was seen."""

    def __init__(self, counts: npt.NDArray[np.int64] | None = None) -> None:
        """Starts with these counts, or empty."""
        self.counts = np.zeros(_BUCKETS, np.int64) if counts is None else counts

    def add(self, seconds: npt.NDArray[np.float64]) -> None:
        """Counts these latencies."""
        buckets = np.log(np.maximum(seconds, _LOWEST) / _LOWEST) / _WIDTH
        self.counts += np.bincount(np.minimum(buckets.astype(np.int64), _BUCKETS - 1), minlength=_BUCKETS)

    def merge(self, other: Histogram) -> None:
        """Adds what the other one counted."""
        self.counts += other.counts

    @property
    def total(self) -> int:
        """How many latencies were counted."""
        return int(self.counts.sum())

    def percentile(self, percent: float) -> float:
        """The latency, in seconds, that `percent` of those counted do not exceed, to 1 %; 0 if none was counted."""
        if self.total == 0:
            return 0.0
        rank = max(1, int(np.ceil(self.total * percent / 100)))
        bucket = int(np.searchsorted(np.cumsum(self.counts), rank))
        return float(_LOWEST * np.exp((bucket + 0.5) * _WIDTH))

    def to_json(self) -> dict[str, int]:
        """The buckets that are not empty."""
        return {str(i): int(self.counts[i]) for i in np.flatnonzero(self.counts)}

    @classmethod
    def from_json(cls, buckets: dict[str, int]) -> Histogram:
        """The histogram that `to_json` gave."""
        histogram = cls()
        for i, count in buckets.items():
            histogram.counts[int(i)] = count
        return histogram
