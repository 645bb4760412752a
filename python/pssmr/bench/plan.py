"""What to measure."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from pssmr.config import FaultModel
from pssmr.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One measurement."""

    replicas: int = 4
    fault_model: FaultModel = "bft"
    service: Literal["native", "python"] = "python"
    """What executes the commands: the core, or a Python handler. Both do nothing and return nothing."""
    durability: Literal["sync", "async", "memory"] = "memory"
    """What an acknowledged command survives."""
    queries: int = 0
    """Of 100 commands so many are queries, which are not ordered."""
    payload: int = 0
    """Bytes in each command."""
    duration: float = 5.0
    """Seconds to measure."""
    warm_up: float = 1.0
    """Seconds of load before that."""
    clients: int = 1
    """Client processes, each with a session of its own."""
    in_flight: int = 512
    """Commands under way per client; 1 is a closed loop."""
    workers: int | None = None
    """Threads that execute, in each replica; as many as configured by default."""
    scrape: float = 0.0
    """How often the metrics of each replica are scraped meanwhile, in seconds; 0: never, and nothing serves them."""

    def settings(self) -> Settings:
        """The settings of the cluster to measure."""
        settings = Settings(durability=self.durability)
        return settings if self.workers is None else dataclasses.replace(settings, workers=self.workers)
