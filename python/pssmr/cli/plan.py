"""`pssmr plan`: which lanes run which commands, for the scheduler `early`."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from pssmr.cli.command_files import read_commands, read_text
from pssmr.cli.output import messages, results
from pssmr.cli.services import load_service_class
from pssmr.cluster_fields import nearest
from pssmr.early_plan_files import FILE_NAME, render_plan
from pssmr.errors import ConfigError
from pssmr.planning.classes import PlanningError
from pssmr.planning.picture import draw
from pssmr.planning.planner import Method
from pssmr.planning.service_plan import ServicePlan, plan_service
from pssmr.planning.shares import Division, Shares, counted_shares, declared_shares
from pssmr.service import Service
from pssmr.settings import default_workers
from pssmr.signatures import commands_of

By = Literal["auto", "tables", "keys"]


def make_plan(
    application: str,
    *,
    lanes: int | None,
    by: By,
    partitions: int | None,
    weights: Path | None,
    commands: Path | None,
    method: Method,
    time_limit: float,
    as_json: bool,
    picture: Path | None,
    write: Path | None,
) -> None:
    """Computes a plan, and prints, draws and writes it."""
    service = load_service_class(application)
    if weights is not None and commands is not None:
        raise ConfigError("was given beside --weights", field="--commands", remedy="weigh the commands, or count them")
    lanes = lanes or default_workers()
    shares_of = _counted(service, commands) if commands is not None else _declared(service, weights)
    divisions: list[Division] = ["tables", "keys"] if by == "auto" else [by]
    plans, problems = list[ServicePlan](), list[PlanningError]()
    for division in divisions:
        parts = (partitions or lanes) if division == "keys" else len(service._tables)
        try:
            shares = shares_of(division, parts)
            plans.append(plan_service(service, shares, lanes, method=method, time_limit_s=time_limit / len(divisions)))
        except PlanningError as error:
            problems.append(error)
    if not plans:
        raise problems[0]
    best = max(plans, key=lambda each: each.speed_up)
    if write is not None:
        file = write / FILE_NAME if write.is_dir() else write
        _write(file, render_plan(best.early, _notes(application, best)))
        messages.print(f'{file}: for scheduler = "early" in [settings] of the cluster.toml beside it', markup=False)
    if picture is not None:
        _write(picture, draw(best))
        messages.print(f"{picture}: the picture", markup=False)
    if as_json:
        results.print(json.dumps(_described(best), indent=2))
        return
    # A table that is piped somewhere is as wide as it needs to be.
    console = results if results.is_terminal else Console(width=160, highlight=False)
    console.print(_class_table(best))
    console.print(_lane_table(best))
    results.print(_verdict(best))


def _declared(service: type[Service], file: Path | None) -> Callable[[Division, int], Shares]:
    weights = dict.fromkeys(commands_of(service), 1.0) if file is None else _read_weights(service, file)
    return lambda division, partitions: declared_shares(service, weights, division, partitions)


def _counted(service: type[Service], file: Path) -> Callable[[Division, int], Shares]:
    payloads = [call.payload for call in read_commands(service, file)]
    if not payloads:
        raise ConfigError("there are no commands to count", source=str(file), remedy="write a line for each")
    return lambda division, partitions: counted_shares(service, payloads, division, partitions)


def _read_weights(service: type[Service], file: Path) -> dict[str, float]:
    """The weights of commands by name, from TOML or JSON."""
    text = read_text(file)
    remedy = "write TOML, a line `command = weight` each, or a JSON object"
    try:
        document: Any = json.loads(text) if file.suffix == ".json" else tomllib.loads(text)
    except ValueError as error:
        raise ConfigError(str(error), source=str(file), remedy=remedy) from error
    if not isinstance(document, Mapping):
        raise ConfigError("is no table", source=str(file), remedy=remedy)
    commands = commands_of(service)
    for name, weight in document.items():
        if name not in commands:
            problem = f"{service.__name__} has no command {name!r}{nearest(name, commands)}"
            raise ConfigError(problem, field=name, source=str(file), remedy=f"it has {', '.join(commands) or 'none'}")
        if isinstance(weight, bool) or not isinstance(weight, int | float):
            raise ConfigError(f"is {weight!r}, but has to be a number", field=name, source=str(file), remedy=remedy)
        if not 0 <= weight <= sys.float_info.max:
            problem = f"is {weight!r:.40}, but has to be a finite number of 0 or above"
            only = "weights count only beside each other: 70 and 30 say the same as 7 and 3"
            raise ConfigError(problem, field=name, source=str(file), remedy=only)
    if not any(document.values()):
        raise ConfigError("no command has a weight", source=str(file), remedy="give at least one a number above 0")
    return {name: float(weight) for name, weight in document.items()}


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"can't be written: {error.strerror}", source=str(file), remedy="choose a place") from error


def _how(lanes: tuple[int, ...], synchronised: bool) -> str:
    if len(lanes) == 1:
        return "one lane"
    return "all of them at once" if synchronised else "one of them each"


def _class_table(plan: ServicePlan) -> Table:
    by = "tables" if plan.early.tables else f"keys, in {plan.early.key_partitions} partitions"
    table = Table(title=f"{plan.service}: classes by {by}", title_justify="left")
    for name in ("touches", "commands", "share", "lanes", "a command runs in"):
        table.add_column(name, justify="right" if name == "share" else "left")
    for each in plan.classes:
        lanes = ", ".join(map(str, each.lanes))
        commands = ", ".join(sorted(each.commands))
        table.add_row(each.name, commands, f"{each.share:.1%}", lanes, _how(each.lanes, each.synchronised))
    return table


def _lane_table(plan: ServicePlan) -> Table:
    table = Table(title="expected load, as a share of all work", title_justify="left")
    for name in ("lane", "load", ""):
        table.add_column(name, justify="left" if not name else "right")
    for lane, load in enumerate(plan.loads):
        table.add_row(str(lane), f"{load:.1%}", "#" * round(40 * load))
    return table


def _verdict(plan: ServicePlan) -> str:
    found = "by the solver" if plan.method == "solver" else "by a greedy search"
    proven = ", and proven the best for these classes" if plan.proven else ""
    return (
        f"At most {plan.speed_up:.2f} times what one lane does, if all commands take the same time; "
        f"found {found}{proven}."
    )


def _notes(application: str, plan: ServicePlan) -> list[str]:
    return [f"Made by `pssmr plan {application}`.", _verdict(plan), ""]


def _described(plan: ServicePlan) -> dict[str, object]:
    return {
        "service": plan.service,
        "lanes": plan.early.lanes,
        "tables": list(plan.early.tables),
        "key_partitions": plan.early.key_partitions,
        "classes": [
            {
                "name": each.name,
                "commands": each.commands,
                "share": each.share,
                "lanes": list(each.lanes),
                "synchronised": each.synchronised,
                "planned": each.planned,
            }
            for each in plan.classes
        ],
        "loads": list(plan.loads),
        "speed_up_max": plan.speed_up,
        "method": plan.method,
        "proven": plan.proven,
    }
