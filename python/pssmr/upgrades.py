"""Whether a service may go over to a later version now, and what the replicas are sent for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pssmr import _core
from pssmr.config import ClusterConfig
from pssmr.errors import NoQuorum, UpgradeRefused
from pssmr.membership import Membership
from pssmr.reconfiguration import Statuses


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a service's code."""

    number: int
    schema: str
    """The digest of what commands and state are in it, in hexadecimal digits."""


@dataclass(frozen=True, slots=True)
class Step:
    """From the version in force to the latest one that the replicas' code has; perhaps the same."""

    before: int
    to: Version

    @property
    def is_made(self) -> bool:
        """Whether there is nothing to do."""
        return self.before == self.to.number


def step(membership: Membership, statuses: Statuses, *, force: bool) -> Step:
    """The step that the replicas' code is ready for.

    Args:
        membership: The one in force.
        statuses: What its members say of themselves.
        force: Leave behind the replicas whose code does not have the version: they stop. A quorum has to have it.

    Raises:
        UpgradeRefused: If not all replicas, or with `force` no quorum, run the same latest version. It says who does
            not.
        NoQuorum: If none answers.
    """
    if not any(statuses.values()):
        raise NoQuorum("no replica answers; nothing was changed")
    latest = {replica: _latest(statuses.get(replica)) for replica in membership.ids}
    known = Counter(each for each in latest.values() if isinstance(each, Version))
    if not known:
        raise UpgradeRefused("no replica says which versions of the service its code has" + _reasons(latest, None))
    to = max(known, key=lambda each: (known[each], each.number)) if force else max(known, key=lambda each: each.number)
    behind = {replica: each for replica, each in latest.items() if each != to}
    if behind and not force:
        raise UpgradeRefused(f"not all replicas run the code that has version {to.number}{_reasons(behind, to)}")
    if known[to] < membership.quorum:
        raise UpgradeRefused(
            f"commands would wait: {known[to]} replicas run the code that has version {to.number}, and "
            f"{membership.quorum} are a quorum{_reasons(behind, to)}"
        )
    in_force = (each["service"]["version"] for each in statuses.values() if each is not None and "service" in each)
    # One that lags says less, one that lies says anything: f + 1 say no more than what is true.
    said = sorted(in_force, reverse=True)
    return Step(said[min(membership.faults, len(said) - 1)], to)


def sign(config: ClusterConfig, to: Version, key: str) -> bytes:
    """The upgrade as the replicas take it.

    Args:
        config: The cluster.
        to: The version to go over to.
        key: The administrator's private key, as PEM text.
    """
    return _core.sign_upgrade(cluster=config.id, version=to.number, schema=bytes.fromhex(to.schema), key=key)


def check_made(result: bytes) -> None:
    """Refuses the replicas' refusal.

    Raises:
        UpgradeRefused: If the version is not in force. It says what they say.
    """
    if result:
        raise UpgradeRefused(f"the replicas refuse it: {result.decode(errors='replace')}")


def remarks(membership: Membership, statuses: Statuses) -> list[str]:
    """What an operator should know of the versions, if the replicas' code has others than the one in force."""
    versions = {
        replica: each["service"] for replica, each in statuses.items() if each is not None and "service" in each
    }
    if all(each["latest"] == each["version"] for each in versions.values()):
        return []
    try:
        ready = step(membership, statuses, force=False)
    except UpgradeRefused as refusal:
        return [f"a later version of the service is not in force: {refusal}"]
    return [f"version {ready.before} of the service is in force, and all have {ready.to.number}: `pssmr upgrade`"]


def _latest(status: Mapping[str, Any] | None) -> Version | str:
    """The latest version that a replica's code has, or why nobody knows."""
    if status is None:
        return "does not answer"
    if status["halted"]:
        return f"has stopped for good: {status['halted']}"
    if "service" not in status:
        return f"runs pssmr {status['version']}, which knows of no versions"
    service = status["service"]
    return Version(int(service["latest"]), str(service["schema"]))


def _reasons(latest: Mapping[int, Version | str], to: Version | None) -> str:
    reasons = []
    for replica, each in latest.items():
        if isinstance(each, str):
            reasons.append(f"replica {replica} {each}")
        elif to is not None and each.number == to.number:
            reasons.append(f"replica {replica} has another version {to.number}, with other commands or other state")
        else:
            reasons.append(f"replica {replica} goes up to version {each.number}")
    return "".join(f"; {reason}" for reason in reasons)
