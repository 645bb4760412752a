"""Making a new cluster: its keys, its id, and its `cluster.toml`."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

from pssmr import cluster_fields, cluster_files, cluster_keys
from pssmr.config import ADMINISTRATOR, ClientConfig, ClusterConfig, FaultModel, ReplicaConfig
from pssmr.errors import ConfigError
from pssmr.quorums import REPLICAS_MAX
from pssmr.settings import Settings

CLIENT_NAME = "client"
"""The one client that a new cluster has."""


def create_cluster(
    directory: Path,
    *,
    name: str = "",
    replicas: int = 4,
    fault_model: FaultModel = "bft",
    address: Callable[[int], tuple[str, str]],
    settings: Settings | None = None,
    admin: Callable[[int], str] | None = None,
    administrator: bool = True,
) -> ClusterConfig:
    """Makes a cluster in `directory`: its `cluster.toml`, and private keys in `keys`.

    These are `replica-N.pem`, `client.pem`, `administrator.pem`; replicas that serve HTTP have an `admin-N.token`.

    Args:
        directory: Where to; made if it is not there.
        name: What people call the cluster; the directory's name by default.
        replicas: How many.
        fault_model: What a faulty one may do.
        address: Gives, for each id, where the replica is reached by other replicas and by clients.
        settings: How the cluster runs.
        admin: Gives, for each id, where the replica serves HTTP; by default none does.
        administrator: Whether somebody may change the membership.

    Raises:
        ConfigError: If there is a cluster already, the directory can't be written, or such a cluster can't be. Then
            nothing was written.
    """
    cluster_fields.check_integer(replicas, "replicas", 1, REPLICAS_MAX)
    existing = [directory / file for file in (cluster_files.TOML_NAME, cluster_files.PYTHON_NAME, "keys")]
    for path in existing:
        if path.exists():
            raise ConfigError(
                "is there already: nothing is overwritten", source=str(path), remedy="choose another directory"
            )

    def described(keys: list[str]) -> ClusterConfig:
        replica_keys, client_key = keys[:replicas], keys[replicas]
        members = []
        for i, key in enumerate(replica_keys):
            peers, clients = address(i)
            http = admin(i) if admin is not None else ""
            members.append(ReplicaConfig(id=i, key=key, peers=peers, clients=clients, admin=http))
        return ClusterConfig(
            name=name or _name_of(directory),
            id=secrets.token_hex(16),
            fault_model=fault_model,
            replicas=tuple(members),
            clients=(ClientConfig(name=CLIENT_NAME, key=client_key),),
            settings=settings or Settings(),
            administrator=keys[replicas + 1] if administrator else "",
            keys=directory / "keys",
            data=directory / "data",
        )

    # All is checked, with stand-ins for the keys, before anything is written.
    stems = [*(f"replica-{i}" for i in range(replicas)), CLIENT_NAME, *([ADMINISTRATOR] if administrator else [])]
    described([f"{i + 1:064x}" for i in range(len(stems))])
    config = described([cluster_keys.generate_key(directory / "keys" / f"{stem}.pem") for stem in stems])
    for replica in config.replicas:
        if replica.admin:
            cluster_keys.generate_token(directory / "keys" / f"admin-{replica.id}.token")
    try:
        with (directory / cluster_files.TOML_NAME).open("x", encoding="utf-8") as file:
            file.write(cluster_files.render(config))
    except OSError as error:
        raise ConfigError(f"can't be written: {error.strerror}", source=str(directory)) from error
    return config


def _name_of(directory: Path) -> str:
    """The directory's name, as far as it can be the name of a cluster."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in directory.resolve().name.lower())
    return kept.strip("._-")[:63] or "cluster"
