"""Commands on the workers of an executor: replies, failures, parallel execution, what stops a replica."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Annotated, Any

import pytest

import pssmr
from pssmr.executor import Executor


class Unknown(pssmr.ApplicationError):
    """An error whose constructor takes something else than its arguments."""

    def __init__(self, *, reason: str) -> None:
        super().__init__(reason, 5)


class Shop(pssmr.Service):
    stock = pssmr.Map[str, int]()
    shelves = pssmr.Resource[str]()

    def __init__(self) -> None:
        self.meeting = threading.Barrier(2, timeout=20)
        self.seen: list[str] = []

    def snapshot(self) -> bytes:
        return pssmr.encode(list[str], sorted(self.seen))

    def restore(self, state: bytes) -> None:
        self.seen = pssmr.decode(list[str], state)

    @pssmr.command
    def add(self, item: Annotated[str, stock.write], count: int) -> int:
        self.stock[item] = self.stock.get(item, 0) + count
        return self.stock[item]

    @pssmr.command
    def count(self, item: Annotated[str, stock.commute]) -> None:
        self.stock.add(item, 1)

    @pssmr.command
    def fail(self, item: Annotated[str, stock.write]) -> None:
        self.stock[item] = 99
        raise KeyError(f"secret {id(self)}")

    @pssmr.command
    def refuse(self, item: Annotated[str, stock.write]) -> None:
        self.stock[item] = 99
        raise pssmr.Refused(item, 5, (1.5, None))

    @pssmr.command
    def refuse_oddly(self) -> None:
        raise Unknown(reason="because")

    @pssmr.command
    def refuse_with_an_object(self) -> None:
        raise pssmr.Refused(object())

    @pssmr.command
    def undeclared(self, item: Annotated[str, stock.read]) -> None:
        self.stock[item] = 1

    @pssmr.command
    def wrong_result(self) -> int:
        return None  # type: ignore[return-value]

    @pssmr.command
    def recurse(self) -> int:
        return self.recurse()

    @pssmr.command
    def meet(self, shelf: Annotated[str, shelves.write]) -> None:
        self.meeting.wait()

    @pssmr.command
    def note(self, shelf: Annotated[str, shelves.write], text: str) -> list[str]:
        self.seen.append(text)
        return list(self.seen)

    @pssmr.command(conflicts=lambda shop, items: [shop.stock.write[item] for item in items])
    def add_many(self, items: list[str]) -> int:
        for item in items:
            self.stock[item] = self.stock.get(item, 0) + 1
        return len(items)

    @pssmr.command(conflicts=lambda shop, items: [shop.stock.write[item] for item in items[1:]])
    def add_too_many(self, items: list[str]) -> None:
        for item in items:
            self.stock[item] = 1

    @pssmr.command(conflicts=lambda shop, item: [1 / 0])
    def bad_conflicts(self, item: str) -> None: ...

    @pssmr.query(conflicts=lambda shop: [shop.stock.write])
    def writing_conflicts(self) -> None: ...

    @pssmr.query
    def drawn(self, context: pssmr.Context) -> tuple[int, int, int]:
        return context.time_ns, context.position, context.random.getrandbits(32)

    @pssmr.command
    def exhaust(self) -> None:
        raise MemoryError

    @pssmr.command
    def exit(self) -> None:
        sys.exit(3)


@pytest.fixture
def executor() -> Iterator[Executor]:
    with Executor(Shop(), workers=3) as executor:
        yield executor


def run(executor: Executor, *calls: pssmr.Call[Any]) -> list[Any]:
    """Results and errors, in order."""
    return executor.run(calls)


def test_commands_get_results_in_order(executor: Executor) -> None:
    calls = [Shop.add.bind("tea", 1) for _ in range(1000)] + [Shop.add.bind("milk", 5)]
    assert run(executor, *calls) == [*range(1, 1001), 5]


def test_no_commands_get_no_results(executor: Executor) -> None:
    assert run(executor) == run(executor) == []
    assert run(executor, Shop.add.bind("tea", 1)) == [1]


def test_conflicting_commands_run_in_order_and_additions_add_up(executor: Executor) -> None:
    outcomes = run(executor, *[Shop.count.bind("tea")] * 500, Shop.add.bind("tea", 0))
    assert outcomes[-1] == 500
    assert run(executor, *[Shop.note.bind("a", str(i)) for i in range(50)])[-1] == [str(i) for i in range(50)]


def test_commands_on_different_keys_run_at_the_same_time(executor: Executor) -> None:
    assert run(executor, Shop.meet.bind("left"), Shop.meet.bind("right")) == [None, None]


def test_errors_of_the_application_reach_the_client_as_themselves(executor: Executor) -> None:
    refused, odd, stock = run(executor, Shop.refuse.bind("tea"), Shop.refuse_oddly.bind(), Shop.add.bind("tea", 0))
    assert type(refused) is pssmr.Refused
    assert refused.args == ("tea", 5, (1.5, None))
    assert type(odd) is pssmr.ApplicationError
    assert odd.args == ("Unknown", "because", 5)
    assert stock == 0


@pytest.mark.parametrize(
    ("call", "exception"),
    [
        (Shop.fail.bind("tea"), "KeyError"),
        (Shop.refuse_with_an_object.bind(), "TypeError"),
        (Shop.undeclared.bind("tea"), "UndeclaredAccess"),
        (Shop.wrong_result.bind(), "TypeError"),
        (Shop.recurse.bind(), "RecursionError"),
        (Shop.add_too_many.bind(["tea", "milk"]), "UndeclaredAccess"),
    ],
    ids=lambda value: str(value),
)
def test_a_handler_that_fails_says_only_its_type_and_is_logged_and_undone(
    executor: Executor, caplog: pytest.LogCaptureFixture, call: pssmr.Call[Any], exception: str
) -> None:
    failed, stock = run(executor, call, Shop.add.bind("tea", 0))
    assert type(failed) is pssmr.HandlerFailed
    assert failed.exception == exception
    assert stock == 0
    (record,) = [record for record in caplog.records if record.name == "pssmr.handler"]
    assert record.levelno == logging.ERROR
    assert record.message == f"Shop.{call.command.name} failed"
    assert record.exc_info is not None
    assert type(record.exc_info[1]).__name__ == exception


def test_a_failed_reply_holds_no_trace_of_the_process(executor: Executor) -> None:
    (reply,) = executor.execute([Shop.fail.bind("tea").payload])
    assert reply == b"\x02\xa8KeyError"


@pytest.mark.parametrize(
    ("payload", "error", "message"),
    [
        (b"\x03add\x92\xa3tea\xa1x", pssmr.ArgumentError, "add: argument 'count': expected int, got str"),
        (b"\x03add\x92\xa3tea\xcc\x01", pssmr.ArgumentError, "add: argument 'count': the value is not in its canon"),
        (b"\x03add\x91\xa3tea", pssmr.ArgumentError, "add: takes 2 to 2 arguments, not 1"),
        (b"\x03add\x92\x05\x01", pssmr.ArgumentError, "add: argument 'item': expected str, got int"),
        (b"\x03add\x92\xcb" + bytes(8) + b"\x01", pssmr.CommandError, "add: argument 0: not a value that can be a key"),
        (b"\x04sell\x90", pssmr.UnknownCommand, "unknown command"),
        (b"\x03add\x05", pssmr.CommandError, "malformed payload: the arguments are not an array"),
        (b"\x03add", pssmr.CommandError, "malformed payload: the value is cut short"),
        (b"", pssmr.CommandError, "malformed payload: no name"),
        (b"\x0dbad_conflicts\x91\xa1x", pssmr.CommandError, "could not be computed: ZeroDivisionError"),
        (b"\x0dbad_conflicts\x91\x01", pssmr.ArgumentError, "argument 'item': expected str, got int"),
        (b"\x11writing_conflicts\x90", pssmr.CommandError, "a query may only read"),
    ],
)
def test_what_no_client_of_ours_sends_is_refused_and_not_executed(
    executor: Executor, payload: bytes, error: type[Exception], message: str
) -> None:
    (reply,) = executor.execute([payload])
    with pytest.raises(error) as caught:
        Shop.add.declared.method.decode_reply(reply)
    assert message in str(caught.value)
    assert run(executor, Shop.add.bind("tea", 0)) == [0]


def test_a_callable_says_what_commands_touch(executor: Executor) -> None:
    assert run(executor, Shop.add_many.bind(["tea", "milk"]), Shop.add.bind("tea", 0)) == [2, 1]


def test_contexts_are_the_same_everywhere() -> None:
    calls = [Shop.drawn.bind()] * 2
    time_ns, seed = 1_700_000_000_000_000_123, bytes(range(32))
    with Executor(Shop(), workers=1) as first, Executor(Shop(), workers=4) as second:
        drawn = first.run(calls, time_ns=time_ns, seed=seed)
        assert drawn == second.run(calls, time_ns=time_ns, seed=seed)
    assert [position for _, position, _ in drawn] == [1, 2]
    assert drawn[0][0] == time_ns
    assert drawn[0][2] != drawn[1][2]


def test_the_state_digest_covers_maps_and_the_snapshot() -> None:
    with Executor(Shop(), workers=1) as first, Executor(Shop(), workers=2) as second:
        empty = first.state_digest()
        run(first, Shop.add.bind("tea", 1))
        assert first.state_digest() != empty
        run(second, Shop.add.bind("tea", 1))
        assert first.state_digest() == second.state_digest()
        run(first, Shop.note.bind("a", "x"))
        assert first.state_digest() != second.state_digest()


def test_a_service_that_a_replica_runs_is_out_of_reach() -> None:
    shop = Shop()
    executor = Executor(shop, workers=1)
    with pytest.raises(pssmr.UndeclaredAccess, match="belongs to a replica"):
        shop.stock["tea"] = 1
    with pytest.raises(pssmr.Closed, match="call the command through a client"):
        shop.add("tea", 1)
    with pytest.raises(pssmr.Closed, match="belongs to another replica"):
        Executor(shop, workers=1)
    executor.close()


@pytest.mark.parametrize(
    ("call", "exception"), [(Shop.exhaust.bind(), "MemoryError"), (Shop.exit.bind(), "SystemExit")]
)
def test_what_says_nothing_about_the_command_stops_the_replica(
    executor: Executor, caplog: pytest.LogCaptureFixture, call: pssmr.Call[None], exception: str
) -> None:
    with pytest.raises(pssmr.ReplicaStopped, match=f"Shop.{call.command.name} raised {exception}"):
        executor.execute([call.payload])
    assert any(record.levelno == logging.CRITICAL for record in caplog.records)
    with pytest.raises(pssmr.ReplicaStopped):
        executor.execute([Shop.add.bind("tea", 1).payload])


def test_a_closed_executor_says_so(executor: Executor) -> None:
    executor.close()
    with pytest.raises(pssmr.ReplicaStopped, match="the executor was closed"):
        executor.state_digest()


PROGRAM = """
import threading, time
from tests.api.test_workers import Shop
from pssmr.executor import Executor
executor = Executor(Shop(), workers=4)
payloads = [Shop.add.bind(str(i % 7), 1).payload for i in range(20000)]
threading.Thread(target=lambda: [executor.execute(payloads) for _ in range(100)], daemon=True).start()
time.sleep(0.2)
{end}
"""


@pytest.mark.parametrize("end", ["executor.close()", "del executor", "pass"])
def test_the_interpreter_ends_in_order_while_workers_are_busy(end: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(end=end)],
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
