"""Mappings that are computed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pssmr.planning import Assignment, ConflictClass, PlanningError, SolverMissing, check, plan, program


def sharded(shards: int, *, writes: float = 0.15, everything: float = 0.05) -> list[ConflictClass]:
    """The classes of the papers: readers and writers of each shard, and of all shards."""
    everyone = [f"{kind}{i}" for i in range(shards) for kind in "RW"]
    local, shard_of = (1 - everything) / shards, range(shards)
    readers = [ConflictClass(f"R{i}", local * (1 - writes), {f"W{i}", "GW"}) for i in shard_of]
    writers = [ConflictClass(f"W{i}", local * writes, {f"W{i}", "GR", "GW"}) for i in shard_of]
    return [
        *readers,
        *writers,
        ConflictClass("GR", everything * (1 - writes), {"GW"}),
        ConflictClass("GW", everything * writes, {"GW", *everyone}),
    ]


def test_one_worker_runs_everything() -> None:
    assert {each.workers for each in plan(sharded(2), 1, method="greedy").mapping.values()} == {(0,)}


def test_classes_that_do_not_conflict_share_the_workers() -> None:
    found = plan([ConflictClass("a", 1), ConflictClass("b", 1)], 2, method="greedy")
    assert found.cost == pytest.approx(0.5)
    assert (found.method, found.proven) == ("greedy", False)


def test_greedy_gives_readers_of_shards_workers_of_their_own() -> None:
    mapping = plan(sharded(2), 4, method="greedy").mapping
    assert len(mapping["R0"].workers) == len(mapping["R1"].workers) == 2
    assert not set(mapping["R0"].workers) & set(mapping["R1"].workers)
    assert not mapping["R0"].synchronised


def test_greedy_uses_the_workers() -> None:
    one, many = (plan(sharded(4), workers, method="greedy").cost for workers in (1, 8))
    assert many < one / 2


@st.composite
def any_classes(draw: st.DrawFn) -> list[ConflictClass]:
    names = [f"c{i}" for i in range(draw(st.integers(1, 7)))]
    weight = st.floats(0.01, 100)
    return [ConflictClass(name, draw(weight), draw(st.sets(st.sampled_from(names)))) for name in names]


@settings(max_examples=150, deadline=None)
@given(any_classes(), st.integers(1, 9))
def test_whatever_conflicts_greedy_finds_a_safe_mapping(classes: list[ConflictClass], workers: int) -> None:
    check(classes, plan(classes, workers, method="greedy").mapping, workers)


@pytest.mark.parametrize("workers", [0, -1, 1025])
def test_the_number_of_workers_is_bounded(workers: int) -> None:
    with pytest.raises(PlanningError, match="workers"):
        plan(sharded(1), workers)


def test_the_number_of_classes_is_bounded() -> None:
    with pytest.raises(PlanningError, match="1025 classes"):
        plan([ConflictClass(str(i), 1) for i in range(1025)], 2)


def test_without_a_solver_greedy_is_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "is_installed", lambda: False)
    assert plan(sharded(2), 4).method == "greedy"
    with pytest.raises(SolverMissing, match=r"pssmr\[plan\]"):
        plan(sharded(2), 4, method="solver")


def test_the_better_of_solver_and_greedy_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    classes = [ConflictClass("a", 1), ConflictClass("b", 1)]
    poor = {each.name: Assignment((0,), synchronised=False) for each in classes}
    monkeypatch.setattr(program, "is_installed", lambda: True)
    monkeypatch.setattr(program, "solve", lambda *_: (poor, True))
    assert plan(classes, 2).method == "greedy"
    assert plan(classes, 2, method="solver").mapping == poor
    monkeypatch.setattr(program, "solve", lambda *_: None)
    assert plan(classes, 2, method="solver").method == "greedy"


def test_a_solver_that_breaks_a_rule_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    classes = [ConflictClass("a", 1, {"a"})]
    unsafe = {"a": Assignment((0, 1), synchronised=False)}
    monkeypatch.setattr(program, "is_installed", lambda: True)
    monkeypatch.setattr(program, "solve", lambda *_: (unsafe, True))
    with pytest.raises(PlanningError, match="R2"):
        plan(classes, 2, method="solver")


def test_the_solver_is_no_worse_than_greedy() -> None:
    pytest.importorskip("highspy")
    classes = sharded(2)
    solved = plan(classes, 4, method="solver", time_limit_s=5)
    check(classes, solved.mapping, 4)
    assert solved.method == "solver"
    assert solved.cost <= plan(classes, 4, method="greedy").cost + 1e-6


@settings(max_examples=15, deadline=None)
@given(any_classes(), st.integers(1, 3))
def test_whatever_conflicts_the_solver_finds_a_safe_mapping(classes: list[ConflictClass], workers: int) -> None:
    pytest.importorskip("highspy")
    check(classes, plan(classes, workers, method="solver", time_limit_s=1).mapping, workers)
