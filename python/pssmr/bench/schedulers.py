"""Every scheduler with real workers, in one process: handlers that sleep, that do next to nothing, vectorised ones."""

from __future__ import annotations

import dataclasses
import json
import random
import time
from pathlib import Path
from typing import Annotated, Any, get_args

import numpy as np
from rich.console import Console
from rich.table import Table

from pssmr.bench.machine import describe_machine
from pssmr.executor import Executor
from pssmr.service import Service, command
from pssmr.settings import Scheduler
from pssmr.state import Resource

KEYS = 100_000
CONFLICTS = (0, 10, 50, 100)
"""Of 100 commands that sleep so many write one key that these have in common."""


class Meters(Service):
    """A number for each key, in an array."""

    meters = Resource[int]()

    def __init__(self, nap_s: float = 0.0) -> None:
        self.totals = np.zeros(KEYS + 1, dtype=np.int64)
        self.nap_s = nap_s

    @command
    def add(self, meter: Annotated[int, meters.write], amount: int) -> None:
        """The least that a Python handler can do with a number."""
        self.totals[meter] += amount

    @command(vectorized=True)
    def add_together(self, meter: Annotated[int, meters.write], amount: int) -> None:
        """The same for many at once."""
        self.totals[meter] += amount

    @command
    def nap(self, meters: Annotated[list[int], meters.write]) -> None:
        """Waits, as for a disk or another service, and lets other handlers run meanwhile."""
        time.sleep(self.nap_s)


@dataclasses.dataclass(frozen=True)
class SchedulerFigures:
    """One scheduler."""

    scheduler: str
    one_by_one_per_s: float
    """Commands with a Python handler of their own, on two workers."""
    vectorised_per_s: float
    """The same commands with a vectorised handler, on two workers."""
    naps: dict[int, float]
    """By conflicts in 100: how many times faster the workers are than one that sleeps without a pause."""
    bounds: dict[int, float]
    """What no scheduler exceeds there: all workers asleep, or the naps of the common key one after the other."""


def measure_scheduler(
    scheduler: Scheduler, *, commands: int = 50_000, workers: int = 8, naps: int = 400, nap_s: float = 0.001
) -> SchedulerFigures:
    """Measures one scheduler. Of several rounds of what takes no time the quickest counts."""
    one_by_one = [Meters.add.bind(number % KEYS, 1).payload for number in range(commands)]
    together = [Meters.add_together.bind(number % KEYS, 1).payload for number in range(commands)]
    speed_ups, bounds = dict[int, float](), dict[int, float]()
    for conflicts in CONFLICTS:
        generator = random.Random(conflicts)  # noqa: S311 - the same load each time
        shared = [generator.randrange(100) < conflicts for _ in range(naps)]
        payloads = [Meters.nap.bind([number, KEYS] if both else [number]).payload for number, both in enumerate(shared)]
        elapsed = _elapsed(Meters(nap_s), scheduler, workers, payloads, rounds=1)
        speed_ups[conflicts] = naps * nap_s / elapsed
        bounds[conflicts] = min(workers, naps / max(sum(shared), 1))
    return SchedulerFigures(
        scheduler,
        commands / _elapsed(Meters(), scheduler, 2, one_by_one, rounds=3),
        commands / _elapsed(Meters(), scheduler, 2, together, rounds=3),
        speed_ups,
        bounds,
    )


def _elapsed(service: Service, scheduler: Scheduler, workers: int, payloads: list[bytes], *, rounds: int) -> float:
    """Seconds from the first command to the last reply, in the quickest round."""
    times = []
    with Executor(service, workers=workers, scheduler=scheduler) as executor:
        for _ in range(rounds):
            began = time.perf_counter()
            executor.execute(payloads)
            times.append(time.perf_counter() - began)
    return min(times)


def run_and_print_schedulers(json_file: Path | None, *, commands: int = 50_000, naps: int = 400) -> None:
    """Measures all schedulers, and prints the figures."""
    console = Console(highlight=False)
    figures = [measure_scheduler(each, commands=commands, naps=naps) for each in get_args(Scheduler)]
    machine = describe_machine()
    console.print(", ".join(f"{name} {value}" for name, value in machine.items()), markup=False)
    title = "Schedulers in one process: commands/s on 2 workers; speed-up of naps of 1 ms on 8 workers"
    table = Table(title=title, title_justify="left")
    for name in ("scheduler", "Python", "vectorised", *(f"{conflicts} % conflict" for conflicts in CONFLICTS)):
        table.add_column(name, justify="left" if name == "scheduler" else "right")
    for each in figures:
        naps_shown = (f"{each.naps[conflicts]:.2f}" for conflicts in CONFLICTS)
        table.add_row(each.scheduler, f"{each.one_by_one_per_s:,.0f}", f"{each.vectorised_per_s:,.0f}", *naps_shown)
    table.add_row("bound", "", "", *(f"{figures[0].bounds[conflicts]:.2f}" for conflicts in CONFLICTS))
    console.print(table)
    if json_file is not None:
        data: dict[str, Any] = {"machine": machine, "schedulers": [dataclasses.asdict(each) for each in figures]}
        json_file.write_text(json.dumps(data, indent=2) + "\n")
