"""`pssmr.testing.check_snapshots`: it lets right services pass, and finds each kind of mistake."""

from __future__ import annotations

import pickle
import time
from typing import Annotated, Any

import pytest

import pssmr
from pssmr.testing import CheckFailed, check_snapshots
from tests.api.test_snapshots import DEPOSITS, LENDING, Bank, Library, Shelves

NAMES = [f"name {i}" for i in range(12)]


class Notes(pssmr.Service):
    """Right, and a base for what is wrong."""

    keys = pssmr.Resource[str]()

    def __init__(self) -> None:
        self.notes: dict[str, int] = {}
        self.count = 0

    def snapshot(self) -> bytes:
        return pssmr.encode(dict[str, int], self.notes)

    def restore(self, state: bytes) -> None:
        self.notes = pssmr.decode(dict[str, int], state)

    @pssmr.command
    def note(self, key: Annotated[str, keys.write], value: int) -> int:
        self.notes[key] = value
        return value


def of(service: type[Notes]) -> list[pssmr.Call[Any]]:
    return [service.note.bind(name, 5) for name in NAMES]


class InOrderOfFilling(Notes):
    def snapshot(self) -> bytes:
        return pssmr.encode(list[tuple[str, int]], list(self.notes.items()))

    def restore(self, state: bytes) -> None:
        self.notes = dict(pssmr.decode(list[tuple[str, int]], state))


class InOrderOfHashes(InOrderOfFilling):
    def snapshot(self) -> bytes:
        return pssmr.encode(list[tuple[str, int]], [(name, self.notes[name]) for name in set(self.notes)])


class Pickled(Notes):
    def snapshot(self) -> bytes:
        return pickle.dumps(sorted(self.notes.items()))

    def restore(self, state: bytes) -> None:
        self.notes = dict(pickle.loads(state))


class Clocked(Notes):
    def snapshot(self) -> bytes:
        return pssmr.encode(int, time.perf_counter_ns())

    def restore(self, state: bytes) -> None: ...


class Forgetful(Notes):
    def restore(self, state: bytes) -> None:
        self.notes = dict(list(pssmr.decode(dict[str, int], state).items())[1:])


class Counting(Notes):
    """Its count is in no snapshot."""

    @pssmr.command
    def note(self, key: Annotated[str, Notes.keys.write], value: int) -> int:
        self.notes[key] = value
        self.count += 1
        return self.count


class Summing(Counting):
    """Its count is in no snapshot, but has its part in the state."""

    @pssmr.command
    def note(self, key: Annotated[str, Notes.keys.write], value: int) -> int:
        self.count += 1
        self.notes[key] = self.count
        return 0


class Hashing(Notes):
    @pssmr.command
    def note(self, key: Annotated[str, Notes.keys.write], value: int) -> int:
        self.notes[key] = hash(key) & 255
        return value


@pytest.mark.parametrize(("service", "calls"), [(Bank, DEPOSITS[:50]), (Library, LENDING), (Notes, of(Notes))])
def test_right_services_pass(service: type[pssmr.Service], calls: list[pssmr.Call[Any]]) -> None:
    check_snapshots(service, calls)


@pytest.mark.parametrize(
    ("service", "message"),
    [
        (Pickled, "Pickled.snapshot gives a pickle: its bytes differ between equal states"),
        (Clocked, "Clocked: two snapshots of one state differ, from byte"),
        (Forgetful, "that of another that was restored from it differ"),
        (InOrderOfFilling, "the same commands in another order that their declarations allow differ"),
        (Counting, "a service and another that was restored from it answer differently to note"),
        (Summing, "after the same commands, a service and another that was restored from its snapshot differ"),
    ],
)
def test_each_mistake_is_found(service: type[Notes], message: str) -> None:
    with pytest.raises(CheckFailed) as caught:
        check_snapshots(service, of(service), other_processes=False)
    assert message in str(caught.value)


def test_a_mistake_that_only_another_process_shows_is_found() -> None:
    check_snapshots(Hashing, of(Hashing), other_processes=False)
    with pytest.raises(CheckFailed, match="in another process, whose hashes have another seed"):
        check_snapshots(Hashing, of(Hashing))


def test_the_order_of_a_set_is_found() -> None:
    with pytest.raises(CheckFailed, match="differ"):
        check_snapshots(InOrderOfHashes, of(InOrderOfHashes))


def test_a_service_without_snapshots_says_why() -> None:
    with pytest.raises(pssmr.SnapshotError, match="the resource 'shelves'"):
        check_snapshots(Shelves, [])


def test_a_class_that_no_other_process_can_find_is_refused() -> None:
    class Hidden(Notes):
        pass

    with pytest.raises(pssmr.ConfigError, match="can't be found by another process"):
        check_snapshots(Hidden, of(Hidden))
