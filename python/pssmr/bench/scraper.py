"""Somebody who scrapes metrics while a cluster is measured."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Sequence


class Scraper:
    """Asks each replica for its metrics, again and again."""

    def __init__(self, addresses: Sequence[str], interval: float) -> None:
        """Asks nothing yet.

        Args:
            addresses: Where the replicas serve them.
            interval: Seconds from one time to the next.
        """
        self._addresses = addresses
        self._interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pssmr-scraper")

    def __enter__(self) -> Scraper:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            for address in self._addresses:
                with contextlib.closing(http.client.HTTPConnection(address, timeout=5)) as connection:
                    connection.request("GET", "/metrics")
                    connection.getresponse().read()
