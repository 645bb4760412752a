"""How long a command may take while its service is checked: one that never ends does not keep that from being said."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from types import FrameType

_AGAIN_SECONDS = 0.5
"""A handler that catches it gets it once more after this."""

_seconds: ContextVar[float] = ContextVar("pssmr_patience", default=0.0)


class NeverEnds(BaseException):
    """Raised in a command that takes too long. No `Exception`: that would be the command's own failure."""


@contextlib.contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Within, `NeverEnds` is raised in a command that takes longer. Only in the main thread: signals come there."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, _give_up)
    left, interval = signal.setitimer(signal.ITIMER_REAL, 0)
    began, token = time.monotonic(), _seconds.set(seconds)
    try:
        yield
    finally:
        _seconds.reset(token)
        signal.signal(signal.SIGALRM, signal.SIG_DFL if before is None else before)
        if left > 0:
            signal.setitimer(signal.ITIMER_REAL, max(0.001, left - (time.monotonic() - began)), interval)


@contextlib.contextmanager
def one_command() -> Iterator[None]:
    """Within is one command."""
    seconds = _seconds.get()
    if not seconds:
        yield
        return
    signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _give_up(_signal: int, _frame: FrameType | None) -> None:
    raise NeverEnds
