"""Installs a wheel where there is no Rust and nothing of the sources, and does with it what a new user does.

    python3.13 tests/packaging/try_wheel.py dist/*.whl

Of several wheels it takes the one for the Python that it runs on. `make wheel` and `make wheels` run it on what they
have built.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterable
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def path_without_rust() -> str:
    """The folders of PATH that have no Rust."""
    folders = os.environ["PATH"].split(os.pathsep)
    return os.pathsep.join(each for each in folders if not any(shutil.which(tool, path=each) for tool in RUST))


RUST = ("cargo", "rustc", "maturin")


def wheel_of_this_python(wheels: Iterable[Path]) -> Path:
    """The wheel for the interpreter that runs this."""
    version = f"cp{sys.version_info.major}{sys.version_info.minor}"
    tags = f"-{version}-{version}{sys.abiflags}-"
    found = [wheel for wheel in wheels if tags in wheel.name]
    assert len(found) == 1, f"{len(found)} wheels with {tags}"
    return found[0]


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
    if "t" in sys.abiflags:
        imports = "import sys, pssmr, pssmr.client, pssmr.replica, pssmr.admin"
        assert run("python", "-c", f"{imports}; print(sys._is_gil_enabled())") == "False\n"
    run("pssmr", "init", "cluster")
    run("pssmr", "check", "pssmr.structures:Counters", "--runs", "20")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="pssmr-wheel-") as made:
        wheel = wheel_of_this_python(map(Path, sys.argv[1:]))
        try_wheel(wheel, Path(made))
    print(f"{wheel} installs and works without Rust, with Python {sys.version.split()[0]}")
