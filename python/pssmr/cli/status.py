"""`pssmr status`: how each replica is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pssmr import upgrades
from pssmr.cli.output import messages, results
from pssmr.client import Client
from pssmr.config import ClusterConfig
from pssmr.exit_codes import ExitCode
from pssmr.reconfiguration import Statuses


def show_status(cluster: Path, *, key: str | None, as_json: bool, timeout: float) -> ExitCode:
    """Asks every replica how it is, and prints it."""
    known = ClusterConfig.load(cluster)
    with Client(known, key=key) as client:
        statuses = client.status(timeout=timeout)
        config = known.with_membership(client.membership())
    if as_json:
        said = [each or {"id": replica, "reachable": False} for replica, each in statuses.items()]
        results.print(json.dumps(said, indent=2))
    else:
        # A table that is piped somewhere is as wide as it needs to be.
        console = results if results.is_terminal else Console(width=160, highlight=False)
        console.print(status_table(config, statuses))
        for line in [*outdated(known, config), *remarks(config, statuses)]:
            messages.print(line, markup=False)
    return ExitCode.OK if votes_of(statuses) >= config.quorum else ExitCode.UNREACHABLE


def status_table(config: ClusterConfig, statuses: Statuses) -> Table:
    """All replicas, a line each."""
    epoch = f"epoch {config.epoch}, " if config.epoch else ""
    kind = f"{epoch}{len(config.replicas)} replicas, {config.fault_model}, durability {config.settings.durability}"
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
    highest = max((each["decided"] for each in statuses.values() if each), default=0)
    for replica in config.replicas:
        status = statuses.get(replica.id)
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
    role = status["role"]
    is_over = role in ("halted", "retired")
    text = role if status["active"] or is_over else f"{role}, changing view"
    return Text(text, style="red" if is_over else {"leader": "green", "learner": "yellow"}.get(role, ""))


def remarks(config: ClusterConfig, statuses: Statuses) -> list[str]:
    """What the table does not say: why a replica stopped, why a link is down, what the cluster still survives."""
    lines = []
    for i, status in statuses.items():
        if status is None:
            continue
        if status["epoch"] != config.epoch:
            lines.append(f"replica {i} is in epoch {status['epoch']}, the cluster in {config.epoch}")
        if status["halted"]:
            lines.append(f"replica {i} has stopped for good: {status['halted']}")
        lines += [
            f"replica {i} has no link to replica {peer['id']}: {peer['last_error'] or 'not yet connected'}"
            for peer in status["peers"]
            if not peer["up"] and statuses.get(peer["id"]) is not None
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
    lines += upgrades.remarks(config.membership, statuses)
    votes, quorum = votes_of(statuses), config.quorum
    if votes < quorum:
        lines.append(f"no quorum: {votes} replicas can vote, {quorum} are needed; commands wait")
    elif votes < len(config.replicas):
        lines.append(f"{votes} of {len(config.replicas)} replicas can vote: {votes - quorum} more may fail")
    return lines


def outdated(known: ClusterConfig, newest: ClusterConfig) -> list[str]:
    """What has changed since the configuration that was given, if something has."""
    if known.epoch == newest.epoch:
        return []
    members = {(each.id, each.key) for each in newest.replicas}
    lines = [
        f"the configuration is of epoch {known.epoch}, the cluster in {newest.epoch}:"
        " `pssmr reconfigure sync` brings it up to date"
    ]
    lines += [
        f"replica {each.id} at {each.clients}, which the configuration has, is retired: stop it"
        for each in known.replicas
        if (each.id, each.key) not in members
    ]
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
    return sum(each is not None and each["role"] in ("leader", "follower") for each in statuses.values())
