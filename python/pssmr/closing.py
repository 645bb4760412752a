"""Ends replicas and clients before the interpreter does: a thread that still runs Python code then would abort it."""

from __future__ import annotations

import atexit
import weakref
from typing import Protocol

from pssmr._core import interpreter_ends
from pssmr.logs import end_forwarding


class Closable(Protocol):
    """What has threads of its own."""

    def close(self) -> None:
        """Ends them. May be called twice."""


_serving: weakref.WeakSet[Closable] = weakref.WeakSet()
_waiting: weakref.WeakSet[Closable] = weakref.WeakSet()


def close_at_exit(closable: Closable, *, serves: bool = False) -> None:
    """Closes it when the interpreter exits, if it is still there.

    Args:
        closable: A client or a replica.
        serves: Whether it has threads that run Python code. If not, it is one that threads of Python wait for.
    """
    (_serving if serves else _waiting).add(closable)


@atexit.register
def _close_all() -> None:
    # Handlers may wait for clients: so these last, and what waits for them then stays where it is.
    for closable in list(_serving):
        closable.close()
    interpreter_ends()
    for closable in list(_waiting):
        closable.close()
    end_forwarding()
