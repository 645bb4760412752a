"""`pssmr simulate`: schedulers in virtual time."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pssmr.errors import ConfigError
from pssmr.planning.simulation import AXES, Axis, Load, simulate
from tests.cli.conftest import Pssmr

SMALL = Load(commands=2000, keys=10_000)


@pytest.mark.parametrize("axis", list(AXES))
def test_every_scheduler_is_between_one_worker_and_the_bound(axis: Axis) -> None:
    points = simulate(SMALL, axis, ["sequential", "keyed", "static"])
    assert tuple(point.at for point in points) == AXES[axis]
    for point in points:
        assert point.speed_ups[0] == pytest.approx(1)
        for speed_up in point.speed_ups:
            assert 0.99 < speed_up <= point.bound + 1e-9


def test_the_same_seed_gives_the_same_figures() -> None:
    assert simulate(SMALL, "skew", ["keyed"]) == simulate(SMALL, "skew", ["keyed"])


def test_conflicts_and_workers_show() -> None:
    by_workers = simulate(SMALL, "workers", ["keyed"])
    assert [point.speed_ups[0] for point in by_workers[:4]] == pytest.approx([1, 2, 4, 8], rel=0.02)
    by_conflict = simulate(SMALL, "conflict", ["keyed"])
    assert by_conflict[0].speed_ups[0] > 7.5
    assert by_conflict[-1].bound == pytest.approx(1)


def test_a_simulation_can_be_interrupted() -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        # It would take several minutes.
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            simulate(Load(commands=20_000), "conflict", ["keyed"] * 10_000)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_loads_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="counts are 1 or more"):
        simulate(Load(keys=0), "skew", ["keyed"])
    with pytest.raises(ConfigError, match="is no scheduler"):
        simulate(SMALL, "skew", ["fastest"])


def test_the_command_prints_a_table_or_data_and_draws(pssmr: Pssmr, tmp_path: Path) -> None:
    arguments = ["simulate", "--commands", "500", "--scheduler", "keyed", "--scheduler", "static"]
    shown = pssmr(*arguments, "--against", "wide", "--picture", "curves.svg")
    assert shown.returncode == 0
    assert "Simulated" in shown.stdout
    assert "bound" in shown.stdout
    picture = ElementTree.fromstring((tmp_path / "curves.svg").read_text())
    assert len(picture.findall("{http://www.w3.org/2000/svg}polyline")) == 3
    data = json.loads(pssmr(*arguments, "--json").stdout)
    assert data["simulated"] is True
    assert len(data["points"]) == len(AXES["conflict"])
    assert set(data["points"][0]["speed_up"]) == {"keyed", "static"}
