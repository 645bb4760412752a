"""`pssmr top`, `events` and `doctor`."""

from __future__ import annotations

import dataclasses
import json
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pssmr import diagnosis
from pssmr.cli.rates import percentile, rates
from pssmr.cluster_ports import free_ports
from pssmr.config import ClusterConfig
from pssmr.diagnosis import examine_here, examine_running
from pssmr.exit_codes import ExitCode
from pssmr.replica import Replica
from pssmr.settings import Settings
from tests.admin.conftest import Counters, admin_of, make_cluster
from tests.cli.conftest import BANK, Pssmr
from tests.cli.test_running import Running


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return make_cluster(tmp_path / "cluster")


@pytest.fixture
def running(directory: Path) -> Iterator[Replica]:
    with Replica(Counters(), directory, id=0) as replica:
        yield replica


def histogram(*buckets: tuple[int, int]) -> dict[str, Any]:
    return {"count": sum(count for _, count in buckets), "sum": 0, "buckets": [list(each) for each in buckets]}


@pytest.mark.parametrize(
    ("buckets", "percent", "low", "high"),
    [
        ([(1 << 20, 100)], 50, (1 << 20) * 0.8, 1 << 20),
        ([(1 << 20, 99), (1 << 30, 1)], 50, (1 << 20) * 0.8, 1 << 20),
        ([(1 << 20, 90), (1 << 30, 10)], 99, (1 << 30) * 0.8, 1 << 30),
        ([(4, 1)], 100, 3, 4),
    ],
)
def test_a_percentile_is_in_its_bucket(buckets: list[tuple[int, int]], percent: float, low: float, high: float) -> None:
    found = percentile(buckets, percent)
    assert found is not None
    assert low <= found <= high
    assert percentile([], percent) is None


def test_rates_are_of_what_happened_between_two_looks(running: Replica) -> None:
    before = running.status()
    now = json.loads(json.dumps(before))
    now["uptime_ms"] += 2000
    now["counters"]["commands"] += 1000
    now["counters"]["read_replies"] += 50
    now["counters"]["reads_refused"] += 10
    now["slot_commands"]["count"] += 10
    now["slot_commands"]["sum"] += 1000
    now["request_ns"] = histogram((1 << 20, 50))
    now["execution"]["worker"][0]["busy_ns"] += 2_000_000_000
    now["execution"]["submitted"] += 1000
    now["execution"]["delayed"] += 250
    found = rates(before, now)
    assert (found.commands, found.queries, found.batch, found.busy, found.delayed) == (500, 20, 100, 0.5, 0.25)
    assert found.p50_ms == pytest.approx(1, abs=0.2)
    assert found.sync_p99_ms is None
    assert rates(now, before).commands is None, "it was started anew"
    assert rates(None, now).commands is None
    del now["counters"]["read_replies"], now["counters"]["reads_refused"]
    assert rates(before, now).commands == 500, "a replica of an older version counts no queries"


@pytest.mark.usefixtures("running")
def test_top_shows_all_replicas(directory: Path, pssmr: Pssmr) -> None:
    shown = pssmr("top", "--cluster", directory, "--count", 1, "--interval", 0.1, "--timeout", 60)
    assert shown.returncode == 0, shown.stderr
    assert "leader" in shown.stdout
    listed = pssmr("top", "--cluster", directory, "--count", 2, "--interval", 0.1, "--json", "--timeout", 60)
    lines = [json.loads(line) for line in listed.stdout.splitlines()]
    assert len(lines) == 2
    assert lines[0][0]["reachable"]
    assert lines[0][0]["commands"] == 0


def test_top_of_a_cluster_that_does_not_run_says_so(directory: Path, pssmr: Pssmr) -> None:
    shown = pssmr("top", "--cluster", directory, "--count", 1, "--interval", 0.1, "--timeout", 0.2)
    assert shown.returncode == ExitCode.UNREACHABLE
    assert "unreachable" in shown.stdout


def give_fixed_port(directory: Path) -> None:
    """Gives the admin service a port that a client of it can know."""
    (port,) = free_ports(1)
    toml = directory / "cluster.toml"
    toml.write_text(toml.read_text().replace('admin = "127.0.0.1:0"', f'admin = "127.0.0.1:{port}"'))


def test_events_are_printed_and_followed(directory: Path, pssmr: Pssmr) -> None:
    give_fixed_port(directory)
    with Replica(Counters(), directory, id=0) as replica:
        admin = admin_of(replica, directory)
        assert admin.act("/actions/resize-workers", {"workers": 3}).status == 200
        shown = pssmr("events", "--cluster", directory, "--timeout", 60)
        assert shown.returncode == 0, shown.stderr
        assert "replica 0 workers resized workers=3" in shown.stdout
        (line,) = pssmr("events", "--cluster", directory, "--id", 0, "--json", "--timeout", 60).stdout.splitlines()
        assert json.loads(line)["at"] == 0
        following = Running("events", "--cluster", directory, "--follow", "--timeout", 60)
        following.wait_for("workers=3")
        assert admin.act("/actions/resize-workers", {"workers": 4}).status == 200
        following.wait_for("workers=4")
        assert following.printed.count("workers=3") == 1
        assert following.end(signal.SIGINT) == 0
    gone = pssmr("events", "--cluster", directory)
    assert gone.returncode == ExitCode.UNREACHABLE
    assert "does not answer" in gone.stderr


def test_events_of_who_serves_no_http_says_what_to_do(pssmr: Pssmr, cluster_directory: Path) -> None:
    done = pssmr("events", "--cluster", cluster_directory)
    assert done.returncode == ExitCode.CONFIG
    assert 'add admin = "127.0.0.1:7108"' in done.stderr
    assert pssmr("events", "--cluster", cluster_directory, "--id", 9).returncode == ExitCode.CONFIG


def findings(found: Any) -> dict[str, diagnosis.Finding]:
    """What is worse than well, by what was looked at."""
    return {each.what: each for each in found if each.level != "ok"}


def test_the_doctor_finds_a_new_cluster_well(directory: Path, pssmr: Pssmr) -> None:
    done = pssmr("doctor", "--cluster", directory, "--app", f"{BANK}:Bank", "--timeout", 0.2)
    assert done.returncode == 0, done.stdout
    assert "0 errors" in done.stdout
    assert "none answers" in done.stdout
    listed = json.loads(pssmr("doctor", "--cluster", directory, "--json", "--timeout", 0.2).stdout)
    assert {each["level"] for each in listed} <= {"ok", "note", "warning"}


@pytest.mark.usefixtures("running")
def test_the_doctor_finds_a_cluster_that_runs_well(directory: Path, pssmr: Pssmr) -> None:
    done = pssmr("doctor", "--cluster", directory, "--timeout", 60)
    assert done.returncode == 0, done.stdout
    assert "clock of replica 0: agrees" in done.stdout
    assert "the replica runs" in done.stdout


@pytest.mark.parametrize(
    ("break_it", "what", "remedy"),
    [
        (lambda keys: (keys / "replica-0.pem").chmod(0o644), "key of replica 0", "chmod 600"),
        (lambda keys: (keys / "replica-0.pem").unlink(), "key of replica 0", "copy it here"),
        (lambda keys: (keys / "client.pem").rename(keys / "replica-0.pem"), "key of replica 0", "right key file"),
        (lambda keys: (keys / "admin-0.token").chmod(0o604), "token of replica 0", "chmod 600"),
        (lambda keys: (keys / "admin-0.token").unlink(), "token of replica 0", "pssmr keygen --token"),
        (lambda keys: keys.chmod(0o777), "directory of keys", "chmod 700"),
    ],
)
def test_the_doctor_finds_what_is_wrong_with_keys(directory: Path, break_it: Any, what: str, remedy: str) -> None:
    config = ClusterConfig.load(directory)
    before = findings(examine_here(config, [*config.replicas], set()))
    assert what not in before
    break_it(directory / "keys")
    assert remedy in findings(examine_here(config, [*config.replicas], set()))[what].remedy


def test_the_doctor_finds_who_has_a_port(directory: Path, pssmr: Pssmr) -> None:
    address = ClusterConfig.load(directory).replicas[0].clients
    with socket.create_server(("127.0.0.1", int(address.rpartition(":")[2]))):
        done = pssmr("doctor", "--cluster", directory, "--timeout", 0.2)
    assert done.returncode == ExitCode.FAILED
    assert f"{address}: Address already in use" in done.stdout
    assert "ss -ltnp" in done.stdout


def test_the_doctor_finds_a_disk_that_is_none_full_or_slow(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = ClusterConfig.load(directory)
    config = dataclasses.replace(config, settings=Settings(durability="sync"))

    def of_disk() -> list[diagnosis.Finding]:
        return [each for each in examine_here(config, [*config.replicas], set()) if each.what == "disk of replica 0"]

    monkeypatch.setattr(diagnosis, "_file_system", lambda _: "ext4")
    monkeypatch.setattr(diagnosis, "_time_of_sync", lambda _: 0.001)
    assert [each.level for each in of_disk()] == ["ok", "ok"]
    monkeypatch.setattr(diagnosis, "_time_of_sync", lambda _: 0.05)
    assert "power-loss protection" in of_disk()[-1].remedy
    monkeypatch.setattr(diagnosis, "_file_system", lambda _: "tmpfs")
    assert of_disk()[-1].level == "error"
    monkeypatch.setattr(diagnosis, "FREE_BYTES_MIN", 1 << 60)
    assert of_disk()[0].remedy == "make room"


@pytest.mark.parametrize(
    ("change", "what", "level"),
    [
        ({"halted": "agreement is broken", "role": "halted"}, "replica 0", "error"),
        ({"log_error": "No space left"}, "replica 0", "error"),
        ({"role": "learner"}, "replica 0", "warning"),
        ({"lag": 10_000}, "replica 0", "warning"),
        ({"epoch": 1}, "replica 0", "warning"),
        ({"peers": [{"id": 1, "up": False, "last_error": "refused"}]}, "replica 0", "warning"),
        ({"time_ms": 3_000}, "clock of replica 0", "warning"),
        ({"time_ms": -7_000}, "clock of replica 0", "error"),
        ({"version": "0.0.9"}, "versions", "warning"),
    ],
)
def test_the_doctor_finds_what_replicas_say(running: Any, change: dict[str, Any], what: str, level: str) -> None:
    config, status, now = running.config, running.status(), time.time()
    asked = (now - 0.1, now)
    assert findings(examine_running(config, {0: {**status, "time_ms": now * 1000}}, asked)) == {}
    changed = {**status, **change, "time_ms": now * 1000 + change.get("time_ms", 0)}
    assert findings(examine_running(config, {0: changed}, asked))[what].level == level


def test_a_clock_is_judged_by_more_than_the_answer_took(running: Replica) -> None:
    config, status, now = running.config, running.status(), 1_700_000_000.0
    for theirs, says in (
        (now - 0.05, "agrees"),
        (now + 0.3, "agrees"),
        (now - 0.6, "0.6 s behind"),
        (now + 1.3, "0.9 s ahead"),
    ):
        found = examine_running(config, {0: {**status, "time_ms": theirs * 1000}}, (now, now + 0.4))
        (clock,) = [each for each in found if each.what == "clock of replica 0"]
        assert says in clock.says
        assert clock.level == "ok"


def test_the_doctor_says_why_a_replica_does_not_answer(directory: Path) -> None:
    config = ClusterConfig.load(directory)
    found = findings(examine_running(config, {0: None}, (0, 0)))
    assert "nobody listens" in found["replica 0"].says
    assert found["quorum"].level == "error"
    with socket.create_server(("127.0.0.1", int(config.replicas[0].clients.rpartition(":")[2]))):
        found = findings(examine_running(config, {0: None}, (0, 0)))
    assert "is not this replica for us" in found["replica 0"].says


def test_the_doctor_finds_a_service_that_can_not_be_made(directory: Path, pssmr: Pssmr) -> None:
    done = pssmr("doctor", "--cluster", directory, "--app", "nowhere:Bank", "--timeout", 0.2)
    assert done.returncode == ExitCode.FAILED
    assert "there is no module 'nowhere'" in done.stdout
    assert pssmr("doctor", "--cluster", directory, "--id", 5).returncode == ExitCode.CONFIG
