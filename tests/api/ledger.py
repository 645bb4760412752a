"""The service that clients talk to in these tests."""

from __future__ import annotations

import threading
from typing import Annotated

import pssmr

blocked = threading.Event()
"""`block` has begun."""
released = threading.Event()
"""Lets `block` end."""


def arm_block() -> None:
    """Makes `block` wait, and `blocked` say when it does."""
    blocked.clear()
    released.clear()


class Ledger(pssmr.Service):
    entries = pssmr.Map[str, int]()

    @pssmr.command
    def add(self, name: Annotated[str, entries.write], amount: int = 1) -> int:
        self.entries[name] = self.entries.get(name, 0) + amount
        return self.entries[name]

    @pssmr.command
    def refuse(self) -> None:
        raise pssmr.Refused("no", 5)

    @pssmr.command
    def fail(self) -> None:
        raise LookupError

    @pssmr.query
    def read(self, name: Annotated[str, entries.read]) -> int | None:
        return self.entries.get(name)

    @pssmr.query
    def repeat(self, text: str, times: int) -> str:
        return text * times

    @pssmr.query
    def client(self, context: pssmr.Context) -> str:
        return context.client

    @pssmr.command
    def block(self, name: Annotated[str, entries.write]) -> int:
        blocked.set()
        released.wait(30)
        return self.add(name)

    @pssmr.command
    def stop(self) -> None:
        raise MemoryError
