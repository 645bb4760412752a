"""What the admin service knows of the replica that it belongs to."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

from pssmr._core import ReplicaCore
from pssmr.admin.upkeep import Upkeep
from pssmr.config import ClusterConfig
from pssmr.event_feed import EventFeed


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A running replica, from outside."""

    id: int
    """Which of the cluster's replicas it is."""
    config: ClusterConfig
    """The cluster's configuration."""
    core: ReplicaCore
    """The replica."""
    feed: EventFeed
    """What happens at it."""
    upkeep: Upkeep
    """Asks all replicas for something."""
    token: str | None = field(repr=False)
    """What a request has to bear to change something; `None`: nobody can."""
    started: float = field(default_factory=time.time)
    """When it was started, in seconds since the Unix epoch."""

    def status(self) -> dict[str, Any]:
        """How it is."""
        status: dict[str, Any] = json.loads(self.core.status())
        return status
