"""Ends replicas and clients before the interpreter does: a thread that still runs Python code then would abort it."""

from __future__ import annotations

import atexit
import weakref
from typing import Protocol

from pssmr.logs import end_forwarding


class Closable(Protocol):
    """What has threads of its own."""

    def close(self) -> None:
        """Ends them. May be called twice."""


_open: weakref.WeakSet[Closable] = weakref.WeakSet()


def close_at_exit(closable: Closable) -> None:
    """Closes it when the interpreter exits, if it is still there."""
    _open.add(closable)


@atexit.register
def _close_all() -> None:
    for closable in list(_open):
        closable.close()
    end_forwarding()
