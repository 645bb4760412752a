"""A bank whose accounts survive the loss of a replica.

    pssmr up examples/bank.py:Bank

Each command says at its arguments which accounts it touches, so transfers between different accounts run in parallel.
"""

from __future__ import annotations

from typing import Annotated

import pssmr


class Overdrawn(pssmr.Refused):
    """The account has less than what was asked for."""


class Bank(pssmr.Service):
    """Accounts with money, and a journal of what was done."""

    accounts = pssmr.Map[str, int]()
    journal = pssmr.Map[int, int]()
    """How often each order, by its number, was executed. Nothing here stops an order from being executed twice: that
    each number is there exactly once shows what pssmr promises."""

    @pssmr.command(writes=[accounts])
    def open_accounts(self, owners: list[str], amount: int) -> int:
        """Opens accounts with this amount each, and returns how many are new."""
        new = 0
        for owner in owners:
            if owner not in self.accounts:
                self.accounts[owner] = amount
                new += 1
        return new

    @pssmr.command
    def transfer(
        self,
        source: Annotated[str, accounts.write],
        target: Annotated[str, accounts.write],
        amount: int,
        order: Annotated[int, journal.write],
    ) -> int:
        """Moves money, and returns what is left in the source."""
        balance = self.accounts.get(source, 0)
        left = balance - amount
        if left < 0:
            raise Overdrawn(f"{source} has {balance}, which is less than {amount}")
        self.accounts[source] = left
        self.accounts[target] = self.accounts.get(target, 0) + amount
        self.journal[order] = self.journal.get(order, 0) + 1
        return left

    @pssmr.command
    def deposit(self, owner: Annotated[str, accounts.write], amount: int, order: Annotated[int, journal.write]) -> int:
        """Puts money into an account, and returns what is in it then."""
        balance = self.accounts.get(owner, 0) + amount
        self.accounts[owner] = balance
        self.journal[order] = self.journal.get(order, 0) + 1
        return balance

    @pssmr.query
    def balance(self, owner: Annotated[str, accounts.read]) -> int:
        """What is in an account."""
        return self.accounts.get(owner, 0)

    @pssmr.query(reads=[accounts])
    def total(self) -> int:
        """All the money there is."""
        return sum(self.accounts.values())

    @pssmr.query(reads=[journal])
    def executions(self, first: int, last: int) -> list[int]:
        """How often each order from `first` to `last` was executed."""
        return [self.journal.get(order, 0) for order in range(first, last + 1)]
