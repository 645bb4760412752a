"""A market: limit orders of many instruments, matched by price and then by time.

    pssmr up examples/order_book.py:Market                  # prints DIR
    pssmr call examples/order_book.py:Market buy gold 100 5 --cluster DIR
    pssmr call examples/order_book.py:Market sell gold 99 3 --cluster DIR

Orders of one instrument are matched one after the other, in the agreed order; those of others at the same time. The
books are Python objects of the service's own, named by a `Resource`, so the service says itself how they are saved.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field
from typing import Annotated

import pssmr


@dataclass(frozen=True, order=True)
class Order:
    """An order that waits: sorted as it is matched, the best price first, then the oldest."""

    rank: int
    """The price, for who sells; its negative, for who buys."""
    number: int
    amount: int = field(compare=False)


@dataclass(frozen=True)
class Trade:
    """What was traded, and with whose order."""

    number: int
    price: int
    amount: int


@dataclass
class Book:
    """The waiting orders of an instrument."""

    buys: list[Order] = field(default_factory=list)
    sells: list[Order] = field(default_factory=list)


class Market(pssmr.Service):
    """Order books by instrument. Prices and amounts are whole numbers, in the smallest unit."""

    instruments = pssmr.Resource[str]()

    def __init__(self) -> None:
        self.books: dict[str, Book] = {}

    def snapshot(self) -> bytes:
        """All books, in an encoding that is the same at every replica."""
        return pssmr.encode(dict[str, Book], self.books)

    def restore(self, state: bytes) -> None:
        """Makes the books what they were."""
        self.books = pssmr.decode(dict[str, Book], state)

    @pssmr.command
    def buy(
        self, context: pssmr.Context, instrument: Annotated[str, instruments.write], price: int, amount: int
    ) -> tuple[int, list[Trade]]:
        """Buys up to `amount` at `price` or less; the rest waits. Returns the order's number, and the trades."""
        return self._place(context, instrument, price, amount, buys=True)

    @pssmr.command
    def sell(
        self, context: pssmr.Context, instrument: Annotated[str, instruments.write], price: int, amount: int
    ) -> tuple[int, list[Trade]]:
        """Sells up to `amount` at `price` or more; the rest waits. Returns the order's number, and the trades."""
        return self._place(context, instrument, price, amount, buys=False)

    @pssmr.command
    def cancel(self, instrument: Annotated[str, instruments.write], number: int) -> int:
        """Takes an order back, and returns how much of it had not been traded."""
        book = self.books.get(instrument, Book())
        for side in (book.buys, book.sells):
            for index, order in enumerate(side):
                if order.number == number:
                    del side[index]
                    return order.amount
        return 0

    @pssmr.query
    def best(self, instrument: Annotated[str, instruments.read]) -> tuple[int | None, int | None]:
        """The highest price that somebody pays, and the lowest that somebody takes."""
        book = self.books.get(instrument, Book())
        return (-book.buys[0].rank if book.buys else None, book.sells[0].rank if book.sells else None)

    def _place(
        self, context: pssmr.Context, instrument: str, price: int, amount: int, *, buys: bool
    ) -> tuple[int, list[Trade]]:
        # Nothing undoes what a failing handler has done to state of its own: check first, change then.
        if price <= 0 or amount <= 0:
            raise pssmr.Refused("price and amount have to be above 0")
        book = self.books.setdefault(instrument, Book())
        others, own = (book.sells, book.buys) if buys else (book.buys, book.sells)
        trades = []
        while amount and others and abs(others[0].rank) * (1 if buys else -1) <= price * (1 if buys else -1):
            first = others[0]
            traded = min(amount, first.amount)
            trades.append(Trade(first.number, abs(first.rank), traded))
            amount -= traded
            if traded == first.amount:
                del others[0]
            else:
                others[0] = Order(first.rank, first.number, first.amount - traded)
        if amount:
            insort(own, Order(-price if buys else price, context.position, amount))
        return context.position, trades
