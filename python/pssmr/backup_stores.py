"""Where backups are kept: a directory, or whatever fsspec reaches, such as an S3-compatible object store."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path
from typing import Any, Protocol

from pssmr.errors import ConfigError


class BackupStore(Protocol):
    """Named files below one place. Names have slashes."""

    def names(self) -> list[str]:
        """What is there, in any order."""

    def put(self, file: Path, name: str) -> None:
        """Copies a file there."""

    def get(self, name: str, file: Path) -> None:
        """Copies a file from there."""


def open_store(place: str) -> BackupStore:
    """The store at a path, or at a URL such as `s3://bucket/folder`.

    Raises:
        ConfigError: If the library for it is not installed, or it can't be reached.
    """
    return ObjectStore(place) if "://" in place else DirectoryStore(Path(place))


class DirectoryStore:
    """A directory."""

    def __init__(self, directory: Path) -> None:
        """Makes nothing yet."""
        self._directory = directory

    def names(self) -> list[str]:
        """What is there, in any order."""
        return [
            path.relative_to(self._directory).as_posix()
            for path in self._directory.rglob("*")
            if path.is_file() and path.suffix != ".part"
        ]

    def put(self, file: Path, name: str) -> None:
        """Copies a file there: it has its name when it is whole."""
        target = self._directory / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = target.with_name(f"{target.name}.part")
        shutil.copyfile(file, part)
        part.replace(target)

    def get(self, name: str, file: Path) -> None:
        """Copies a file from there."""
        shutil.copyfile(self._directory / name, file)


class ObjectStore:
    """What fsspec reaches. Keys and endpoints are those of its own configuration."""

    def __init__(self, url: str) -> None:
        """Reads fsspec's configuration, and does not connect yet.

        Raises:
            ConfigError: If fsspec, or what it needs for this kind of URL, is not installed.
        """
        try:
            self._files: Any
            self._files, self._root = importlib.import_module("fsspec.core").url_to_fs(url)
        except ImportError as error:
            raise ConfigError(str(error), field=url, remedy="pip install 'pssmr[backup]'") from error
        except ValueError as error:
            raise ConfigError(str(error), field=url, remedy="give a directory, or a URL that fsspec knows") from error

    def names(self) -> list[str]:
        """What is there, in any order."""
        self._files.invalidate_cache()
        root = self._root.rstrip("/")
        return [name.lstrip("/").removeprefix(root.lstrip("/")).lstrip("/") for name in self._files.find(root)]

    def put(self, file: Path, name: str) -> None:
        """Copies a file there."""
        target = f"{self._root.rstrip('/')}/{name}"
        self._files.makedirs(target.rpartition("/")[0], exist_ok=True)
        self._files.put_file(str(file), target)

    def get(self, name: str, file: Path) -> None:
        """Copies a file from there."""
        self._files.get_file(f"{self._root.rstrip('/')}/{name}", str(file))
