"""The reference of the configuration has everything, and says what the code says."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from pssmr.config import ClientConfig, ClusterConfig, ReplicaConfig
from pssmr.configuration_reference import WHEN_TO_CHANGE, render
from pssmr.early_plan import EarlyPlan, PlannedClass
from pssmr.settings import Settings

ROOT = Path(__file__).parents[2]


def test_the_page_is_what_the_code_says() -> None:
    assert (ROOT / "docs" / "configuration.md").read_text() == render(), "run `make reference`"


@pytest.mark.parametrize("owner", [ClusterConfig, ReplicaConfig, ClientConfig, Settings, EarlyPlan, PlannedClass])
def test_every_field_is_there_and_every_cell_says_something(owner: type) -> None:
    page = render()
    for each in dataclasses.fields(owner):
        rows = [line for line in page.splitlines() if line.startswith(f"| `{each.name}` |")]
        assert rows, each.name
        assert all(cell.strip() for row in rows for cell in re.split(r"(?<!\\)\|", row)[1:-1])


def test_every_setting_says_when_to_change_it_and_no_other_does() -> None:
    assert list(WHEN_TO_CHANGE) == [each.name for each in dataclasses.fields(Settings)]


def test_the_example_configuration_names_every_setting() -> None:
    text = (ROOT / "config" / "cluster.toml").read_text()
    for each in dataclasses.fields(Settings):
        assert f"# {each.name} = " in text
