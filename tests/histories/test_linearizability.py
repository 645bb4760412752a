"""The judge of histories accepts what a single copy could have answered, and refuses everything else."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from tests.histories.history import History, Operation
from tests.histories.linearizability import NotLinearizable, check_linearizable
from tests.histories.once import check_exactly_once


def history(*operations: tuple[object, ...]) -> History:
    """Each: from, to, action, argument(s), result. `None` for a result that never came."""
    made = History()
    for called, returned, action, argument, result in operations:
        expected, value = argument if isinstance(argument, tuple) else (0, argument)
        operation = made.begin(0, 1, action, value, expected)  # type: ignore[arg-type]
        operation.called = called  # type: ignore[assignment]
        operation.returned = math.inf if result is None else returned  # type: ignore[assignment]
        operation.result = result or 0  # type: ignore[assignment]
    return made


RIGHT = {
    "one after the other": [(1, 2, "write", 5, 0), (3, 4, "read", 0, 5), (5, 6, "add", 2, 7)],
    "a read beside a write sees the old value": [(1, 4, "write", 5, 0), (2, 3, "read", 0, 0)],
    "a read beside a write sees the new value": [(1, 4, "write", 5, 0), (2, 3, "read", 0, 5)],
    "a write without a result, seen": [(1, 0, "write", 5, None), (2, 3, "read", 0, 5)],
    "a write without a result, not seen": [(1, 0, "write", 5, None), (2, 3, "read", 0, 0)],
    "a write without a result, seen late": [
        (1, 0, "write", 5, None),
        (2, 3, "read", 0, 0),
        (4, 5, "add", 1, 1),
        (6, 7, "read", 0, 5),
    ],
    "two adds at once": [(1, 4, "add", 1, 3), (2, 3, "add", 2, 2)],
    "who replaces first wins": [(1, 4, "replace", (0, 5), 1), (2, 3, "replace", (0, 6), 0)],
}

WRONG = {
    "a lost write": [(1, 2, "write", 5, 0), (3, 4, "read", 0, 0)],
    "a stale read": [(1, 2, "write", 5, 0), (3, 4, "write", 6, 5), (5, 6, "read", 0, 5)],
    "a value from nowhere": [(1, 2, "write", 5, 0), (3, 4, "read", 0, 7)],
    "an add executed twice": [(1, 2, "add", 2, 2), (3, 4, "read", 0, 4)],
    "an add without a result, executed twice": [(1, 0, "add", 2, None), (3, 4, "read", 0, 4)],
    "a lost update": [(1, 4, "add", 1, 1), (2, 3, "add", 1, 1)],
    "back in time": [(1, 8, "write", 5, 0), (2, 3, "read", 0, 5), (4, 5, "read", 0, 0)],
    "a write without a result that comes and goes": [
        (1, 0, "write", 5, None),
        (2, 3, "read", 0, 5),
        (4, 5, "read", 0, 0),
    ],
    "both replace first": [(1, 4, "replace", (0, 5), 1), (2, 3, "replace", (0, 6), 1)],
    "a write before it was sent": [(1, 2, "read", 0, 5), (3, 4, "write", 5, 0)],
}


@pytest.mark.parametrize("operations", RIGHT.values(), ids=RIGHT)
def test_what_one_copy_could_have_answered_is_right(operations: list[tuple[object, ...]]) -> None:
    check_linearizable(history(*operations))


@pytest.mark.parametrize("operations", WRONG.values(), ids=WRONG)
def test_what_no_order_explains_is_refused(operations: list[tuple[object, ...]]) -> None:
    with pytest.raises(NotLinearizable, match="register 1: no order explains"):
        check_linearizable(history(*operations))


def test_registers_are_judged_one_by_one() -> None:
    made = history((1, 2, "write", 5, 0), (3, 4, "read", 0, 0))
    made.operations[1].key = 2
    check_linearizable(made)
    made.operations[1].key = 1
    with pytest.raises(NotLinearizable):
        check_linearizable(made)


def run(draw: random.Random, count: int, *, at_once: int, lost: float) -> History:
    """What clients see of one copy that executes each operation at some moment between its call and its return."""
    made, value, under_way = History(), 0, list[tuple[Operation, int | None]]()
    while len(made.operations) < count or under_way:
        if len(made.operations) < count and len(under_way) < at_once and draw.random() < 0.5:
            action = draw.choice(["read", "write", "add", "replace"])
            operation = made.begin(len(under_way), 1, action, draw.randrange(1, 4), draw.randrange(4))  # type: ignore[arg-type]
            under_way.append((operation, None))
        elif under_way:
            place = draw.randrange(len(under_way))
            operation, result = under_way[place]
            if result is None:
                if draw.random() >= lost / 2:
                    value, result = operation.apply(value)
                    under_way[place] = (operation, result)
                else:
                    del under_way[place]
            else:
                if draw.random() >= lost / 2:
                    made.end(operation, result)
                del under_way[place]
    return made


@pytest.mark.parametrize("lost", [0.0, 0.1])
def test_whatever_one_copy_answers_is_right(lost: float) -> None:
    for seed in range(30):
        check_linearizable(run(random.Random(seed), 60, at_once=6, lost=lost))


def test_the_judge_agrees_with_trying_every_order() -> None:
    draw = random.Random(3)
    verdicts = set()
    for _ in range(400):
        made = run(draw, 5, at_once=3, lost=0.1)
        # A result is changed in most of them, so that some are wrong.
        for operation in draw.sample(made.operations, 1):
            operation.result = draw.randrange(5)
        try:
            check_linearizable(made)
            verdict = True
        except NotLinearizable:
            verdict = False
        assert verdict == some_order_explains(made), made.operations
        verdicts.add(verdict)
    assert verdicts == {True, False}


def some_order_explains(made: History) -> bool:
    """The definition, literally."""
    unknown = [each for each in made.operations if not each.is_acknowledged]
    known = [each for each in made.operations if each.is_acknowledged]
    return any(
        explains(order)
        for count in range(len(unknown) + 1)
        for chosen in itertools.combinations(unknown, count)
        for order in itertools.permutations([*known, *chosen])
    )


def explains(order: tuple[Operation, ...]) -> bool:
    """Whether this order is true to real time and gives the results."""
    value = 0
    for place, operation in enumerate(order):
        if any(later.returned < operation.called for later in order[place:]):
            return False
        value, result = operation.apply(value)
        if operation.is_acknowledged and result != operation.result:
            return False
    return True


def test_exactly_once_is_what_it_says() -> None:
    made = History()
    for result in (1, 2, None):
        operation = made.begin(0, 1, "add", 1)
        if result is not None:
            made.end(operation, result)
    read = made.begin(0, 1, "read")
    made.end(read, 2)
    withdrawn = made.begin(0, 1, "add", 1)
    made.withdraw(withdrawn)
    check_exactly_once(made, {0: 1, 1: 1})
    check_exactly_once(made, {0: 1, 1: 1, 2: 1})
    for executed in ({0: 1}, {0: 1, 1: 2}, {0: 1, 1: 1, 2: 2}, {0: 1, 1: 1, 9: 1}, {0: 1, 1: 1, withdrawn.number: 1}):
        with pytest.raises(AssertionError):
            check_exactly_once(made, executed)
