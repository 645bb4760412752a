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

    def __init__(self, client: pssmr.AsyncClient, payload: int, queries: int) -> None:
        """Sends nothing yet."""
        self._client = client
        self._payload = bytes(payload)
        self._queries = queries
        self._numbers = count()
        # Of commands, and of queries.
        self._ends: tuple[list[float], list[float]] = ([], [])
        self._latencies: tuple[list[float], list[float]] = ([], [])
        self._failures: list[float] = []

    async def run(self, until: float) -> None:
        """Sends one command after the other until this time."""
        clock, call = time.monotonic, self._client.call
        began = clock()
        while began < until:
            number = next(self._numbers)
            # 37 and 100 have no common divisor: of any 100 in a row so many are queries, and they are spread.
            is_query = number * 37 % 100 < self._queries
            try:
                await call(Idle.look if is_query else Idle.work, number % _KEYS, self._payload)
            except (pssmr.Unavailable, pssmr.OutcomeUnknown, pssmr.SessionExpired):
                self._failures.append(clock())
            else:
                ended = clock()
                self._ends[is_query].append(ended)
                self._latencies[is_query].append(ended - began)
            began = clock()

    def summary(self, begin: float, end: float) -> dict[str, object]:
        """What completed in this time."""
        commands, queries = (
            _between(latencies, ends, begin, end) for latencies, ends in zip(self._latencies, self._ends, strict=True)
        )
        failures = sum(begin <= at < end for at in self._failures)
        return {"failures": failures, "commands": commands.to_json(), "queries": queries.to_json()}


def _between(latencies: list[float], ends: list[float], begin: float, end: float) -> Histogram:
    times, histogram = np.array(ends), Histogram()
    histogram.add(np.array(latencies)[(times >= begin) & (times < end)])
    return histogram


async def run(
    cluster: str, in_flight: int, payload: int, queries: int, warm_up: float, duration: float
) -> dict[str, object]:
    """Runs the load, and gives its summary."""
    async with pssmr.AsyncClient(cluster) as client:
        await client.call(Idle.work, 0, b"")
        print("ready", flush=True)  # noqa: T201
        begin = float(await asyncio.to_thread(sys.stdin.readline)) + warm_up
        end = begin + duration
        load = Load(client, payload, queries)
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
    parser.add_argument("--queries", type=int, required=True)
    parser.add_argument("--warm-up", type=float, required=True)
    parser.add_argument("--duration", type=float, required=True)
    options = parser.parse_args()
    load = run(options.cluster, options.in_flight, options.payload, options.queries, options.warm_up, options.duration)
    summary = asyncio.run(load)
    print(json.dumps(summary), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
