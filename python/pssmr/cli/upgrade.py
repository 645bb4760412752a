"""`pssmr upgrade`: the replicas go over to the latest version of the service that their code has."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import typer

from pssmr import upgrades
from pssmr.cli.output import messages, results
from pssmr.client import Client
from pssmr.config import ClusterConfig
from pssmr.errors import UpgradeRefused
from pssmr.reconfiguration import STATUS_TIMEOUT


def upgrade_service(
    cluster: Path,
    *,
    administrator_key: Path | None,
    client_key: str | None,
    timeout: float,
    force: bool,
    ask: bool,
    as_json: bool,
) -> None:
    """Asks all replicas which version their code has, and has them go over to it."""
    config = ClusterConfig.load(cluster)
    config.administrator_key(administrator_key)
    with Client(config, key=client_key, timeout=timeout) as client:
        step = upgrades.step(*client._look(STATUS_TIMEOUT), force=force)
        if not step.is_made:
            messages.print(
                f"now: version {step.before}\nthen: version {step.to.number}, from which there is no way back"
            )
            if ask and sys.stdin.isatty() and not typer.confirm("Change it?", err=True):
                raise UpgradeRefused("nothing was changed")
        # What was looked at before somebody was asked may be old.
        version = client.upgrade(administrator_key, force=force)
    if as_json:
        results.print(json.dumps({"before": step.before, "version": version}))
    else:
        was = " already" if step.is_made else ""
        results.print(f"version {version} of the service is in force{was}")
