"""`pssmr plan`: what it prints, draws and writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pssmr import ClusterConfig, Settings
from pssmr.cluster_create import create_cluster
from pssmr.early_plan_files import read_plan
from tests.cli.conftest import BANK, Pssmr

GREEDY = ("--method", "greedy", "--lanes", "3")


def test_it_shows_classes_lanes_and_the_speed_up(pssmr: Pssmr) -> None:
    done = pssmr("plan", f"{BANK}:Bank", *GREEDY, "--by", "tables")
    assert done.returncode == 0, done.stderr
    assert "Bank: classes by tables" in done.stdout
    assert "accounts.write journal.write │ deposit, transfer" in done.stdout
    assert "At most 1." in done.stdout
    assert "found by a greedy search" in done.stdout


def test_auto_takes_the_division_that_there_is_a_plan_for(pssmr: Pssmr, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import pssmr\n"
        "class Reader(pssmr.Service):\n"
        "    things = pssmr.Map[int, int]()\n"
        "    @pssmr.query\n"
        "    def all(self) -> int: ...\n"
    )
    told = json.loads(pssmr("plan", "app.py", *GREEDY, "--json").stdout)
    assert (told["tables"], told["key_partitions"]) == ([], 3)
    done = pssmr("plan", "app.py", *GREEDY, "--by", "tables")
    assert done.returncode == 1
    assert "every command of Reader may touch anything" in done.stderr


def test_json_has_the_same(pssmr: Pssmr, tmp_path: Path) -> None:
    (tmp_path / "weights.toml").write_text("balance = 90\ntransfer = 10\n")
    done = pssmr("plan", f"{BANK}:Bank", *GREEDY, "--by", "tables", "--weights", "weights.toml", "--json")
    told = json.loads(done.stdout)
    assert [each["name"] for each in told["classes"]] == ["accounts.read", "accounts.write journal.write"]
    assert [round(each["share"], 3) for each in told["classes"]] == [0.9, 0.1]
    assert told["speed_up_max"] == 1 / max(told["loads"])
    assert (told["lanes"], told["tables"], told["key_partitions"]) == (3, ["accounts", "journal"], 0)


def test_what_is_written_is_what_a_cluster_takes(pssmr: Pssmr, tmp_path: Path) -> None:
    create_cluster(
        tmp_path / "prod",
        replicas=1,
        address=lambda i: ("127.0.0.1:7000", "127.0.0.1:7001"),
        settings=Settings(scheduler="early"),
    )
    done = pssmr("plan", f"{BANK}:Bank", *GREEDY, "--write", "prod", "--picture", "plan.svg", "--by", "keys")
    assert done.returncode == 0, done.stderr
    plan = ClusterConfig.load("prod").plan
    assert plan == read_plan(tmp_path / "prod" / "plan.toml")
    assert (tmp_path / "prod" / "plan.toml").read_text().startswith(f"# Made by `pssmr plan {BANK}:Bank`.\n# At most ")
    assert (tmp_path / "plan.svg").read_text().startswith("<svg ")
    assert "prod/plan.toml: for scheduler" in done.stderr


def test_commands_are_counted(pssmr: Pssmr, tmp_path: Path) -> None:
    lines = ["# Monday", "transfer ann bob 5 1", "balance ann", "", "balance 'bob smith'", "balance eve"]
    (tmp_path / "commands.txt").write_text("\n".join(lines))
    done = pssmr("plan", f"{BANK}:Bank", *GREEDY, "--by", "tables", "--commands", "commands.txt", "--json")
    shares = {each["name"]: each["commands"] for each in json.loads(done.stdout)["classes"]}
    assert shares == {"accounts.read": {"balance": 0.75}, "accounts.write journal.write": {"transfer": 0.25}}


@pytest.mark.parametrize(
    ("file", "text", "option", "message"),
    [
        ("w.toml", "balance =", "--weights", "w.toml: Invalid value"),
        ("w.json", "[1]", "--weights", "w.json: is no table; write TOML, a line `command = weight` each"),
        ("w.toml", "balance = 'x'", "--weights", "w.toml: balance: is 'x', but has to be a number"),
        (
            "w.toml",
            "balanse = 1",
            "--weights",
            "w.toml: balanse: Bank has no command 'balanse', did you mean",
        ),
        ("w.toml", "balance = -1", "--weights", "w.toml: balance: is -1, but has to be a finite number of 0 or above"),
        ("w.toml", "balance = nan", "--weights", "w.toml: balance: is nan, but has to be a finite number"),
        ("w.toml", "balance = inf", "--weights", "w.toml: balance: is inf, but has to be a finite number"),
        ("w.toml", f"balance = 1{'0' * 400}", "--weights", "w.toml: balance: is 1000000000"),
        ("w.toml", "balance = 0", "--weights", "w.toml: no command has a weight; give at least one a number above 0"),
        ("w.toml", "", "--weights", "w.toml: no command has a weight"),
        ("c.txt", "balance", "--commands", "c.txt, line 1: ARG: 0 arguments for balance; it takes owner: str"),
        ("c.txt", "\nbalans ann", "--commands", "c.txt, line 2: Bank has no command 'balans', did you mean 'balance'"),
        ("c.txt", "balance 'ann", "--commands", "c.txt, line 1: No closing quotation; close the quotation"),
        ("c.txt", "transfer ann bob much 1", "--commands", "c.txt, line 1: amount: 'much' is not an int"),
        ("c.txt", "", "--commands", "there are no commands to count"),
    ],
)
def test_a_bad_file_is_refused_with_the_place(
    pssmr: Pssmr, tmp_path: Path, file: str, text: str, option: str, message: str
) -> None:
    (tmp_path / file).write_text(text)
    done = pssmr("plan", f"{BANK}:Bank", *GREEDY, option, file)
    assert done.returncode == 3
    assert message in done.stderr


def test_a_missing_file_and_two_sources_are_refused(pssmr: Pssmr) -> None:
    done = pssmr("plan", f"{BANK}:Bank", "--weights", "nowhere.toml")
    assert (done.returncode, "nowhere.toml: can't be read" in done.stderr) == (3, True)
    done = pssmr("plan", f"{BANK}:Bank", "--weights", "a", "--commands", "b")
    assert (done.returncode, "--commands: was given beside --weights" in done.stderr) == (3, True)
    done = pssmr("plan", f"{BANK}:Bank", *GREEDY, "--write", "no/such/place.toml")
    assert (done.returncode, "can't be written" in done.stderr) == (3, True)


def test_the_help_teaches(pssmr: Pssmr) -> None:
    text = " ".join(pssmr("plan", "--help").stdout.split())
    for part in ("decides before anything runs", "R1 to R5", "[settings]", "Example: pssmr plan"):
        assert part in text
