"""Snapshots of services: maps, state of their own, what has no snapshot, and what happens if one fails."""

from __future__ import annotations

import dataclasses
import enum
import logging
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any

import pytest

import pssmr
from pssmr.executor import Executor
from pssmr.snapshots import can_snapshot, check_snapshot, snapshot_obstacle


class Bank(pssmr.Service):
    """All of its state is in maps."""

    accounts = pssmr.Map[str, int]()
    notes = pssmr.Map[tuple[str, int], bytes]()

    @pssmr.command
    def deposit(self, owner: Annotated[str, accounts.write], amount: int) -> int:
        self.accounts[owner] = self.accounts.get(owner, 0) + amount
        return self.accounts[owner]

    @pssmr.command
    def note(self, owner: Annotated[str, accounts.read], number: int, text: bytes) -> None:
        self.notes[owner, number] = text


class Library(pssmr.Service):
    """Keeps its books itself, and an index of a map."""

    readers = pssmr.Map[str, int]()
    books = pssmr.Resource[str]()

    def __init__(self) -> None:
        self.lent: dict[str, str] = {}
        self.by_age: dict[int, set[str]] = {}

    def snapshot(self) -> Iterable[bytes]:
        for book, reader in sorted(self.lent.items()):
            yield pssmr.encode(tuple[str, str], (book, reader))

    def restore(self, state: bytes) -> None:
        self.lent = dict(_pairs(state))
        self.by_age = {}
        for reader, age in self.readers.items():
            self.by_age.setdefault(age, set()).add(reader)

    @pssmr.command
    def join(self, reader: Annotated[str, readers.write], age: int) -> None:
        self.readers[reader] = age
        self.by_age.setdefault(age, set()).add(reader)

    @pssmr.command
    def lend(self, book: Annotated[str, books.write], reader: Annotated[str, readers.read]) -> bool:
        return reader in self.readers and self.lent.setdefault(book, reader) == reader

    @pssmr.query
    def aged(self, age: int) -> list[str]:
        return sorted(self.by_age.get(age, ()))


def _pairs(state: bytes) -> Iterator[tuple[str, str]]:
    """Pairs of strings of less than 32 bytes, one after the other."""
    at = 0
    while at < len(state):
        first = 2 + (state[at + 1] & 31)
        end = at + first + 1 + (state[at + first] & 31)
        yield pssmr.decode(tuple[str, str], state[at:end])
        at = end


def outcomes(service: pssmr.Service, *runs: list[pssmr.Call[Any]]) -> tuple[bytes, bytes, list[Any]]:
    """The snapshot, the digest, and the results of the last run."""
    results: list[Any] = []
    with Executor(service, workers=3) as executor:
        for calls in runs:
            results = executor.run(calls)
        return executor.snapshot(), executor.state_digest(), results


DEPOSITS = [Bank.deposit.bind(f"owner {i * i % 23}", i) for i in range(300)]
LENDING = [
    *(Library.join.bind(name, age) for name, age in [("ann", 7), ("bob", 9), ("eve", 7)]),
    *(Library.lend.bind(f"book {i * 7 % 10}", ["ann", "bob", "eve"][i % 3]) for i in range(20)),
]


@pytest.mark.parametrize(("service", "calls"), [(Bank, DEPOSITS), (Library, LENDING)])
def test_a_service_goes_on_from_the_snapshot_of_another(
    service: type[pssmr.Service], calls: list[pssmr.Call[Any]]
) -> None:
    half = len(calls) // 2
    whole, digest, results = outcomes(service(), calls[:half], calls[half:])
    frozen, _, _ = outcomes(service(), calls[:half])
    with Executor(service(), workers=2) as executor:
        executor.run(calls[2:5])
        executor.restore(frozen)
        assert executor.snapshot() == frozen
        assert executor.run(calls[half:]) == results
        assert (executor.snapshot(), executor.state_digest()) == (whole, digest)


def test_what_can_be_derived_from_the_maps_is_made_when_a_service_is_restored() -> None:
    frozen, _, _ = outcomes(Library(), LENDING)
    with Executor(Library(), workers=1) as executor:
        executor.restore(frozen)
        assert executor.run([Library.aged.bind(7)]) == [["ann", "eve"]]


def test_the_bytes_of_a_snapshot_are_the_same_in_every_version() -> None:
    frozen, _, _ = outcomes(Library(), LENDING[:1], [Library.lend.bind("moby", "ann")])
    assert frozen == (
        b"pssmr tables 1"
        + bytes([1, 0, 0, 0, 0, 0, 0, 0])
        + (bytes([7, 0, 0, 0, 0, 0, 0, 0]) + b"readers")
        + (bytes([1, 0, 0, 0, 0, 0, 0, 0]))
        + (bytes([5, 0, 0, 0, 0, 0, 0, 0]) + b" ann\0" + bytes([1, 0, 0, 0, 0, 0, 0, 0]) + b"\x07")
        + b"\1"
        + (bytes([10, 0, 0, 0, 0, 0, 0, 0]) + b"\x92\xa4moby\xa3ann")
    )
    empty, _, _ = outcomes(Empty(), [])
    assert empty == b"pssmr tables 1" + bytes(8) + b"\0"


class Empty(pssmr.Service):
    @pssmr.command
    def act(self) -> None: ...


def test_a_snapshot_of_another_service_is_refused() -> None:
    bank, _, _ = outcomes(Bank(), DEPOSITS)
    library, _, _ = outcomes(Library(), LENDING)
    empty, _, _ = outcomes(Empty(), [])

    def refusal(service: pssmr.Service, snapshot: bytes) -> str:
        with Executor(service, workers=1) as executor, pytest.raises(pssmr.SnapshotError) as caught:
            executor.restore(snapshot)
        return str(caught.value)

    assert refusal(Bank(), library) == (
        'this is no snapshot of the service: table "readers", where "accounts" or "notes" is expected'
    )
    assert "can't be read" in refusal(Bank(), b"")
    assert "can't be read" in refusal(Bank(), bank[:-1])
    assert "can't be read" in refusal(Library(), library[:-1])
    assert "something follows its end" in refusal(Bank(), bank + b"x")
    assert "something follows its end" in refusal(Library(), library + b"x")
    assert "what follows the tables has no meaning" in refusal(Bank(), bank[:-1] + b"\2")
    assert "it is of a Empty with snapshot and restore" in refusal(Empty(), empty[:-1] + b"\1")
    assert "it is of a Library without snapshot and restore" in refusal(
        Library(), library[: library.index(b"\7\1")] + b"\7\0"
    )


class Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass(frozen=True)
class Fees:
    steps: tuple[int, ...]
    colour: Colour = Colour.RED


class Configured(pssmr.Service):
    """Has attributes that can't change."""

    counters = pssmr.Map[str, int]()

    def __init__(self, *own: object) -> None:
        self.fees = Fees((1, 2))
        self.name, self.ratio, self.log, self.limits = "x", 0.5, logging.getLogger("x"), frozenset({(1, None)})
        self.key = len
        if own:
            self.own = own[0]

    @pssmr.command
    def count(self, name: Annotated[str, counters.write]) -> None:
        self.counters.add(name, len(self.fees.steps))

    @pssmr.command
    def rename(self, name: str) -> None:
        self.name = name


class Shelves(pssmr.Service):
    shelves = pssmr.Resource[str]()

    @pssmr.command
    def act(self, shelf: Annotated[str, shelves.write]) -> None: ...


REMEDY = "define snapshot(self) -> bytes and restore(self, state: bytes) -> None, or keep it in a pssmr.Map"


@pytest.mark.parametrize("service", [Bank, Library, Configured])
def test_what_is_in_maps_or_constant_or_covered_has_a_snapshot(service: type[pssmr.Service]) -> None:
    assert can_snapshot(service())
    assert snapshot_obstacle(service()) is None
    check_snapshot(service())


@pytest.mark.parametrize(
    ("service", "what"),
    [
        (Shelves(), "Shelves keeps state that no snapshot would have: the resource 'shelves'"),
        (Configured([]), "Configured keeps state that no snapshot would have: the attribute 'own'"),
        (Configured({1: 2}), "the attribute 'own'"),
        (Configured((1, [2])), "the attribute 'own'"),
        (Configured(dataclasses.replace(Fees(()), colour=[])), "the attribute 'own'"),  # type: ignore[arg-type]
        (Configured(random.Random(1)), "the attribute 'own'"),
    ],
)
def test_state_that_no_snapshot_would_have_is_named_with_the_remedy(service: pssmr.Service, what: str) -> None:
    assert not can_snapshot(service)
    with pytest.raises(pssmr.SnapshotError) as caught:
        check_snapshot(service)
    assert what in str(caught.value)
    assert str(caught.value).endswith(REMEDY)
    with Executor(service, workers=1) as executor, pytest.raises(pssmr.SnapshotError) as again:
        executor.snapshot()
    assert str(again.value) == str(caught.value)


def test_no_command_assigns_what_no_snapshot_would_have(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(
        AttributeError, match=r"Configured.name is assigned by a command, but no snapshot would have it"
    ):
        Configured().rename("y")
    with Executor(Configured(), workers=1) as executor:
        (failed,) = executor.run([Configured.rename.bind("y")])
    assert isinstance(failed, pssmr.HandlerFailed)
    assert failed.exception == "AttributeError"
    assert REMEDY in caplog.text


class Fragile(pssmr.Service):
    """What its snapshot and restore do is said from outside."""

    values = pssmr.Map[str, int]()
    freeze: Callable[[Fragile], Any]
    thaw: Callable[[Fragile], None]

    def snapshot(self) -> bytes:
        value: bytes = Fragile.freeze(self)
        return value

    def restore(self, state: bytes) -> None:
        Fragile.thaw(self)

    @pssmr.command
    def put(self, key: Annotated[str, values.write], value: int) -> int:
        self.values[key] = value
        return value

    @pssmr.query(reads=[values])
    def total(self) -> int:
        return sum(self.values.values())


def write(service: Fragile) -> bytes:
    service.values["x"] = 5
    return b""


def fail(service: Fragile) -> bytes:
    raise LookupError("no disk")


@pytest.mark.parametrize(
    ("freeze", "message"),
    [
        (fail, "Fragile.snapshot raised LookupError: no disk"),
        (write, "Fragile.snapshot raised UndeclaredAccess: snapshot writes values"),
        (lambda service: "text", "snapshot gave a piece that is str; expected bytes, or an iterable of bytes"),
        (lambda service: None, "snapshot returned NoneType; expected bytes"),
        (lambda service: bytearray(1), "snapshot gave a piece that is int; expected bytes"),
        (lambda service: [b"x", "y"], "snapshot gave a piece that is str; expected bytes"),
    ],
)
def test_a_snapshot_that_fails_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, freeze: Callable[[Fragile], Any], message: str
) -> None:
    with Executor(Fragile(), workers=2) as executor:
        monkeypatch.setattr(Fragile, "freeze", freeze, raising=False)
        executor.run([Fragile.put.bind("a", 1)])
        with pytest.raises(pssmr.SnapshotError) as caught:
            executor.snapshot()
        assert message in str(caught.value)
        assert "Fragile.snapshot failed" in caplog.text
        monkeypatch.setattr(Fragile, "freeze", lambda service: pssmr.encode(int, service.total()))
        assert executor.run([Fragile.put.bind("b", 2)]) == [2]
        assert executor.snapshot().endswith(b"\3"), "snapshot reads the maps, through a query"


def test_a_snapshot_that_says_nothing_about_the_state_stops_the_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhaust(service: Fragile) -> bytes:
        raise MemoryError

    monkeypatch.setattr(Fragile, "freeze", exhaust, raising=False)
    with (
        Executor(Fragile(), workers=1) as executor,
        pytest.raises(pssmr.ReplicaStopped, match=r"Fragile.snapshot raised MemoryError"),
    ):
        executor.snapshot()


@pytest.mark.parametrize(
    ("thaw", "message"),
    [
        (fail, "the service could not restore the snapshot: Fragile.restore raised LookupError: no disk"),
        (write, "Fragile.restore raised UndeclaredAccess: restore writes values"),
    ],
)
def test_a_restoration_that_fails_is_typed(
    monkeypatch: pytest.MonkeyPatch, thaw: Callable[[Fragile], Any], message: str
) -> None:
    monkeypatch.setattr(Fragile, "freeze", lambda service: b"", raising=False)
    monkeypatch.setattr(Fragile, "thaw", thaw, raising=False)
    with Executor(Fragile(), workers=1) as executor:
        frozen = executor.snapshot()
        with pytest.raises(pssmr.SnapshotError) as caught:
            executor.restore(frozen)
        assert message in str(caught.value)
        monkeypatch.setattr(Fragile, "thaw", lambda service: None)
        executor.restore(frozen)
        assert executor.snapshot() == frozen


def test_a_closed_executor_has_no_snapshot() -> None:
    executor = Executor(Bank(), workers=1)
    frozen = executor.snapshot()
    executor.close()
    with pytest.raises(pssmr.ReplicaStopped, match="the executor was closed"):
        executor.snapshot()
    with pytest.raises(pssmr.ReplicaStopped, match="the executor was closed"):
        executor.restore(frozen)
