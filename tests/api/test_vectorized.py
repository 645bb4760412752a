"""Vectorised commands: one call for many commands, with the outcomes of one after the other."""

from __future__ import annotations

import random
from typing import Annotated, Any

import numpy as np
import pytest

import pssmr
from pssmr.executor import Executor

CELLS = 64


class Grid(pssmr.Service):
    """Numbers in an array of the service's own."""

    cells = pssmr.Resource[int]()

    def __init__(self) -> None:
        self.values = np.zeros(CELLS, dtype=np.int64)
        self.lengths: list[int] = []

    @pssmr.command(vectorized=True)
    def add(self, cell: Annotated[int, cells.write], amount: int = 1) -> int:
        cells = np.asarray(cell)
        self.lengths.append(len(cells))
        if (cells >= CELLS).any():
            raise pssmr.Refused("no such cell")
        self.values[cells] += amount
        return self.values[cells]  # type: ignore[no-any-return]

    @pssmr.query(vectorized=True)
    def value(self, cell: Annotated[int, cells.read]) -> int:
        return self.values[cell]  # type: ignore[no-any-return]

    @pssmr.command
    def add_by_another(self, cell: Annotated[int, cells.write]) -> int:
        return self.add(cell, 5) + self.value(cell)

    def snapshot(self) -> bytes:
        return self.values.tobytes()

    def restore(self, state: bytes) -> None:
        self.values = np.frombuffer(state, dtype=np.int64).copy()


class Echoes(pssmr.Service):
    """The same command twice, for many at once and for one."""

    @pssmr.query(vectorized=True, reads=[])
    def many(self, value: int) -> int:
        return value

    @pssmr.query(reads=[])
    def one(self, value: int) -> int:
        return value


class Words(pssmr.Service):
    """A map, with arguments and results of other types than numbers."""

    words = pssmr.Map[str, str]()

    @pssmr.command(vectorized=True)
    def put(self, key: Annotated[str, words.write], value: str, loud: bool, weight: float) -> str | None:
        assert isinstance(key, np.ndarray)
        assert isinstance(loud, np.ndarray)
        assert isinstance(weight, np.ndarray)
        assert (loud.dtype, weight.dtype) == (np.dtype(np.bool_), np.dtype(np.float64))
        previous = [self.words.get(each) for each in key]
        for each, text, is_loud, times in zip(key, value, loud, weight, strict=True):
            self.words[each] = (text.upper() if is_loud else text) * int(times)
            if text == "sneak":
                self.words["elsewhere"] = text
            if text == "bad":
                raise ValueError(text)
        return previous  # type: ignore[return-value]

    @pssmr.command(vectorized=True)
    def forget(self, key: Annotated[str, words.write]) -> None:
        for each in key:
            self.words.pop(each, None)

    @pssmr.command(vectorized=True)
    def wrong(self, key: Annotated[str, words.write], what: str) -> int:
        results: dict[str, Any] = {
            "few": [],
            "scalar": 1,
            "type": ["text"] * len(key),
            "none": None,
            "float": np.ones(1),
        }
        return results[what[0]]  # type: ignore[no-any-return]

    @pssmr.query(reads=[words])
    def all(self) -> list[tuple[str, str]]:
        return list(self.words.items())


def test_independent_commands_are_executed_in_one_call() -> None:
    grid = Grid()
    with Executor(grid, workers=1) as executor:
        assert executor.run([Grid.add.bind(cell, cell) for cell in range(CELLS)]) == list(range(CELLS))
    assert sum(grid.lengths) == CELLS
    assert len(grid.lengths) < CELLS / 2


@pytest.mark.parametrize("scheduler", ["sequential", "keyed", "static", "graph-coarse"])
@pytest.mark.parametrize("workers", [1, 3])
def test_outcomes_are_those_of_one_after_the_other(scheduler: Any, workers: int) -> None:
    generator = random.Random(7)
    cells = [generator.randrange(CELLS + 4) for _ in range(2000)]
    values, expected = [0] * CELLS, list[int | str]()
    for cell in cells:
        if cell >= CELLS:
            expected.append("no such cell")
        else:
            values[cell] += cell
            expected.append(values[cell])
    with Executor(Grid(), workers=workers, scheduler=scheduler) as executor:
        outcomes = executor.run([Grid.add.bind(cell, cell) for cell in cells])
        assert [str(outcome) if isinstance(outcome, pssmr.Refused) else outcome for outcome in outcomes] == expected
        assert executor.run([Grid.value.bind(cell) for cell in range(CELLS)]) == values


def test_a_command_that_raises_takes_no_other_with_it() -> None:
    calls = [Words.put.bind(f"k{number}", "bad" if number % 10 == 3 else "good", False, 1.0) for number in range(40)]
    with Executor(Words(), workers=2) as executor:
        outcomes = executor.run(calls)
        assert [isinstance(outcome, pssmr.HandlerFailed) for outcome in outcomes] == [n % 10 == 3 for n in range(40)]
        (words,) = executor.run([Words.all.bind()])
        assert words == sorted((f"k{number}", "good") for number in range(40) if number % 10 != 3)


def test_arrays_have_the_types_of_the_arguments_and_results_are_encoded_as_declared() -> None:
    with Executor(Words(), workers=1) as executor:
        calls: list[pssmr.Call[Any]] = [Words.put.bind(f"k{n}", "a", n % 2 == 0, float(n)) for n in range(4)]
        assert executor.run(calls) == [None] * 4
        assert executor.run(calls) == ["", "a", "AA", "aaa"]
        assert executor.run([Words.forget.bind("k0"), Words.forget.bind("k3")]) == [None, None]
        assert executor.run([Words.all.bind()]) == [[("k1", "a"), ("k2", "AA")]]


def test_what_nobody_of_the_call_declares_is_denied() -> None:
    with Executor(Words(), workers=1) as executor:
        outcomes = executor.run([Words.put.bind("a", "sneak", False, 1.0), Words.put.bind("b", "fine", False, 1.0)])
        assert outcomes[1] is None
        assert isinstance(outcomes[0], pssmr.HandlerFailed)
        assert "UndeclaredAccess" in str(outcomes[0])


@pytest.mark.parametrize("what", ["few", "scalar", "type", "none", "float"])
def test_results_that_do_not_fit_fail_the_command(what: str) -> None:
    with pytest.raises(TypeError, match="wrong"):
        Words().wrong("key", what)
    with Executor(Words(), workers=1) as executor:
        (outcome,) = executor.run([Words.wrong.bind("key", what)])
        assert isinstance(outcome, pssmr.HandlerFailed)
        assert "TypeError" in str(outcome)


def test_arguments_that_do_not_fit_are_refused_alone() -> None:
    fitting = Grid.add.bind(1, 2).payload
    too_large = Grid.add.bind(2, 2**63).payload
    wrong_type = fitting[:-1] + b"\xc3"
    cut = fitting[:4] + b"\x91\x03"
    with Executor(Grid(), workers=1) as executor:
        replies = executor.execute([fitting, too_large, wrong_type, cut])
        decode = Grid.add.declared.method.decode_reply
        assert (decode(replies[0]), decode(replies[3])) == (2, 1), "a missing argument takes its default"
        with pytest.raises(pssmr.ArgumentError, match="beyond 64 bits with a sign"):
            decode(replies[1])
        with pytest.raises(pssmr.ArgumentError, match="expected int, got bool"):
            decode(replies[2])


def test_a_plain_call_is_a_call_with_one_command() -> None:
    grid = Grid()
    assert (grid.add(3, 4), grid.add(3), grid.value(3)) == (4, 5, 5)
    assert grid.add_by_another(3) == 20
    with pytest.raises(pssmr.Refused):
        grid.add(CELLS)


def test_declarations_that_make_no_sense_are_refused() -> None:
    with pytest.raises(pssmr.DeclarationError, match="a vectorised command has no context"):

        class WithContext(pssmr.Service):
            @pssmr.command(vectorized=True)
            def act(self, ctx: pssmr.Context, number: int) -> None: ...

    with pytest.raises(pssmr.DeclarationError, match="takes its arguments by position"):

        class WithKeyword(pssmr.Service):
            @pssmr.command(vectorized=True)
            def act(self, *, number: int) -> None: ...


def test_arrays_take_the_same_spellings_of_an_int_as_single_commands() -> None:
    edges = [
        0,
        1,
        31,
        32,
        33,
        127,
        128,
        255,
        256,
        2**15 - 1,
        2**15,
        2**16 - 1,
        2**16,
        2**31,
        2**32 - 1,
        2**32,
        2**63 - 1,
    ]
    widths = [(0xCC, 1, False), (0xCD, 2, False), (0xCE, 4, False), (0xCF, 8, False)]
    widths += [(0xD0, 1, True), (0xD1, 2, True), (0xD2, 4, True), (0xD3, 8, True)]
    spellings = [pssmr.encode(int, value) for edge in edges for value in (edge, -edge - 1)]
    for head, width, signed in widths:
        least, most = (-(2 ** (8 * width - 1)), 2 ** (8 * width - 1) - 1) if signed else (0, 2 ** (8 * width) - 1)
        values = [value for edge in edges for value in (edge, -edge - 1) if least <= value <= most]
        spellings += [bytes([head]) + value.to_bytes(width, "big", signed=signed) for value in values]
    with Executor(Echoes(), workers=1) as executor:
        many, one = (
            executor.execute([name + b"\x91" + each for each in spellings]) for name in (b"\x04many", b"\x03one")
        )
    assert many == one
    assert {reply[0] for reply in many} == {0, 3}


def test_replies_come_in_order_however_many_commands_are_executed_at_once() -> None:
    with Executor(Echoes(), workers=2) as executor:
        for count in (1, 511, 512, 513, 3000):
            assert executor.run([Echoes.one.bind(n) for n in range(count)]) == list(range(count))
