"""Sets, counters and queues: state that the core keeps beside maps, and maps in order."""

from __future__ import annotations

from typing import Annotated, Any

import pytest

import pssmr
from pssmr.executor import Executor
from pssmr.testing import check


class Board(pssmr.Service):
    """A board of jobs."""

    members = pssmr.Set[str]()
    done = pssmr.Counter()
    jobs = pssmr.Queue[tuple[str, int]]()
    scores = pssmr.Map[str, int]()

    @pssmr.command
    def join(self, name: Annotated[str, members.write]) -> bool:
        return self.members.add(name)

    @pssmr.command
    def leave(self, name: Annotated[str, members.write]) -> bool:
        return self.members.discard(name)

    @pssmr.query(reads=[members])
    def everybody(self, start: str | None, stop: str | None) -> list[str]:
        return list(self.members.range(start, stop))

    @pssmr.command(writes=[jobs])
    def submit(self, job: str, size: int) -> int:
        self.jobs.push((job, size))
        if size < 0:
            raise pssmr.Refused("no such size")
        return len(self.jobs)

    @pssmr.command(writes=[jobs])
    def take(self) -> tuple[str, int] | None:
        return self.jobs.pop(None)

    @pssmr.query(reads=[jobs])
    def waiting(self) -> list[tuple[str, int]]:
        return list(self.jobs)

    @pssmr.command(commutes=[done])
    def finish(self, amount: int) -> None:
        self.done.add(amount)
        if amount > 1000:
            raise pssmr.Refused("too many at once")

    @pssmr.command(writes=[done])
    def correct(self, value: int) -> int:
        self.done.value = value
        self.done.add()
        return self.done.value

    @pssmr.query(reads=[done])
    def finished(self) -> int:
        return self.done.value

    @pssmr.command
    def score(self, name: Annotated[str, scores.write], points: int) -> None:
        self.scores[name] = points

    @pssmr.query(reads=[scores])
    def scores_between(self, start: str | None, stop: str | None) -> list[tuple[str, int]]:
        return list(self.scores.range(start, stop))


def test_a_set_has_each_element_once_in_order() -> None:
    board = Board()
    assert [board.join(name) for name in ("eve", "ann", "eve", "bob")] == [True, True, False, True]
    assert board.everybody(None, None) == ["ann", "bob", "eve"]
    assert board.everybody("ann", "bob") == ["ann"]
    assert board.everybody("b", None) == ["bob", "eve"]
    assert (board.leave("ann"), board.leave("ann"), "ann" in board.members) == (True, False, False)
    with pytest.raises(KeyError, match="ann"):
        board.members.remove("ann")
    board.members.clear()
    assert len(board.members) == 0


def test_a_queue_gives_values_in_the_order_they_came_in() -> None:
    board = Board()
    for size in range(300):
        assert board.submit("job", size) == size + 1
    assert board.jobs.peek() == ("job", 0)
    assert [board.take() for _ in range(299)] == [("job", size) for size in range(299)]
    board.submit("last", 1)
    assert board.waiting() == [("job", 299), ("last", 1)]
    board.jobs.clear()
    assert (board.take(), board.jobs.peek(), len(board.jobs)) == (None, None, 0)
    with pytest.raises(IndexError, match="jobs is empty"):
        board.jobs.pop()


def test_what_is_taken_from_a_queue_is_a_copy() -> None:
    class Lists(pssmr.Service):
        lists = pssmr.Queue[list[int]]()

    lists = Lists()
    lists.lists.push([1])
    first = lists.lists.peek()
    assert first is not None
    first.append(2)
    assert lists.lists.peek() == [1]


def test_a_counter_counts_from_0() -> None:
    board = Board()
    assert board.finished() == 0
    board.finish(5)
    board.finish(-7)
    assert board.finished() == -2
    assert board.correct(40) == 41
    board.done.value = 2**63 - 1
    board.finish(1)
    assert board.finished() == -(2**63), "it wraps around, so that additions commute"


def test_a_map_has_ranges_of_keys() -> None:
    board = Board()
    names = [f"{number:03}" for number in range(200)]
    for points, name in reversed(list(enumerate(names))):
        board.score(name, points)
    expected = list(zip(names, range(200), strict=True))
    assert board.scores_between(None, None) == expected
    assert board.scores_between("050", "150") == expected[50:150]
    assert board.scores_between("150", "050") == []
    assert board.scores_between("0505", None) == expected[51:]


@pytest.mark.parametrize("workers", [1, 3])
def test_what_a_failing_handler_has_changed_is_undone(workers: int) -> None:
    with Executor(Board(), workers=workers) as executor:
        calls: list[pssmr.Call[Any]] = [
            Board.submit.bind("a", 1),
            Board.submit.bind("b", -1),
            Board.finish.bind(10),
            Board.finish.bind(2000),
            Board.waiting.bind(),
            Board.finished.bind(),
        ]
        outcomes = executor.run(calls)
    assert isinstance(outcomes[1], pssmr.Refused)
    assert isinstance(outcomes[3], pssmr.Refused)
    assert outcomes[4:] == [[("a", 1)], 10]


class Liar(Board):
    """Declares nothing of what it touches."""

    other = pssmr.Resource[str]()

    @pssmr.command(writes=[other])
    def sneak(self, what: str) -> None:
        touch: dict[str, Any] = {
            "set": lambda: self.members.add("ann"),
            "whole set": lambda: len(self.members),
            "push": lambda: self.jobs.push(("a", 1)),
            "peek": lambda: self.jobs.peek(),
            "count": lambda: self.done.add(1),
            "look": lambda: self.done.value,
        }
        touch[what]()

    @pssmr.command(commutes=[Board.done])
    def look(self) -> int:
        return self.done.value

    def snapshot(self) -> bytes:
        return b""

    def restore(self, state: bytes) -> None:
        assert not state


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("set", "sneak reads members.'ann'. but does not declare it: annotate the argument .* members.read"),
        ("whole set", r"reads all of members .* declare the whole set with reads=\[members\]"),
        ("push", r"reads jobs but .* declare it with reads=\[jobs\]"),
        ("peek", r"reads jobs but .* declare it with reads=\[jobs\]"),
        ("count", r"adds to done but .* declare it with commutes=\[done\]"),
        ("look", r"reads done but .* declare it with reads=\[done\]"),
    ],
)
def test_undeclared_access_is_denied_and_says_what_to_declare(what: str, message: str) -> None:
    with pytest.raises(pssmr.UndeclaredAccess, match=message):
        Liar().sneak(what)


def test_who_only_adds_may_not_look() -> None:
    with pytest.raises(pssmr.UndeclaredAccess, match="look reads done"):
        Liar().look()


def test_additions_to_a_counter_run_in_parallel_and_a_reader_waits_for_them() -> None:
    with Executor(Board(), workers=4) as executor:
        calls: list[pssmr.Call[Any]] = []
        for _ in range(50):
            calls += [Board.finish.bind(1) for _ in range(10)]
            calls.append(Board.finished.bind())
        outcomes = executor.run(calls)
    assert outcomes[10::11] == list(range(10, 501, 10))


def test_a_snapshot_has_all_of_it() -> None:
    def calls() -> list[pssmr.Call[Any]]:
        return [Board.join.bind("ann"), Board.submit.bind("a", 1), Board.submit.bind("b", 2), Board.take.bind()]

    with Executor(Board()) as first, Executor(Board()) as second:
        first.run([*calls(), Board.finish.bind(3)])
        second.run([Board.join.bind("zoe")])
        second.restore(first.snapshot())
        assert second.state_digest() == first.state_digest()
        outcomes = second.run([Board.submit.bind("c", 3), Board.waiting.bind(), Board.finished.bind()])
        assert outcomes == [2, [("b", 2), ("c", 3)], 3]


def test_a_service_of_all_kinds_of_state_passes_the_check() -> None:
    check(Board, runs=20, other_processes=False)


def test_declarations_that_make_no_sense_are_refused() -> None:
    with pytest.raises(pssmr.DeclarationError, match=r"a queue has no keys; declare it with writes=\[jobs\]"):

        class Keyed(pssmr.Service):
            jobs = pssmr.Queue[int]()

            @pssmr.command
            def push(self, number: Annotated[int, jobs.write]) -> None: ...

    with pytest.raises(pssmr.DeclarationError, match="only a counter, and a map with int values"):

        class Commuting(pssmr.Service):
            jobs = pssmr.Queue[int]()

            @pssmr.command(commutes=[jobs])
            def push(self) -> None: ...

    with pytest.raises(pssmr.DeclarationError, match=r"float can't be a key"):

        class Floats(pssmr.Service):
            floats = pssmr.Set[float]()

    with pytest.raises(pssmr.DeclarationError, match=r"its types are missing; write pssmr.Queue\[str\]"):

        class Untyped(pssmr.Service):
            jobs = pssmr.Queue()  # type: ignore[var-annotated]


def test_state_is_changed_and_not_assigned() -> None:
    board = Board()
    for name, hint in (("jobs", "by its methods"), ("members", "by its methods"), ("done", "self.done.value = 0")):
        with pytest.raises(AttributeError, match=hint):
            setattr(board, name, None)
    with pytest.raises(TypeError, match="the class only declares the queue"):
        Board.jobs.push(("a", 1))
    with pytest.raises(TypeError, match="jobs"):
        board.jobs.push("a")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="done"):
        board.done.value = "a"  # type: ignore[assignment]
