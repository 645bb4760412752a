"""The canonical encoding: what a type takes, what it refuses, and that equal values have equal bytes."""

from __future__ import annotations

import dataclasses
import enum
import math
import os
import subprocess
import sys
from typing import Annotated, Any, Literal, NewType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pssmr


class Side(enum.Enum):
    BUY = "buy"
    SELL = "sell"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 300


@dataclasses.dataclass(frozen=True)
class Price:
    amount: int
    currency: str = "EUR"


@dataclasses.dataclass
class Order:
    owner: str
    side: Side
    prices: list[Price]
    limit: Price | None = None
    tags: set[str] = dataclasses.field(default_factory=set, kw_only=True)


@dataclasses.dataclass(frozen=True)
class Checked:
    value: int

    def __post_init__(self) -> None:
        if self.value < 0:
            raise ValueError("negative")


Owner = NewType("Owner", str)

ints = st.integers(-(2**63), 2**64 - 1)
prices = st.builds(Price, ints, st.text())
orders = st.builds(
    Order, st.text(), st.sampled_from(Side), st.lists(prices), st.none() | prices, tags=st.sets(st.text())
)

VALUES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (None, st.none()),
    (bool, st.booleans()),
    (int, ints),
    (float, st.floats(allow_nan=False)),
    (str, st.text()),
    (bytes, st.binary()),
    (list[int], st.lists(ints)),
    (tuple[int, str], st.tuples(ints, st.text())),
    (tuple[str, ...], st.lists(st.text()).map(tuple)),
    (tuple[()], st.just(())),
    (set[int], st.sets(ints)),
    (frozenset[tuple[str, int]], st.frozensets(st.tuples(st.text(), ints))),
    (dict[str, list[int]], st.dictionaries(st.text(), st.lists(ints))),
    (dict[int, bytes], st.dictionaries(ints, st.binary())),
    (int | None, st.none() | ints),
    (int | float | str | None, st.none() | ints | st.floats(allow_nan=False) | st.text()),
    (Literal["a", 2, None], st.sampled_from(["a", 2, None])),
    (Side, st.sampled_from(Side)),
    (Level, st.sampled_from(Level)),
    (Owner, st.text()),
    (Annotated[int, "anything"], ints),
    (Price, prices),
    (Order, orders),
    (Price | Order | None, st.none() | prices | orders),
    (dict[Price, Level], st.dictionaries(prices, st.sampled_from(Level))),
]


@pytest.mark.parametrize(("kind", "values"), VALUES, ids=[str(kind) for kind, _ in VALUES])
def test_a_value_survives_with_its_type(kind: Any, values: st.SearchStrategy[Any]) -> None:
    @settings(max_examples=60, deadline=None)
    @given(values)
    def check(value: Any) -> None:
        encoded = pssmr.encode(kind, value)
        decoded = pssmr.decode(kind, encoded)
        assert decoded == value
        assert type(decoded) is type(value)
        assert pssmr.encode(kind, decoded) == encoded

    check()


@pytest.mark.parametrize(("kind", "values"), VALUES, ids=[str(kind) for kind, _ in VALUES])
def test_a_value_has_one_encoding_and_those_from_before_its_dataclass_grew(
    kind: Any, values: st.SearchStrategy[Any]
) -> None:
    """Hostile bytes: mutations of good ones, and any others."""
    may_be_shorter = kind in (Price, Order, Price | Order | None)
    good = values.map(lambda value: pssmr.encode(kind, value))

    @settings(max_examples=100, deadline=None)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        hostile = bytearray(data.draw(st.binary(max_size=40) | good))
        for _ in range(data.draw(st.integers(0, 3))):
            if hostile:
                hostile[data.draw(st.integers(0, len(hostile) - 1))] = data.draw(st.integers(0, 255))
        try:
            value = pssmr.decode(kind, bytes(hostile))
        except ValueError:
            return
        encoded = pssmr.encode(kind, value)
        if may_be_shorter and len(hostile) < len(encoded):
            assert pssmr.decode(kind, encoded) == value
        else:
            assert encoded == bytes(hostile)

    check()


def test_float_special_values_survive() -> None:
    for value in (0.0, -0.0, math.inf, -math.inf, 5e-324):
        decoded = pssmr.decode(float, pssmr.encode(float, value))
        assert decoded == value
        assert math.copysign(1, decoded) == math.copysign(1, value)
    assert math.isnan(pssmr.decode(float, pssmr.encode(float, math.nan)))
    assert pssmr.encode(float, -math.nan) == pssmr.encode(float, math.nan)


def test_an_int_will_do_for_a_float_but_not_where_ints_are_ints() -> None:
    assert pssmr.encode(float, 2) == pssmr.encode(float, 2.0)
    assert pssmr.encode(float | None, 2) == pssmr.encode(float, 2.0)
    assert pssmr.decode(int | float, pssmr.encode(int | float, 2)) == 2
    assert type(pssmr.decode(int | float, pssmr.encode(int | float, 2))) is int


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (int, True, "expected int, got bool"),
        (bool, 1, "expected bool, got int"),
        (int, 1.0, "expected int, got float"),
        (int, 2**64, "the int is beyond 64 bits (-2**63 to 2**64 - 1)"),
        (int, -(2**63) - 1, "the int is beyond 64 bits (-2**63 to 2**64 - 1)"),
        (float, 10**400, "the int is too large for a float"),
        (float, "1", "expected float, got str"),
        (str, b"x", "expected str, got bytes"),
        (str, "\ud800", "the string has a lone surrogate, so it is not UTF-8"),
        (None, 0, "expected None, got int"),
        (list[int], (1,), "expected list[int], got tuple"),
        (list[int], [1, "x"], "[1]: expected int, got str"),
        (tuple[int, str], (1,), "expected tuple[int, str], got a tuple of 1"),
        (set[str], {"a", 1}, ", an element: expected str, got int"),
        (dict[str, list[int]], {"ann": [1, None]}, "['ann'][1]: expected int, got NoneType"),
        (dict[str, int], {1: 1}, ", a key: expected str, got int"),
        (int | None, "x", "expected int | None, got str"),
        (Literal["a", "b"], "c", "expected Literal['a', 'b']"),
        (Side, "buy", "expected Side, got str"),
        (Price, {"amount": 1}, "expected Price, got dict"),
        (
            Order,
            Order("ann", Side.BUY, [Price(1), Price("2")]),  # type: ignore[arg-type]
            ".prices[1].amount: expected int, got str",
        ),
        (Price | Order, 1, "expected Price | Order, got int"),
    ],
)
def test_a_value_of_another_type_is_refused_with_its_place(kind: Any, value: Any, message: str) -> None:
    with pytest.raises(TypeError) as caught:
        pssmr.encode(kind, value)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (int, b""),
        (int, b"\xcc\x05"),
        (int, b"\xd0\x05"),
        (int, b"\xcd\x00\xff"),
        (int, b"\xcf" + bytes(7) + b"\x01"),
        (int, b"\xd1\xff\x80"),
        (int, b"\x05\x05"),
        (float, b"\xca\x00\x00\x00\x00"),
        (float, b"\xcb\x7f\xf8" + bytes(5) + b"\x01"),
        (float, b"\x01"),
        (str, b"\xd9\x01a"),
        (str, b"\xa1\xff"),
        (str, b"\xdb\xff\xff\xff\xff"),
        (bytes, b"\xc5\x00\x01a"),
        (bytes, b"\xd4\x00\x00"),
        (list[int], b"\xdc\x00\x01\x01"),
        (list[int], b"\xdd\xff\xff\xff\xff"),
        (list[list[int]], b"\x91" * 1000),
        (set[int], b"\x92\x02\x01"),
        (set[int], b"\x92\x01\x01"),
        (dict[str, int], b"\x82\xa1b\x01\xa1a\x01"),
        (dict[str, int], b"\x82\xa1a\x01\xa1a\x01"),
        (Side, b"\xa4hold"),
        (Price, b"\x90"),
        (Price, b"\x93\x01\xa3EUR\x01"),
        (Price | Order, b"\x90"),
        (Price | Order, b"\x92\xa5Other\x01"),
        (Checked, b"\x91\xff"),
    ],
)
def test_other_bytes_are_refused(kind: Any, data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        pssmr.decode(kind, data)


def test_a_dataclass_can_grow_by_fields_with_defaults() -> None:
    assert pssmr.decode(Price, b"\x91\x05") == Price(5, "EUR")


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (dict[Price, int], b"\x81\x91\x05\x01"),
        (frozenset[Price], b"\x91\x91\x05"),
        (set[tuple[Price]], b"\x91\x91\x91\x05"),
    ],
)
def test_a_key_has_all_its_fields(kind: Any, data: bytes) -> None:
    """Or one value could be in a dict or set twice."""
    with pytest.raises(ValueError, match=r"expected Price, got an array of 1"):
        pssmr.decode(kind, data)


def test_the_values_of_one_encoding_are_bounded() -> None:
    many = b"\xdd" + (1 << 20).to_bytes(4, "big") + b"\xc0" * (1 << 20)
    with pytest.raises(ValueError, match="more than 1048576 values"):
        pssmr.decode(list[None], many)
    with pytest.raises(TypeError, match="more than 1048576 values"):
        pssmr.encode(list[None], [None] * (1 << 20))


def test_sets_and_dicts_are_sorted_by_value() -> None:
    assert list(pssmr.decode(dict[int, None], pssmr.encode(dict[int, None], dict.fromkeys([300, -1, -1000, 5])))) == [
        -1000,
        -1,
        5,
        300,
    ]
    assert list(pssmr.decode(dict[str, None], pssmr.encode(dict[str, None], dict.fromkeys(["b", "aa", "B"])))) == [
        "B",
        "aa",
        "b",
    ]


def test_two_nans_in_a_set_are_refused() -> None:
    with pytest.raises(TypeError, match="two elements have the same encoding"):
        pssmr.encode(set[float], {float("nan"), float("nan")})


def test_the_encoding_does_not_depend_on_the_hash_seed() -> None:
    program = (
        "import pssmr; words = {str(i) * 3 for i in range(50)};"
        "print((pssmr.encode(set[str], words) + pssmr.encode(dict[str, set[str]], {w: words for w in words})).hex())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(outputs) == 1


class Node:
    pass


@dataclasses.dataclass
class Recursive:
    child: Recursive | None


@dataclasses.dataclass
class WithInitVar:
    value: int
    extra: dataclasses.InitVar[int]


class Permission(enum.Flag):
    READ = 1


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Any, "name the types that it can be"),
        (object, "name the types that it can be"),
        (list, "list needs the types of its elements, as in list[int]"),
        (Node, "Node can't be encoded; supported are None, bool, int"),
        (complex, "complex can't be encoded"),
        (bytearray, "use bytes"),
        (Recursive, "Recursive contains itself"),
        (WithInitVar, "has an InitVar"),
        (Permission, "is a Flag"),
        (set[list[int]], "can't be the element of a set: its values are not hashable"),
        (dict[Order, int], "Order can't be the key of a dict: its values are not hashable"),
        (list[int] | tuple[int, ...], "are both encoded as array and can't be told apart"),
        (Literal["a"] | str, "can't be told apart"),
        (list[Node], "Node can't be encoded"),
    ],
)
def test_a_type_that_cant_be_encoded_is_refused_with_a_remedy(kind: Any, message: str) -> None:
    with pytest.raises(TypeError) as caught:
        pssmr.encode(kind, None)
    assert message in str(caught.value)


def test_a_dataclass_is_not_taken_for_its_subclass() -> None:
    @dataclasses.dataclass(frozen=True)
    class Special(Price):
        discount: int = 0

    with pytest.raises(TypeError, match="expected Price, got Special"):
        pssmr.encode(Price, Special(1))
