"""Writing a `cluster.toml` anew when the membership has changed, with everything else in it left as it is."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import re
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

from pssmr import cluster_files
from pssmr.config import ClusterConfig
from pssmr.errors import ConfigError

_HEADER = re.compile(r"\s*\[")
_REPLICA = re.compile(r"\s*\[\[\s*replicas\s*\]\]\s*(#.*)?$")
_EPOCH = re.compile(r"epoch\s*=\s*[0-9_]+")
_BLANK = re.compile(r"\s*(#.*)?$")


def rewrite(file: Path, changed: ClusterConfig) -> None:
    """Writes the epoch and the replicas of a configuration into its file. The old file is there until the new one is.

    Raises:
        ConfigError: If that can't be done. The file is not changed.
    """
    text = rewritten(file, changed)
    try:
        _replace(file.resolve(), text)
    except OSError as error:
        raise ConfigError(f"can't be written: {error.strerror}", source=str(file)) from error


def rewritten(file: Path, changed: ClusterConfig) -> str:
    """The text of a configuration's file with another epoch and other replicas.

    Comments, settings, clients and the plan stay, as do the tables of replicas that stay.

    Args:
        file: The `cluster.toml`.
        changed: What it is to say: what it says now, but for the epoch and the replicas.

    Raises:
        ConfigError: If it is no TOML, or is written in a way that this does not understand.
    """
    if file.suffix != ".toml":
        raise ConfigError("is no TOML file, so only you can change it", source=str(file))
    try:
        text = file.read_text(encoding="utf-8")
        before = cluster_files.from_mapping(tomllib.loads(text), file.parent)
        after = _changed_text(text, before, changed)
        # However the text is written: it takes the old one's place only if it says what it should.
        understood = cluster_files.from_mapping(tomllib.loads(after), file.parent)
        expected = dataclasses.replace(before, epoch=changed.epoch, replicas=changed.replicas)
    except (ConfigError, tomllib.TOMLDecodeError) as error:
        raise _not_understood(file) from error
    if understood != expected:
        raise _not_understood(file)
    return after


def _not_understood(file: Path) -> ConfigError:
    return ConfigError(
        "is written in a way that `pssmr` does not change",
        source=str(file),
        remedy="write the epoch and a [[replicas]] table for each replica by hand",
    )


def _changed_text(text: str, before: ClusterConfig, changed: ClusterConfig) -> str:
    """The text with the epoch and the replicas of `changed`. It need not come out right: whoever calls looks."""
    lines, staying = text.splitlines(), {(each.id, each.key) for each in changed.replicas}
    kept: list[str] = []
    at = 0
    for (start, end), replica in zip(_tables(lines), before.replicas, strict=False):
        kept += lines[at:start]
        at = end
        if (replica.id, replica.key) in staying:
            kept += lines[start:end]
        else:
            while at < len(lines) and not lines[at].strip():
                at += 1
    known = {(each.id, each.key) for each in before.replicas}
    # Whoever comes is the last in seniority.
    for each in changed.replicas:
        if (each.id, each.key) not in known:
            kept += [*_gap(kept), *cluster_files.replica_lines(each)]
    following = lines[at:]
    if following and following[0].strip():
        kept += _gap(kept)
    return "\n".join(_with_epoch([*kept, *following], changed.epoch)) + "\n"


def _gap(lines: list[str]) -> list[str]:
    return [""] if lines and lines[-1].strip() else []


def _tables(lines: list[str]) -> Iterator[tuple[int, int]]:
    """Where the replicas' tables are: their first line, and the line after their last one that says something."""
    headers = [i for i, line in enumerate(lines) if _HEADER.match(line)] + [len(lines)]
    for start, following in itertools.pairwise(headers):
        if _REPLICA.match(lines[start]):
            end = following
            while _BLANK.match(lines[end - 1]):
                end -= 1
            yield start, end


def _with_epoch(lines: list[str], epoch: int) -> list[str]:
    """The lines with this epoch, which is above the first table."""
    first = next((i for i, line in enumerate(lines) if _HEADER.match(line)), len(lines))
    for i, line in enumerate(lines[:first]):
        if _EPOCH.match(line):
            return [*lines[:i], _EPOCH.sub(f"epoch = {epoch}", line, count=1), *lines[i + 1 :]]
    return [f"epoch = {epoch}", *lines]


def _replace(file: Path, text: str) -> None:
    """Puts a text in the place of a file's, at once and so that it lasts."""
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fchmod(descriptor, file.stat().st_mode & 0o7777)
            os.fsync(descriptor)
        os.replace(name, file)  # noqa: PTH105 - a temporary file that becomes the file
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)  # noqa: PTH108 - as above
        raise
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
