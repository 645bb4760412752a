"""What a type checker has to make of a service and its calls. Checked by `mypy --strict`, not run."""

from typing import Annotated, assert_type

import pssmr


class Bank(pssmr.Service):
    accounts = pssmr.Map[str, int]()
    audits = pssmr.Resource[int]()

    @pssmr.command
    def transfer(
        self, source: Annotated[str, accounts.write], target: Annotated[str, accounts.write], amount: int
    ) -> int:
        assert_type(self.accounts.get(source), int | None)
        assert_type(self.accounts.get(source, 0), int)
        assert_type(self.accounts[source], int)
        self.accounts[source] -= amount
        self.accounts[target] = "much"  # type: ignore[assignment]
        return self.accounts.pop(source)

    @pssmr.command(writes=[accounts])
    def draw(self, context: pssmr.Context, names: list[str]) -> str:
        return context.random.choice(names)

    @pssmr.query(reads=[accounts])
    def names(self) -> list[str]:
        return list(self.accounts)


async def calls(client: pssmr.AsyncClient, bank: Bank) -> None:
    assert_type(await client.call(Bank.transfer, "ann", "bob", 5), int)
    assert_type(await client.call(Bank.draw, ["ann"]), str)
    assert_type(await client.call(Bank.names), list[str])
    assert_type(await client.call_many([Bank.transfer.bind("ann", "bob", 5)]), list[int])
    await client.call(Bank.transfer, "ann", "bob", "much")  # type: ignore[arg-type]
    await client.call(Bank.transfer, "ann")  # type: ignore[call-arg]
    assert_type(bank.transfer("ann", "bob", amount=5), int)
    assert_type(bank.draw(["ann"]), str)
    bank.draw(5)  # type: ignore[arg-type]


def blocking_calls(client: pssmr.Client) -> None:
    assert_type(client.call(Bank.transfer, "ann", "bob", 5), int)
    assert_type(client.call_many([Bank.transfer.bind("ann", "bob", 5)], return_exceptions=True), list[int | Exception])
    assert_type(client.with_timeout(2).call(Bank.names), list[str])
    client.call(Bank.draw, 5)  # type: ignore[arg-type]


def is_query(query: pssmr.Query[[], list[str]]) -> None:
    pass


is_query(Bank.names)
is_query(Bank.draw)  # type: ignore[arg-type]
