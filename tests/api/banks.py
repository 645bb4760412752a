"""Two versions of one service, as they are before and after an upgrade."""

from __future__ import annotations

from typing import Annotated, Any

import pssmr


def first() -> Any:
    """The code before."""

    class Bank(pssmr.Service):
        accounts = pssmr.Map[str, int]()
        books = pssmr.Resource[str]()

        @pssmr.command
        def deposit(self, owner: Annotated[str, accounts.write], amount: int) -> int:
            self.accounts[owner] = self.accounts.get(owner, 0) + amount
            return self.accounts[owner]

        @pssmr.query
        def balance(self, owner: Annotated[str, accounts.read]) -> int:
            return self.accounts.get(owner, 0)

        @pssmr.command
        def book(self, owner: Annotated[str, books.write]) -> None:
            """Touches a resource."""

        def snapshot(self) -> bytes:
            return b""

        def restore(self, state: bytes) -> None:
            """Keeps nothing."""

    return Bank


def second() -> Any:
    """The code after: a deposit has a fee, owners can be closed, and which ones were is known."""

    class Bank(pssmr.Service):
        closed = pssmr.Map[str, bool](since=2)
        accounts = pssmr.Map[str, int]()
        seals = pssmr.Resource[str](since=2)
        books = pssmr.Resource[str]()

        @pssmr.command(since=2)
        def close(self, owner: Annotated[str, accounts.write, closed.write]) -> int:
            self.closed[owner] = True
            return self.accounts.pop(owner, 0)

        @pssmr.command
        def deposit(self, context: pssmr.Context, owner: Annotated[str, accounts.write], amount: int) -> int:
            fee = 1 if context.version >= 2 else 0
            self.accounts[owner] = self.accounts.get(owner, 0) + amount - fee
            return self.accounts[owner]

        @pssmr.query
        def balance(self, owner: Annotated[str, accounts.read]) -> int:
            return self.accounts.get(owner, 0)

        @pssmr.command
        def book(self, owner: Annotated[str, books.write]) -> None:
            """Touches a resource."""

        @pssmr.query(since=2)
        def is_closed(self, owner: Annotated[str, closed.read]) -> bool:
            return owner in self.closed

        def snapshot(self) -> bytes:
            return b""

        def restore(self, state: bytes) -> None:
            """Keeps nothing."""

    return Bank
