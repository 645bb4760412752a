"""`examples/bank_demo.py`, shortened: it keeps its promises, and says so if they are broken."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SHORT = ("--operations", "3000", "--accounts", "200", "--in-flight", "32")


def demonstrate(examples: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, examples / "bank_demo.py", *SHORT, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


@pytest.mark.parametrize(("replicas", "fault_model"), [("4", "bft"), ("3", "cft")])
def test_the_demonstration_kills_the_leader_and_keeps_every_promise(replicas: str, fault_model: str) -> None:
    done = demonstrate(EXAMPLES, "--replicas", replicas, "--fault-model", fault_model)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "killed the leader" in done.stdout
    assert done.stdout.count("ok  ") == 4


@pytest.mark.parametrize(
    ("promise", "breach", "says"),
    [
        (
            "self.journal[order] = self.journal.get(order, 0) + 1\n        return left",
            "self.journal[order] = self.journal.get(order, 0) + 2\n        return left",
            "FAILED all",
        ),
        ("self.accounts.get(target, 0) + amount", "self.accounts.get(target, 0) + amount + 1", "FAILED money"),
    ],
)
def test_the_demonstration_fails_if_a_promise_is_broken(tmp_path: Path, promise: str, breach: str, says: str) -> None:
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    bank = tmp_path / "examples" / "bank.py"
    text = bank.read_text()
    assert promise in text
    bank.write_text(text.replace(promise, breach))
    done = demonstrate(tmp_path / "examples")
    assert done.returncode == 1, done.stdout + done.stderr
    assert says in done.stdout
