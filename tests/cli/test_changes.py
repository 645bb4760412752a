"""`pssmr upgrade`, `backup`, `backups` and `restore`, as an operator uses them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pssmr import Client, Replica
from pssmr.config import ClusterConfig
from pssmr.exit_codes import ExitCode
from tests.api.banks import first, second
from tests.cli.conftest import Pssmr, consecutive_ports

Old, New = first(), second()


@pytest.fixture
def config(pssmr: Pssmr, tmp_path: Path) -> ClusterConfig:
    """A cluster of one that `pssmr init` made."""
    assert pssmr("init", "prod", "-n", 1, "--fault-model", "cft", "--base-port", consecutive_ports(3)).returncode == 0
    return ClusterConfig.load(tmp_path / "prod")


@pytest.fixture
def old(config: ClusterConfig) -> Iterator[Replica]:
    with Replica(Old(), config, id=0) as replica:
        yield replica


def test_upgrade_says_from_where_to_where_and_who_is_not_ready(
    pssmr: Pssmr, config: ClusterConfig, old: Replica
) -> None:
    done = pssmr("upgrade", "--cluster", "prod")
    assert (done.returncode, done.stdout) == (0, "version 1 of the service is in force already\n"), done.stderr
    old.stop()
    done = pssmr("upgrade", "--cluster", "prod", "--json")
    assert done.returncode == ExitCode.UNREACHABLE
    said = json.loads(done.stdout)["error"]
    assert (said["kind"], said["executed"]) == ("NoQuorum", "no")
    assert "no replica answers" in said["message"]
    done = pssmr("reconfigure", "sync", "prod")
    assert (done.returncode, done.stdout) == (ExitCode.UNREACHABLE, ""), "nobody has said that the file is up to date"
    with Replica(New(), config, id=0):
        status = pssmr("status", "--cluster", "prod")
        assert "version 1 of the service is in force, and all have 2: `pssmr upgrade`" in status.stderr
        done = pssmr("upgrade", "--cluster", "prod")
        assert (done.returncode, done.stdout) == (0, "version 2 of the service is in force\n"), done.stderr
        assert "now: version 1\nthen: version 2, from which there is no way back" in done.stderr


def test_a_backup_is_taken_listed_and_restored(
    pssmr: Pssmr, tmp_path: Path, config: ClusterConfig, old: Replica
) -> None:
    none = pssmr("backups", "backups")
    assert (none.returncode, none.stdout, none.stderr) == (0, "", "there are no backups in backups\n")
    none = pssmr("backup", "backups", "--cluster", "prod", "--id", 0)
    assert none.returncode == ExitCode.CONFIG
    assert "no snapshot that is proved yet; `pssmr checkpoint`" in none.stderr
    with Client(config, timeout=60) as client:
        assert client.call(Old.deposit, "ann", 5) == 5
        assert pssmr("checkpoint", "--cluster", "prod").returncode == 0
        while not list((tmp_path / "prod/data/replica-0/snapshots").glob("*.certificate")):
            client.status()
    made = pssmr("backup", "backups", "--cluster", "prod", "--id", 0, "--json")
    assert made.returncode == 0, made.stderr
    slot = json.loads(made.stdout)["slot"]
    assert pssmr("backups", "backups").stdout.startswith(f"slot {slot:,}, ")
    refused = pssmr("restore", "backups", "--cluster", "prod", "--id", 0)
    assert refused.returncode == ExitCode.CONFIG
    assert "replica 0 has data" in refused.stderr
    old.stop()
    shutil.rmtree(tmp_path / "prod/data")
    restored = pssmr("restore", "backups", "--cluster", "prod", "--id", 0)
    assert restored.returncode == 0, restored.stderr
    assert "before you start one" not in restored.stderr, "there is no other one"
    with Replica(Old(), config, id=0), Client(config, timeout=60) as client:
        assert client.call(Old.balance, "ann") == 5
