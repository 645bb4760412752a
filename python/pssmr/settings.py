"""How a cluster runs: its settings, with what each one means, its bounds, and its default."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, cast, get_args

from pssmr import cluster_fields
from pssmr.errors import ConfigError

Scheduler = Literal["keyed", "sequential", "early", "static", "graph-coarse", "graph-fine", "graph-lock-free"]
"""What decides which commands run at once."""


RECORD_BYTES_MAX = 1 << 30
"""How long a replica's recording becomes at most, in bytes, unless somebody says otherwise."""


class Bounds(NamedTuple):
    """What a number may be, and what it means."""

    low: int
    high: int
    unit: str
    meaning: str
    agreed: bool


def _number(default: int, low: int, high: int, unit: str, meaning: str, *, agreed: bool = False) -> Any:
    return field(default=default, metadata={"bounds": Bounds(low, high, unit, meaning, agreed)})


def _choice(default: str, choices: tuple[str, ...], meaning: str) -> Any:
    return field(default=default, metadata={"choices": choices, "meaning": meaning})


def default_workers() -> int:
    """As many workers as this machine has cores, at least 2 so that a command that waits does not stop the others."""
    return max(2, os.cpu_count() or 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a cluster runs. Those whose bounds say *agreed* must be the same at every replica."""

    durability: Literal["sync", "async", "memory"] = cast(
        Literal["sync", "async", "memory"],
        _choice(
            "sync",
            ("sync", "async", "memory"),
            "what an acknowledged command survives: `sync`, a power cut of all machines; `async`, the end of all"
            " processes; `memory`, the loss of f replicas (agreed)",
        ),
    )
    window: int = _number(16, 1, 128, "slots", "how many slots may be in flight", agreed=True)
    batch_requests_max: int = _number(4096, 1, 65_536, "requests", "most requests in a batch", agreed=True)
    batch_bytes_max: int = _number(4 << 20, 1024, 64 << 20, "bytes", "most bytes in a batch", agreed=True)
    request_bytes_max: int = _number(
        1 << 20, 64, (64 << 20) - 512, "bytes", "most bytes of one command with its arguments", agreed=True
    )
    result_bytes_max: int = _number(
        8 << 20, 64, 1 << 30, "bytes", "most bytes of one result; a longer one becomes a failure", agreed=True
    )
    request_timeout_ms: int = _number(
        500,
        10,
        600_000,
        "ms",
        "how long a request may wait without progress before the leader is suspected; a tenth if its link is lost",
    )
    request_timeout_max_ms: int = _number(
        30_000, 10, 3_600_000, "ms", "the most that the time-out grows to while views pass without progress"
    )
    heartbeat_interval_ms: int = _number(250, 10, 600_000, "ms", "how often a replica says where it is")
    retransmit_interval_ms: int = _number(
        100, 5, 600_000, "ms", "how long an unanswered message waits before it is sent again"
    )
    clock_skew_max_ms: int = _number(
        10_000, 1, 86_400_000, "ms", "how far ahead of a replica's clock a leader's timestamp may be"
    )
    sessions_per_client_max: int = _number(
        1024, 1, 1 << 20, "sessions", "most sessions that one client key can have open", agreed=True
    )
    pending_requests_max: int = _number(100_000, 1, 1 << 32, "requests", "most requests that wait to be decided")
    pending_bytes_max: int = _number(256 << 20, 1024, 1 << 40, "bytes", "most bytes of requests that wait")
    unexecuted_slots_max: int = _number(256, 1, 1 << 20, "slots", "most decided slots that wait to be executed")
    checkpoint_slots: int = _number(
        50_000, 1, 1 << 31, "slots", "a checkpoint is taken every so many decided slots", agreed=True
    )
    checkpoint_bytes: int = _number(
        32 << 20, 512, 1 << 39, "bytes", "a checkpoint is taken after so many bytes of commands", agreed=True
    )
    first_service_version: int = _number(
        1, 1, 1_000_000, "", "the version of the service that a new cluster begins with", agreed=True
    )
    transfer_bytes_per_second: int = _number(
        64 << 20, 1 << 20, 1 << 40, "bytes", "most bytes of snapshots that a replica sends in a second"
    )
    retained_slots_max: int = _number(100_000, 2, 1 << 32, "slots", "most decided slots kept for replicas that lag")
    retained_bytes_max: int = _number(64 << 20, 1024, 1 << 40, "bytes", "most bytes kept for replicas that lag")
    scheduler: Literal["keyed", "sequential", "early", "static", "graph-coarse", "graph-fine", "graph-lock-free"] = (
        cast(
            Scheduler,
            _choice(
                "keyed",
                get_args(Scheduler),
                "`keyed` runs independent commands at once, `sequential` never does; `early` runs classes of commands"
                " by a plan.toml that `pssmr plan` makes; `static` gives each key its lane; the graphs are for"
                " comparison",
            ),
        )
    )
    workers: int = field(
        default_factory=default_workers,
        metadata={"bounds": Bounds(1, 256, "threads", "threads that execute commands; by default one a core", False)},
    )
    workers_min: int = _number(1, 1, 256, "threads", "the fewest that there are, if `workers_max` is set")
    workers_max: int = _number(
        0, 0, 256, "threads", "if above 0, the number of threads follows the load, from `workers` on, up to this many"
    )

    def __post_init__(self) -> None:
        for each in dataclasses.fields(self):
            value = getattr(self, each.name)
            if "choices" in each.metadata:
                cluster_fields.check_choice(value, each.name, each.metadata["choices"])
            else:
                bounds: Bounds = each.metadata["bounds"]
                cluster_fields.check_integer(value, each.name, bounds.low, bounds.high, bounds.unit)
        self._not_below("request_timeout_max_ms", "request_timeout_ms")
        self._not_below("pending_bytes_max", "batch_bytes_max")
        self._not_below("retained_bytes_max", "batch_bytes_max")
        self._not_below("retained_slots_max", "window", times=2)
        self._not_below("retained_slots_max", "checkpoint_slots", times=2)
        self._not_below("retained_bytes_max", "checkpoint_bytes", times=2)
        self._not_below("batch_bytes_max", "request_bytes_max", plus=512)
        if self.workers_max:
            self._not_below("workers_max", "workers")
            self._not_below("workers", "workers_min")

    def _not_below(self, name: str, other: str, *, times: int = 1, plus: int = 0) -> None:
        value, least = getattr(self, name), getattr(self, other) * times + plus
        if value < least:
            formula = f"{f'{times} * ' if times > 1 else ''}{other}{f' + {plus}' if plus else ''}"
            raise ConfigError(
                f"is {value}, but has to be at least {formula}, which is {least}",
                field=name,
                remedy=f"raise {name} or lower {other}",
            )
