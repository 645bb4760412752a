"""What the core's threads log goes to `logging`, to loggers such as `pssmr.replica` and `pssmr.client`.

One thread of Python does it, in bursts, so that no thread of the core ever waits for the interpreter. The level is that
of the logger `pssmr` when the first client or replica is made.
"""

from __future__ import annotations

import logging
import threading

from pssmr import _core

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


def _forward() -> None:
    while (lines := _core.next_logs()) is not None:
        for level, logger, text in lines:
            logging.getLogger(logger).log(level, "%s", text)


def end_forwarding() -> None:
    """Ends it, once all is forwarded."""
    if _thread is not None and _thread.is_alive():
        _core.end_logs()
        _thread.join()
