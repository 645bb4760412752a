"""Files of commands, as they are given to `pssmr plan` and `pssmr check`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from pssmr.cli.arguments import parse_arguments
from pssmr.cluster_fields import nearest
from pssmr.errors import CommandError, ConfigError
from pssmr.service import Call, Service
from pssmr.signatures import commands_of, parameters_of


def read_text(file: Path) -> str:
    """What is in a file.

    Raises:
        ConfigError: If it can't be read.
    """
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"can't be read: {error}", source=str(file), remedy="give a file of UTF-8 text") from error


def read_commands(service: type[Service], file: Path) -> list[Call[Any]]:
    """The commands of a file, one a line with its arguments, as for `pssmr call`. Lines that begin with # are comments.

    Raises:
        ConfigError: If one can't be read; it names the line.
    """
    known = commands_of(service)
    calls = []
    for number, line in enumerate(read_text(file).splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        place = f"{file}, line {number}"
        try:
            name, *texts = shlex.split(line)
        except ValueError as error:
            raise ConfigError(f"{error}", source=place, remedy="close the quotation") from None
        if name not in known:
            raise ConfigError(
                f"{service.__name__} has no command {name!r}{nearest(name, known)}",
                source=place,
                remedy=f"its commands are {', '.join(known)}",
            )
        try:
            arguments = parse_arguments(name, *parameters_of(service, known[name]), texts)
            calls.append(known[name].bind(*arguments))
        except ConfigError as error:
            raise error.within(source=place) from None
        except CommandError as error:
            raise ConfigError(str(error), source=place, remedy="write it as for `pssmr call`") from None
    return calls
