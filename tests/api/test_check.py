"""`pssmr.testing.check`: it lets a right service pass, and shows each kind of mistake by the fewest commands."""

from __future__ import annotations

import dataclasses
import enum
import logging
import random
import signal
import time
from collections.abc import Callable
from typing import Annotated, Any, Literal, NewType

import pytest

import pssmr
from pssmr.testing import CheckFailed, check, checker
from pssmr.testing.checker import Checker
from pssmr.testing.findings import Finding, answers
from pssmr.testing.histories import allowed_order, latest_first, outcome_of
from pssmr.testing.quiet import handlers_quiet
from pssmr.testing.steps import Compound, Generator, History, Step, shortened, size
from pssmr.testing.values import draw, simplest
from tests.api import wrong_services as wrong


def found(service: type[pssmr.Service], **options: Any) -> Finding:
    with pytest.raises(CheckFailed) as caught:
        check(service, **{"runs": 40, "other_processes": False, **options})
    assert caught.value.finding is not None
    assert str(caught.value) == str(caught.value.finding)
    return caught.value.finding


def names(history: History) -> list[str]:
    return [step.command.name for request in history for step in request.steps]


def test_a_right_service_passes_and_says_what_was_tried(caplog: pytest.LogCaptureFixture) -> None:
    report = check(wrong.Right, runs=40, length=10)
    assert report.runs == 40
    assert set(report.executed) == {"add", "count", "items", "note", "forget", "lot", "fail"}
    assert report.executed.total() == 400
    assert report.together["batch"] > 10
    assert report.together["transaction"] > 10
    assert 0 < report.refused["add"] < report.executed["add"]
    assert 0 < report.failed["fail: KeyError"] < report.executed["fail"]
    assert not report.notes
    assert not [record for record in caplog.records if record.name == "pssmr.handler"]


@pytest.mark.parametrize(
    ("service", "kind", "commands"),
    [
        (wrong.UndeclaredConflict, "undeclared conflict", 2),
        (wrong.OrderDependentState, "undeclared conflict", 2),
        (wrong.NotCommuting, "undeclared conflict", 2),
        (wrong.LostUpdates, "undeclared conflict", 2),
        (wrong.UndeclaredAccess, "undeclared access", 1),
        (wrong.CountedQueries, "query changes", 1),
        (wrong.LoggedQueries, "query changes", 1),
        (wrong.Clock, "nondeterminism", 1),
        (wrong.LostState, "restore", 2),
        (wrong.Pickled, "restore", 1),
        (wrong.Exit, "stops", 1),
    ],
)
def test_each_mistake_is_shown_by_the_fewest_commands(service: type[pssmr.Service], kind: str, commands: int) -> None:
    finding = found(service)
    assert (finding.kind, size(finding.history)) == (kind, (commands, 0)), str(finding)


def test_state_that_only_a_transaction_leaves_behind_is_shown_by_the_shortest_one() -> None:
    finding = found(wrong.NotUndone, runs=200)
    assert finding.kind == "restore"
    assert str(finding).splitlines()[1:5] == [
        "  1. transaction of add('a', 1), add('a', -1)",
        "  2. add('a', 1)",
        "without a restart: 1 is undone: add raises Refused('too little'); 2 returns 2",
        "with a restart from a snapshot after 1: 1 is undone: add raises Refused('too little'); 2 returns 1",
    ]


def test_an_attribute_that_two_commands_assign_at_once_is_named() -> None:
    finding = found(wrong.LostUpdates)
    assert "commands 1 and 2 may run at once" in finding.title
    assert "one assigns self.total, which the other uses" in finding.title


def test_what_is_declared_to_commute_is_the_services_own_affair() -> None:
    assert check(wrong.ToleratedUpdates, runs=20, other_processes=False).executed["add"] > 0


@pytest.mark.parametrize("length", [1, 4])
def test_short_runs_of_a_right_service_pass_in_all_orders(length: int) -> None:
    assert check(wrong.Right, runs=60, length=length, other_processes=False).runs == 60


@pytest.mark.parametrize("service", [wrong.Chance, wrong.Identity])
def test_what_depends_on_chance_is_found(service: type[pssmr.Service]) -> None:
    finding = found(service)
    assert finding.kind == "nondeterminism", str(finding)


@pytest.mark.parametrize("find", [Checker.find_conflict, Checker.find_lost_state])
def test_what_depends_on_chance_is_not_taken_for_something_else(
    find: Callable[[Checker, History], Finding | None],
) -> None:
    generator = Generator(wrong.Executions, [], 0)
    finding = find(Checker(wrong.Executions, generator), generator.history(2))
    assert finding is not None
    assert finding.kind == "nondeterminism"


@pytest.mark.parametrize(
    ("service", "where"),
    [
        (wrong.HashSeed, "PYTHONHASHSEED="),
        (wrong.SetOrder, "PYTHONHASHSEED="),
        (wrong.RemembersGlobally, "that has executed other commands before"),
        (wrong.Calendar, "PYTHONHASHSEED=1 and a clock that is 400 days ahead"),
    ],
)
def test_what_only_another_process_shows_is_found(service: type[pssmr.Service], where: str) -> None:
    check(service, runs=5, other_processes=False)
    finding = found(service, runs=5, other_processes=True)
    assert (finding.kind, names(finding.history)) == ("process", ["items"])
    assert size(finding.history) == (1, 0)
    assert where in finding.observed[1][0]


def test_a_command_that_does_not_end_is_found_and_the_check_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checker, "_COMMAND_SECONDS_MAX", 0.5)
    monkeypatch.setattr(checker, "_KNOWN_TO_TAKE_LONG_SECONDS", 0.2)
    before = signal.getsignal(signal.SIGALRM)
    finding = found(wrong.Endless)
    assert (finding.kind, size(finding.history)) == ("never ends", (1, 0)), str(finding)
    assert "does not end" in finding.title
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_an_alarm_that_somebody_else_has_set_goes_off_afterwards() -> None:
    rung: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        check(wrong.Right, runs=2, other_processes=False)
        deadline = time.monotonic() + 60
        while not rung:
            assert time.monotonic() < deadline, "it never went off"
            time.sleep(0.001)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_ctrl_c_while_a_command_is_executed_ends_the_check() -> None:
    # What was started in the background ignores it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            check(wrong.Interrupted, runs=40, other_processes=False)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_service_without_commands_is_refused() -> None:
    with pytest.raises(pssmr.DeclarationError, match=r"Empty has no commands; mark its methods with @pssmr\.command"):
        check(wrong.Empty)


def test_a_finding_says_what_was_done_what_was_seen_and_what_to_do() -> None:
    text = str(found(wrong.UndeclaredConflict))
    lines = text.splitlines()
    assert lines[0] == "UndeclaredConflict: commands that may run at once, by their declarations, depend on their order"
    assert [line[:11] for line in lines[1:3]] == ["  1. note('", "  2. note('"]
    assert lines[3:5] == [
        "in the agreed order: 1 returns ['0']; 2 returns ['1']",
        "in the order 2, 1, which is allowed too: 1 returns ['1']; 2 returns ['0']",
    ]
    assert lines[5].startswith("Declare the state that they share")
    assert "add reads stock['total'] but does not declare it" in str(found(wrong.UndeclaredAccess))
    assert "Exit.fail raised SystemExit" in str(found(wrong.Exit))


def test_state_that_can_not_be_compared_is_noted() -> None:
    report = check(wrong.Uncovered, runs=2, other_processes=False)
    (note,) = report.notes
    assert note.startswith("not compared, and not restored: Uncovered keeps state that no snapshot would have")


def test_commands_that_are_refused_before_they_run_are_counted() -> None:
    report = check(wrong.Choosy, runs=10, other_processes=False)
    assert 0 < report.failed["put: CommandError"] < report.executed["put"]


def test_given_commands_are_drawn_from() -> None:
    calls = [wrong.Exit.add.bind("tea", 1), wrong.Exit.items.bind(least=3)]
    report = check(wrong.Exit, calls=calls, runs=5, other_processes=False)
    assert set(report.executed) == {"add", "items"}
    finding = found(wrong.Exit, calls=[*calls, wrong.Exit.fail.bind({"b": 1})])
    assert [str(step) for step in finding.history] == ["fail({'b': 1})"]


def test_the_same_seed_draws_the_same_commands() -> None:
    def drawn(seed: int) -> list[str]:
        return [str(step) for step in Generator(wrong.Right, [], seed).history(50)]

    assert drawn(1) == drawn(1) != drawn(2)


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclasses.dataclass(frozen=True)
class Order:
    number: int
    items: tuple[str, ...] = ()


Number = NewType("Number", int)

TYPES = [
    None,
    bool,
    int,
    float,
    str,
    bytes,
    Number,
    Colour,
    Order,
    Annotated[str, "key"],
    int | None,
    Literal["x", 2],
    list[int],
    tuple[int, ...],
    tuple[int, str],
    set[str],
    frozenset[int],
    dict[str, list[Order]],
]


@pytest.mark.parametrize("annotation", TYPES, ids=str)
def test_drawn_values_are_of_their_type(annotation: Any) -> None:
    source = random.Random(1)
    values = [draw(annotation, source) for _ in range(60)]
    for value in [*values, simplest(annotation)]:
        assert pssmr.decode(annotation, pssmr.encode(annotation, value)) == value
    assert annotation is None or len({repr(value) for value in values}) > 1


@dataclasses.dataclass(frozen=True)
class Even:
    number: int

    def __post_init__(self) -> None:
        if self.number % 2:
            raise ValueError("odd")


@dataclasses.dataclass(frozen=True)
class Never:
    number: int

    def __post_init__(self) -> None:
        raise ValueError("never")


def test_types_with_rules_of_their_own_are_drawn_until_one_is_right() -> None:
    source = random.Random(1)
    assert {draw(Even, source).number for _ in range(50)} == {0, 2, 100}
    for attempt in (lambda: draw(Never, source), lambda: simplest(Even)):
        with pytest.raises(pssmr.Error, match=r"can be drawn: it raises ValueError\(.*give calls to draw from"):
            attempt()


def test_orders_keep_what_conflicts_and_turn_the_rest_around() -> None:
    conflicts: list[list[int]] = [[], [], [0], [1], [2, 3]]
    assert latest_first(conflicts) == [1, 3, 0, 2, 4]
    assert allowed_order(conflicts, lambda index: index) == [0, 1, 2, 3, 4]


def shortest(seed: int, shows: Callable[[list[str]], bool]) -> list[str]:
    generator = Generator(wrong.Right, [], seed)
    history = generator.history(40)
    short = shortened(history, lambda steps: shows(names(steps)), generator)
    return [str(step) for step in short]


def test_what_is_not_needed_is_left_out() -> None:
    def shows(names: list[str]) -> bool:
        return names.count("count") >= 2 and "note" in names[names.index("count") :]

    short = shortest(3, shows)
    assert sorted(short) == ["count('a')", "count('a')", "note('a', 'a')"]


def test_what_is_sent_together_stays_so_only_if_it_matters() -> None:
    def together(count: int) -> Callable[[History], bool]:
        return lambda history: any(
            isinstance(each, Compound) and each.kind == "transaction" and len(each.steps) >= count for each in history
        )

    generator = Generator(wrong.Right, [], 3)
    history = generator.history(80)
    assert size(shortened(history, together(2), generator)) == (2, 1)
    assert size(shortened(history, lambda shorter: size(shorter)[0] >= 2, generator)) == (2, 0)


def test_answers_to_several_commands_are_told_for_each() -> None:
    add, fail = (Step.of_call(call) for call in (wrong.Right.add.bind("a", 1), wrong.Right.fail.bind({})))
    batch, transaction = Compound.of("batch", [add, fail]), Compound.of("transaction", [add, fail])
    payloads = [add.payload, batch.payload, transaction.payload]
    with handlers_quiet():
        outcome = outcome_of(wrong.Right(), payloads)
    assert answers((add, batch, transaction), outcome.replies) == (
        "1 returns 1",
        "2 [returns 2, fails with KeyError]",
        "3 is undone: fail fails with KeyError",
    )
    assert str(batch) == "batch of add('a', 1), fail({})"


def test_a_step_reads_like_a_call() -> None:
    step = Step.of_call(wrong.Right.items.bind(least=2))
    assert str(step) == "items(least=2)"
    assert Step.of_call(wrong.Right.items.bind()) == Step.of(wrong.Right.items, (), {"least": 0})


def test_the_log_is_as_before_afterwards() -> None:
    logger = logging.getLogger("pssmr.handler")
    before = list(logger.filters)
    check(wrong.Right, runs=1, other_processes=False)
    assert logger.filters == before
