"""One client process under `pssmr bench`: keeps so many commands under way, and reports what it saw.

It says `ready` when its session is open, begins when it is told a time on standard input, and prints one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import time
from itertools import count

import numpy as np

import pssmr
from pssmr.bench.histogram import Histogram
from pssmr.bench.services import Idle

_KEYS = 1024


class Load:
    """The commands of one client, and how long each took."""

    def __init__(self, client: pssmr.AsyncClient, payload: int) -> None:
        """Sends nothing yet."""
        self._client = client
        self._payload = bytes(payload)
        self._numbers = count()
        self._ends: list[float] = []
        self._latencies: list[float] = []
        self._failures: list[float] = []

    async def run(self, until: float) -> None:
        """Sends one command after the other until this time."""
        clock, call = time.monotonic, self._client.call
        began = clock()
        while began < until:
            try:
                await call(Idle.work, next(self._numbers) % _KEYS, self._payload)
            except (pssmr.Unavailable, pssmr.OutcomeUnknown, pssmr.SessionExpired):
                self._failures.append(clock())
            else:
                ended = clock()
                self._ends.append(ended)
                self._latencies.append(ended - began)
            began = clock()

    def summary(self, begin: float, end: float) -> dict[str, object]:
        """What completed in this time."""
        ends = np.array(self._ends)
        histogram = Histogram()
        histogram.add(np.array(self._latencies)[(ends >= begin) & (ends < end)])
        failures = sum(begin <= at < end for at in self._failures)
        return {"operations": histogram.total, "failures": failures, "latencies": histogram.to_json()}


async def run(cluster: str, in_flight: int, payload: int, warm_up: float, duration: float) -> dict[str, object]:
    """Runs the load, and gives its summary."""
    async with pssmr.AsyncClient(cluster) as client:
        await client.call(Idle.work, 0, b"")
        print("ready", flush=True)  # noqa: T201
        begin = float(await asyncio.to_thread(sys.stdin.readline)) + warm_up
        end = begin + duration
        load = Load(client, payload)
        sampling = asyncio.create_task(_cpu_between(begin, end))
        await asyncio.gather(*(load.run(end) for _ in range(in_flight)))
        return {**load.summary(begin, end), "cpu_seconds": await sampling}


async def _cpu_between(begin: float, end: float) -> float:
    """Processor time that this process takes between two times."""
    await asyncio.sleep(begin - time.monotonic())
    before = _cpu()
    await asyncio.sleep(end - time.monotonic())
    return _cpu() - before


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Runs the load that the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cluster")
    parser.add_argument("--in-flight", type=int, required=True)
    parser.add_argument("--payload", type=int, required=True)
    parser.add_argument("--warm-up", type=float, required=True)
    parser.add_argument("--duration", type=float, required=True)
    options = parser.parse_args()
    summary = asyncio.run(run(options.cluster, options.in_flight, options.payload, options.warm_up, options.duration))
    print(json.dumps(summary), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
