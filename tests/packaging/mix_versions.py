"""Replaces the replicas of a cluster one by one by those of another version of pssmr, under load, and back again.

    python tests/packaging/mix_versions.py OLD NEW

OLD and NEW are wheels, each installed into an environment of its own, or Python executables of environments that have
pssmr. `make mixed` builds both from the sources.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from contextlib import ExitStack
from pathlib import Path

REPLICAS = 4
DEADLINE = 120.0

SERVICE = """
from typing import Annotated

import pssmr


class Ledger(pssmr.Service):
    entries = pssmr.Map[int, int]()

    @pssmr.command
    def add(self, number: Annotated[int, entries.write]) -> int:
        self.entries[number] = self.entries.get(number, 0) + 1
        return self.entries[number]

    @pssmr.query(reads=[entries])
    def all(self) -> dict[int, int]:
        return dict(self.entries.items())
"""

LOAD = """
import sys, time
from ledger import Ledger
import pssmr

first = int(sys.argv[1])
with pssmr.Client("cluster", timeout=120) as client:
    for number in range(first, first + 1_000_000):
        assert client.call(Ledger.add, number) == 1, number
        print(number, flush=True)
        time.sleep(0.005)
"""

CHECK = """
import json, sys
from ledger import Ledger
import pssmr

with pssmr.Client("cluster", timeout=120) as client:
    client.checkpoint()
    while len(digests := client.state_digests()) < int(sys.argv[1]):
        pass
    counts = client.call(Ledger.all)
    versions = [status and status["version"] for status in client.status().values()]
    print(json.dumps([len(set(digests.values())), len(counts), max(counts.values()), versions]))
"""


def environment_of(given: Path, folder: Path) -> Path:
    """The Python of an environment that has this version."""
    if given.suffix != ".whl":
        return given.absolute()
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--only-binary", ":all:", given.resolve()], check=True)
    return python


class Cluster:
    """Four replicas, each a process of one of the two environments."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        """Starts nothing yet."""
        self.folder = folder
        self._stack = stack
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    def run(self, python: Path, *arguments: str) -> str:
        """Runs something in an environment, to its end."""
        done = subprocess.run(
            [python, *arguments], cwd=self.folder, check=True, stdout=subprocess.PIPE, text=True, timeout=DEADLINE
        )
        return done.stdout

    def spawn(self, python: Path, *arguments: str) -> subprocess.Popen[bytes]:
        """Starts something in an environment, which ends with this script."""
        process = subprocess.Popen([python, *arguments], cwd=self.folder, stdout=subprocess.PIPE)
        self._stack.callback(process.kill)
        return process

    def replace(self, replica: int, python: Path) -> None:
        """Stops a replica, starts it in another environment, and waits until it votes."""
        if replica in self._processes:
            self._processes[replica].terminate()
            self._processes[replica].wait(DEADLINE)
        command = ["-m", "pssmr", "replica", "ledger:Ledger", "--cluster", "cluster", "--id", str(replica)]
        self._processes[replica] = self.spawn(python, *command)

    def wait_until_all_vote(self, python: Path) -> None:
        """Waits until no replica is missing."""
        deadline = time.monotonic() + DEADLINE
        while True:
            status = [python, "-m", "pssmr", "status", "--cluster", "cluster", "--json"]
            done = subprocess.run(status, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            said = json.loads(done.stdout) if done.stdout else []
            if len(said) == REPLICAS and all(each.get("role") in ("leader", "follower") for each in said):
                return
            assert time.monotonic() < deadline, said
            time.sleep(0.2)

    def load(self, python: Path, first: int, changes: list[tuple[int, Path]]) -> int:
        """Replaces replicas while a client of an environment adds entries; how many were acknowledged."""
        client = self.spawn(python, "-c", LOAD, str(first))
        assert client.stdout is not None
        lines: list[bytes] = []

        def wait_for_more() -> None:
            for _ in range(20):
                lines.append(client.stdout.readline() if client.stdout else b"")
                assert lines[-1], "the client failed"

        wait_for_more()
        for replica, other in changes:
            self.replace(replica, other)
            self.wait_until_all_vote(other)
            wait_for_more()
        client.terminate()
        lines += client.stdout.readlines()
        client.wait(DEADLINE)
        return len(lines)

    def check(self, python: Path, least: int) -> list[str]:
        """Checks that all replicas have the same state and each entry was executed once; the versions that run."""
        digests, entries, most, versions = json.loads(self.run(python, "-c", CHECK, str(REPLICAS)))
        assert digests == 1, "the replicas' states differ"
        assert most == 1, "something was executed twice"
        assert entries >= least, f"{least - entries} acknowledged entries are lost"
        return list(versions)


def mix(old: Path, new: Path, folder: Path) -> None:
    """Old replicas, then old and new ones, then new ones, then old ones again."""
    with ExitStack() as stack:
        cluster = Cluster(folder, stack)
        (folder / "ledger.py").write_text(SERVICE)
        init = ["-m", "pssmr", "init", "cluster", "-n", str(REPLICAS), "--base-port", str(free_ports(3 * REPLICAS))]
        cluster.run(old, *init)
        for replica in range(REPLICAS):
            cluster.replace(replica, old)
        cluster.wait_until_all_vote(old)
        least, first = 0, 0
        for client, to in ((old, new), (new, old)):
            least += cluster.load(client, first, [(replica, to) for replica in range(REPLICAS)])
            first += 1_000_000
            print("all replicas run", cluster.check(to, least), f"and have {least} entries", flush=True)


def free_ports(count: int) -> int:
    """The first of so many free ports in a row."""
    import socket

    for first in range(20_000 + os.getpid() % 8_000, 32_000):
        try:
            with ExitStack() as stack:
                for port in range(first, first + count):
                    listener = stack.enter_context(socket.socket())
                    listener.bind(("127.0.0.1", port))
                return first
        except OSError:
            continue
    raise AssertionError("no free ports")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="pssmr-mixed-") as made:
        place = Path(made)
        old, new = map(Path, sys.argv[1:])
        mix(environment_of(old, place / "old"), environment_of(new, place / "new"), place)
    print("replicas of both versions work together")
