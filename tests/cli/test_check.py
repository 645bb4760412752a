"""`pssmr check`: what it prints, and its exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import BANK, Pssmr

WRONG = Path(__file__).parents[1] / "api" / "wrong_services.py"


def test_it_shows_what_was_tried(pssmr: Pssmr) -> None:
    done = pssmr("check", f"{BANK}:Bank", "--runs", 20)
    assert done.returncode == 0, done.stderr
    assert "Bank: what was tried" in done.stdout
    assert "Nothing wrong was found in 20 runs of commands." in done.stdout


def test_a_finding_is_printed_and_is_exit_code_1(pssmr: Pssmr) -> None:
    done = pssmr("check", f"{WRONG}:NotCommuting")
    assert done.returncode == 1
    assert done.stdout.startswith("NotCommuting: commands that may run at once")
    assert "  2. put(" in done.stdout


def test_json_has_the_same(pssmr: Pssmr, tmp_path: Path) -> None:
    done = pssmr("check", f"{WRONG}:UndeclaredAccess", "--json")
    finding = json.loads(done.stdout)["finding"]
    assert (done.returncode, finding["kind"], len(finding["commands"])) == (1, "undeclared access", 1)
    (tmp_path / "commands.txt").write_text("add tea 5\n# no more\n")
    done = pssmr("check", f"{WRONG}:Right", "--json", "--commands", "commands.txt", "--runs", 2, "--length", 3)
    told = json.loads(done.stdout)
    assert (done.returncode, told["finding"], told["tried"]["executed"]) == (0, None, {"add": 6})


def test_what_handlers_print_is_not_among_the_results(pssmr: Pssmr) -> None:
    done = pssmr("check", f"{WRONG}:Talkative", "--json", "--runs", 5)
    assert json.loads(done.stdout)["finding"] is None
    assert "failing" in done.stderr


@pytest.mark.parametrize(
    ("service", "says"),
    [
        ("WithArguments", "takes place; every replica makes its service without arguments: give them defaults"),
        ("Empty", "has no commands; mark its methods with @pssmr.command"),
    ],
)
def test_what_can_not_be_checked_says_why_and_is_exit_code_3(pssmr: Pssmr, service: str, says: str) -> None:
    done = pssmr("check", f"{WRONG}:{service}")
    assert done.returncode == 3
    assert says in done.stderr


def test_a_declaration_that_can_not_be_is_exit_code_3(pssmr: Pssmr, tmp_path: Path) -> None:
    (tmp_path / "sums_of_floats.py").write_text(
        "import pssmr\n\n\nclass Sums(pssmr.Service):\n    sums = pssmr.Map[str, float]()\n\n"
        "    @pssmr.command(commutes=[sums])\n    def add(self, name: str) -> None:\n        pass\n"
    )
    done = pssmr("check", "sums_of_floats.py:Sums")
    assert (done.returncode, done.stdout) == (3, "")
    assert "Sums.add: commutes=[sums]: only a counter, and a map with int values" in done.stderr


def test_the_help_teaches(pssmr: Pssmr) -> None:
    text = " ".join(pssmr("check", "--help").stdout.split())
    for part in ("What random commands never do is not checked", "Exit code 1", "Example: pssmr check"):
        assert part in text
