"""Services without a cluster: plain calls, maps, the guard, rollback, contexts."""

from __future__ import annotations

import dataclasses
import threading
from datetime import UTC, datetime
from typing import Annotated

import pytest

import pssmr


@dataclasses.dataclass(frozen=True)
class Entry:
    owner: str
    amounts: list[int] = dataclasses.field(default_factory=list)


class Overdrawn(pssmr.ApplicationError):
    """Too little on an account."""


class Bank(pssmr.Service):
    accounts = pssmr.Map[str, int]()
    journal = pssmr.Map[tuple[str, int], Entry]()

    @pssmr.command
    def deposit(self, owner: Annotated[str, accounts.write], amount: int = 1) -> int:
        self.accounts[owner] = self.accounts.get(owner, 0) + amount
        return self.accounts[owner]

    @pssmr.command
    def transfer(
        self, source: Annotated[str, accounts.write], target: Annotated[str, accounts.write], amount: int
    ) -> int:
        self.deposit(target, amount)
        self.accounts[source] = self.accounts.get(source, 0) - amount
        if self.accounts[source] < 0:
            raise Overdrawn(source, self.accounts[source])
        return self.accounts[source]

    @pssmr.query
    def balance(self, owner: Annotated[str, accounts.read]) -> int:
        return self.accounts.get(owner, 0)

    @pssmr.query(reads=[accounts])
    def total(self) -> int:
        return sum(self.accounts.values())

    @pssmr.command
    def peek(self, owner: Annotated[str, accounts.write], other: str) -> int:
        return self.accounts.get(other, 0)

    @pssmr.command
    def count(self, owner: Annotated[str, accounts.write]) -> int:
        return len(self.accounts)

    @pssmr.query
    def sneaky(self, owner: Annotated[str, accounts.read]) -> None:
        self.accounts[owner] = 1

    @pssmr.command
    def wrong_result(self, owner: Annotated[str, accounts.write]) -> int:
        self.accounts[owner] = 5
        return "five"  # type: ignore[return-value]

    @pssmr.command
    def collect(self, values: list[int]) -> list[int]:
        values.append(1)
        return values

    @pssmr.command
    def drawn(self, context: pssmr.Context, count: int) -> list[int]:
        return [context.random.randrange(1000) for _ in range(count)]

    @pssmr.command
    def drawn_twice(self, context: pssmr.Context) -> list[int]:
        return [context.random.randrange(1000), *self.drawn(1)]

    @pssmr.command
    def when(self, context: pssmr.Context) -> tuple[int, int]:
        assert context.time.tzinfo is UTC
        assert context.time == datetime.fromtimestamp(context.time_ns // 1000 / 1e6, UTC)
        return context.time_ns, context.position


@pytest.fixture
def bank() -> Bank:
    bank = Bank()
    bank.accounts["ann"] = 10
    return bank


def test_commands_are_plain_calls(bank: Bank) -> None:
    assert bank.transfer("ann", "bob", amount=4) == 6
    assert bank.balance("bob") == 4
    assert bank.deposit("eve") == 1
    assert bank.total() == 11


def test_instances_share_no_state(bank: Bank) -> None:
    assert Bank().total() == 0


@pytest.mark.parametrize(
    ("arguments", "keywords", "message"),
    [
        (("ann", "bob", "4"), {}, "transfer: argument 'amount': expected int, got str"),
        (("ann", "bob"), {}, "transfer: argument 'amount' is missing"),
        (("ann", "bob", 1, 2), {}, "transfer takes 3 arguments by position, 4 were given"),
        (("ann", "bob", 1), {"amount": 2}, "transfer: argument 'amount' is given twice"),
        (("ann", "bob", 1), {"fee": 2}, "transfer has no argument 'fee'"),
        (("x" * 5000, "bob", 1), {}, "transfer: argument 0: the key is too long"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_runs(
    bank: Bank, arguments: tuple[object, ...], keywords: dict[str, object], message: str
) -> None:
    with pytest.raises(pssmr.CommandError) as caught:
        bank.transfer(*arguments, **keywords)  # type: ignore[arg-type]
    assert str(caught.value) == message
    assert bank.total() == 10


def test_what_a_failing_handler_has_written_is_undone(bank: Bank) -> None:
    with pytest.raises(Overdrawn) as caught:
        bank.transfer("ann", "bob", 11)
    assert caught.value.args == ("ann", -1)
    assert dict(bank.accounts.items()) == {"ann": 10}


def test_a_result_of_another_type_is_a_failure_and_undone(bank: Bank) -> None:
    with pytest.raises(TypeError, match="wrong_result: the result: expected int, got str"):
        bank.wrong_result("ann")
    assert bank.accounts["ann"] == 10


def test_undeclared_state_is_out_of_reach(bank: Bank) -> None:
    with pytest.raises(pssmr.UndeclaredAccess) as caught:
        bank.peek("ann", "bob")
    assert str(caught.value) == (
        "peek reads accounts['bob'] but does not declare it: annotate the argument that is the key with "
        "accounts.read, or declare the whole map with reads=[accounts]"
    )
    with pytest.raises(pssmr.UndeclaredAccess, match=r"count reads all of accounts.*with reads=\[accounts\]"):
        bank.count("ann")
    with pytest.raises(pssmr.UndeclaredAccess, match=r"sneaky writes accounts\['ann'\]"):
        bank.sneaky("ann")
    assert bank.peek("ann", "ann") == 10


def test_arguments_and_results_are_copies_as_over_the_network(bank: Bank) -> None:
    values = [5]
    assert bank.collect(values) == [5, 1]
    assert values == [5]


def test_context_gives_what_replicas_agree_on(bank: Bank) -> None:
    before, position = bank.when()
    after, next_position = bank.when()
    assert after >= before
    assert next_position == position + 1
    assert bank.drawn(5) != bank.drawn(5), "each command has random numbers of its own"
    first, second = Bank(), Bank()
    assert first.drawn(5) == second.drawn(5)
    one, two = first.drawn_twice()
    assert [one, two] == second.drawn(2), "a function that a handler calls draws on"


def test_a_map_is_much_like_a_dict(bank: Bank) -> None:
    accounts = bank.accounts
    accounts["bob"] = 2
    assert accounts.setdefault("bob", 9) == 2
    assert accounts.setdefault("eve", 9) == 9
    assert "bob" in accounts
    assert "zoe" not in accounts
    assert len(accounts) == 3
    assert list(accounts) == list(accounts.keys()) == ["ann", "bob", "eve"]
    assert list(accounts.values()) == [10, 2, 9]
    assert accounts.pop("bob") == 2
    assert accounts.pop("bob", None) is None
    assert accounts.get("bob") is None
    del accounts["eve"]
    accounts.add("ann", -3)
    accounts.add("new", 5)
    assert dict(accounts.items()) == {"ann": 7, "new": 5}
    accounts.clear()
    assert not accounts
    assert repr(accounts) == "<Map[str, int] accounts>"


def test_missing_keys_are_key_errors(bank: Bank) -> None:
    with pytest.raises(KeyError) as caught:
        bank.accounts["bob"]
    assert caught.value.args == ("bob",)
    with pytest.raises(KeyError):
        del bank.accounts["bob"]
    with pytest.raises(KeyError):
        bank.accounts.pop("bob")


def test_keys_and_values_of_a_map_are_checked(bank: Bank) -> None:
    with pytest.raises(TypeError, match="a key of accounts: expected str, got int"):
        bank.accounts[5] = 1  # type: ignore[index]
    with pytest.raises(TypeError, match=r"accounts\['bob'\]: expected int, got str"):
        bank.accounts["bob"] = "much"  # type: ignore[assignment]
    with pytest.raises(TypeError, match="add needs a table of int, not of Entry"):
        bank.journal.add(("ann", 1), 1)
    with pytest.raises(AttributeError, match="accounts is a map; change its entries"):
        bank.accounts = {}  # type: ignore[assignment]
    with pytest.raises(TypeError, match="use it through an instance"):
        Bank.accounts.get("ann")


def test_values_of_a_map_are_kept_and_not_referred_to(bank: Bank) -> None:
    entry = Entry("ann", [1])
    bank.journal["ann", 1] = entry
    entry.amounts.append(2)
    assert bank.journal["ann", 1] == Entry("ann", [1])
    bank.journal["ann", 1].amounts.append(3)
    assert bank.journal["ann", 1] == Entry("ann", [1])


def test_iteration_is_sorted_and_sees_the_map_as_it_was(bank: Bank) -> None:
    numbers = [-(2**63), -300, -1, 0, 5, 200, 70000, 2**63]
    for number in reversed(numbers):
        bank.journal["k", number if number < 2**63 else 2**63] = Entry(str(number))
    for i in range(300):
        bank.journal["m", i] = Entry("m")
    iterator = iter(bank.journal)
    assert next(iterator) == ("k", -(2**63))
    bank.journal.clear()
    rest = list(iterator)
    assert rest == [("k", number) for number in numbers[1:]] + [("m", i) for i in range(300)]


def test_equal_maps_have_equal_digests_however_they_came_about() -> None:
    first, second = Bank(), Bank()
    for name in ("ann", "bob", "eve"):
        first.accounts[name] = 1
    for name in ("zoe", "eve", "bob", "ann"):
        second.accounts[name] = 1
    assert first._instance.tables_digest() != second._instance.tables_digest()
    del second.accounts["zoe"]
    assert first._instance.tables_digest() == second._instance.tables_digest()


def test_a_thread_that_a_handler_starts_is_not_its_command() -> None:
    seen: list[int | None] = []

    class Spawning(pssmr.Service):
        values = pssmr.Map[str, int]()

        @pssmr.command
        def act(self, key: Annotated[str, values.write]) -> None:
            self.values[key] = 1
            thread = threading.Thread(target=lambda: seen.append(self.values.get("other")))
            thread.start()
            thread.join()
            raise pssmr.Refused("undone")

    service = Spawning()
    with pytest.raises(pssmr.Refused):
        service.act("key")
    assert seen == [None]
    assert "key" not in service.values


def test_a_handler_may_call_another_service_of_its_own() -> None:
    inner = Bank()

    class Outer(pssmr.Service):
        values = pssmr.Map[str, int]()

        @pssmr.command
        def act(self, key: Annotated[str, values.write]) -> int:
            self.values[key] = inner.deposit("ann", 2)
            return self.values[key] + inner.balance("ann")

    assert Outer().act("key") == 4
