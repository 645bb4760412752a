"""What is executed while a cluster is measured: nothing, in Python. The core's `native:null` takes the same command."""

from __future__ import annotations

from typing import Annotated

import pssmr


class Idle(pssmr.Service):
    """Commands that do nothing, on one of many keys, so that they can run in parallel."""

    keys = pssmr.Resource[int]()

    @pssmr.command
    def work(self, key: Annotated[int, keys.write], payload: bytes) -> bytes:
        """Does nothing."""
        return b""

    @pssmr.query
    def look(self, key: Annotated[int, keys.read], payload: bytes) -> bytes:
        """Does nothing either, and need not be ordered."""
        return b""

    def snapshot(self) -> bytes:
        """Nothing is kept."""
        return b""

    def restore(self, state: bytes) -> None:
        """Nothing was kept."""
