"""How many commands a second Python handlers execute on one worker and on two: on a build with the GIL, and without.

python3.13 benches/free_threading.py
python3.13t benches/free_threading.py
"""

from __future__ import annotations

import sys
import time
from typing import Annotated

import pssmr
from pssmr.executor import Executor

COMMANDS, ROUNDS, REPEATS = 1500, 2000, 5


class Spinner(pssmr.Service):
    """Computes something in Python, a quarter of a millisecond at a time."""

    cells = pssmr.Map[int, int]()

    @pssmr.command
    def spin(self, key: Annotated[int, cells.write], rounds: int) -> int:
        """Keeps the interpreter busy."""
        total = 0
        for i in range(rounds):
            total += i * i % 7
        self.cells[key] = total
        return total


def seconds(workers: int) -> float:
    """How long the commands take, which are independent of each other."""
    calls = [Spinner.spin.bind(key, ROUNDS) for key in range(COMMANDS)]
    with Executor(Spinner(), workers=workers) as executor:
        executor.run(calls[:50])
        began = time.perf_counter()
        executor.run(calls)
        return time.perf_counter() - began


if __name__ == "__main__":
    # In turns, and the best of each: other programs only take time away.
    best = {1: float("inf"), 2: float("inf")}
    for _ in range(REPEATS):
        for workers in best:
            best[workers] = min(best[workers], seconds(workers))
    has_gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    sys.stdout.write(f"CPython {sys.version.split()[0]}, {'with' if has_gil else 'without'} the GIL\n")
    for workers, took in best.items():
        sys.stdout.write(f"{workers} worker{'s' if workers > 1 else ''}: {COMMANDS / took:,.0f} commands/s\n")
    sys.stdout.write(f"two are {best[1] / best[2]:.2f} times one\n")
