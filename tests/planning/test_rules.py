"""Which mappings of classes to workers are safe."""

from __future__ import annotations

import pytest

from pssmr.planning import Assignment, ConflictClass, PlanningError, RuleBroken, check, cost

READERS = ConflictClass("readers", 9, {"writers"})
WRITERS = ConflictClass("writers", 1, {"writers"})


def concurrent(*workers: int) -> Assignment:
    return Assignment(workers, synchronised=False)


def synchronised(*workers: int) -> Assignment:
    return Assignment(workers, synchronised=True)


def test_readers_beside_each_other_and_writers_alone_are_safe() -> None:
    check([READERS, WRITERS], {"readers": concurrent(0, 1, 2), "writers": synchronised(0, 1, 2)}, 3)
    check([READERS, WRITERS], {"readers": concurrent(1), "writers": synchronised(0, 1, 2)}, 3)


@pytest.mark.parametrize(
    ("rule", "readers", "writers"),
    [
        (1, concurrent(), synchronised(0)),
        (2, concurrent(0), concurrent(0, 1)),
        (3, concurrent(0), concurrent(0)),
        (4, concurrent(0, 2), synchronised(0, 1)),
        (4, synchronised(0), concurrent(1)),
        (5, synchronised(0, 1), synchronised(2)),
    ],
)
def test_each_rule_is_checked(rule: int, readers: Assignment, writers: Assignment) -> None:
    with pytest.raises(RuleBroken) as refused:
        check([READERS, WRITERS], {"readers": readers, "writers": writers}, 3)
    assert refused.value.rule == rule
    assert set(refused.value.classes) <= {"readers", "writers"}


def test_one_worker_need_not_be_synchronised_with_itself() -> None:
    check([WRITERS], {"writers": concurrent(2)}, 3)


@pytest.mark.parametrize(
    ("mapping", "problem"),
    [
        ({"readers": concurrent(0)}, "the mapping is of"),
        ({"readers": concurrent(3), "writers": synchronised(0)}, "expected 0 to 2"),
        ({"readers": concurrent(0, 0), "writers": synchronised(0)}, "expected ascending"),
    ],
)
def test_a_mapping_of_something_else_is_refused(mapping: dict[str, Assignment], problem: str) -> None:
    with pytest.raises(PlanningError, match=problem):
        check([READERS, WRITERS], mapping, 3)


@pytest.mark.parametrize(
    ("classes", "problem"),
    [
        ([], "no classes"),
        ([READERS], "conflicts with writers, which is no class"),
        ([WRITERS, WRITERS], "two classes writers"),
    ],
)
def test_classes_that_can_not_be_are_refused(classes: list[ConflictClass], problem: str) -> None:
    with pytest.raises(PlanningError, match=problem):
        check(classes, {}, 3)


@pytest.mark.parametrize("weight", [0, -1, float("nan"), float("inf")])
def test_a_weight_is_above_zero(weight: float) -> None:
    with pytest.raises(PlanningError, match="weight"):
        ConflictClass("a", weight)


def test_a_synchronised_class_costs_all_of_its_workers() -> None:
    classes = [ConflictClass("a", 1), ConflictClass("b", 1)]
    spread = {"a": concurrent(0), "b": concurrent(1)}
    assert cost(classes, spread, 2) == pytest.approx(0.5)
    assert cost(classes, spread | {"b": concurrent(0)}, 2) == pytest.approx(1.0)
    assert cost(classes, spread | {"b": synchronised(0, 1)}, 2) == pytest.approx(1.0 + 0.1 * 0.5)
