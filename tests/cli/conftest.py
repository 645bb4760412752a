"""The `pssmr` command."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pssmr.cli import main
from pssmr.cluster_ports import free_ports

Pssmr = Callable[..., subprocess.CompletedProcess[str]]

BANK = Path(__file__).parents[2] / "examples" / "bank.py"


@pytest.fixture
def pssmr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Pssmr:
    """Runs the command in this process and an empty directory, and gives its exit code and what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        words = ["pssmr", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", words)
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capfd.readouterr()
        code = ended.value.code
        assert code is None or isinstance(code, int)
        return subprocess.CompletedProcess(words, code or 0, printed.out, printed.err)

    return run


def consecutive_ports(count: int) -> int:
    """The first of so many free ports in a row."""
    while True:
        base = free_ports(1)[0]
        with contextlib.ExitStack() as held, contextlib.suppress(OSError):
            for port in range(base, base + count):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
            return base
