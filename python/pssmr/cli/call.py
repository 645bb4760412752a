"""`pssmr call`: one command."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pssmr.cli.arguments import parse_arguments, to_text
from pssmr.cli.output import results
from pssmr.cli.services import load_service_class
from pssmr.client import Client
from pssmr.cluster_fields import nearest
from pssmr.config import ClusterConfig
from pssmr.errors import ConfigError
from pssmr.signatures import commands_of, parameters_of


def call_command(
    application: str,
    command: str,
    texts: Sequence[str],
    *,
    cluster: Path,
    key: str | None,
    timeout: float,
    as_json: bool,
) -> None:
    """Sends one command of a service, and prints its result."""
    service_class = load_service_class(application)
    commands = commands_of(service_class)
    if command not in commands:
        raise ConfigError(
            f"the service has no command {command!r}{nearest(command, commands)}",
            field="COMMAND",
            remedy=f"it has {', '.join(commands) or 'none'}",
        )
    parameters, hints = parameters_of(service_class, commands[command])
    arguments = parse_arguments(command, parameters, hints, texts)
    config = ClusterConfig.load(cluster)
    with Client(config, key=key, timeout=timeout) as client:
        result = client.call(commands[command], *arguments)
    results.print(to_text({"result": result}) if as_json else to_text(result))
