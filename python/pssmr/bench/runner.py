"""Runs a measurement: a cluster, its clients, and the clock."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from pssmr.bench.histogram import Histogram
from pssmr.bench.machine import cpu_seconds
from pssmr.bench.plan import Plan
from pssmr.bench.report import Report
from pssmr.bench.scraper import Scraper
from pssmr.cluster_local import LocalProcesses, start_temporary
from pssmr.errors import Error

_APPLICATIONS = {"python": "pssmr.bench.services:Idle", "native": "native:null"}


def run_and_print(plan: Plan, json_file: Path | None) -> None:
    """Measures, and prints the figures; writes them to `json_file` too, if there is one."""
    report = run(plan)
    report.print(Console(soft_wrap=True, highlight=False))
    if json_file is not None:
        report.write(json_file)


def run(plan: Plan) -> Report:
    """Measures.

    Raises:
        Error: If a replica or a client failed.
    """
    log: list[str] = []
    directory, replicas = start_temporary(
        _APPLICATIONS[plan.service],
        replicas=plan.replicas,
        fault_model=plan.fault_model,
        settings=plan.settings(),
        on_line=lambda replica, line: log.append(f"replica {replica}: {line}"),
        admin=plan.scrape > 0,
    )
    with contextlib.ExitStack() as closing:
        closing.callback(directory.close)
        closing.callback(replicas.stop_all)
        clients = [closing.enter_context(_Client(replicas.cluster, plan)) for _ in range(plan.clients)]
        for client in clients:
            client.wait_ready()
        if plan.scrape > 0:
            closing.enter_context(Scraper([each.admin for each in replicas.config.replicas], plan.scrape))
        return _measure(plan, replicas, clients)


def _measure(plan: Plan, replicas: LocalProcesses, clients: list[_Client]) -> Report:
    start = time.monotonic()
    for client in clients:
        client.begin(start)
    time.sleep(plan.warm_up)
    before = sum(cpu_seconds(process.pid) for process in replicas.processes)
    time.sleep(max(0.0, start + plan.warm_up + plan.duration - time.monotonic()))
    cpu = sum(cpu_seconds(process.pid) for process in replicas.processes) - before
    summaries = [client.summary() for client in clients]
    if len(replicas.running()) < plan.replicas:
        raise Error("a replica ended while it was measured")
    latencies, of_queries = Histogram(), Histogram()
    for summary in summaries:
        queries = Histogram.from_json(summary["queries"])
        of_queries.merge(queries)
        latencies.merge(queries)
        latencies.merge(Histogram.from_json(summary["commands"]))
        cpu += summary["cpu_seconds"]
    operations = latencies.total
    return Report(
        plan=plan,
        operations=operations,
        queries=of_queries.total,
        failures=sum(summary["failures"] for summary in summaries),
        seconds=plan.duration,
        operations_per_second=operations / plan.duration,
        p50_ms=latencies.percentile(50) * 1000,
        p99_ms=latencies.percentile(99) * 1000,
        p999_ms=latencies.percentile(99.9) * 1000,
        query_p50_ms=of_queries.percentile(50) * 1000 if of_queries.total else None,
        query_p99_ms=of_queries.percentile(99) * 1000 if of_queries.total else None,
        cpu_us_per_operation=cpu / operations * 1e6 if operations else 0.0,
    )


class _Client:
    """One client process."""

    def __init__(self, cluster: Path, plan: Plan) -> None:
        arguments = {
            "--in-flight": plan.in_flight,
            "--payload": plan.payload,
            "--queries": plan.queries,
            "--warm-up": plan.warm_up,
            "--duration": plan.duration,
        }
        command = [sys.executable, "-m", "pssmr.bench.load", str(cluster)]
        command += [str(word) for pair in arguments.items() for word in pair]
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter, with arguments of its own
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p or "." for p in sys.path)},
        )

    def __enter__(self) -> _Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def wait_ready(self) -> None:
        """Waits until it has a session."""
        self._line()

    def begin(self, start: float) -> None:
        """Has it begin, and says when that was."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{start}\n")
        self._process.stdin.flush()

    def summary(self) -> Any:
        """What it saw."""
        return json.loads(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Error(f"a client ended with exit code {self._process.wait()}")
        return line
