"""`pssmr bench schedulers`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest

from pssmr.bench.schedulers import CONFLICTS, run_and_print_schedulers
from pssmr.settings import Scheduler


def test_every_scheduler_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_and_print_schedulers(tmp_path / "figures.json", commands=200, naps=8)
    assert "bound" in capsys.readouterr().out
    data = json.loads((tmp_path / "figures.json").read_text())
    assert [each["scheduler"] for each in data["schedulers"]] == list(get_args(Scheduler))
    for each in data["schedulers"]:
        assert each["one_by_one_per_s"] > 0
        assert each["vectorised_per_s"] > 0
        assert set(each["naps"]) == {str(conflicts) for conflicts in CONFLICTS}
