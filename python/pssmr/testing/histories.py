"""Runs of commands of one service: in their agreed order, in others that the declarations allow, in other processes."""

from __future__ import annotations

import dataclasses
import heapq
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pssmr._core import Stepper
from pssmr.errors import Error, ReplicaStopped, SnapshotError
from pssmr.service import Service
from pssmr.testing.patience import NeverEnds, one_command
from pssmr.testing.quiet import handlers_quiet

SEED = bytes(range(32))
TIME_NS = 1_700_000_000_000_000_000
PROCESS_SECONDS_MAX = 120


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run of commands came to."""

    replies: tuple[bytes, ...]
    """In the agreed order, whatever the order in which they were executed."""
    digest: bytes
    snapshot: bytes | str
    """Or why there is none."""


def execute(
    stepper: Stepper,
    payloads: Sequence[bytes],
    order: Iterable[int],
    first: int = 0,
    raised: list[BaseException] | None = None,
) -> list[bytes]:
    """Executes commands in an order of their indices, and returns their replies by index.

    Position, time and random numbers of a command are those of its index, which counts from `first` on.
    What handlers raise is added to `raised`.

    Raises:
        ReplicaStopped: If a command stops a replica.
        NeverEnds: If a command takes too long, see `pssmr.testing.patience`.
    """
    replies = [b""] * len(payloads)
    with handlers_quiet(raised) as seen:
        for index in order:
            position = first + index + 1
            time_ns = TIME_NS + position * 1_000_000
            try:
                with one_command():
                    replies[index] = stepper.execute(payloads[index], position=position, time_ns=time_ns, seed=SEED)
            except ReplicaStopped:
                # What came from outside while the command was executed is nothing that it does.
                if seen and isinstance(seen[-1], KeyboardInterrupt | NeverEnds):
                    raise seen[-1] from None
                raise
    return replies


def outcome_of(service: Service, payloads: Sequence[bytes], order: Iterable[int] | None = None) -> Outcome:
    """Runs commands on a fresh service; without an order, in the agreed one."""
    stepper = Stepper(service)
    replies = execute(stepper, payloads, range(len(payloads)) if order is None else order)
    try:
        snapshot: bytes | str = stepper.snapshot()
    except SnapshotError as error:
        snapshot = str(error)
    return Outcome(tuple(replies), stepper.state_digest(), snapshot)


def latest_first(conflicts: Sequence[Sequence[int]]) -> list[int]:
    """The order that is farthest from the agreed one: each time, the latest command that waits for no other.

    Args:
        conflicts: For each command the earlier ones that it conflicts with, as `Stepper.conflicts` gives them.
    """
    return allowed_order(conflicts, lambda index: -index)


def allowed_order(conflicts: Sequence[Sequence[int]], rank: Callable[[int], float]) -> list[int]:
    """An order in which conflicting commands keep theirs: each time, the one of least rank that waits for no other."""
    waits = [len(earlier) for earlier in conflicts]
    after: list[list[int]] = [[] for _ in conflicts]
    for index, earlier in enumerate(conflicts):
        for other in earlier:
            after[other].append(index)
    ready = [(rank(index), index) for index, count in enumerate(waits) if count == 0]
    heapq.heapify(ready)
    order = []
    while ready:
        _, index = heapq.heappop(ready)
        order.append(index)
        for later in after[index]:
            waits[later] -= 1
            if waits[later] == 0:
                heapq.heappush(ready, (rank(later), later))
    return order


@dataclasses.dataclass(frozen=True)
class Elsewhere:
    """Another process, and how it differs."""

    hash_seed: int
    """What `PYTHONHASHSEED` is there."""
    clock_days: int = 0
    """How many days its clock is ahead."""
    reverses: bool = False
    """Whether it executes the last run first: what is left in global variables is something else then."""

    def __str__(self) -> str:
        clock = f" and a clock that is {self.clock_days} days ahead" if self.clock_days else ""
        before = " that has executed other commands before" if self.reverses else ""
        return f"PYTHONHASHSEED={self.hash_seed}{clock}{before}"


def outcomes_elsewhere(application: str, histories: Sequence[Sequence[bytes]], elsewhere: Elsewhere) -> list[Outcome]:
    """Runs commands in their agreed order in another process.

    Args:
        application: The service, as `module:Class` or `path/file.py:Class`.
        histories: Runs of commands, each for a fresh service.
        elsewhere: Which process.

    Raises:
        Error: If the process fails.
    """
    task = {
        "application": application,
        "histories": [[payload.hex() for payload in each] for each in histories],
        "clock_days": elsewhere.clock_days,
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pssmr.testing.elsewhere"],
            input=json.dumps(task),
            env={
                **os.environ,
                "PYTHONHASHSEED": str(elsewhere.hash_seed),
                "PYTHONPATH": os.pathsep.join(sys.path),
            },
            capture_output=True,
            check=False,
            text=True,
            timeout=PROCESS_SECONDS_MAX,
        )
    except subprocess.TimeoutExpired:
        text = f"{application} has not executed its commands in another process after {PROCESS_SECONDS_MAX} s"
        raise Error(f"{text}: try fewer runs, or shorter ones") from None
    if done.returncode != 0:
        raise Error(f"{application} can't be run in another process: {done.stderr.strip()[-2000:]}")
    return [_told(each) for each in json.loads(done.stdout.splitlines()[-1])]


def _told(outcome: dict[str, Any]) -> Outcome:
    snapshot = outcome["obstacle"] if outcome["snapshot"] is None else bytes.fromhex(outcome["snapshot"])
    replies = tuple(bytes.fromhex(reply) for reply in outcome["replies"])
    return Outcome(replies, bytes.fromhex(outcome["digest"]), snapshot)
