"""`pssmr simulate`: schedulers in virtual time."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from pssmr.cli.output import messages, results
from pssmr.planning.curves import draw_curves
from pssmr.planning.simulation import Axis, Load, Point, simulate

TITLES: dict[Axis, str] = {
    "conflict": "of 100 commands so many conflict",
    "workers": "workers",
    "skew": "Zipf exponent of the keys",
    "wide": "of 100 commands so many touch all keys",
}


def run_simulation(load: Load, axis: Axis, schedulers: Sequence[str], *, as_json: bool, picture: Path | None) -> None:
    """Simulates, and prints and draws what comes of it."""
    points = simulate(load, axis, schedulers)
    if picture is not None:
        curves = {name: [point.speed_ups[index] for point in points] for index, name in enumerate(schedulers)}
        curves["bound"] = [point.bound for point in points]
        title = f"Simulated: commands completed in the time of one, {_workers(load, axis)}"
        picture.write_text(draw_curves(title, TITLES[axis], [point.at for point in points], curves))
    if as_json:
        results.print(json.dumps(_as_data(load, axis, schedulers, points)))
        return
    table = Table(title="Simulated: commands completed in the mean time of one", title_justify="left")
    table.add_column(axis, justify="right")
    for name in (*schedulers, "bound"):
        table.add_column(name, justify="right")
    for point in points:
        table.add_row(f"{point.at:g}", *(f"{value:.2f}" for value in (*point.speed_ups, point.bound)))
    results.print(table)
    messages.print(
        "Virtual time: handlers take 0.5 to 1.5 units, and scheduling takes none. `bound`: all workers always busy, or "
        "the longest chain of conflicts.",
        markup=False,
    )


def _workers(load: Load, axis: Axis) -> str:
    return "by workers" if axis == "workers" else f"{load.workers} workers"


def _as_data(load: Load, axis: Axis, schedulers: Sequence[str], points: Sequence[Point]) -> dict[str, object]:
    return {
        "simulated": True,
        "load": dataclasses.asdict(load),
        "axis": axis,
        "points": [
            {axis: point.at, "speed_up": dict(zip(schedulers, point.speed_ups, strict=True)), "bound": point.bound}
            for point in points
        ],
    }
