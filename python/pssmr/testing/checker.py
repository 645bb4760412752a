"""Whether a service does what replicas need: random commands, executed in many ways that must come to the same."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pssmr._core import Stepper
from pssmr.errors import ApplicationError, CommandError, Error, HandlerFailed, ReplicaStopped, SnapshotError
from pssmr.service import Call, Query, Service
from pssmr.snapshots import snapshot_obstacle
from pssmr.testing.findings import CheckFailed, Finding, Kind, answers
from pssmr.testing.histories import Elsewhere, allowed_order, execute, latest_first, outcomes_elsewhere
from pssmr.testing.local_cluster import application_of
from pssmr.testing.patience import NeverEnds, patience
from pssmr.testing.quiet import handlers_quiet
from pssmr.testing.races import Used, Watch, race
from pssmr.testing.snapshots import PICKLE_REMEDY, is_pickle
from pssmr.testing.steps import Compound, Generator, History, Request, Step, shortened, size

_ELSEWHERE = (
    Elsewhere(hash_seed=1),
    Elsewhere(hash_seed=2, reverses=True),
    Elsewhere(hash_seed=1, clock_days=400),
)
"""The other processes."""

_ORDERS = 3
"""How many orders beside the agreed one a long run is tried in."""
_COMMAND_SECONDS_MAX = 10.0
"""How long a command may take."""
_KNOWN_TO_TAKE_LONG_SECONDS = 1.0
"""The same, when one has been found that takes longer, and a shorter run is looked for."""

_REPETITIONS = 40
"""How often a run that depends on its order is repeated, to see whether it depends on chance instead."""
_ALL_ORDERS_UP_TO = 4
"""Runs of so many commands are tried in all orders that are allowed."""


@dataclass
class Report:
    """What was tried, when nothing wrong was found.

    Attributes:
        runs: How many runs of commands.
        executed: For each command, how often a run had it. One that comes after the failing one of a transaction is not
            executed.
        refused: How often it answered with an `ApplicationError`.
        failed: How often it failed with another exception, by command and exception: `"add: KeyError"`. `CommandError`
            is a command that was refused before it ran.
        together: How many batches and transactions there were, of the commands that `executed` counts.
        notes: What was not tried, and why.
    """

    runs: int = 0
    executed: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    together: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


def check(
    service: type[Service],
    *,
    calls: Sequence[Call[Any]] = (),
    runs: int = 200,
    length: int = 12,
    seed: int = 0,
    other_processes: bool = True,
) -> Report:
    """Checks that replicas of a service would agree, whatever their workers do.

    Runs of random commands, some of them in batches and transactions, are executed in their agreed order; again; in
    other orders that the declarations allow; with a restart from a snapshot in between; in processes with other hash
    seeds. Replies and states must be the same. So it finds undeclared access and undeclared conflicts, handlers that
    depend on time, random numbers, identities, hashes, global variables or the order of a set, queries that change
    anything, state that `restore` loses, and (in the main thread) commands that don't end within 10 s. What it reports
    is as short as it can make it.

    State in attributes takes part only if the class has `snapshot` and `restore`. What random commands never do is not
    checked: see the report, and give `calls` if arguments have to be special ones.

    ```python
    def test_bank() -> None:
        check(Bank)
    ```

    Args:
        service: The service class.
        calls: Commands to draw from, instead of random ones with simple arguments.
        runs: How many runs of commands.
        length: How many commands in a run.
        seed: What the commands are drawn with.
        other_processes: Whether other processes execute them, too. They have to find the class: it stands at the top
            level of its module.

    Raises:
        CheckFailed: If something is wrong; `finding` and the message have the shortest run that shows it.
        ConfigError: If another process can't find the class.
        Error: If no simple value of some argument's type can be made; give `calls`.
    """
    return Checker(service, Generator(service, calls, seed)).check(runs, length, other_processes=other_processes)


class Checker:
    """Tries runs of commands of one service."""

    def __init__(self, service: type[Service], generator: Generator) -> None:
        """Tries nothing yet."""
        self._service = service
        self._generator = generator
        self._obstacle = snapshot_obstacle(service())

    def check(self, runs: int, length: int, *, other_processes: bool) -> Report:
        """As the function."""
        report = Report()
        if self._obstacle is not None:
            report.notes.append(f"not compared, and not restored: {self._obstacle}")
        histories = [self._generator.history(length) for _ in range(runs)]
        finders: list[Finder] = [
            self.find_failure,
            self.find_changing_query,
            self.find_nondeterminism,
            self.find_conflict,
            self.find_race,
            self.find_lost_state,
        ]
        with handlers_quiet(), patience(_COMMAND_SECONDS_MAX):
            for history in histories:
                for find in finders:
                    found = self._found(history, find)
                    if found is not None:
                        raise self._shortest(found, find)
                self._count(report, history)
            for elsewhere in _ELSEWHERE if other_processes else ():
                self._check_elsewhere(histories, elsewhere)
        return report

    def _found(self, history: History, find: Finder) -> Finding | None:
        try:
            return find(history)
        except NeverEnds:
            what = f"{self._service.__name__}: in an order that is allowed, or the next time, a command does not end"
            return Finding("never ends", history, what, (), _LET_IT_END)

    def find_failure(self, history: History) -> Finding | None:
        """A command that stops a replica, never ends, or touches what it does not declare."""
        stepper, replies, raised = Stepper(self._service()), list[bytes](), list[BaseException]()
        for index, step in enumerate(history):
            try:
                replies += execute(stepper, [step.payload], [0], first=index, raised=raised)
            except NeverEnds:
                what = f"{self._service.__name__}: command {index + 1}, {step}, does not end"
                return Finding("never ends", history[: index + 1], what, (), _LET_IT_END)
            except ReplicaStopped as error:
                return Finding(
                    "stops",
                    history,
                    f"{self._service.__name__}: a command stops the replica: {error}",
                    (("before that", answers(history[:index], replies)),) if index else (),
                    "Raise an ApplicationError to refuse a command; any other Exception fails the command alone.",
                )
            undeclared = [each.command.name for each, reply in _answered(step, replies[-1]) if reply == UNDECLARED]
            if undeclared:
                return Finding(
                    "undeclared access",
                    history,
                    f"{self._service.__name__}.{undeclared[0]} touches what it does not declare",
                    (("in the agreed order", answers(history[: index + 1], replies)),),
                    f"What was raised: {raised[-1]}." if raised else "Declare what it touches.",
                )
        return None

    def find_changing_query(self, history: History) -> Finding | None:
        """A query that changes the state, though replicas don't all execute it, nor at one place in the order."""
        watch = Watch(self._service)
        stepper = Stepper(watch.service)
        for index, step in enumerate(history):
            is_query = isinstance(step, Step) and isinstance(step.command, Query)
            before = stepper.state_digest() if is_query else b""
            with watch.watching() as used:
                execute(stepper, [step.payload], [0], first=index)
            if is_query and (used.assigned or stepper.state_digest() != before):
                how = f"assigns self.{min(used.assigned)}" if used.assigned else "changes the state"
                return Finding(
                    "query changes",
                    history,
                    f"{self._service.__name__}: query {index + 1}, {step}, {how}",
                    (),
                    "Queries are not ordered, so not every replica executes each: make it a @pssmr.command.",
                )
        return None

    def find_nondeterminism(self, history: History) -> Finding | None:
        """Twice the same commands, and not twice the same."""
        return self._nondeterminism(history, self._run(history), repetitions=1)

    def _nondeterminism(self, history: History, first: Result, repetitions: int) -> Finding | None:
        for _ in range(repetitions):
            again = self._run(history)
            if again != first:
                return self._finding(
                    "nondeterminism",
                    history,
                    "the same commands in the same order come to something else the next time",
                    [("the first time", first), ("the next time", again)],
                    "Let handlers depend on arguments, context and state alone: take time and random numbers from "
                    "pssmr.Context, and keep identities of objects out.",
                )
        return None

    def find_conflict(self, history: History) -> Finding | None:
        """Commands that the declarations let run at once, and whose order makes a difference."""
        expected = self._run(history)
        for order in self._orders(history):
            got = self._run(history, order)
            if got == expected:
                continue
            # What differs now and then differs in any order.
            by_chance = self._nondeterminism(history, expected, repetitions=_REPETITIONS)
            if by_chance is not None:
                return by_chance
            named = ", ".join(str(index + 1) for index in order)
            return self._finding(
                "undeclared conflict",
                history,
                "commands that may run at once, by their declarations, depend on their order",
                [("in the agreed order", expected), (f"in the order {named}, which is allowed too", got)],
                "Declare the state that they share, in the mode they use it: read, write, or commute. If states "
                "differ in nothing but an order, of a dict or a list, make it the same in any order.",
            )
        return None

    def find_race(self, history: History) -> Finding | None:
        """Commands that the declarations let run at once, of which one assigns an attribute that the other uses."""
        watch = Watch(self._service)
        stepper, used = Stepper(watch.service), list[Used]()
        for index, step in enumerate(history):
            with watch.watching() as one:
                execute(stepper, [step.payload], [0], first=index)
            used.append(one)
        conflicts = stepper.conflicts([step.payload for step in history])
        found = race([[each.command for each in step.steps] for step in history], used, conflicts)
        if found is None:
            return None
        first, second, attribute = found
        return Finding(
            "undeclared conflict",
            history,
            f"{self._service.__name__}: commands {first + 1} and {second + 1} may run at once, by their declarations, "
            f"and one assigns self.{attribute}, which the other uses",
            (),
            f"Declare that both touch it: what one of them does with {attribute} can be lost between reading and "
            "assigning it. A sum that all commands add to belongs in a pssmr.Map, with commute.",
        )

    def find_lost_state(self, history: History) -> Finding | None:
        """Commands after a restart from a snapshot that answer as if there had been others before it."""
        if self._obstacle is not None:
            return None
        half = len(history) // 2
        expected = self._run(history)
        first, restored = Stepper(self._service()), Stepper(self._service())
        payloads = [step.payload for step in history]
        replies = execute(first, payloads[:half], range(half))
        if is_pickle(first.own_state() or b""):
            return Finding("restore", history, f"{self._service.__name__}.snapshot gives a pickle", (), PICKLE_REMEDY)
        try:
            restored.restore(first.snapshot())
        except SnapshotError as error:
            return Finding("restore", history, f"{self._service.__name__}: {error}", (), "Mend snapshot and restore.")
        replies += execute(restored, payloads[half:], range(len(history) - half), first=half)
        got = (tuple(replies), restored.state_digest())
        if got == expected:
            return None
        by_chance = self._nondeterminism(history, expected, repetitions=_REPETITIONS)
        if by_chance is not None:
            return by_chance
        return self._finding(
            "restore",
            history,
            "a service that was restored from a snapshot goes on differently",
            [("without a restart", expected), (f"with a restart from a snapshot after {half}", got)],
            "Let snapshot give all state that commands look at, and restore bring all of it back.",
        )

    def _check_elsewhere(self, histories: Sequence[History], elsewhere: Elsewhere) -> None:
        different = self._different(histories, elsewhere)
        while different is not None:
            history, expected, got = different
            # All shorter ones at once: a process takes a while to start.
            alone: History = tuple(each for step in history for each in step.steps)
            shorter: list[History] = [(step,) for step in (*alone, *history)]
            shorter += [*itertools.combinations(alone, 2), *itertools.combinations(history, 2), alone]
            shorter += [history[:index] + history[index + 1 :] for index in range(len(history))]
            candidates = sorted((each for each in shorter if (0, 0) < size(each) < size(history)), key=size)
            different = self._different(candidates, elsewhere) if candidates else None
            if different is None:
                by_chance = self._nondeterminism(history, expected, repetitions=_REPETITIONS)
                raise _failed(
                    by_chance
                    or self._finding(
                        "process",
                        history,
                        "the same commands come to something else in another process",
                        [("in this process", expected), (f"in one with {elsewhere}", got)],
                        "Sort what comes from a set, keep hash() and global variables out, and take the time from "
                        "pssmr.Context.",
                    )
                )

    def _different(self, histories: Sequence[History], elsewhere: Elsewhere) -> tuple[History, Result, Result] | None:
        if elsewhere.reverses:
            histories = histories[::-1]
        payloads = [[step.payload for step in history] for history in histories]
        outcomes = outcomes_elsewhere(application_of(self._service), payloads, elsewhere)
        for history, outcome in zip(histories, outcomes, strict=True):
            expected, got = self._run(history), (outcome.replies, outcome.digest)
            if expected != got:
                return history, expected, got
        return None

    def _shortest(self, found: Finding, find: Finder) -> CheckFailed:
        def shows(shorter: History) -> bool:
            nonlocal found
            seen = self._found(shorter, find)
            # What depends on chance may not show itself again, so what was seen is kept.
            found = seen or found
            return seen is not None

        takes_long = found.kind == "never ends"
        with patience(_KNOWN_TO_TAKE_LONG_SECONDS if takes_long else _COMMAND_SECONDS_MAX):
            shortened(found.history, shows, self._generator)
        return _failed(found)

    def _run(self, history: History, order: Sequence[int] | None = None) -> Result:
        stepper = Stepper(self._service())
        payloads = [step.payload for step in history]
        replies = execute(stepper, payloads, range(len(payloads)) if order is None else order)
        return tuple(replies), stepper.state_digest()

    def _orders(self, history: History) -> Iterator[list[int]]:
        conflicts = Stepper(self._service()).conflicts([step.payload for step in history])
        count = len(history)
        if count <= _ALL_ORDERS_UP_TO:
            for order in itertools.islice(itertools.permutations(range(count)), 1, None):
                if all(order.index(a) < order.index(b) for b, earlier in enumerate(conflicts) for a in earlier):
                    yield list(order)
            return
        yield latest_first(conflicts)
        shuffled = random.Random(count)  # noqa: S311 - not for secrets
        for _ in range(_ORDERS - 1):
            ranks = [shuffled.random() for _ in range(count)]
            yield allowed_order(conflicts, ranks.__getitem__)

    def _finding(
        self, kind: Kind, history: History, what: str, seen: Sequence[tuple[str, Result]], remedy: str
    ) -> Finding:
        states_differ = len({state for _, (_, state) in seen}) > 1
        observed = [
            (circumstance, answers(history, replies, state if states_differ else None))
            for circumstance, (replies, state) in seen
        ]
        return Finding(kind, history, f"{self._service.__name__}: {what}", tuple(observed), remedy)

    def _count(self, report: Report, history: History) -> None:
        report.runs += 1
        replies, _ = self._run(history)
        for request, reply in zip(history, replies, strict=True):
            if isinstance(request, Compound):
                report.together[request.kind] += 1
            for step in request.steps:
                report.executed[step.command.name] += 1
            for step, answer in _answered(request, reply):
                _count_answer(report, step, answer)


Finder = Callable[[History], Finding | None]

Result = tuple[tuple[bytes, ...], bytes]
"""Replies in the agreed order, and the digest of the state."""

_LET_IT_END = (
    "Commands that conflict wait for each other, and a replica for all of them: no loop without an end, and no waiting "
    "for anybody else."
)

UNDECLARED = b"\x02\xb0UndeclaredAccess"
"""The reply of a command that has touched what it does not declare."""


def _answered(request: Request, reply: bytes) -> list[tuple[Step, bytes]]:
    """The commands of a request that a reply answers; none, if it was refused whole."""
    try:
        return request.answered(reply)
    except Error:
        return []


def _count_answer(report: Report, step: Step, answer: bytes) -> None:
    try:
        step.command.declared.method.decode_reply(answer)
    except ApplicationError:
        report.refused[step.command.name] += 1
    except HandlerFailed as error:
        report.failed[f"{step.command.name}: {error.exception}"] += 1
    except CommandError as error:
        report.failed[f"{step.command.name}: {type(error).__name__}"] += 1


def _failed(finding: Finding) -> CheckFailed:
    return CheckFailed(str(finding), finding)
