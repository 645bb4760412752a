"""The version is said in one place, and everything else has it from there."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pssmr

ROOT = Path(__file__).parents[2]


def test_there_is_one_version() -> None:
    said = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    assert version("pssmr") == said
    assert "version" not in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for manifest in ROOT.glob("rust/*/Cargo.toml"):
        assert tomllib.loads(manifest.read_text())["package"]["version"] == {"workspace": True}, manifest
    assert f"\n## {said}" in (ROOT / "CHANGELOG.md").read_text()


def test_importing_pssmr_imports_none_of_what_is_slow() -> None:
    names = subprocess.run(
        [sys.executable, "-c", "import sys, pssmr; print(*sys.modules)"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "pssmr" in names
    slow = {"asyncio", "aiohttp", "numpy", "typer", "rich", "prometheus_client", "pssmr.config", "pssmr.membership"}
    assert not slow & set(names)


def test_all_names_are_there_nevertheless() -> None:
    for name in pssmr.__all__:
        assert getattr(pssmr, name).__name__ == name
