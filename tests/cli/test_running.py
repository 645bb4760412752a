"""`pssmr up`, `replica`, `call` and `status`: real processes, and nothing left of them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pssmr.exit_codes import ExitCode
from tests.cli.conftest import BANK, Pssmr, consecutive_ports

DEADLINE = 120.0
"""Seconds until something has to happen that takes one or two."""


class Running:
    """A `pssmr` command that runs, with what it has printed so far."""

    def __init__(self, *arguments: object, environment: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pssmr", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        self.printed = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed += line

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Waits until it has printed this."""
        found = eventually(lambda: re.search(pattern, self.printed) or self.process.poll() is not None)
        assert isinstance(found, re.Match), self.printed
        return found

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """Sends it a signal, and gives its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Waits until it has ended, and gives its exit code."""
        code = self.process.wait(DEADLINE)
        self._reader.join(DEADLINE)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


def eventually(condition: Callable[[], object]) -> object:
    """What the condition gives as soon as it is true."""
    deadline = time.monotonic() + DEADLINE
    while not (value := condition()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)
    return value


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    return [int(p) for task in Path(f"/proc/{pid}/task").iterdir() for p in (task / "children").read_text().split()]


def is_alive(pid: int) -> bool:
    """Whether a process runs or is paused; one that has ended and waits to be collected does not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts `pssmr up` with its temporary files in the test's directory, and ends it with the test."""
    started = []

    def start(*arguments: object) -> Running:
        (tmp_path / "tmp").mkdir(exist_ok=True)
        running = Running("up", *arguments, environment={"TMPDIR": str(tmp_path / "tmp")})
        started.append(running)
        return running

    yield start
    for running in started:
        running.end(signal.SIGKILL)


def test_up_runs_a_cluster_that_call_and_status_reach_and_leaves_nothing(
    up: Callable[..., Running], pssmr: Pssmr, tmp_path: Path
) -> None:
    running = up(f"{BANK}:Bank", "--replicas", 4, "--record", tmp_path / "recordings", "--json")
    directory = running.wait_for(r"Clients find them in (\S+)")[1]
    assert "Try: pssmr call" in running.printed
    dashboard = running.wait_for(r"Dashboards: (\S+)")[1]
    with urllib.request.urlopen(dashboard, timeout=60) as page:
        assert b"pssmr" in page.read()
    replicas = children(running.process.pid)
    assert len(replicas) == 4
    said = json.loads(running.wait_for(r'\{"cluster": .+')[0])
    assert (said["cluster"], said["fault_model"]) == (directory, "bft")
    assert [each["id"] for each in said["replicas"]] == [0, 1, 2, 3]
    assert sorted(each["process"] for each in said["replicas"]) == sorted(replicas)
    assert dashboard in [f"http://{each['admin']}/" for each in said["replicas"]]

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        return pssmr("call", f"{BANK}:Bank", *arguments, "--cluster", directory, "--timeout", 60)

    assert call("deposit", "ann", 100, 1).stdout == "100\n"
    assert call("transfer", "ann", "bob", 30, 2).stdout == "70\n"
    assert call("balance", "bob").stdout == "30\n"
    refused = call("transfer", "ann", "bob", 1000, 3)
    assert refused.returncode == ExitCode.FAILED
    assert "Overdrawn" in refused.stderr
    assert call("executions", 1, 3).stdout == "[1, 1, 0]\n"
    assert json.loads(call("balance", "bob", "--json").stdout) == {"result": 30}
    error = json.loads(call("transfer", "ann", "bob", 1000, 3, "--json").stdout)["error"]
    assert (error["kind"], error["executed"]) == ("Overdrawn", "undone")
    together = tmp_path / "together"
    together.write_text("balance ann\ndeposit eve 5 4\ntransfer ann bob 1000 5\n")
    (note,) = json.loads(call("--transaction", together, "--json").stdout)["error"]["notes"]
    assert note == "raised by transfer, command 3 of 3 of the transaction"
    undone = call("--transaction", together).stderr
    assert "Overdrawn" in undone
    assert f"; {note}" in undone
    together.write_text("balance ann\nbalance eve\n")
    assert call("--batch", together).stdout == "[70, 0]\n"

    shown = pssmr("status", "--cluster", directory)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.count("leader") == 1
    assert shown.stdout.count("follower") == 3
    listed = json.loads(pssmr("status", "--cluster", directory, "--json").stdout)
    assert [each["id"] for each in listed] == [0, 1, 2, 3]

    taken = pssmr("checkpoint", "--cluster", directory)
    assert taken.returncode == 0, taken.stderr
    assert len(re.findall(r"replica \d: state \w{16}, checkpoint at slot \d", taken.stdout)) >= 3
    again = pssmr("checkpoint", "--cluster", directory, "--json")
    assert again.returncode == ExitCode.FAILED
    assert "asked for in the last 10 s" in again.stderr
    assert json.loads(again.stdout)["checkpoint"] == {}

    victim = replicas[3]
    os.kill(victim, signal.SIGKILL)
    running.wait_for(r"replica \d \| ended with signal SIGKILL")
    shown = pssmr("status", "--cluster", directory)
    assert shown.returncode == 0
    assert "unreachable" in shown.stdout
    assert call("balance", "ann").stdout == "70\n"

    assert running.end(signal.SIGINT) == 0
    assert not any(map(is_alive, replicas))
    assert list((tmp_path / "tmp").iterdir()) == []
    recorded = sorted(path.name for path in (tmp_path / "recordings").iterdir())
    assert recorded == [f"replica-{i}.recording" for i in range(4)]
    assert pssmr("replay", tmp_path / "recordings" / "replica-0.recording").returncode == 0


def test_sigterm_stops_up_as_ctrl_c_does(up: Callable[..., Running], tmp_path: Path) -> None:
    running = up(f"{BANK}:Bank", "--replicas", 1)
    running.wait_for("Clients find them")
    replicas = children(running.process.pid)
    assert running.end(signal.SIGTERM) == 0
    assert not any(map(is_alive, replicas))
    assert list((tmp_path / "tmp").iterdir()) == []


def test_no_replica_outlives_an_up_that_is_killed_not_even_a_paused_one(up: Callable[..., Running]) -> None:
    running = up(f"{BANK}:Bank", "--replicas", 3, "--fault-model", "cft")
    running.wait_for("Clients find them")
    replicas = children(running.process.pid)
    assert len(replicas) == 3
    os.kill(replicas[0], signal.SIGSTOP)
    running.end(signal.SIGKILL)
    eventually(lambda: not any(map(is_alive, replicas)))


def test_up_ends_when_no_replica_is_left(up: Callable[..., Running]) -> None:
    running = up(f"{BANK}:Bank", "--replicas", 1)
    running.wait_for("Clients find them")
    os.kill(children(running.process.pid)[0], signal.SIGKILL)
    assert running.wait() == ExitCode.FAILED
    assert "no replica is left" in running.printed


def test_up_goes_on_with_a_cluster_that_init_made_or_starts_it_afresh(
    up: Callable[..., Running], pssmr: Pssmr, tmp_path: Path
) -> None:
    base_port = consecutive_ports(12)
    assert pssmr("init", "bank", "--base-port", base_port).returncode == 0
    directory = tmp_path / "bank"

    def deposit() -> str:
        done = pssmr("call", f"{BANK}:Bank", "deposit", "ann", 5, 1, "--cluster", directory, "--timeout", 60)
        return done.stdout + done.stderr

    running = up(f"{BANK}:Bank", "--cluster", directory)
    running.wait_for("Clients find them")
    assert deposit() == "5\n"
    assert deposit() == "10\n"
    assert running.end() == 0

    again = up(f"{BANK}:Bank", "--cluster", directory)
    again.wait_for("Clients find them")
    assert deposit() == "15\n"
    assert again.end() == 0

    afresh = up(f"{BANK}:Bank", "--cluster", directory, "--fresh")
    afresh.wait_for("Clients find them")
    assert deposit() == "5\n"
    assert afresh.end() == 0


def test_up_does_not_wait_for_replicas_that_kept_nothing(
    up: Callable[..., Running], pssmr: Pssmr, tmp_path: Path
) -> None:
    assert pssmr("init", "bank", "--base-port", consecutive_ports(12)).returncode == 0
    toml = tmp_path / "bank" / "cluster.toml"
    toml.write_text(toml.read_text().replace('# durability = "sync"', 'durability = "memory"'))
    first = up(f"{BANK}:Bank", "--cluster", tmp_path / "bank")
    first.wait_for("Clients find them")
    assert first.end() == 0
    again = up(f"{BANK}:Bank", "--cluster", tmp_path / "bank")
    again.wait_for("--fresh")
    assert again.wait() == ExitCode.CONFIG


def test_a_replica_stops_when_asked_and_says_when_its_address_is_taken(pssmr: Pssmr, tmp_path: Path) -> None:
    base_port = consecutive_ports(12)
    assert pssmr("init", "one", "-n", 1, "--base-port", base_port).returncode == 0
    first = Running("replica", f"{BANK}:Bank", "--cluster", tmp_path / "one", "--id", 0)
    first.wait_for("pssmr: listening")
    (tmp_path / "one" / "data").rename(tmp_path / "one" / "elsewhere")
    second = Running("replica", f"{BANK}:Bank", "--cluster", tmp_path / "one", "--id", 0)
    assert second.wait() == ExitCode.ADDRESS
    assert first.end(signal.SIGTERM) == 0
    assert str(base_port) in second.printed


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("nowhere:Bank",), ExitCode.CONFIG, "there is no module 'nowhere'"),
        (("nowhere.py:Bank",), ExitCode.CONFIG, "there is no file"),
        ((f"{BANK}:Bnk",), ExitCode.CONFIG, "did you mean 'Bank'"),
        ((f"{BANK}:Overdrawn",), ExitCode.CONFIG, "is no service class"),
        (("not a module",), ExitCode.CONFIG, "names no module"),
        ((f"{BANK}:Bank", "--id", "9"), ExitCode.CONFIG, "there is no replica 9"),
        ((f"{BANK}:Bank", "--id", "-1"), ExitCode.USAGE, "--id"),
        ((f"{BANK}:Bank", "--key", "missing.pem"), ExitCode.CONFIG, "no such key file"),
    ],
)
def test_a_replica_with_wrong_input_says_what_is_wrong(
    pssmr: Pssmr, cluster_directory: Path, arguments: tuple[str, ...], code: ExitCode, words: str
) -> None:
    done = pssmr("replica", "--cluster", cluster_directory, "--id", 0, *arguments)
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), ExitCode.USAGE, "COMMAND"),
        (("blance", "ann"), ExitCode.CONFIG, "did you mean 'balance'"),
        (("balance",), ExitCode.CONFIG, "it takes owner: str"),
        (("balance", "ann", "bob"), ExitCode.CONFIG, "2 arguments for balance"),
        (("deposit", "ann", "much", "1"), ExitCode.CONFIG, "amount: 'much' is not an int"),
        (("balance", "ann", "--key", "nobody"), ExitCode.CONFIG, "there is no client 'nobody'"),
        (("balance", "ann", "--timeout", "0"), ExitCode.USAGE, "--timeout"),
        (("balance", "ann", "--batch", "commands"), ExitCode.USAGE, "one of COMMAND, --batch"),
        (("balance", "ann", "--timeout", "0.3"), ExitCode.UNREACHABLE, "reach"),
    ],
)
def test_a_call_with_wrong_input_or_nobody_there_says_what_is_wrong(
    pssmr: Pssmr, cluster_directory: Path, arguments: tuple[str, ...], code: ExitCode, words: str
) -> None:
    done = pssmr("call", "--cluster", cluster_directory, f"{BANK}:Bank", *arguments)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_call_that_nobody_takes_says_in_json_that_it_did_not_happen(pssmr: Pssmr, cluster_directory: Path) -> None:
    done = pssmr("call", "--cluster", cluster_directory, f"{BANK}:Bank", "balance", "ann", "--timeout", 0.3, "--json")
    assert done.returncode == ExitCode.UNREACHABLE
    error = json.loads(done.stdout)["error"]
    assert (error["kind"], error["executed"]) == ("NoQuorum", "no")


def test_status_of_a_cluster_that_does_not_run_shows_everyone_as_unreachable(
    pssmr: Pssmr, cluster_directory: Path
) -> None:
    done = pssmr("status", "--cluster", cluster_directory, "--timeout", 0.3)
    assert done.returncode == ExitCode.UNREACHABLE
    assert done.stdout.count("unreachable") == 4
    assert "no quorum" in done.stderr


def test_up_with_wrong_input_says_what_is_wrong(pssmr: Pssmr, cluster_directory: Path) -> None:
    three = pssmr("up", f"{BANK}:Bank", "--replicas", 3)
    assert three.returncode == ExitCode.CONFIG
    assert "which needs 4" in three.stderr
    both = pssmr("up", f"{BANK}:Bank", "--cluster", cluster_directory, "--base-port", 9000)
    assert both.returncode == ExitCode.CONFIG
    assert "give one of the two" in both.stderr
