"""`pssmr call`: one command, or several at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pssmr.cli.arguments import parse_arguments, to_text
from pssmr.cli.command_files import read_commands
from pssmr.cli.output import results
from pssmr.cli.services import load_service_class
from pssmr.client import Client
from pssmr.cluster_fields import nearest
from pssmr.config import ClusterConfig
from pssmr.errors import ConfigError
from pssmr.request import Batch, Request, Transaction, results_of
from pssmr.service import Service
from pssmr.signatures import commands_of, parameters_of


def call_commands(
    application: str,
    command: Sequence[str] | None,
    *,
    batch: Path | None,
    transaction: Path | None,
    cluster: Path,
    key: str | None,
    timeout: float,
    as_json: bool,
) -> None:
    """Sends a command of a service with its arguments, or those of a file, and prints the result.

    Args:
        application: The service, as `module:Class` or `path/file.py:Class`.
        command: The command and its arguments; or `None`, and one of the following.
        batch: The file of a batch.
        transaction: The file of a transaction.
        cluster: The cluster's directory or file.
        key: The client's name or key file.
        timeout: Seconds to wait.
        as_json: Whether to print JSON.

    Raises:
        ConfigError: If a command can't be read.
    """
    request = _request(load_service_class(application), command, batch, transaction)
    config = ClusterConfig.load(cluster)
    with Client(config, key=key, timeout=timeout) as client:
        result = client.execute(request)
    if isinstance(request, Batch):
        result = results_of(result, return_exceptions=False)
    results.print(to_text({"result": result}) if as_json else to_text(result))


def _request(
    service: type[Service], command: Sequence[str] | None, batch: Path | None, transaction: Path | None
) -> Request[Any]:
    if command is not None:
        return _one(service, *command)
    file = batch or transaction
    assert file is not None
    calls = read_commands(service, file)
    if not calls:
        raise ConfigError("has no commands", source=str(file), remedy="write a line `transfer ann bob 5` for each")
    return Transaction(calls) if transaction else Batch(calls)


def _one(service: type[Service], command: str, *texts: str) -> Request[Any]:
    commands = commands_of(service)
    if command not in commands:
        raise ConfigError(
            f"the service has no command {command!r}{nearest(command, commands)}",
            field="COMMAND",
            remedy=f"it has {', '.join(commands) or 'none'}",
        )
    return commands[command].bind(*parse_arguments(command, *parameters_of(service, commands[command]), texts))
