"""What all replicas have to agree on, asked for by one of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from pssmr._core import ClientCore
from pssmr.client_options import IN_FLIGHT_MAX, ClientOptions
from pssmr.config import ClusterConfig
from pssmr.errors import Busy
from pssmr.reconfiguration import check_made

TIMEOUT = 30.0
"""Seconds until the replicas have to have done it."""


class Upkeep:
    """Asks the cluster as a client with the replica's own key, of which the others take no commands.

    One thing at a time; the client lives as long as that.
    """

    def __init__(self, config: ClusterConfig, key: str) -> None:
        """Connects nothing yet.

        Args:
            config: The cluster.
            key: The replica's private key, as PEM text.
        """
        self._options = ClientOptions(config, key, TIMEOUT, IN_FLIGHT_MAX)
        self._lock = threading.Lock()
        self._core: ClientCore | None = None
        self._is_closed = False

    async def checkpoint(self) -> dict[int, bytes]:
        """Has a checkpoint taken: the digest of each replica's state there.

        Raises:
            Unavailable: If the cluster can't do it now, or this replica is asking it for something.
            OutcomeUnknown: If too few replicas answered in time.
        """
        digests: dict[int, bytes] = await self._ask(lambda core: core.wait(core.submit_checkpoint(TIMEOUT)))
        return digests

    async def reconfigure(self, change: bytes) -> None:
        """Has a signed change of the membership made.

        Raises:
            ReconfigurationRefused: If the replicas refuse it.
            Unavailable: If the cluster can't do it now, or this replica is asking it for something.
            OutcomeUnknown: If no answer came in time.
        """
        check_made(await self._ask(lambda core: core.wait(core.submit_reconfiguration(change, TIMEOUT))))

    def close(self) -> None:
        """Gives up what is asked for, and asks for nothing more. Any thread."""
        with self._lock:
            self._is_closed = True
            core = self._core
        if core is not None:
            core.close()

    async def _ask(self, work: Callable[[ClientCore], Any]) -> Any:
        with self._lock:
            if self._is_closed or self._core is not None:
                raise Busy("this replica asks the others for something else, or is being stopped")
            core = self._core = self._options.connect(for_loop=False)
        try:
            return await asyncio.to_thread(work, core)
        finally:
            core.close()
            with self._lock:
                self._core = None
