"""Mutation testing of the protocol and of execution: each fault of `mutants.toml` in a copy of the tree; is it noticed?

Run by `make mutants`. Prints a table, and ends with status 1 if a mutant survives.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("Cargo.toml", "Cargo.lock", "rust", "benches", "tests/house.rs")
PROFILES = ("twins4", "cft3", "bft4", "cft5")
# What simulated clusters are made of: they can't notice faults of other crates.
SIMULATED = ("pssmr-ordering", "pssmr-recording", "pssmr-types")
# Most of the time goes into compiling one crate and its tests again and again.
QUICK_TO_COMPILE = {
    "CARGO_PROFILE_RELEASE_INCREMENTAL": "true",
    "CARGO_PROFILE_RELEASE_DEBUG": "false",
    "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "64",
    "CARGO_PROFILE_RELEASE_OPT_LEVEL": "1",
}
# Tests that take longer wait for ever.
TEST_SECONDS_MAX = 300


class Tree:
    """A copy of the sources, with a build directory of its own."""

    def __init__(self, path: Path, target: Path) -> None:
        """Copies the sources to `path`."""
        self.path = path
        self._environment = {
            **os.environ,
            **QUICK_TO_COMPILE,
            "CARGO_TARGET_DIR": str(target),
            "CARGO_TERM_COLOR": "never",
        }
        self._target = target
        for name in COPIED:
            source, to = ROOT / name, path / name
            to.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, to, symlinks=True)
            else:
                shutil.copy2(source, to)

    def run(self, *command: str | int | Path) -> subprocess.CompletedProcess[str]:
        """Runs a command in the tree."""
        return subprocess.run(
            [str(part) for part in command],
            cwd=self.path,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def notice(self, crate: str, seeds: int) -> str | None:
        """What notices the fault that is in the tree: a test, or a simulated cluster; None if nothing does."""
        built = self.run("cargo", "test", "--release", "--quiet", "--no-run", "-p", crate)
        if built.returncode != 0:
            raise SystemExit(f"the mutant does not compile:\n{built.stderr[-3000:]}")
        # A mutant that has a test wait for ever is noticed, too.
        bounded = ("timeout", "--kill-after=5", TEST_SECONDS_MAX)
        tests = self.run(*bounded, "cargo", "test", "--release", "--quiet", "-p", crate)
        if tests.returncode != 0:
            names = re.findall(r"^    (\w+(?:::\w+)*)$", tests.stdout, re.MULTILINE)
            return f"{crate}: {names[0] if names else 'a test fails, or does not end'}"
        if crate not in SIMULATED:
            return None
        built = self.run("cargo", "build", "--release", "--quiet", "-p", "pssmr-simulation")
        if built.returncode != 0:
            raise SystemExit(built.stderr[-3000:])
        simulation = self._target / "release" / "pssmr-simulation"
        clusters = [("search", "--profile", profile, "--seeds", seeds, "--failures", 1) for profile in PROFILES]
        models = [("check-model", "all", "--states", 10 * seeds, "--walks", 1)]
        for arguments in models + clusters:
            found = self.run(simulation, *(str(argument) for argument in arguments))
            failed = [line for line in found.stdout.splitlines() if line.startswith("FAILED")]
            if failed or found.returncode != 0:
                return " ".join((failed or ["the simulator ends"])[0].split()[1:12])
        return None


def main() -> int:
    """Runs all mutants, or those whose names contain a text."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="only mutants whose names contain one of these")
    parser.add_argument(
        "--first", type=int, default=1, help="the number of the first one to try, to go on after a break"
    )
    parser.add_argument("--seeds", type=int, default=1000, help="simulated clusters of each kind for each mutant")
    parser.add_argument("--target", type=Path, default=ROOT / "target" / "mutants", help="where to build")
    arguments = parser.parse_args()
    mutants = tomllib.loads((Path(__file__).parent / "mutants.toml").read_text(encoding="utf-8"))["mutant"]
    for mutant in (each for each in mutants if "equivalent" in each):
        print(f"        {mutant['name']:62} does no harm: {mutant['equivalent']}")
    mutants = [each for each in mutants if "equivalent" not in each]
    chosen = [each for each in mutants if not arguments.names or any(name in each["name"] for name in arguments.names)]
    tried = chosen[arguments.first - 1 :]
    survivors = []
    with tempfile.TemporaryDirectory(prefix="pssmr-mutants-") as directory:
        tree = Tree(Path(directory) / "tree", arguments.target.resolve())
        for number, mutant in enumerate(tried, arguments.first):
            file = tree.path / mutant["file"]
            good = file.read_text(encoding="utf-8")
            if good.count(mutant["find"]) != 1:
                raise SystemExit(
                    f"{mutant['name']!r}: its text is in {mutant['file']} {good.count(mutant['find'])} times"
                )
            file.write_text(good.replace(mutant["find"], mutant["replace"]), encoding="utf-8")
            start = time.monotonic()
            crate = "pssmr-" + mutant["file"].split("/")[1]
            noticed = tree.notice(crate, arguments.seeds)
            file.write_text(good, encoding="utf-8")
            if noticed is None:
                survivors.append(mutant["name"])
            seconds = time.monotonic() - start
            print(
                f"{number:3}/{len(chosen)} {mutant['name']:62} {noticed or 'SURVIVES'}  ({seconds:.0f} s)", flush=True
            )
    print(f"{len(tried) - len(survivors)} of {len(tried)} mutants are caught")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
