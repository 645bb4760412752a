"""A process that ends when the one that started it does, however that one ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading

_PR_SET_PDEATHSIG = 1


def end_with_parent(parent: int) -> None:
    """Makes this process end when its parent does, even by `kill -9`, even if this one is paused then.

    On Linux the kernel sees to it. Everywhere, standard input is a pipe that the parent holds open: when it closes, the
    parent is gone.

    Args:
        parent: The process id that the parent said it has. If it is not this process's parent any more, it is gone.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
    threading.Thread(target=_end_when_input_closes, name="pssmr-parent", daemon=True).start()


def _end_when_input_closes() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
