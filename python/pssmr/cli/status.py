"""`pssmr status`: how each replica is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pssmr.cli.output import messages, results
from pssmr.client import Client
from pssmr.config import ClusterConfig
from pssmr.exit_codes import ExitCode

Statuses = Sequence[Mapping[str, Any] | None]
"""What each replica said of itself, by id; `None` for one that said nothing."""


def show_status(cluster: Path, *, key: str | None, as_json: bool, timeout: float) -> ExitCode:
    """Asks every replica how it is, and prints it."""
    config = ClusterConfig.load(cluster)
    with Client(config, key=key) as client:
        statuses = client.status(timeout=timeout)
    if as_json:
        results.print(json.dumps([each or {"id": i, "reachable": False} for i, each in enumerate(statuses)], indent=2))
    else:
        # A table that is piped somewhere is as wide as it needs to be.
        console = results if results.is_terminal else Console(width=160, highlight=False)
        console.print(status_table(config, statuses))
        for line in remarks(config, statuses):
            messages.print(line, markup=False)
    return ExitCode.OK if votes_of(statuses) >= config.quorum else ExitCode.UNREACHABLE


def status_table(config: ClusterConfig, statuses: Statuses) -> Table:
    """All replicas, a line each."""
    kind = f"{len(config.replicas)} replicas, {config.fault_model}, durability {config.settings.durability}"
    table = Table(title=f"{config.name}: {kind}", title_justify="left")
    for name in (
        "id",
        "role",
        "view",
        "decided",
        "checkpoint",
        "executed",
        "lag",
        "peers",
        "clients",
        "pending",
        "commands",
        "up for",
    ):
        table.add_column(name, justify="left" if name in ("role", "up for") else "right")
    highest = max((each["decided"] for each in statuses if each), default=0)
    for replica, status in zip(config.replicas, statuses, strict=True):
        if status is None:
            table.add_row(str(replica.id), f"[red]unreachable[/red] at {replica.clients}")
            continue
        linked = sum(peer["up"] for peer in status["peers"])
        table.add_row(
            str(replica.id),
            role_of(status),
            str(status["view"]),
            f"{status['decided']:,}",
            f"{status['checkpoint']:,}",
            f"{status['executed']:,}",
            f"{max(0, highest - status['executed']):,}",
            f"{linked}/{len(config.replicas) - 1}",
            str(status["clients"]["links"]),
            f"{status['pending']:,}",
            f"{status['counters']['commands']:,}",
            duration(status["uptime_ms"] / 1000),
        )
    return table


def role_of(status: Mapping[str, Any]) -> Text:
    """What a replica does, in its colour."""
    role = status["role"] if status["active"] or status["role"] == "halted" else f"{status['role']}, changing view"
    return Text(role, style={"leader": "green", "halted": "red", "learner": "yellow"}.get(status["role"], ""))


def remarks(config: ClusterConfig, statuses: Statuses) -> list[str]:
    """What the table does not say: why a replica stopped, why a link is down, what the cluster still survives."""
    lines = []
    for i, status in enumerate(statuses):
        if status is None:
            continue
        if status["halted"]:
            lines.append(f"replica {i} has stopped for good: {status['halted']}")
        lines += [
            f"replica {i} has no link to replica {peer['id']}: {peer['last_error'] or 'not yet connected'}"
            for peer in status["peers"]
            if not peer["up"] and statuses[peer["id"]] is not None
        ]
        if transfer := status["transfer"]:
            done, size = transfer["bytes_done"] / 1e6, transfer["bytes"] / 1e6
            lines.append(f"replica {i} fetches a snapshot from the others: {done:,.1f} of {size:,.1f} MB")
        if status["role"] == "learner":
            lines.append(
                f"replica {i} does not remember its votes: it follows, and votes again when they no longer matter"
            )
        if status["log_error"]:
            lines.append(f"replica {i} does not vote until it can write its log: {status['log_error']}")
    votes, quorum = votes_of(statuses), config.quorum
    if votes < quorum:
        lines.append(f"no quorum: {votes} replicas can vote, {quorum} are needed; commands wait")
    elif votes < len(config.replicas):
        lines.append(f"{votes} of {len(config.replicas)} replicas can vote: {votes - quorum} more may fail")
    return lines


def duration(seconds: float) -> str:
    """A duration as people say it."""
    whole = int(seconds)
    days, hours, minutes = whole // 86_400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{seconds:.1f} s"


def votes_of(statuses: Statuses) -> int:
    """How many replicas can vote, as far as this side sees."""
    return sum(each is not None and each["role"] in ("leader", "follower") for each in statuses)
