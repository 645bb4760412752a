"""One replica's snapshot is a backup of the whole cluster, taken while it runs, and brings it back."""

from __future__ import annotations

import importlib
import shutil
import time
from pathlib import Path

import pytest

from pssmr import Client, ConfigError, Settings
from pssmr.backup_stores import BackupStore, DirectoryStore, ObjectStore, open_store
from pssmr.backups import list_backups, restore_backup, take_backup
from pssmr.cluster_local import make_local
from pssmr.config import ClusterConfig, FaultModel
from pssmr.testing.in_process import InProcessReplicas
from tests.cluster.ledger import Ledger

SETTINGS = Settings(durability="async", workers=2)
BEFORE, AFTER = dict.fromkeys(range(10), 1), dict.fromkeys(range(10, 20), 1)


def add(client: Client, entries: dict[int, int]) -> None:
    for number in entries:
        assert client.call(Ledger.add, number) == 1


def checkpoint(client: Client) -> None:
    """Has one taken that has all until now, and waits until each replica has its proof."""
    before = max(each["decided"] for each in client.status().values() if each)
    client.checkpoint()
    deadline = time.monotonic() + 60
    while any(each is None or each["checkpoint"] < before for each in client.status().values()):
        assert time.monotonic() < deadline, client.status()


def proofs(config: ClusterConfig, replica: int) -> list[Path]:
    data = config.replica_data(replica)
    assert data is not None
    return sorted((data / "snapshots").glob("*.certificate"))


def run(tmp_path: Path, replicas: int, fault_model: FaultModel) -> InProcessReplicas:
    cluster = make_local(tmp_path / "cluster", replicas=replicas, fault_model=fault_model, settings=SETTINGS)
    running = InProcessReplicas(Ledger, cluster)
    running.start_all()
    return running


def back_up(running: InProcessReplicas, replica: int, store: BackupStore) -> int:
    """Backs the cluster up while it runs; the backup's slot."""
    with Client(running.config, timeout=60) as client:
        add(client, BEFORE)
        checkpoint(client)
        deadline = time.monotonic() + 60
        while not proofs(running.config, replica):
            assert time.monotonic() < deadline
        made = take_backup(running.config, replica, store)
        assert take_backup(running.config, replica, store).slot == made.slot, "it is there already"
        add(client, AFTER)
    return made.slot


@pytest.mark.parametrize(("replicas", "fault_model"), [(3, "cft"), (4, "bft")])
def test_a_cluster_that_lost_all_disks_goes_on_from_one_replicas_snapshot(
    tmp_path: Path, replicas: int, fault_model: FaultModel
) -> None:
    store = DirectoryStore(tmp_path / "backups")
    running = run(tmp_path, replicas, fault_model)
    try:
        slot = back_up(running, 1, store)
    finally:
        running.stop_all()
    shutil.rmtree(tmp_path / "cluster/data")
    (backup,) = list_backups(store)
    assert (backup.slot, backup.cluster, backup.epoch) == (slot, running.config.id, 0)
    assert restore_backup(running.config, list(range(replicas)), store).slot == slot
    # Once from the backup, and once from what the replicas have added to it.
    for entries in ({}, AFTER):
        try:
            running.start_all()
            with Client(running.config, timeout=60) as client:
                assert client.call(Ledger.all) == BEFORE | entries
                add(client, {} if entries else AFTER)
                deadline = time.monotonic() + 60
                while len(digests := client.state_digests()) < replicas:
                    assert time.monotonic() < deadline
                assert len(set(digests.values())) == 1
        finally:
            running.stop_all()


@pytest.fixture
def backed_up(tmp_path: Path) -> tuple[ClusterConfig, Path]:
    """A stopped cluster of one, and the directory of its backup."""
    running = run(tmp_path, 1, "cft")
    try:
        slot = back_up(running, 0, DirectoryStore(tmp_path / "backups"))
    finally:
        running.stop_all()
    return running.config, tmp_path / f"backups/{slot:020}"


def test_what_is_not_what_the_replicas_have_signed_is_not_restored(backed_up: tuple[ClusterConfig, Path]) -> None:
    config, folder = backed_up
    store = DirectoryStore(folder.parent)
    data = config.replica_data(0)
    assert data is not None
    with pytest.raises(ConfigError, match=r"replica 0 has data in .*; move it away first"):
        restore_backup(config, [0], store)
    shutil.rmtree(data)
    snapshot = bytearray((folder / "snapshot").read_bytes())
    # In what the file is, in the state, in what the state's digests are, and in the digest of those.
    for place in (10, 4096 + 50, len(snapshot) - 50, len(snapshot) - 1):
        changed = snapshot.copy()
        changed[place] ^= 1
        (folder / "snapshot").write_bytes(changed)
        with pytest.raises(ConfigError, match=r"damaged|checksum|does not begin as it should"):
            restore_backup(config, [0], store)
        assert not data.exists(), "nobody starts a replica with that"
    (folder / "snapshot").write_bytes(snapshot)
    (folder / "certificate").unlink()
    with pytest.raises(FileNotFoundError):
        restore_backup(config, [0], store)


def test_a_backup_is_restored_with_the_replicas_that_made_it(
    backed_up: tuple[ClusterConfig, Path], tmp_path: Path
) -> None:
    config, folder = backed_up
    other = ClusterConfig.load(make_local(tmp_path / "other", replicas=1, fault_model="cft", settings=SETTINGS))
    with pytest.raises(ConfigError, match="the backup is of the cluster"):
        restore_backup(other, [0], DirectoryStore(folder.parent))
    with pytest.raises(ConfigError, match="there is no such backup; those that are there: "):
        restore_backup(config, [0], DirectoryStore(folder.parent), slot=5_000_000)
    (folder / "backup.json").unlink()
    assert list_backups(DirectoryStore(folder.parent)) == [], "without its description it is not whole"


def test_a_replica_without_a_snapshot_has_no_backup(tmp_path: Path) -> None:
    running = run(tmp_path, 1, "cft")
    try:
        with pytest.raises(ConfigError, match="no snapshot that is proved yet; `pssmr checkpoint`"):
            take_backup(running.config, 0, DirectoryStore(tmp_path / "backups"))
    finally:
        running.stop_all()


def test_backups_go_to_object_storage_and_come_back(backed_up: tuple[ClusterConfig, Path]) -> None:
    pytest.importorskip("fsspec", reason="pip install 'pssmr[backup]'")
    check_store(backed_up, "memory://bucket/prod")
    with pytest.raises(ConfigError, match="fsspec knows"):
        open_store("nothing://bucket/prod")


def test_backups_go_to_what_speaks_s3_and_come_back(
    backed_up: tuple[ClusterConfig, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in CI: the client and the emulator are large. `pip install 'pssmr[backup]' 'moto[server]'` has it run."""
    pytest.importorskip("s3fs", reason="pip install 'pssmr[backup]'")
    servers = pytest.importorskip("moto.server", reason="pip install 'moto[server]'")
    server = servers.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "testing")
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        importlib.import_module("fsspec").filesystem("s3").mkdir("backups")
        check_store(backed_up, "s3://backups/prod")
    finally:
        server.stop()


def check_store(backed_up: tuple[ClusterConfig, Path], url: str) -> None:
    """Takes a backup to a store, and restores a replica from it."""
    config, folder = backed_up
    store = open_store(url)
    assert isinstance(store, ObjectStore)
    assert list_backups(store) == []
    made = take_backup(config, 0, store)
    assert list_backups(store) == [made]
    data = config.replica_data(0)
    assert data is not None
    shutil.rmtree(data)
    assert restore_backup(config, [0], store, slot=int(folder.name)) == made
