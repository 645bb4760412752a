"""Who leads."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from pssmr.client import Client
from pssmr.errors import Error


def wait_for_leader(client: Client, timeout: float) -> int:
    """The leader that answers and that more than half of the replicas follow, as soon as there is one.

    Raises:
        Error: If there is none within `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while True:
        leader = _leader(client.status(timeout=1.0))
        if leader is not None:
            return leader
        if time.monotonic() > deadline:
            raise Error(f"no leader that most replicas follow within {timeout:g} s")
        time.sleep(0.05)


def _leader(statuses: Mapping[int, Mapping[str, Any] | None]) -> int | None:
    followed = Counter(
        (each["epoch"], each["view"], each["leader"])
        for each in statuses.values()
        if each is not None and each["active"]
    )
    for (_, _, leader), followers in followed.items():
        # What a replica says may be some milliseconds old: a leader that is gone does not answer.
        if 2 * followers > len(statuses) and statuses.get(leader) is not None:
            return int(leader)
    return None
