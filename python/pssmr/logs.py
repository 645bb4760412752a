"""What the core's threads log goes to `logging`, to loggers such as `pssmr.replica` and `pssmr.client`.

One thread of Python does it, in bursts, so that no thread of the core ever waits for the interpreter. The level is that
of the logger `pssmr` when the first client or replica is made, or what `set_level` says later.
"""

from __future__ import annotations

import logging
import threading

from pssmr import _core

LEVELS = ("debug", "info", "warning", "error")
"""What can be logged: all of this level, and of those after it."""

_lock = threading.Lock()
_thread: threading.Thread | None = None


def start_forwarding() -> None:
    """Starts it, once."""
    global _thread
    with _lock:
        if _thread is None:
            _thread = threading.Thread(target=_forward, name="pssmr-log", daemon=True)
            if _core.forward_logs(logging.getLogger("pssmr").getEffectiveLevel()):
                _thread.start()


def set_level(level: str) -> None:
    """Changes how much the logger `pssmr` and the core's threads log: a name in `LEVELS`."""
    number = logging.getLevelNamesMapping()[level.upper()]
    logging.getLogger("pssmr").setLevel(number)
    _core.set_log_level(number)


def _forward() -> None:
    while (lines := _core.next_logs()) is not None:
        for level, logger, text in lines:
            logging.getLogger(logger).log(level, "%s", text)


def end_forwarding() -> None:
    """Ends it, once all is forwarded."""
    if _thread is not None and _thread.is_alive():
        _core.end_logs()
        _thread.join()
