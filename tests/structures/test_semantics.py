"""What the ready-made structures do, each on its own, with a time that the test sets."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pssmr
from pssmr import structures
from pssmr.executor import Executor
from pssmr.service import Call
from pssmr.testing import check

SECOND_NS = 1_000_000_000

values = st.sampled_from([None, False, True, 0, -7, 1 << 63, 1.5, "", "tea", b"", b"\0tea"])
keys = st.sampled_from([1, 2, "a", "b", b"a"])


class Runner:
    """Executes one command after the other, at a time that it is told."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self.seconds = 0.0

    def __call__(self, call: Call[Any]) -> Any:
        (outcome,) = self._executor.run([call], time_ns=int(self.seconds * SECOND_NS))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@pytest.fixture
def run() -> Iterator[Runner]:
    with Executor(structures.Structures()) as executor:
        yield Runner(executor)


def test_a_counter_adds_sets_and_compares(run: Runner) -> None:
    visits = structures.Counter("visits")
    assert run(visits.get()) == 0
    assert run(visits.add()) == 1
    assert run(visits.add(-5)) == -4
    assert run(visits.count(2)) is None
    assert run(visits.set(10)) == -2
    assert run(visits.compare_and_set(9, 0)) is False
    assert run(visits.compare_and_set(10, 7)) is True
    assert run(visits.get()) == 7
    assert run(structures.Counter("others").get()) == 0


def test_a_counter_refuses_what_64_bits_do_not_hold(run: Runner) -> None:
    visits = structures.Counter("visits")
    run(visits.set((1 << 63) - 1))
    with pytest.raises(structures.CounterOverflow, match="visits would be 9223372036854775808"):
        run(visits.add())
    with pytest.raises(structures.CounterOverflow):
        run(visits.set(1 << 63))
    with pytest.raises(structures.CounterOverflow):
        run(visits.compare_and_set((1 << 63) - 1, 1 << 63))
    assert run(visits.get()) == (1 << 63) - 1


dict_steps = st.lists(st.tuples(st.sampled_from(["set", "remove", "get", "swap"]), keys, values, values), max_size=20)


@settings(max_examples=15)
@given(dict_steps)
def test_a_dict_does_what_a_dict_does(steps: list[tuple[str, Any, Any, Any]]) -> None:
    prices, model = structures.Dict("prices"), dict[Any, Any]()
    with Executor(structures.Dicts()) as executor:
        run = Runner(executor)
        run(structures.Dict("other").set("a", 1))
        for step, key, value, other in steps:
            before = model.get(key)
            if step == "set":
                model[key] = value
                assert run(prices.set(key, value)) == before
            elif step == "remove":
                model.pop(key, None)
                assert run(prices.remove(key)) == before
            elif step == "get":
                assert run(prices.get(key)) == before
                assert run(prices.contains(key)) == (key in model)
            else:
                expected = before if other else value
                if before == expected:
                    model[key] = other
                assert run(prices.compare_and_set(key, expected, other)) == (before == expected)
        assert run(prices.items()) == model
        assert run(prices.len()) == len(model)
        assert run(structures.Dict("other").items()) == {"a": 1}


@settings(max_examples=15)
@given(st.lists(st.tuples(st.sampled_from(["add", "remove", "contains"]), keys), max_size=30))
def test_a_set_does_what_a_set_does(steps: list[tuple[str, Any]]) -> None:
    seen, model = structures.Set("seen"), set[Any]()
    with Executor(structures.Sets()) as executor:
        run = Runner(executor)
        run(structures.Set("other").add("a"))
        for step, element in steps:
            there = element in model
            if step == "add":
                model.add(element)
                assert run(seen.add(element)) == (not there)
            elif step == "remove":
                model.discard(element)
                assert run(seen.remove(element)) == there
            else:
                assert run(seen.contains(element)) == there
        assert run(seen.elements()) == model
        assert run(seen.len()) == len(model)
        assert run(structures.Set("other").elements()) == {"a"}


@pytest.mark.parametrize(
    "call",
    [
        structures.Dicts.dict_set.bind(("a", 1), "b", 1),
        structures.Dicts.dict_compare_and_set.bind(("a", 1), "b", None, 1),
        structures.Dicts.dict_remove.bind(("a", 1), "b"),
        structures.Sets.set_add.bind(("a", 1), "b"),
        structures.Sets.set_remove.bind(("a", 1), "b"),
    ],
    ids=lambda call: call.command.name,
)
def test_a_count_can_not_be_led_astray_by_another_name(run: Runner, call: Call[Any]) -> None:
    with pytest.raises(pssmr.Refused, match="the key is of 'a', the count of 'b'"):
        run(call)


def test_a_list_grows_and_shrinks_at_its_end(run: Runner) -> None:
    journal = structures.List("journal")
    assert run(journal.len()) == 0
    assert run(journal.append("opened")) == 1
    assert run(journal.extend([2, None, "four"])) == 4
    assert run(journal.extend([])) == 4
    assert run(journal.get(1)) == 2
    assert run(journal.set(1, "two")) == 2
    assert run(journal.slice()) == ["opened", "two", None, "four"]
    assert run(journal.slice(-2)) == [None, "four"]
    assert run(journal.slice(1, -1)) == ["two", None]
    assert run(journal.pop()) == "four"
    assert run(journal.len()) == 3
    for index in (3, -1):
        with pytest.raises(structures.NoSuchIndex, match=f"journal has no index {index}"):
            run(journal.get(index))
        with pytest.raises(structures.NoSuchIndex):
            run(journal.set(index, 0))
    assert [run(journal.pop()) for _ in range(3)] == [None, "two", "opened"]
    with pytest.raises(structures.NoSuchIndex, match="journal is empty"):
        run(journal.pop())


@settings(max_examples=15)
@given(st.lists(st.lists(values, max_size=3) | st.integers(-1, 4), max_size=30))
def test_a_queue_gives_first_what_came_first(steps: list[list[Any] | int]) -> None:
    mail, model = structures.Queue("mail"), deque[Any]()
    service = structures.Queues()
    with Executor(service) as executor:
        run = Runner(executor)
        for step in steps:
            if isinstance(step, list):
                model.extend(step)
                assert run(mail.put(*step)) == len(model)
            else:
                expected = [model[i] for i in range(min(max(step, 0), len(model)))]
                assert run(mail.peek(step)) == expected
                assert run(mail.take(step)) == expected
                for _ in expected:
                    model.popleft()
            assert run(mail.len()) == len(model)
        run(mail.take(1000))
        empty = Executor(structures.Queues())
        assert executor.state_digest() == empty.state_digest(), "what is empty leaves nothing behind"
        empty.close()


@settings(max_examples=15)
@given(st.lists(st.none() | st.integers(-3, 3), max_size=40))
def test_a_priority_queue_gives_the_smallest_and_among_equal_ones_the_oldest(steps: list[int | None]) -> None:
    jobs, model = structures.PriorityQueue("jobs"), list[tuple[int, int]]()
    with Executor(structures.PriorityQueues()) as executor:
        run = Runner(executor)
        for number, priority in enumerate(steps):
            if priority is not None:
                heapq.heappush(model, (priority, number))
                assert run(jobs.put(priority, number)) == len(model)
            else:
                assert run(jobs.peek()) == (model[0] if model else None)
                assert run(jobs.take()) == (heapq.heappop(model) if model else None)
        assert run(jobs.len()) == len(model)
        assert [run(jobs.take()) for _ in model] == sorted(model)
        assert run(jobs.take()) is None


def test_a_lock_has_one_holder_until_its_lease_runs_out(run: Runner) -> None:
    backup = structures.Lock("backup", lease_ms=2_000)
    first = run(backup.acquire())
    assert run(backup.holder()) == first
    run.seconds = 1.5
    with pytest.raises(structures.LockHeld) as held:
        run(backup.acquire())
    assert held.value.left_ms == 500
    assert run(structures.Lock("other").acquire()).token > first.token
    run.seconds = 2
    assert run(backup.holder()) is None
    second = run(backup.acquire())
    assert second.token > first.token, "who checks tokens can tell the old holder from the new one"
    with pytest.raises(structures.LeaseLost):
        run(backup.renew(first))
    assert run(backup.release(first)) is False
    assert run(backup.holder()) == second


def test_a_lease_that_is_renewed_lasts_from_then_on(run: Runner) -> None:
    backup = structures.Lock("backup", lease_ms=2_000)
    lease = run(backup.acquire())
    run.seconds = 1.5
    renewed = run(backup.renew(lease))
    assert (renewed.token, renewed.until_ns) == (lease.token, int(3.5 * SECOND_NS))
    run.seconds = 60
    assert run(backup.renew(lease)).token == lease.token, "nobody got it since"
    assert run(backup.release(lease)) is True
    assert run(backup.holder()) is None


def test_a_lock_that_was_released_is_free_and_leaves_nothing_behind(run: Runner) -> None:
    backup = structures.Lock("backup")
    lease = run(backup.acquire())
    assert run(backup.release(lease)) is True
    assert run(backup.release(lease)) is False
    assert run(backup.acquire()).token > lease.token


def test_leases_that_ran_out_can_be_swept_away(run: Runner) -> None:
    for name, seconds in (("a", 1), ("b", 2), ("c", 3)):
        run(structures.Lock(name, lease_ms=seconds * 1000).acquire())
    run.seconds = 2
    assert run(structures.Locks.lock_sweep.bind()) == 2
    assert run(structures.Locks.lock_sweep.bind()) == 0
    assert run(structures.Lock("c").holder()) is not None


@pytest.mark.parametrize("lease_ms", [0, -1, 86_400_001])
def test_a_lease_has_a_length(run: Runner, lease_ms: int) -> None:
    with pytest.raises(pssmr.Refused, match="expected 1 to 86400000"):
        run(structures.Lock("backup", lease_ms=lease_ms).acquire())


visits, prices, journal = structures.Counter("visits"), structures.Dict("prices"), structures.List("journal")
seen, mail, jobs, backup = (
    structures.Set("s"),
    structures.Queue("m"),
    structures.PriorityQueue("j"),
    structures.Lock("b"),
)


@pytest.mark.parametrize(
    ("service", "calls"),
    [
        (
            structures.Counters,
            [visits.add(3), visits.count(), visits.get(), visits.set(5), visits.compare_and_set(5, 0)],
        ),
        (
            structures.Dicts,
            [
                *(prices.set(key, 1) for key in "ab"),
                prices.set("a", 2),
                *(prices.remove(key) for key in "ab"),
                prices.compare_and_set("a", 1, 3),
                prices.get("b"),
                prices.len(),
                prices.items(),
                structures.Dict("z").set("a", 1),
            ],
        ),
        (
            structures.Sets,
            [seen.add("a"), seen.add("b"), seen.remove("a"), seen.contains("a"), seen.len(), seen.elements()],
        ),
        (
            structures.Lists,
            [
                journal.append(1),
                journal.extend([2, 3]),
                journal.pop(),
                journal.set(0, 4),
                journal.get(1),
                journal.slice(),
            ],
        ),
        (structures.Queues, [mail.put(1), mail.put(2, 3), mail.take(), mail.take(9), mail.peek(), mail.len()]),
        (structures.PriorityQueues, [jobs.put(1, "a"), jobs.put(0, "b"), jobs.take(), jobs.peek(), jobs.len()]),
        (
            structures.Locks,
            [backup.acquire(), structures.Lock("c").acquire(), backup.holder(), structures.Locks.lock_sweep.bind()],
        ),
    ],
)
def test_what_each_structure_declares_is_what_it_touches(service: type[pssmr.Service], calls: list[Call[Any]]) -> None:
    report = check(service, calls=calls, runs=60, other_processes=False)
    assert not report.failed
    assert set(report.executed) == {call.command.name for call in calls}


class Shop(structures.Counters, structures.Locks):
    """A service of one's own with some structures."""

    orders = pssmr.Map[int, str]()

    @pssmr.command(writes=[orders, structures.Counters.counters])
    def order(self, what: str) -> int:
        number = self.counter_add("orders", 1)
        self.orders[number] = what
        return number


def test_a_service_can_have_structures_beside_its_own_commands() -> None:
    shop = Shop()
    assert [shop.order("tea"), shop.order("salt")] == [1, 2]
    assert shop.counter_get("orders") == 2
