"""Runs handlers that may fail, without a log of each failure."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

_LOGGER = logging.getLogger("pssmr.handler")


@contextlib.contextmanager
def handlers_quiet(raised: list[BaseException] | None = None) -> Iterator[list[BaseException]]:
    """Keeps what handlers raise out of the log meanwhile, and gives it, or adds it to `raised`: the oldest first."""
    raised = [] if raised is None else raised

    def keep(record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[1] is not None:
            raised.append(record.exc_info[1])
        return False

    # Before those of a `with` around this one: the first that takes a record ends its way.
    _LOGGER.filters.insert(0, keep)
    try:
        yield raised
    finally:
        _LOGGER.removeFilter(keep)
