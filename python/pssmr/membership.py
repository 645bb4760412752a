"""Who the replicas are in one epoch of a cluster, and how that changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pssmr import cluster_fields
from pssmr.errors import ReconfigurationRefused
from pssmr.quorums import REPLICAS_MAX, faults_of, quorum_of

if TYPE_CHECKING:
    from pssmr.config import FaultModel

EPOCH_MAX = 1 << 31
"""The last epoch that a configuration can say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A replica as the others and the clients know it.

    Raises:
        ConfigError: If a field can't be.
    """

    id: int
    """Its number, 0 to 63."""
    key: str
    """Its Ed25519 public key, 64 hexadecimal digits."""
    peers: str
    """`host:port` at which the other replicas reach it."""
    clients: str
    """`host:port` at which clients reach it."""

    def __post_init__(self) -> None:
        cluster_fields.check_integer(self.id, "id", 0, REPLICAS_MAX - 1)
        cluster_fields.check_key(self.key, "key")
        object.__setattr__(self, "key", self.key.lower())
        cluster_fields.check_address(self.peers, "peers")
        cluster_fields.check_address(self.clients, "clients")


@dataclass(frozen=True, slots=True)
class AddReplica:
    """One replica more."""

    member: Member


@dataclass(frozen=True, slots=True)
class RemoveReplica:
    """One replica less."""

    id: int


@dataclass(frozen=True, slots=True)
class ReplaceReplica:
    """One replica in the place of another. It may have the same id, but never the same key."""

    id: int
    """Who goes."""
    member: Member
    """Who comes."""


Change = AddReplica | RemoveReplica | ReplaceReplica
"""A change of the membership: one replica at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """The replicas in force in one epoch. Each change of the membership ends an epoch and begins the next."""

    epoch: int
    """0 when the cluster is made, one more with each change."""
    fault_model: FaultModel
    """What a faulty replica may do."""
    members: tuple[Member, ...]
    """By seniority: whoever joins comes last."""

    @property
    def ids(self) -> tuple[int, ...]:
        """The replicas' ids, by seniority."""
        return tuple(each.id for each in self.members)

    @property
    def faults(self) -> int:
        """f: how many replicas may be faulty."""
        return faults_of(self.fault_model, len(self.members))

    @property
    def quorum(self) -> int:
        """Q: how many replicas have to vote for something to be decided."""
        return quorum_of(self.fault_model, len(self.members))

    def changed(self, change: Change) -> Membership:
        """The membership of the next epoch, if this change is made.

        Raises:
            ReconfigurationRefused: If it can't be made.
        """
        goes = None if isinstance(change, AddReplica) else change.id
        comes = None if isinstance(change, RemoveReplica) else change.member
        if goes is not None and goes not in self.ids:
            ids = cluster_fields.ids_in_words(self.ids)
            raise ReconfigurationRefused(f"there is no replica {goes}; the ids are {ids}")
        members = [each for each in self.members if each.id != goes]
        if comes is not None:
            for each in self.members:
                if each.key == comes.key:
                    raise ReconfigurationRefused(f"replica {each.id} has this key already; each needs one of its own")
            if comes.id in (each.id for each in members):
                raise ReconfigurationRefused(f"there is a replica {comes.id} already")
            self._check_addresses(members, comes)
            members.append(comes)
        if not 1 <= len(members) <= REPLICAS_MAX:
            raise ReconfigurationRefused(f"{len(members)} replicas: a cluster has 1 to {REPLICAS_MAX}")
        return Membership(epoch=self.epoch + 1, fault_model=self.fault_model, members=tuple(members))

    @staticmethod
    def _check_addresses(members: list[Member], comes: Member) -> None:
        taken = {
            cluster_fields.canonical_address(address): each.id
            for each in members
            for address in (each.peers, each.clients)
        }
        for address in (comes.peers, comes.clients):
            if (owner := taken.get(cluster_fields.canonical_address(address))) is not None:
                raise ReconfigurationRefused(f"{address} is where replica {owner} is reached")
        if cluster_fields.canonical_address(comes.peers) == cluster_fields.canonical_address(comes.clients):
            raise ReconfigurationRefused(f"{comes.peers} can't be for both replicas and clients")
