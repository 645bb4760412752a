"""Who leads."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pssmr.client import Client
from pssmr.errors import Error


def wait_for_leader(client: Client, replicas: int, timeout: float) -> int:
    """The leader that answers and that more than half of the replicas follow, as soon as there is one.

    Raises:
        Error: If there is none within `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while True:
        leader = _leader(client.status(timeout=1.0), replicas)
        if leader is not None:
            return leader
        if time.monotonic() > deadline:
            raise Error(f"no leader that most replicas follow within {timeout:g} s")
        time.sleep(0.05)


def _leader(statuses: Sequence[Mapping[str, Any] | None], replicas: int) -> int | None:
    followed = Counter((each["view"], each["leader"]) for each in statuses if each is not None and each["active"])
    for (_, leader), followers in followed.items():
        # What a replica says may be some milliseconds old: a leader that is gone does not answer.
        if 2 * followers > replicas and statuses[leader] is not None:
            return int(leader)
    return None
