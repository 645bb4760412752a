"""What is written on the command line becomes arguments by the command's annotations, and results become text."""

from __future__ import annotations

import dataclasses
import enum
import inspect
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from pssmr.cli.arguments import Mismatch, parse, parse_arguments, to_text
from pssmr.errors import ConfigError
from pssmr.exit_codes import ExitCode


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclasses.dataclass
class Point:
    x: int
    tags: list[str] = dataclasses.field(default_factory=list)


@pytest.mark.parametrize(
    ("text", "annotation", "value"),
    [
        ("5", int, 5),
        ("-5", int, -5),
        ("5", float, 5.0),
        ("1.5", float, 1.5),
        ("true", bool, True),
        ("5", str, "5"),
        ('"x"', str, '"x"'),
        ("", str, ""),
        ("5", Annotated[int, "key"], 5),
        ("null", None, None),
        ("null", int | None, None),
        ("7", int | None, 7),
        ("7", str | int, 7),
        ("seven", str | int, "seven"),
        ("[1, 2]", list[int], [1, 2]),
        ("[1, 2]", tuple[int, ...], (1, 2)),
        ('[1, "a"]', tuple[int, str], (1, "a")),
        ("[1, 1]", set[int], {1}),
        ('{"a": 1}', dict[str, int], {"a": 1}),
        ('{"1": [2]}', dict[int, list[int]], {1: [2]}),
        ("text", bytes, b"text"),
        ("hex:00ff", bytes, b"\x00\xff"),
        ('["hex:01"]', list[bytes], [b"\x01"]),
        ("RED", Colour, Colour.RED),
        ("up", Literal["up", "down"], "up"),
        ("2", Literal[1, 2], 2),
        ('{"x": 1}', Point, Point(1)),
        ('{"x": 1, "tags": ["a"]}', Point, Point(1, ["a"])),
    ],
)
def test_a_text_is_read_as_its_type_says(text: str, annotation: Any, value: Any) -> None:
    parsed = parse(text, annotation)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("text", "annotation"),
    [
        ("five", int),
        ("1.5", int),
        ("true", int),
        ("1", bool),
        ("x", int | None),
        ("[1", list[int]),
        ('["a"]', list[int]),
        ("[1]", tuple[int, int]),
        ("hex:0", bytes),
        ("GREEN", Colour),
        ("left", Literal["up", "down"]),
        ('{"y": 1}', Point),
        ("{}", Point),
        ("[]", Point),
    ],
)
def test_what_is_no_value_of_the_type_is_refused(text: str, annotation: Any) -> None:
    with pytest.raises(Mismatch):
        parse(text, annotation)


def transfer(source: str, amount: int = 1) -> None:
    """A command to parse arguments for."""


def parse_transfer(*texts: str) -> list[Any]:
    parameters = list(inspect.signature(transfer).parameters.values())
    return parse_arguments("transfer", parameters, {"source": str, "amount": int}, texts)


def test_arguments_go_by_position_and_defaults_may_be_left_out() -> None:
    assert parse_transfer("ann") == ["ann"]
    assert parse_transfer("ann", "5") == ["ann", 5]


@pytest.mark.parametrize("texts", [[], ["ann", "5", "6"]])
def test_too_few_or_too_many_are_refused_with_what_it_takes(texts: list[str]) -> None:
    with pytest.raises(ConfigError, match=f"{len(texts)} arguments for transfer; it takes source: str, amount: int"):
        parse_transfer(*texts)


def test_a_bad_argument_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="amount: 'much' is not an int"):
        parse_transfer("ann", "much")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("ann", "ann"),
        (5, "5"),
        (None, "null"),
        (b"\x00", '"hex:00"'),
        ([1, "a"], '[1, "a"]'),
        ((1, 2), "[1, 2]"),
        ({3, 1}, "[1, 3]"),
        ({1: Colour.RED}, '{"1": "RED"}'),
        (Point(1, ["ä"]), '{"x": 1, "tags": ["ä"]}'),
    ],
)
def test_a_result_is_text_or_json(value: Any, text: str) -> None:
    assert to_text(value) == text


def test_every_exit_code_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    for code in ExitCode:
        assert f"| {int(code)} |" in page, code.name
