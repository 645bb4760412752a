"""`pssmr reconfigure`, as somebody uses it who has a directory that `pssmr init` made."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pssmr import Client, Replica
from pssmr.cluster_keys import public_key
from pssmr.cluster_local import LocalProcesses
from pssmr.cluster_ports import free_ports
from pssmr.config import ClusterConfig
from pssmr.exit_codes import ExitCode
from tests.cli.conftest import BANK, Pssmr, consecutive_ports
from tests.cluster.ledger import Ledger

APPLICATION = f"{BANK}:Bank"


def places() -> list[object]:
    """Where a new replica is reached, as options."""
    peers, clients = free_ports(2)
    return ["--peers", f"127.0.0.1:{peers}", "--clients", f"127.0.0.1:{clients}"]


@pytest.fixture
def started(pssmr: Pssmr, tmp_path: Path) -> Iterator[LocalProcesses]:
    """A cluster of three that `pssmr init` made, each replica a process."""
    made = pssmr("init", "prod", "-n", 3, "--fault-model", "cft", "--base-port", consecutive_ports(9))
    assert made.returncode == 0, made.stderr
    running = LocalProcesses(APPLICATION, tmp_path / "prod", on_line=lambda *_: None)
    try:
        running.start_all()
        yield running
    finally:
        running.kill_all()


def test_a_dead_machine_is_replaced_one_is_added_and_one_removed(
    pssmr: Pssmr, tmp_path: Path, started: LocalProcesses
) -> None:
    file = tmp_path / "prod/cluster.toml"
    shutil.copytree(tmp_path / "prod", tmp_path / "old", ignore=shutil.ignore_patterns("data"))
    assert pssmr("call", APPLICATION, "deposit", "ann", 5, 1, "--cluster", "prod").returncode == 0
    started.process(1).kill()

    old = ClusterConfig.load(file)
    where = ["--peers", old.replica(1).peers, "--clients", old.replica(1).clients]
    replacing = ["reconfigure", "replace", "prod", 1, *where, "--admin", f"127.0.0.1:{free_ports(1)[0]}"]
    done = pssmr(*replacing)
    assert done.returncode == 0, done.stderr
    assert "now:  epoch 0, 3 replicas (0, 1, 2), survive 1 faulty, quorum 2" in done.stderr
    assert "epoch 1, 3 replicas (0, 2, 3), survive 1 faulty, quorum 2" in done.stdout
    assert "pssmr replica APP --cluster prod --id 3" in done.stderr
    assert "Stop replica 1" in done.stderr
    config = ClusterConfig.load(file)
    assert (config.epoch, config.membership.ids) == (1, (0, 2, 3))
    assert config.replica(3).admin == replacing[-1]
    assert config.replica(3).key == public_key(tmp_path / "prod/keys/replica-3.pem")
    assert (tmp_path / "prod/keys/admin-3.token").exists()

    started.reload()
    started.start(3)
    assert pssmr("call", APPLICATION, "balance", "ann", "--cluster", "prod").stdout.strip() == "5"

    # If the command died after the change, the file is as it was: the same command again writes it, and that is all.
    written = file.read_text()
    shutil.copy(tmp_path / "old/cluster.toml", file)
    again = pssmr(*replacing)
    assert again.returncode == 0, again.stderr
    assert "made already" in again.stderr
    assert file.read_text() == written

    added = pssmr("reconfigure", "add", "prod", *places(), "--id", 60, "--listen-peers", "127.0.0.1:9", "--json")
    assert added.returncode == 0, added.stdout
    said = json.loads(added.stdout)
    assert (said["epoch"], said["come"], said["gone"], said["written"]) == (2, [60], [], True)
    assert ClusterConfig.load(file).replica(60).peers_listener == "127.0.0.1:9"
    removed = pssmr("reconfigure", "remove", "prod", 60)
    assert removed.returncode == 0, removed.stderr

    # One whose name and number stay, as in Kubernetes, has a new key, and an empty directory.
    started.process(2).kill()
    key = pssmr("keygen", "new.pem").stdout.strip()
    where = ["--peers", old.replica(2).peers, "--clients", old.replica(2).clients]
    done = pssmr("reconfigure", "replace", "prod", 2, *where, "--id", 2, "--key", key)
    assert done.returncode == 0, done.stderr
    (tmp_path / "new.pem").rename(tmp_path / "prod/keys/replica-2.pem")
    shutil.rmtree(tmp_path / "prod/data/replica-2")
    started.reload()
    started.start(2)
    started.process(0).kill()
    assert pssmr("call", APPLICATION, "deposit", "ann", 5, 2, "--cluster", "prod", "--timeout", 60).returncode == 0
    started.start(0)
    assert ClusterConfig.load(file).membership.ids == (0, 3, 2)

    # An old copy of the file still serves, and can be brought up to date.
    shown = pssmr("status", "--cluster", "old")
    assert shown.returncode == 0, shown.stderr
    assert "epoch 4, 3 replicas" in shown.stdout
    assert "the configuration is of epoch 0, the cluster in 4: `pssmr reconfigure sync`" in shown.stderr
    assert "replica 1 at" in shown.stderr
    assert "pssmr reconfigure sync" in pssmr("doctor", "--cluster", "old", "--id", 0).stdout
    assert pssmr("reconfigure", "sync", "old").returncode == 0
    assert ClusterConfig.load(tmp_path / "old").membership == ClusterConfig.load(file).membership
    assert "is up to date" in pssmr("reconfigure", "sync", "old").stdout


@pytest.fixture
def alone(pssmr: Pssmr, tmp_path: Path) -> Iterator[Path]:
    """The directory of a cluster of one replica, which is in this process."""
    assert pssmr("init", "one", "-n", 1, "--base-port", consecutive_ports(3)).returncode == 0
    with Replica(Ledger(), tmp_path / "one", id=0):
        yield tmp_path / "one"


def test_what_can_not_be_done_is_refused_before_anything_has_changed(pssmr: Pssmr, alone: Path) -> None:
    file = alone / "cluster.toml"
    before = file.read_text()
    for arguments, code, words in (
        (["remove", "one", 7], ExitCode.FAILED, "there is no replica 7"),
        (["remove", "one", 0], ExitCode.FAILED, "0 replicas"),
        (["add", "one", *places()], ExitCode.FAILED, "2 are a quorum of the next 2"),
        (["add", "one", *places(), "--id", 0], ExitCode.FAILED, "there is a replica 0 already"),
        (["add", "one", *places(), "--id", 64], ExitCode.USAGE, "--id"),
        (["add", "one", *places(), "--key", "beef"], ExitCode.CONFIG, "64 hexadecimal digits"),
        (["add", "one", "--peers", "nowhere", "--clients", "here:1"], ExitCode.CONFIG, "has no port"),
        (["replace", "one", 0, *places(), "--id", 0], ExitCode.CONFIG, "is the key of replica 0"),
        (["add", "one", *places(), "--administrator-key", "one/keys/client.pem"], ExitCode.CONFIG, "not the key of"),
    ):
        done = pssmr("reconfigure", *arguments)
        assert done.returncode == code, done
        assert words in done.stderr
    file.write_text(before.replace("epoch = 0", '"epoch" = 0'))
    done = pssmr("reconfigure", "add", "one", *places(), "--force")
    assert done.returncode == ExitCode.CONFIG
    assert "is written in a way that `pssmr` does not change" in done.stderr
    file.write_text(before)
    assert {each.name for each in (alone / "keys").glob("replica-*")} == {"replica-0.pem"}
    with Client(alone) as client:
        assert client.status()[0] is not None
        assert client.membership().epoch == 0


def test_on_a_terminal_it_asks(pssmr: Pssmr, alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    done = pssmr("reconfigure", "add", "one", *places(), "--force")
    assert done.returncode == ExitCode.FAILED
    assert "Change it? [y/N]" in done.stderr
    assert "nothing was changed" in done.stderr


def test_a_python_configuration_is_left_to_people(pssmr: Pssmr, alone: Path, tmp_path: Path) -> None:
    (tmp_path / "py").mkdir()
    text = f"import pssmr\ncluster = pssmr.ClusterConfig.load({str(alone)!r})\n"
    (tmp_path / "py/cluster.py").write_text(text)
    key = pssmr("keygen", "new.pem").stdout.strip()
    done = pssmr("reconfigure", "add", "py", *places(), "--key", key, "--force")
    assert done.returncode == 0, done.stderr
    assert "cluster.py has to be changed: epoch 1, 2 replicas (0, 1)" in done.stdout
    assert "epoch=1" in done.stderr
    assert f"ReplicaConfig(id=1, key='{key}'" in done.stderr
    assert (tmp_path / "py/cluster.py").read_text() == text
