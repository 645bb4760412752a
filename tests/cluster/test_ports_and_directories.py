"""Free ports and temporary directories: nobody else's, and not left behind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pssmr.cluster_ports import free_ports
from pssmr.cluster_temporary import TemporaryDirectory


def test_free_ports_are_distinct_and_can_be_bound() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    for port in ports:
        with socket.create_server(("127.0.0.1", port)):
            pass


def test_free_ports_are_not_those_of_outgoing_connections() -> None:
    first_ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert max(free_ports(50)) < first_ephemeral


def test_a_port_that_is_taken_is_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", free_ports(1)[0])) as taken:
        port = taken.getsockname()[1]
        draws = iter([port, port, port + 1, *range(20_000, 20_100)])
        monkeypatch.setattr("random.SystemRandom.randint", lambda *_: next(draws))
        assert port not in free_ports(2)


@pytest.fixture
def temporary_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_a_temporary_directory_goes_when_it_is_closed(temporary_root: Path) -> None:
    directory = TemporaryDirectory()
    (directory.path / "keys").mkdir()
    directory.close()
    directory.close()
    assert list(temporary_root.iterdir()) == []


def test_the_directory_of_a_killed_process_is_swept_up_and_that_of_a_living_one_is_not(temporary_root: Path) -> None:
    living = TemporaryDirectory()
    program = "import os; from pssmr.cluster_temporary import *; d = TemporaryDirectory(); print(d.path); os._exit(9)"
    environment = {**os.environ, "TMPDIR": str(temporary_root), "PYTHONPATH": os.pathsep.join(sys.path)}
    killed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    left = Path(killed.stdout.strip())
    assert left.is_dir()
    for lock in temporary_root.glob("*/.made-by"):
        os.utime(lock, (time.time() - 3600, time.time() - 3600))
    TemporaryDirectory().close()
    assert not left.exists()
    assert living.path.is_dir()
    living.close()
