"""A cluster that has ended has left nothing: no process, no thread, no socket, no file."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import pytest

from pssmr.errors import Error
from pssmr.settings import Settings
from pssmr.testing import LocalCluster
from tests.cluster.ledger import Ledger


@pytest.fixture
def temporary_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def children() -> set[int]:
    tasks = Path("/proc/self/task").iterdir()
    return {int(pid) for task in tasks for pid in (task / "children").read_text().split()}


def descriptors() -> set[str]:
    gc.collect()
    return {str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()}


@pytest.mark.parametrize(("in_process", "cycles"), [(False, 5), (True, 20)])
def test_clusters_that_come_and_go_leave_nothing(temporary_root: Path, in_process: bool, cycles: int) -> None:
    settings = Settings(workers=1)

    def run_once() -> None:
        cluster = LocalCluster(Ledger, replicas=1, settings=settings, in_process=in_process)
        with cluster, cluster.client(timeout=60) as client:
            assert client.call(Ledger.add, 1) == 1

    # The first one starts what stays: the thread that starts processes, imported modules.
    run_once()
    before = (children(), descriptors(), threading.active_count())
    for _ in range(cycles):
        run_once()
    assert (children(), descriptors(), threading.active_count()) == before
    assert list(temporary_root.iterdir()) == []


def test_nothing_is_left_when_the_body_raises(temporary_root: Path) -> None:
    before = children()

    def fail() -> None:
        with LocalCluster(Ledger, replicas=3, fault_model="cft") as cluster:
            cluster.pause(1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert children() == before
    assert list(temporary_root.iterdir()) == []


def test_nothing_is_left_when_a_replica_can_not_start(temporary_root: Path) -> None:
    before = children()
    with pytest.raises(Error, match="nowhere"), LocalCluster("nowhere:Service"):
        pass
    assert children() == before
    assert list(temporary_root.iterdir()) == []
