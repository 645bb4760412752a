"""`pssmr check`: what it prints, and its exit code."""

from __future__ import annotations

import json
from pathlib import Path

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


def test_the_help_teaches(pssmr: Pssmr) -> None:
    text = " ".join(pssmr("check", "--help").stdout.split())
    for part in ("What random commands never do is not checked", "Exit code 1", "Example: pssmr check"):
        assert part in text
