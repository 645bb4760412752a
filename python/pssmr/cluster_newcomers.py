"""Ids and key files for replicas that come into a cluster that runs."""

from __future__ import annotations

from pathlib import Path

from pssmr.config import ClusterConfig
from pssmr.errors import ReconfigurationRefused
from pssmr.membership import Membership
from pssmr.quorums import REPLICAS_MAX


def free_id(config: ClusterConfig, membership: Membership) -> int:
    """The lowest id that no replica has or had, as far as the directory of the configuration knows.

    So what is there of a replica that is gone, its key and its data, is never taken for the new one's.

    Raises:
        ReconfigurationRefused: If there is none.
    """
    known = {*membership.ids, *(each.id for each in config.replicas)}
    for number in range(REPLICAS_MAX):
        data = config.replica_data(number)
        if number not in known and not key_file(config, number).exists() and not (data is not None and data.exists()):
            return number
    raise ReconfigurationRefused(f"no id from 0 to {REPLICAS_MAX - 1} is free: say which one is to be used again")


def key_file(config: ClusterConfig, replica: int) -> Path:
    """Where the private key of a replica is."""
    return (config.keys or Path("keys")) / f"replica-{replica}.pem"
