"""Whether a change of the membership may be asked for now, and what the replicas are sent for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pssmr import _core
from pssmr.config import ClusterConfig
from pssmr.errors import ReconfigurationRefused
from pssmr.membership import AddReplica, Change, Member, Membership, RemoveReplica

Statuses = Mapping[int, Mapping[str, Any] | None]
"""What each replica said of itself, by id; `None` for one that said nothing."""

STATUS_TIMEOUT = 3.0
"""Seconds that a replica has to say how it is before a change."""

TOLD_POLL = 0.01
"""Seconds between two looks whether the replicas have told the client of the next membership."""

NOT_TOLD = "the change is made, but no replica has proved the next membership to this client in time"


def sign(config: ClusterConfig, membership: Membership, change: Change, key: str) -> bytes:
    """The change as the replicas take it, for this epoch and no other.

    Args:
        config: The cluster.
        membership: The one in force.
        change: What to change.
        key: The administrator's private key, as PEM text.
    """
    comes = None if isinstance(change, RemoveReplica) else change.member
    kinds = {AddReplica: "add", RemoveReplica: "remove"}
    return _core.sign_reconfiguration(
        cluster=config.id,
        epoch=membership.epoch,
        change=kinds.get(type(change), "replace"),
        old=None if isinstance(change, AddReplica) else change.id,
        new=None if comes is None else for_core(comes),
        key=key,
    )


def for_core(member: Member) -> tuple[int, str, str, str]:
    """A member as the core takes it."""
    return member.id, member.key, member.peers, member.clients


def check_made(result: bytes) -> None:
    """Refuses the replicas' refusal.

    Raises:
        ReconfigurationRefused: If they have not made the change. It says what they say.
    """
    if result:
        raise ReconfigurationRefused(f"the replicas refuse it: {result.decode(errors='replace')}")


def check_safe(membership: Membership, change: Change, statuses: Statuses, behind_max: int) -> None:
    """Refuses a change after which the cluster might stand still.

    The replicas that are in both memberships have to be a quorum of the next one by themselves, since whoever comes has
    nothing yet. Such a replica counts if it answers, is in the newest epoch, votes, can write its log, and has executed
    all but `behind_max` of the slots that it has to: those that f + 1 replicas have decided. What it says of itself is
    believed.

    Args:
        membership: The one in force.
        change: What to change.
        statuses: What its members say of themselves.
        behind_max: The slots that a replica may be behind.

    Raises:
        ReconfigurationRefused: If they are too few, or the change can't be made at all. It says who is missing and why.
    """
    following = membership.changed(change)
    keys = {each.key for each in following.members}
    staying = [each.id for each in membership.members if each.key in keys]
    decided = _decided(membership, statuses)
    missing = {}
    for replica in staying:
        why = _why_not(statuses.get(replica), membership, decided, behind_max)
        if why:
            missing[replica] = why
    ready = len(staying) - len(missing)
    if ready < following.quorum:
        reasons = "".join(f"; replica {replica} {why}" for replica, why in missing.items())
        until = "" if isinstance(change, RemoveReplica) else " until the new one has the state"
        raise ReconfigurationRefused(
            f"commands would wait{until}: of the replicas that stay {ready} have the state and vote, and "
            f"{following.quorum} are a quorum of the next {len(following.members)}{reasons}"
        )


def _decided(membership: Membership, statuses: Statuses) -> int:
    """The slot up to which f + 1 replicas, so one correct one, have decided."""
    slots = sorted((each["decided"] for each in statuses.values() if each is not None), reverse=True)
    return int(slots[membership.faults]) if len(slots) > membership.faults else 0


def _why_not(status: Mapping[str, Any] | None, membership: Membership, decided: int, behind_max: int) -> str:
    """Why a replica does not count; empty if it does."""
    if status is None:
        return "does not answer"
    if status["halted"]:
        return f"has stopped for good: {status['halted']}"
    if status["epoch"] != membership.epoch:
        return f"is in epoch {status['epoch']}, not yet in {membership.epoch}"
    if status["role"] not in ("leader", "follower"):
        return "has no vote yet: it has to get the state from the others, or has forgotten its votes"
    if status["log_error"]:
        return f"can't write its log: {status['log_error']}"
    behind = decided - status["executed"]
    return f"is {behind:,} slots behind" if behind > behind_max else ""
