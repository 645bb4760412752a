"""A replica's face to operators: health, status, metrics, events and a dashboard, over HTTP.

It runs on a thread with an event loop of its own, beside the replica's threads, and reads what they show of
themselves: nothing that orders, executes or answers ever waits for it. Importing this imports aiohttp, so only replicas
that have an `admin` address do.
"""

from __future__ import annotations

from pssmr.admin.node import Node
from pssmr.admin.server import AdminServer
from pssmr.admin.upkeep import Upkeep

__all__ = ["AdminServer", "Node", "Upkeep"]
