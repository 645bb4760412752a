"""`pssmr init`, `pssmr keygen`, and what holds for all commands."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from pssmr.config import ClusterConfig
from pssmr.exit_codes import ExitCode
from tests.cli.conftest import Pssmr


def test_init_makes_a_cluster_that_loads(pssmr: Pssmr, tmp_path: Path) -> None:
    done = pssmr("init", "prod", "--replicas", 7, "--base-port", 9000)
    assert done.returncode == 0, done.stderr
    assert "7 replicas, bft, survive 2 faulty" in done.stdout
    assert "pssmr replica APP --cluster prod --id 0" in done.stderr
    config = ClusterConfig.load(tmp_path / "prod")
    assert config.name == "prod"
    assert [r.peers for r in config.replicas[:2]] == ["127.0.0.1:9000", "127.0.0.1:9002"]
    assert config.replicas[0].clients == "127.0.0.1:9001"
    assert stat.S_IMODE((tmp_path / "prod/keys/replica-0.pem").stat().st_mode) == 0o600


def test_init_gives_each_replica_its_host(pssmr: Pssmr, tmp_path: Path) -> None:
    assert pssmr("init", "prod", "-n", 3, "--fault-model", "cft", "--host", "node-{id}.example").returncode == 0
    config = ClusterConfig.load(tmp_path / "prod")
    assert [r.peers for r in config.replicas] == ["node-0.example:7100", "node-1.example:7102", "node-2.example:7104"]


def test_init_and_keygen_speak_json(pssmr: Pssmr, tmp_path: Path) -> None:
    made = json.loads(pssmr("init", "prod", "-n", 6, "--json").stdout)
    config = ClusterConfig.load(tmp_path / "prod")
    assert (made["id"], made["faults"], made["quorum"]) == (config.id, 1, config.quorum)
    assert made["replicas"][5] == {"id": 5, "peers": "127.0.0.1:7110", "clients": "127.0.0.1:7111"}
    assert "as many as 4" in made["notes"][0]
    again = pssmr("init", "prod", "--json")
    assert again.returncode == ExitCode.CONFIG
    error = json.loads(again.stdout)["error"]
    assert (error["kind"], error["executed"]) == ("ConfigError", "no")
    assert "nothing is overwritten" in error["message"]

    key = json.loads(pssmr("keygen", "me.pem", "--json").stdout)
    assert key["key_file"] == "me.pem"
    assert json.loads(pssmr("keygen", "--public", "me.pem", "--json").stdout) == key
    assert json.loads(pssmr("keygen", "--token", "my.token", "--json").stdout) == {"token_file": "my.token"}


def test_init_makes_an_administrator_unless_told_otherwise(pssmr: Pssmr, tmp_path: Path) -> None:
    made = pssmr("init", "prod")
    assert "prod/keys/administrator.pem" in made.stderr
    assert "belongs on no replica" in made.stderr
    assert "belongs on no replica" in (tmp_path / "prod/cluster.toml").read_text()
    assert (
        ClusterConfig.load(tmp_path / "prod").administrator
        == pssmr("keygen", "--public", "prod/keys/administrator.pem").stdout.strip()
    )
    fixed = pssmr("init", "fixed", "--no-administrator")
    assert "nobody can add" in fixed.stderr
    assert not (tmp_path / "fixed/keys/administrator.pem").exists()
    assert json.loads(pssmr("init", "other", "--no-administrator", "--json").stdout)["administrator"] is None


def test_init_overwrites_nothing(pssmr: Pssmr, tmp_path: Path) -> None:
    assert pssmr("init", "prod").returncode == 0
    before = (tmp_path / "prod/cluster.toml").read_text()
    again = pssmr("init", "prod")
    assert again.returncode == ExitCode.CONFIG
    assert "nothing is overwritten" in again.stderr
    assert (tmp_path / "prod/cluster.toml").read_text() == before


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--replicas", "3"), ExitCode.CONFIG, "which needs 4"),
        (("--replicas", "0"), ExitCode.CONFIG, "1 to 64"),
        (("--replicas", "65"), ExitCode.CONFIG, "1 to 64"),
        (("--replicas", "many"), ExitCode.USAGE, "--replicas"),
        (("--fault-model", "raft"), ExitCode.USAGE, "--fault-model"),
        (("--base-port", "65530"), ExitCode.CONFIG, "--base-port"),
        (("--base-port", "0"), ExitCode.CONFIG, "--base-port"),
        (("--host", "not a host"), ExitCode.CONFIG, "host"),
        (("--name", "Not/A/Name"), ExitCode.CONFIG, "is not a name"),
        (("--nonsense",), ExitCode.USAGE, "--nonsense"),
    ],
)
def test_init_with_wrong_input_writes_nothing(
    pssmr: Pssmr, tmp_path: Path, arguments: tuple[str, ...], code: ExitCode, words: str
) -> None:
    done = pssmr("init", "prod", *arguments)
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "prod").exists()


def test_init_where_it_may_not_write_says_so(pssmr: Pssmr, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = pssmr("init", "file/prod")
    assert done.returncode == ExitCode.CONFIG
    assert "can't be written" in done.stderr


def test_keygen_prints_the_public_half_and_never_the_private_one(pssmr: Pssmr, tmp_path: Path) -> None:
    made = pssmr("keygen", "me.pem")
    assert made.returncode == 0, made.stderr
    assert len(bytes.fromhex(made.stdout.strip())) == 32
    assert stat.S_IMODE((tmp_path / "me.pem").stat().st_mode) == 0o600
    assert pssmr("keygen", "--public", "me.pem").stdout == made.stdout
    assert "PRIVATE" not in made.stdout + made.stderr
    token = pssmr("keygen", "--token", "admin-0.token")
    assert token.returncode == 0
    assert stat.S_IMODE((tmp_path / "admin-0.token").stat().st_mode) == 0o600
    assert (tmp_path / "admin-0.token").read_text().strip() not in token.stdout + token.stderr
    again = pssmr("keygen", "me.pem")
    assert again.returncode == ExitCode.CONFIG
    assert "never overwritten" in again.stderr


def test_keygen_of_what_is_no_key_says_so(pssmr: Pssmr, tmp_path: Path) -> None:
    assert pssmr("keygen", "--public", "nothing.pem").returncode == ExitCode.CONFIG
    (tmp_path / "text.pem").write_text("hello")
    (tmp_path / "text.pem").chmod(0o600)
    done = pssmr("keygen", "--public", "text.pem")
    assert done.returncode == ExitCode.CONFIG
    assert "holds no Ed25519 private key" in done.stderr


def test_help_teaches_and_version_is_told(pssmr: Pssmr) -> None:
    assert "pssmr up bank.py:Bank" in pssmr("--help").stdout
    commands = ["init", "keygen", "replica", "up", "call", "status", "top", "events", "doctor", "bench"]
    for command in [*commands, *(f"reconfigure {each}" for each in ("add", "remove", "replace", "sync"))]:
        shown = pssmr(*command.split(), "--help")
        assert shown.returncode == 0
        assert f"Example: pssmr {command}" in shown.stdout
    assert pssmr("--version").stdout.startswith("pssmr ")


def test_help_is_as_wide_as_the_terminal(pssmr: Pssmr, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    for command, text in [
        ("backup", "Run pssmr checkpoint before, for what happened until now. URLs need pip install 'pssmr[backup]'."),
        ("step-down", "and needs its token, which as a rule are both where the leader runs."),
        ("reconfigure replace", "Puts a new replica"),
    ]:
        lines = pssmr(*command.split(), "--help").stdout.splitlines()
        assert any(text in line for line in lines), lines


def test_an_unknown_command_is_a_wrong_command_line(pssmr: Pssmr) -> None:
    done = pssmr("statsu")
    assert done.returncode == ExitCode.USAGE
    assert "status" in done.stderr


def test_an_error_is_one_line_and_verbose_shows_where(pssmr: Pssmr) -> None:
    done = pssmr("status", "--cluster", "nowhere")
    assert done.returncode == ExitCode.CONFIG
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("pssmr: error: nowhere: there is no such file or directory; ")
    assert "Traceback" in pssmr("--verbose", "status", "--cluster", "nowhere").stderr
