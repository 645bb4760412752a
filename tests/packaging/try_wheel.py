"""Installs a wheel where there is no Rust and nothing of the sources, and does with it what a new user does.

    python tests/packaging/try_wheel.py dist/pssmr-0.1.0-cp311-cp311-manylinux_2_34_x86_64.whl

`make wheel` runs it on what it has built.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def path_without_rust() -> str:
    """The folders of PATH that have no Rust."""
    folders = os.environ["PATH"].split(os.pathsep)
    return os.pathsep.join(each for each in folders if not any(shutil.which(tool, path=each) for tool in RUST))


RUST = ("cargo", "rustc", "maturin")


def try_wheel(wheel: Path, folder: Path) -> None:
    """Installs the wheel into a new environment in `folder`, and uses it from there."""
    venv.create(folder / "venv", with_pip=True)
    programs = folder / "venv" / "bin"
    environment = {"PATH": f"{programs}{os.pathsep}{path_without_rust()}", "HOME": str(folder), "NO_COLOR": "1"}
    # How pip reaches the package index is the machine's affair.
    environment |= {name: value for name, value in os.environ.items() if name.startswith("PIP_")}

    def run(*command: str) -> str:
        print("+", " ".join(command), flush=True)
        done = subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True)
        return done.stdout

    for tool in RUST:
        assert shutil.which(tool, path=environment["PATH"]) is None
    run("pip", "install", "--quiet", "--only-binary", ":all:", str(wheel.resolve()))
    version = re.match(r"pssmr-([^-]+)-", wheel.name)
    assert version is not None
    assert version[1] in run("pssmr", "--version")
    assert str(folder) in run("python", "-c", "import pssmr; print(pssmr.__file__)")
    shutil.copy(EXAMPLES / "quick_start.py", folder)
    assert "the winner is bob" in run("python", "quick_start.py")
    run("pssmr", "init", "cluster")
    run("pssmr", "check", "pssmr.structures:Counters", "--runs", "20")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="pssmr-wheel-") as made:
        try_wheel(Path(sys.argv[1]), Path(made))
    print(f"{sys.argv[1]} installs and works without Rust")
