"""What type checkers see: the package itself, its use, and the core's stub beside the core."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def check(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_package_and_its_use_have_the_types_that_they_say() -> None:
    check("mypy")


def test_the_stub_of_the_core_is_what_the_core_is() -> None:
    check("mypy.stubtest", "pssmr._core")
