"""Backups of a running cluster: one replica's snapshot with its proof, and a cluster that goes on from it."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pssmr import _core
from pssmr.backup_stores import BackupStore
from pssmr.config import ClusterConfig
from pssmr.errors import ConfigError
from pssmr.reconfiguration import for_core

_SNAPSHOT, _PROOF, _CONFIGURATION, _DESCRIPTION = "snapshot", "certificate", "cluster.toml", "backup.json"
_COMPLETE = re.compile(rf"(\d{{20}})/{re.escape(_DESCRIPTION)}")
_SLOT_DIGITS = 20
_TRIES = 3


@dataclass(frozen=True, slots=True)
class BackupDescription:
    """What a backup is. It is written last: a backup without it is not whole."""

    cluster: str
    """The cluster's id."""
    epoch: int
    """The membership's: a backup is restored with the configuration of that one."""
    slot: int
    """What was decided up to here is in it."""
    bytes: int
    """Of the state."""
    service_version: int | None
    """The version that the service had gone over to; `None` if it was the first."""
    made: str
    """When, in UTC."""
    pssmr: str
    """The version of pssmr that made it."""


def take_backup(config: ClusterConfig, replica: int, store: BackupStore) -> BackupDescription:
    """Copies a replica's newest snapshot that is proved, whether the replica runs or not.

    It is verified first: f + 1 replicas have signed what it is, and all its bytes are that. If the store has the same
    already, nothing is done.

    Args:
        config: The cluster.
        replica: The replica, whose data directory is on this machine.
        store: Where to.

    Raises:
        ConfigError: If there is no snapshot, or it is not what the replicas have signed.
    """
    data = config.replica_data(replica)
    if data is None or not data.is_dir():
        raise ConfigError(f"replica {replica} has no data directory on this machine", field="data")
    with _copy_of_newest(data) as staging:
        slot, size, service_version = _core.verify_backup(staging, **_membership(config))
        description = BackupDescription(
            cluster=config.id,
            epoch=config.epoch,
            slot=slot,
            bytes=size,
            service_version=service_version,
            made=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            pssmr=version("pssmr"),
        )
        if slot in {each.slot for each in list_backups(store)}:
            return description
        folder = f"{slot:0{_SLOT_DIGITS}}"
        texts = {_CONFIGURATION: _rendered(config), _DESCRIPTION: json.dumps(asdict(description), indent=2) + "\n"}
        for name, text in texts.items():
            (staging / name).write_text(text, encoding="utf-8")
        for name in (_SNAPSHOT, _PROOF):
            store.put(staging / "snapshots" / f"{folder}.{name}", f"{folder}/{name}")
        for name in texts:
            store.put(staging / name, f"{folder}/{name}")
        return description


def list_backups(store: BackupStore) -> list[BackupDescription]:
    """The backups that are whole, oldest first."""
    slots = sorted(match[1] for name in store.names() if (match := _COMPLETE.fullmatch(name)))
    with tempfile.TemporaryDirectory(prefix="pssmr-backup-") as made:
        file = Path(made) / _DESCRIPTION
        found = []
        for slot in slots:
            store.get(f"{slot}/{_DESCRIPTION}", file)
            said: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            found.append(BackupDescription(**{name: said[name] for name in BackupDescription.__slots__}))
        return found


def restore_backup(
    config: ClusterConfig, replicas: list[int], store: BackupStore, slot: int | None = None
) -> BackupDescription:
    """Makes the data directories of replicas on this machine, which go on from a backup when they are started.

    Every replica of the cluster has to be restored from the same backup, before one of them is started: one that keeps
    what it had knows of other decisions than those that will be made.

    Args:
        config: The cluster, with the membership that the backup is of.
        replicas: The replicas of this machine. They don't run, and have no data.
        store: Where the backup is.
        slot: Which one; the newest by default.

    Raises:
        ConfigError: If there is no such backup, a replica has data, or what is there is not what the replicas have
            signed. Directories that were made are removed again.
    """
    if config.settings.durability == "memory":
        raise ConfigError('is "memory": such replicas begin with nothing', field="settings.durability")
    known = list_backups(store)
    chosen = next((each for each in reversed(known) if slot in (None, each.slot)), None)
    if chosen is None:
        slots = ", ".join(str(each.slot) for each in known) or "none"
        raise ConfigError("there is no such backup", field="slot", remedy=f"those that are there: {slots}")
    if chosen.cluster != config.id:
        raise ConfigError(f"the backup is of the cluster {chosen.cluster}, not of {config.id}")
    directories = {replica: config.replica_data(replica) for replica in replicas}
    for replica, data in directories.items():
        if data is not None and data.exists() and any(data.iterdir()):
            raise ConfigError(f"replica {replica} has data in {data}", remedy="move it away first")
    with contextlib.ExitStack() as undo:
        for replica, data in directories.items():
            assert data is not None, "only durability memory has none"
            undo.callback(shutil.rmtree, data, ignore_errors=True)
            snapshots = data / "snapshots"
            snapshots.mkdir(mode=0o700, parents=True)
            data.chmod(0o700)
            folder = f"{chosen.slot:0{_SLOT_DIGITS}}"
            for name in (_SNAPSHOT, _PROOF):
                store.get(f"{folder}/{name}", snapshots / f"{folder}.{name}")
                _sync(snapshots / f"{folder}.{name}")
            _sync(snapshots)
            _core.restore_backup(data, **_membership(config), me=replica)
        undo.pop_all()
    return chosen


@contextlib.contextmanager
def _copy_of_newest(data: Path) -> Iterator[Path]:
    """A directory with the newest snapshot that has a proof. The replica may remove its own meanwhile."""
    with tempfile.TemporaryDirectory(prefix=".backup-", dir=data.parent) as made:
        staging = Path(made)
        (staging / "snapshots").mkdir()
        for _ in range(_TRIES):
            files = (data / "snapshots").glob("*.snapshot")
            newest = max((file for file in files if file.with_suffix(".certificate").exists()), default=None)
            if newest is not None and _link_all(staging / "snapshots", newest, newest.with_suffix(".certificate")):
                break
        else:
            remedy = "`pssmr checkpoint` has the replicas take one"
            raise ConfigError("has no snapshot that is proved yet", field=str(data), remedy=remedy)
        yield staging


def _link_all(folder: Path, *files: Path) -> bool:
    """Whether these files were there until they have another name in a folder."""
    for file in files:
        link = folder / file.name
        link.unlink(missing_ok=True)
        try:
            link.hardlink_to(file)
        except FileNotFoundError:
            return False
        except OSError:
            # A file system without links.
            try:
                shutil.copyfile(file, link)
            except FileNotFoundError:
                return False
    return True


def _sync(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _rendered(config: ClusterConfig) -> str:
    from pssmr import cluster_files

    return cluster_files.render(config)


def _membership(config: ClusterConfig) -> dict[str, Any]:
    """The membership as the core takes it."""
    return {
        "cluster": config.id,
        "fault_model": config.fault_model,
        "epoch": config.epoch,
        "members": [for_core(member) for member in config.membership.members],
    }
