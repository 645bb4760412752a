"""Commands that are sent together: batches and transactions."""

from __future__ import annotations

import random
from typing import Annotated, Any

import numpy as np
import pytest

import pssmr
from pssmr.executor import Executor
from pssmr.settings import Scheduler
from tests.api.conftest import StartCluster
from tests.api.ledger import Ledger


class Bank(pssmr.Service):
    """Accounts that are never below 0, and what they all have."""

    accounts = pssmr.Map[str, int]()
    turnover = pssmr.Counter()

    def __init__(self) -> None:
        self.withdrawals = 0

    @pssmr.command
    def deposit(self, account: Annotated[str, accounts.write], amount: int) -> int:
        self.accounts[account] = self.accounts.get(account, 0) + amount
        return self.accounts[account]

    @pssmr.command
    def withdraw(self, account: Annotated[str, accounts.write], amount: int) -> int:
        self.withdrawals += 1
        self.accounts[account] = self.accounts.get(account, 0) - amount
        if self.accounts[account] < 0:
            raise pssmr.Refused("too little", amount)
        return self.accounts[account]

    @pssmr.command
    def give(self, account: Annotated[str, accounts.commute], amount: int) -> None:
        self.accounts.add(account, amount)

    @pssmr.command(commutes=[turnover])
    def note(self, amount: int) -> None:
        self.turnover.add(amount)

    @pssmr.query
    def balance(self, account: Annotated[str, accounts.read]) -> int:
        return self.accounts.get(account, 0)

    @pssmr.query(reads=[accounts])
    def total(self) -> int:
        return sum(self.accounts.values())

    @pssmr.query(reads=[turnover])
    def noted(self) -> int:
        return self.turnover.value

    @pssmr.command
    def stray(self, account: Annotated[str, accounts.write]) -> int:
        return self.accounts.get(account + "!", 0)

    @pssmr.command(conflicts=lambda bank, account, amount: [bank.accounts.write[account]])
    def deposit_somehow(self, account: str, amount: int) -> int:
        return self.deposit(account, amount)

    @pssmr.command(vectorized=True)
    def deposit_many(self, account: Annotated[str, accounts.write], amount: int) -> int:
        return np.array([self.deposit(name, int(each)) for name, each in zip(account, amount, strict=True)])  # type: ignore[return-value]

    @pssmr.command
    def draw(self, context: pssmr.Context, account: Annotated[str, accounts.write]) -> tuple[int, int, float]:
        return context.position, context.operation, context.random.random()

    def snapshot(self) -> bytes:
        return b""

    def restore(self, state: bytes) -> None:
        self.withdrawals = 0


def run(*requests: pssmr.Request[Any], workers: int = 2) -> list[Any]:
    with Executor(Bank(), workers=workers) as executor:
        return executor.run(requests)


def shown(result: object) -> object:
    """Equal for equal outcomes."""
    if isinstance(result, list):
        return [shown(each) for each in result]
    return repr(result)


deposit, withdraw, give, balance, total = Bank.deposit, Bank.withdraw, Bank.give, Bank.balance, Bank.total


def test_each_command_of_a_batch_has_its_own_result_or_error() -> None:
    batch = pssmr.Batch([deposit.bind("ann", 5), withdraw.bind("ann", 9), withdraw.bind("ann", 2), balance.bind("ann")])
    (results,) = run(batch)
    assert shown(results) == shown([5, pssmr.Refused("too little", 9), 3, 3])


def test_a_transaction_is_executed_as_one() -> None:
    transaction = pssmr.Transaction([deposit.bind("ann", 5), deposit.bind("bob", 1), total.bind()])
    assert run(transaction, total.bind()) == [[5, 1, 6], 6]


def test_a_transaction_that_fails_leaves_nothing_in_tables_and_names_the_command() -> None:
    transaction = pssmr.Transaction(
        [deposit.bind("bob", 9), give.bind("eve", 1), withdraw.bind("ann", 3), deposit.bind("ann", 3)]
    )
    error, left = run(transaction, total.bind())
    assert shown(error) == shown(pssmr.Refused("too little", 3))
    assert error.__notes__ == ["raised by withdraw, command 3 of 4 of the transaction"]
    assert left == 0


def test_attributes_are_as_the_handlers_of_a_failed_transaction_left_them() -> None:
    bank = Bank()
    with Executor(bank, workers=2) as executor:
        executor.run([pssmr.Transaction([withdraw.bind("ann", 0), withdraw.bind("ann", 1)])])
    assert bank.withdrawals == 2


def test_a_transaction_sees_its_own_additions_and_undoes_them() -> None:
    adds = [deposit.bind("ann", 1), give.bind("ann", 2), give.bind("bob", 3)]
    well = pssmr.Transaction([*adds, balance.bind("ann"), total.bind()])
    badly = pssmr.Transaction([*adds, withdraw.bind("ann", 100)])
    assert run(well, badly, balance.bind("ann"), total.bind())[::2] == [[1, None, None, 3, 6], 3]
    notes = [Bank.note.bind(4), Bank.note.bind(5)]
    assert run(pssmr.Transaction(notes), pssmr.Transaction([*notes, Bank.noted.bind()])) == [
        [None] * 2,
        [None, None, 18],
    ]


def test_commands_of_a_transaction_touch_what_each_of_them_declares() -> None:
    alone = pssmr.Transaction([Bank.stray.bind("ann")])
    beside = pssmr.Transaction([deposit.bind("ann!", 1), Bank.stray.bind("ann")])
    assert shown(run(alone, beside)) == shown([pssmr.HandlerFailed("UndeclaredAccess")] * 2)


def test_transactions_have_commands_of_every_kind() -> None:
    calls = [Bank.deposit_somehow.bind("ann", 1), Bank.deposit_many.bind("ann", 2), Bank.deposit_many.bind("bob", 3)]
    assert run(pssmr.Transaction([*calls, total.bind()]), pssmr.Batch(calls)) == [[1, 3, 3, 6], [4, 6, 6]]


def test_each_command_knows_its_place_and_has_random_numbers_of_its_own() -> None:
    draws = [Bank.draw.bind(account) for account in ("ann", "bob", "ann")]
    alone, transaction, batch = run(draws[0], pssmr.Transaction(draws), pssmr.Batch(draws))
    assert [each[:2] for each in [alone, *transaction, *batch]] == [
        (1, 0),
        *((2, operation) for operation in range(3)),
        *((3, operation) for operation in range(3)),
    ]
    assert len({each[2] for each in [alone, *transaction, *batch]}) == 7


def test_what_is_refused_before_it_is_executed_is_refused_whole_in_a_transaction() -> None:
    class Other(pssmr.Service):
        @pssmr.command
        def brand_new(self) -> None: ...

    calls = [deposit.bind("ann", 5), Other.brand_new.bind()]
    batch, transaction, left = run(pssmr.Batch(calls), pssmr.Transaction(calls), total.bind())
    assert shown(batch) == shown([5, pssmr.UnknownCommand("brand_new: unknown command")])
    assert isinstance(transaction, pssmr.UnknownCommand)
    assert str(transaction) == "transaction: operation 1: unknown command"
    assert left == 5


def test_requests_of_too_many_commands_and_of_none_are_refused_here() -> None:
    call = balance.bind("ann")
    for several in (pssmr.Batch, pssmr.Transaction):
        assert len(run(several([call] * 1024))[0]) == 1024
        with pytest.raises(pssmr.RequestTooLarge, match="1025 commands in one request, the limit is 1024"):
            several([call] * 1025)
        with pytest.raises(ValueError, match="of no commands"):
            several([])
        with pytest.raises(TypeError, match="not other requests"):
            several([several([call])])  # type: ignore[list-item]


def drawn_requests(seed: int) -> list[pssmr.Request[Any]]:
    draw = random.Random(seed)

    def call() -> pssmr.Call[Any]:
        account, amount = draw.choice("abcd"), draw.randrange(5)
        kinds = [deposit, withdraw, give, Bank.deposit_somehow, Bank.deposit_many]
        return draw.choice([*(each.bind(account, amount) for each in kinds), balance.bind(account), total.bind()])

    def request() -> pssmr.Request[Any]:
        calls = [call() for _ in range(draw.randrange(1, 6))]
        return draw.choice([pssmr.Batch(calls), pssmr.Transaction(calls), calls[0]])

    return [request() for _ in range(150)]


@pytest.mark.parametrize("scheduler", ["keyed", "early", "static", "graph-coarse", "graph-fine", "graph-lock-free"])
def test_results_and_state_are_those_of_sequential_execution(scheduler: Scheduler) -> None:
    for seed in range(3):
        outcomes = []
        for workers, each in ((1, "sequential"), (4, scheduler)):
            with Executor(Bank(), workers=workers, scheduler=each) as executor:
                outcomes.append((shown(executor.run(drawn_requests(seed))), executor.state_digest()))
        assert outcomes[0] == outcomes[1]


async def test_both_clients_have_batches_and_transactions(start_cluster: StartCluster) -> None:
    cluster = start_cluster(Ledger, replicas=4)
    calls = [Ledger.add.bind("ann", 5), Ledger.refuse.bind(), Ledger.add.bind("ann")]
    async with pssmr.AsyncClient(cluster, timeout=60) as client:
        results = await client.batch(calls, return_exceptions=True)
        assert shown(results) == shown([5, pssmr.Refused("no", 5), 6])
        with pytest.raises(pssmr.Refused):
            await client.batch(calls)
        with pytest.raises(pssmr.Refused, match="no") as raised:
            await client.transaction(calls)
        assert "raised by refuse, command 2 of 3 of the transaction" in raised.value.__notes__
        assert await client.transaction([Ledger.add.bind("ann"), Ledger.read.bind("ann")]) == [13, 13]
    with pssmr.Client(cluster, timeout=60) as blocking:
        assert blocking.batch(calls[:1]) == [18]
        with pytest.raises(pssmr.Refused):
            blocking.transaction(calls)
        assert blocking.call_many([pssmr.Transaction(calls[2:]), pssmr.Batch(calls[2:])]) == [[19], [20]]
        assert len(set(blocking.state_digests().values())) == 1
