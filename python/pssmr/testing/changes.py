"""Changes of the membership of a cluster on this machine: the replicas agree, the file says so, processes follow."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol

from pssmr.client import Client
from pssmr.cluster_keys import generate_key
from pssmr.cluster_newcomers import free_id, key_file
from pssmr.cluster_ports import free_ports
from pssmr.cluster_rewrite import rewrite
from pssmr.config import ClusterConfig
from pssmr.errors import Error, ReconfigurationRefused
from pssmr.membership import AddReplica, Change, Member, Membership, RemoveReplica, ReplaceReplica

_POLL = 0.1
_VOTING = ("leader", "follower")


class Running(Protocol):
    """The replicas of a cluster on this machine."""

    cluster: Path
    config: ClusterConfig

    def reload(self) -> None:
        """Takes the configuration from its file."""

    def start(self, replica: int, timeout: float) -> None:
        """Starts a replica."""

    def stop(self, replica: int) -> None:
        """Stops a replica."""

    def running(self) -> list[int]:
        """The replicas that run."""


def add(running: Running, timeout: float) -> int:
    """Adds a replica, and waits until it votes; returns its id."""
    member = _new_member(running.config)
    _change(running, AddReplica(member), timeout)
    _start(running, member.id, timeout)
    return member.id


def remove(running: Running, replica: int, timeout: float) -> None:
    """Removes a replica, and stops it if it runs."""
    _change(running, RemoveReplica(running.config.replica(replica).id), timeout)
    _stop(running, replica)


def replace(running: Running, replica: int, timeout: float) -> int:
    """Puts a new replica in the place of another, and waits until it votes; returns its id."""
    running.config.replica(replica)
    member = _new_member(running.config)
    _change(running, ReplaceReplica(replica, member), timeout)
    _stop(running, replica)
    _start(running, member.id, timeout)
    return member.id


def _new_member(config: ClusterConfig) -> Member:
    number = free_id(config, config.membership)
    peers, clients = (f"127.0.0.1:{port}" for port in free_ports(2))
    return Member(id=number, key=generate_key(key_file(config, number)), peers=peers, clients=clients)


def _change(running: Running, change: Change, timeout: float) -> Membership:
    deadline = time.monotonic() + timeout
    with Client(running.config, timeout=timeout) as client:
        while True:
            try:
                membership = client.reconfigure(change)
                break
            except ReconfigurationRefused:
                # Those that have come lately may not have the state yet.
                if time.monotonic() > deadline:
                    raise
                time.sleep(_POLL)
    rewrite(running.cluster, running.config.with_membership(membership))
    running.reload()
    return membership


def _stop(running: Running, replica: int) -> None:
    if replica in running.running():
        running.stop(replica)


def _start(running: Running, replica: int, timeout: float) -> None:
    running.start(replica, timeout)
    deadline = time.monotonic() + timeout
    with Client(running.config) as client:
        while (status := client.status(timeout=1.0).get(replica)) is None or status["role"] not in (
            "leader",
            "follower",
        ):
            if time.monotonic() > deadline:
                raise Error(f"replica {replica} has no vote within {timeout:g} s: {status and status['role']}")
            time.sleep(_POLL)
