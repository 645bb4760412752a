"""A replica whose disk fails to sync stops at once, says so, and is made good by a restart."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.ledger import Ledger, check_exactly_once, check_same_state, under_load
from tests.faults.conftest import MakeReplicas, eventually, votes

REPLICA = 2

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static int failed(void) { errno = EIO; return -1; }
static int fails(void) { return access(getenv("FAIL_SYNCS_WHILE"), F_OK) == 0; }

int fdatasync(int fd) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");
    return fails() ? failed() : real(fd);
}

int fsync(int fd) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fsync");
    return fails() ? failed() : real(fd);
}
"""


@pytest.fixture
def let_syncs_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Says whether syncs fail, in the processes that are started before `monkeypatch` is undone."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler to make a library that fails syncs")
    source, library, switch = tmp_path / "syncs.c", tmp_path / "syncs.so", tmp_path / "failing"
    source.write_text(SOURCE)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("FAIL_SYNCS_WHILE", str(switch))
    return lambda fail: switch.touch() if fail else switch.unlink()


async def test_a_replica_that_can_not_sync_stops_and_the_others_go_on(
    replicas: MakeReplicas, let_syncs_fail: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = replicas()
    await cluster.start(REPLICA)
    monkeypatch.undo()
    await cluster.start(*(i for i in cluster.ids if i != REPLICA))
    async with cluster.client() as client:
        async with under_load(client) as load:
            await load.wait_for(100)
            let_syncs_fail(True)
            assert await cluster.ended(REPLICA) != 0
            assert any("syncing" in line and "failed" in line for line in cluster.log), cluster.log
            await load.wait_for(100)
            let_syncs_fail(False)
            await cluster.start(REPLICA)
            await eventually(client, lambda statuses: all(map(votes, statuses)))
        await cluster.kill(0)
        assert await client.call(Ledger.add, -1) == 1, "the quorum needs it"
        load.acknowledged.add(-1)
        await cluster.start(0)
        await check_exactly_once(client, load)
        await check_same_state(client, cluster.ids)
