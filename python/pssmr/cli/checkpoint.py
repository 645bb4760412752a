"""`pssmr checkpoint`: has the replicas take one."""

from __future__ import annotations

import json
import time
from pathlib import Path

from pssmr.cli.output import messages, results
from pssmr.client import Client
from pssmr.exit_codes import ExitCode

_PAUSE = 0.1
"""Seconds between two looks."""

_BEGIN_TIMEOUT = 2.0
"""Seconds until a replica that takes a checkpoint has begun."""


def take_checkpoint(cluster: Path, *, key: str | None, as_json: bool, timeout: float) -> ExitCode:
    """Asks for a checkpoint, waits until it is stable at the replicas that answered, and prints what they say."""
    with Client(cluster, key=key, timeout=timeout) as client:
        before = _look(client)
        digests = client.checkpoint()
        done = _wait(client, before, list(digests), timeout)
    if as_json:
        states = {str(replica): digest.hex() for replica, digest in digests.items()}
        slots = {str(replica): slot for replica, slot in done.items()}
        results.print(json.dumps({"checkpoint": slots, "state_digests": states}, indent=2))
    else:
        for replica, digest in sorted(digests.items()):
            slot = f"checkpoint at slot {done[replica]:,}" if replica in done else "no new checkpoint"
            results.print(f"replica {replica}: state {digest.hex()[:16]}, {slot}", markup=False, highlight=False)
    if len(set(digests.values())) > 1:
        messages.print("the states differ: replicas have diverged", style="red")
        return ExitCode.FAILED
    if len(done) < len(digests):
        messages.print("no new checkpoint: one was asked for in the last 10 s, or the replicas' logs say why not")
        return ExitCode.FAILED
    return ExitCode.OK


def _wait(client: Client, before: dict[int, tuple[int, int]], replicas: list[int], timeout: float) -> dict[int, int]:
    """The slots of the new checkpoints, by replica."""
    asked = time.monotonic()
    while True:
        now = _look(client)
        new = {
            replica: now[replica][0]
            for replica in replicas
            if replica in now and now[replica][0] > before.get(replica, (0, 0))[0]
        }
        waited = time.monotonic() - asked
        has_begun = any(begun > before.get(replica, (0, 0))[1] for replica, (_, begun) in now.items())
        if len(new) == len(replicas) or waited > (timeout if has_begun else _BEGIN_TIMEOUT):
            return new
        time.sleep(_PAUSE)


def _look(client: Client) -> dict[int, tuple[int, int]]:
    """By replica: the slot of its last stable checkpoint, and how many snapshots it has begun."""
    return {
        replica: (status["checkpoint"], status["snapshots"]["begun"])
        for replica, status in client.status().items()
        if status
    }
