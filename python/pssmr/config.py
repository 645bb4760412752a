"""What a cluster is: its replicas, its clients, and its settings.

A `ClusterConfig` is a plain Python object. It checks itself when it is made, so one that exists is usable; a bad one
raises `ConfigError` with the field, the value, what was expected and what to do. `ClusterConfig.load` takes the other
forms: a `cluster.toml`, a `cluster.py`, or a directory with one of them.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from pssmr import cluster_fields
from pssmr.errors import ConfigError
from pssmr.membership import EPOCH_MAX, Member, Membership
from pssmr.quorums import REPLICAS_MAX, faults_of, quorum_of, smallest_of
from pssmr.settings import Settings

if TYPE_CHECKING:
    from pssmr.early_plan import EarlyPlan

FaultModel = Literal["bft", "cft"]
"""What a faulty replica may do: `bft`, anything at all; `cft`, stop."""

ADMINISTRATOR = "administrator"
"""How the administrator's key file is called."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
_FAULT_MODELS = ("bft", "cft")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaConfig:
    """One replica: who it is and where it is reached."""

    id: int
    """Its number, 0 to 63: a name, which says nothing about its place. Its key file and its data directory are called
    by it."""
    key: str
    """Its Ed25519 public key, 64 hexadecimal digits."""
    peers: str
    """`host:port` at which the other replicas reach it."""
    clients: str
    """`host:port` at which clients reach it."""
    listen_peers: str = ""
    """`host:port` to listen at for replicas, if not `peers`: behind a NAT or in a container."""
    listen_clients: str = ""
    """`host:port` to listen at for clients, if not `clients`."""
    admin: str = ""
    """`host:port` at which it serves status, metrics and a dashboard over HTTP; port 0 takes a free one; without it, it
    does not."""

    def __post_init__(self) -> None:
        cluster_fields.check_integer(self.id, "id", 0, REPLICAS_MAX - 1)
        cluster_fields.check_key(self.key, "key")
        object.__setattr__(self, "key", self.key.lower())
        for name in ("peers", "clients"):
            cluster_fields.check_address(getattr(self, name), name)
        for name in ("listen_peers", "listen_clients"):
            cluster_fields.check_type(getattr(self, name), name, str, "text")
            if getattr(self, name):
                cluster_fields.check_address(getattr(self, name), name)
        cluster_fields.check_type(self.admin, "admin", str, "text")
        if self.admin:
            cluster_fields.check_address(self.admin, "admin", any_port=True)
            taken = {cluster_fields.canonical_address(each) for each in (self.peers_listener, self.clients_listener)}
            if cluster_fields.canonical_address(self.admin) in taken:
                raise ConfigError(
                    f"{self.admin!r} is where the replica listens for replicas or clients",
                    field="admin",
                    remedy="give it another port, or 0 for a free one",
                )

    @property
    def peers_listener(self) -> str:
        """Where to listen for other replicas."""
        return self.listen_peers or self.peers

    @property
    def clients_listener(self) -> str:
        """Where to listen for clients."""
        return self.listen_clients or self.clients


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConfig:
    """One client that the replicas talk to."""

    name: str
    """What the configuration calls it. Its private key is looked for in `keys/NAME.pem`."""
    key: str
    """Its Ed25519 public key, 64 hexadecimal digits."""

    def __post_init__(self) -> None:
        _check_name(self.name)
        if self.name.startswith("replica-") or self.name == ADMINISTRATOR:
            whose = "the administrator" if self.name == ADMINISTRATOR else "a replica"
            raise ConfigError(
                f"{self.name!r} is how {whose}'s key file is called", field="name", remedy="choose another name"
            )
        cluster_fields.check_key(self.key, "key")
        object.__setattr__(self, "key", self.key.lower())


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterConfig:
    """A whole cluster, as its replicas and its clients see it."""

    name: str
    """For people: letters, digits, `-`, `_`, `.`."""
    id: str
    """32 hexadecimal digits, drawn when the cluster is made. Nothing of one cluster is valid in another."""
    fault_model: FaultModel
    """What a faulty replica may do."""
    replicas: tuple[ReplicaConfig, ...]
    """By seniority: whoever joined last is the last. Their ids are distinct."""
    clients: tuple[ClientConfig, ...]
    """Whoever is not in this list can't send commands."""
    epoch: int = 0
    """How often the membership has changed since the cluster was made. `pssmr reconfigure` writes it. Who is given an
    older configuration learns from the replicas what has changed since."""
    administrator: str = ""
    """The Ed25519 public key, 64 hexadecimal digits, of who may add, remove and replace replicas, and upgrade the
    service. The private one is looked for in `keys/administrator.pem`, and belongs on no replica. Without it
    neither can change."""
    settings: Settings = field(default_factory=Settings)
    """How it runs."""
    keys: Path | None = None
    """The directory of private keys; with a file, `keys` beside it by default. Not part of what is agreed."""
    data: Path | None = None
    """The directory in which each replica has one of its own, for its log and its promises; with a file, `data` beside
    it by default. Without it durability can only be `memory`, and a replica that is started again has to have another
    key."""

    plan: EarlyPlan | None = None
    """Which lanes run which commands, for the scheduler `early`. In a file: `plan = "PATH"`, or a table `[plan]`, or
    `plan.toml` beside it. Without one, each worker has a lane, and a part of the keys. Not part of what is agreed."""

    def __post_init__(self) -> None:
        _check_name(self.name)
        cluster_fields.check_hexadecimal(self.id, "id", 32, "a cluster id")
        object.__setattr__(self, "id", self.id.lower())
        cluster_fields.check_choice(self.fault_model, "fault_model", _FAULT_MODELS)
        cluster_fields.check_integer(self.epoch, "epoch", 0, EPOCH_MAX)
        cluster_fields.check_type(self.administrator, "administrator", str, "text")
        if self.administrator:
            cluster_fields.check_key(self.administrator, "administrator")
            object.__setattr__(self, "administrator", self.administrator.lower())
        for name, item in (("replicas", ReplicaConfig), ("clients", ClientConfig)):
            object.__setattr__(self, name, cluster_fields.check_items(getattr(self, name), name, item))
        cluster_fields.check_type(self.settings, "settings", Settings, "Settings")
        for name in ("keys", "data"):
            if getattr(self, name) is not None:
                cluster_fields.check_type(getattr(self, name), name, (str, Path), "a path")
                object.__setattr__(self, name, Path(getattr(self, name)))
        if self.plan is not None:
            self._check_plan()
        self._check_replicas()
        _check_distinct("clients", "name", ((f"[{i}]", c.name, "") for i, c in enumerate(self.clients)))
        _check_distinct("", "", self._keys())

    def _keys(self) -> Iterator[tuple[str, str, str]]:
        """All public keys, each with its path and what to do about a second one."""
        remedy = " each has a key of its own: run `pssmr keygen`"
        for i, replica in enumerate(self.replicas):
            yield f"replicas[{i}].key", replica.key, remedy
        for i, client in enumerate(self.clients):
            yield f"clients[{i}].key", client.key, remedy
        if self.administrator:
            yield "administrator", self.administrator, remedy

    def _check_plan(self) -> None:
        from pssmr.early_plan import EarlyPlan

        cluster_fields.check_type(self.plan, "plan", EarlyPlan, "an EarlyPlan")
        if self.settings.scheduler != "early":
            raise ConfigError(
                f"is {self.settings.scheduler!r}, which takes no plan, but there is one",
                field="settings.scheduler",
                remedy='write scheduler = "early", or take the plan away',
            )

    def _check_replicas(self) -> None:
        n, least = len(self.replicas), smallest_of(self.fault_model)
        if not 1 <= n <= REPLICAS_MAX:
            raise ConfigError(
                f"{n} replicas: a cluster has 1 to {REPLICAS_MAX}",
                field="replicas",
                remedy="`pssmr init DIR` writes a configuration to start from",
            )
        # A cluster that changes passes through all sizes; none is made with one that is of no use.
        if self.epoch == 0 and 1 < n < least:
            raise ConfigError(
                f'{n} replicas survive no faulty one with fault model "{self.fault_model}", which needs {least}',
                field="replicas",
                remedy=f"have {least} replicas"
                + (', or fault_model = "cft"' if n == 3 else "")
                + ", or a single one to try things out",
            )
        _check_distinct("replicas", "id", ((f"[{i}]", str(r.id), "") for i, r in enumerate(self.replicas)))
        _check_distinct(
            "replicas",
            "",
            (
                (f"[{i}].{name}", cluster_fields.canonical_address(getattr(replica, name)), "")
                for i, replica in enumerate(self.replicas)
                for name in ("peers", "clients")
            ),
        )

    @property
    def faults(self) -> int:
        """f: how many replicas may be faulty."""
        return faults_of(self.fault_model, len(self.replicas))

    @property
    def quorum(self) -> int:
        """Q: how many replicas have to vote for something to be decided."""
        return quorum_of(self.fault_model, len(self.replicas))

    @property
    def membership(self) -> Membership:
        """The replicas as all parties agree on them."""
        members = tuple(Member(id=r.id, key=r.key, peers=r.peers, clients=r.clients) for r in self.replicas)
        return Membership(epoch=self.epoch, fault_model=self.fault_model, members=members)

    def with_membership(self, membership: Membership) -> ClusterConfig:
        """The same cluster in another epoch.

        Replicas that stay keep what only this configuration says of them: where they listen, and `admin`.

        Raises:
            ConfigError: If there can be no such configuration.
        """
        known = {(each.id, each.key): each for each in self.replicas}

        def described(member: Member) -> ReplicaConfig:
            if (old := known.get((member.id, member.key))) is not None:
                return dataclasses.replace(old, peers=member.peers, clients=member.clients)
            return ReplicaConfig(id=member.id, key=member.key, peers=member.peers, clients=member.clients)

        replicas = tuple(described(each) for each in membership.members)
        return dataclasses.replace(self, epoch=membership.epoch, replicas=replicas)

    def replica(self, id: int) -> ReplicaConfig:  # noqa: A002 - what configurations and people call it
        """The replica with this id.

        Raises:
            ConfigError: If there is none. It names those that there are.
        """
        for each in self.replicas:
            if each.id == id:
                return each
        ids = cluster_fields.ids_in_words([each.id for each in self.replicas])
        raise ConfigError(f"there is no replica {id}", field="replicas", remedy=f"the ids are {ids}")

    @property
    def notes(self) -> tuple[str, ...]:
        """What an operator should know about this configuration, though it is valid."""
        n, step = len(self.replicas), 3 if self.fault_model == "bft" else 2
        notes = []
        if n == 1:
            notes.append("one replica survives no fault: good for trying things out, not for keeping anything")
        elif (n - 1) % step:
            enough = self.faults * step + 1
            notes.append(f"{n} replicas survive {self.faults} faulty ones, as many as {enough} would")
        notes += [
            f"replica {each.id} shows its status at {each.admin} to everybody who can reach it, unencrypted"
            for each in self.replicas
            if each.admin and not cluster_fields.is_loopback(each.admin)
        ]
        workers = self.settings.workers
        if self.plan is not None and self.plan.lanes > workers:
            notes.append(f"the plan has {self.plan.lanes} lanes for {workers} workers: so many commands run at once")
        return tuple(notes)

    @classmethod
    def load(cls, source: ClusterConfig | Mapping[str, Any] | str | os.PathLike[str]) -> ClusterConfig:
        """Takes a configuration in any of its forms.

        Args:
            source: A `ClusterConfig`; a mapping of the shape of a `cluster.toml`; the path of a `cluster.toml`; of a
                Python file that has `cluster`, a `ClusterConfig` or a function that returns one; or of a directory
                that holds `cluster.toml` or `cluster.py`.

        Raises:
            ConfigError: If there is nothing there, or something that can't be used.
        """
        from pssmr import cluster_files

        if isinstance(source, ClusterConfig):
            return source
        if isinstance(source, Mapping):
            return cluster_files.from_mapping(source)
        return cluster_files.read(Path(source))

    def replica_key(self, replica: int, path: str | os.PathLike[str] | None = None) -> str:
        """The private key of a replica, as PEM text, from `path` or else `keys/replica-N.pem`.

        Raises:
            ConfigError: If there is no such replica, or the file can't be read, may be read by others, holds no key or
                another one than the configuration says.
        """
        from pssmr import cluster_keys

        me = self.replica(replica)
        file = Path(path) if path is not None else self._key_file(f"replica-{replica}")
        return cluster_keys.read_key(file, expected={me.key: f"replica {replica}"})

    def administrator_key(self, path: str | os.PathLike[str] | None = None) -> str:
        """The private key of the administrator, as PEM text, from `path` or else `keys/administrator.pem`.

        Raises:
            ConfigError: As for `replica_key`, or if the configuration names no administrator.
        """
        from pssmr import cluster_keys

        if not self.administrator:
            raise ConfigError(
                "there is none in this configuration, so the membership of this cluster can't change, nor its service",
                field="administrator",
                remedy="`pssmr keygen` makes one; write it into the file of every replica while all are stopped",
            )
        file = Path(path) if path is not None else self._key_file(ADMINISTRATOR)
        return cluster_keys.read_key(file, expected={self.administrator: "the administrator"})

    def client_key(self, client: str | os.PathLike[str] | None = None) -> str:
        """The private key of a client, as PEM text.

        Args:
            client: A client's name, the path of a key file, or nothing: then the first client of the configuration
                whose key file is there.

        Raises:
            ConfigError: As for `replica_key`, or if there is no such client.
        """
        from pssmr import cluster_keys

        names = [each.name for each in self.clients]
        allowed = {each.key: f"client {each.name!r}" for each in self.clients}
        if client is None:
            if not names:
                raise ConfigError(
                    "there is no client in this configuration, so nobody can send commands",
                    field="clients",
                    remedy="add a [[clients]] table with a name and the key that `pssmr keygen` prints",
                )
            files = [self._key_file(name) for name in names]
            return cluster_keys.read_key(next((f for f in files if f.exists()), files[0]), expected=allowed)
        if isinstance(client, str) and _NAME.fullmatch(client) and not Path(client).exists():
            if client not in names:
                raise ConfigError(
                    f"there is no client {client!r}{cluster_fields.nearest(client, names)}",
                    field="clients",
                    remedy=f"the clients are {', '.join(names) or 'none'}",
                )
            key = next(each.key for each in self.clients if each.name == client)
            return cluster_keys.read_key(self._key_file(client), expected={key: f"client {client!r}"})
        return cluster_keys.read_key(Path(client), expected=allowed)

    def replica_token(self, replica: int) -> str | None:
        """The token that actions on a replica's admin service need; `None` if there is no `keys/admin-N.token`.

        Raises:
            ConfigError: If the file can't be read, others may read it, or it holds no token.
        """
        from pssmr import cluster_keys

        file = None if self.keys is None else self.keys / f"admin-{replica}.token"
        return cluster_keys.read_token(file) if file is not None and file.exists() else None

    def replica_data(self, replica: int) -> Path | None:
        """The directory in which a replica remembers that it ran."""
        return None if self.data is None else self.data / f"replica-{replica}"

    def _key_file(self, stem: str) -> Path:
        if self.keys is None:
            raise ConfigError(
                "this configuration names no directory of private keys",
                field="keys",
                remedy="give keys=..., or the path of the key file",
            )
        return self.keys / f"{stem}.pem"


def _check_name(value: object) -> None:
    cluster_fields.check_type(value, "name", str, "text")
    if not _NAME.fullmatch(cast(str, value)):
        raise ConfigError(
            f"{value!r} is not a name",
            field="name",
            remedy="use 1 to 63 small letters, digits, '-', '_' and '.', with a letter or digit first",
        )


def _check_distinct(prefix: str, name: str, values: Iterator[tuple[str, str, str]]) -> None:
    """Refuses the second of two equal values, naming both. Each value comes as its path, itself, and a remedy."""
    seen: dict[str, str] = {}
    for path, value, remedy in values:
        here = f"{prefix}{path}.{name}" if name else f"{prefix}{path}"
        if value in seen:
            raise ConfigError(
                f"{value!r} is also {seen[value]}", field=here, remedy=remedy.strip() or "no two may be the same"
            )
        seen[value] = here
