"""`pssmr top`: what all replicas do, again and again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pssmr.cli.output import interruptible, results
from pssmr.cli.rates import Rates, rates
from pssmr.cli.status import remarks, role_of, votes_of
from pssmr.client import Client
from pssmr.config import ClusterConfig
from pssmr.exit_codes import ExitCode
from pssmr.reconfiguration import Statuses

_WIDE = 170
"""The columns of a terminal that shows everything."""


def show_top(
    cluster: Path, *, key: str | None, as_json: bool, interval: float, count: int | None, timeout: float
) -> ExitCode:
    """Shows the replicas until Ctrl-C, or `count` times."""
    config = ClusterConfig.load(cluster)
    before: Statuses = {}
    statuses = before
    live = Live(console=results, auto_refresh=False, screen=count is None) if results.is_terminal else None
    # What is piped somewhere is as wide as it needs to be.
    console = results if results.is_terminal else Console(width=200, highlight=False)
    interruptible()
    with Client(config, key=key) as client, nullcontext() if as_json or live is None else live:
        shown = 0
        try:
            if live is None:
                # Who reads it later wants rates from the first line on.
                before = client.status(timeout=timeout)
                time.sleep(interval)
            while True:
                began = time.monotonic()
                statuses = client.status(timeout=timeout)
                config = config.with_membership(client.membership())
                found = {each: rates(before.get(each), now) for each, now in statuses.items() if now is not None}
                if as_json:
                    results.print(json.dumps(_to_json(statuses, found)))
                elif live is not None:
                    live.update(_screen(config, statuses, found, console.width), refresh=True)
                else:
                    console.print(_screen(config, statuses, found, console.width))
                before, shown = statuses, shown + 1
                if shown == count:
                    break
                time.sleep(max(0.0, began + interval - time.monotonic()))
        except KeyboardInterrupt:
            pass
    return ExitCode.OK if votes_of(statuses) >= config.quorum else ExitCode.UNREACHABLE


def _to_json(statuses: Statuses, found: Mapping[int, Rates]) -> list[dict[str, object]]:
    return [
        {"id": i, "reachable": False}
        if status is None
        else {
            "id": i,
            "reachable": True,
            **{name: status[name] for name in ("time_ms", "role", "view", "decided", "executed", "lag", "pending")},
            **found[i].to_json(),
        }
        for i, status in statuses.items()
    ]


def _screen(config: ClusterConfig, statuses: Statuses, found: Mapping[int, Rates], width: int) -> Group:
    lines = (Text(line) for line in remarks(config, statuses))
    return Group(top_table(config, statuses, found, width), *lines)


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    cell: Callable[[Mapping[str, Any], Rates], str | Text]
    on_narrow_screens: bool = True


_COLUMNS = (
    _Column("role", lambda status, _: role_of(status)),
    _Column("view", lambda status, _: str(status["view"])),
    _Column("commands/s", lambda _, of: _number(of.commands)),
    _Column("requests/s", lambda _, of: _number(of.requests), on_narrow_screens=False),
    _Column("queries/s", lambda _, of: _number(of.queries), on_narrow_screens=False),
    _Column("p50", lambda _, of: _milliseconds(of.p50_ms)),
    _Column("p99", lambda _, of: _milliseconds(of.p99_ms)),
    _Column("batch", lambda _, of: _number(of.batch), on_narrow_screens=False),
    _Column("waiting", lambda status, _: f"{status['pending'] + status['execution']['pending']:,}"),
    _Column("lag", lambda status, _: f"{status['lag']:,}"),
    _Column("busy", lambda _, of: _share(of.busy)),
    _Column("interpreter", lambda _, of: _share(of.interpreter_wait), on_narrow_screens=False),
    _Column("conflicts", lambda _, of: _share(of.delayed), on_narrow_screens=False),
    _Column("log sync p99", lambda _, of: _milliseconds(of.sync_p99_ms), on_narrow_screens=False),
    _Column("clients", lambda status, _: str(status["clients"]["links"]), on_narrow_screens=False),
)


def top_table(config: ClusterConfig, statuses: Statuses, found: Mapping[int, Rates], width: int) -> Table:
    """All replicas, a line each, with what they did since the last look, for a screen of this width."""
    columns = [each for each in _COLUMNS if each.on_narrow_screens or width >= _WIDE]
    table = Table(title=f"{config.name}  {time.strftime('%H:%M:%S')}", title_justify="left")
    table.add_column("id", justify="right")
    for column in columns:
        table.add_column(column.name, justify="left" if column.name == "role" else "right", no_wrap=True)
    for replica in config.replicas:
        status = statuses.get(replica.id)
        if status is None:
            table.add_row(str(replica.id), Text("unreachable", style="red"))
        else:
            table.add_row(str(replica.id), *(column.cell(status, found[replica.id]) for column in columns))
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3g} ms"


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.0f} %"
