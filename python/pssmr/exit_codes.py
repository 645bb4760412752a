"""What the exit codes of the `pssmr` command mean."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How a `pssmr` command ended."""

    OK = 0
    """It did what it was asked."""
    FAILED = 1
    """It failed, or the application refused or failed the command."""
    USAGE = 2
    """The command line is wrong."""
    CONFIG = 3
    """The configuration, a key file or the application can't be used."""
    UNREACHABLE = 4
    """Not enough replicas answered. The command did not happen."""
    UNKNOWN = 5
    """Nobody can say whether the command happened."""
    ADDRESS = 6
    """A replica can't listen at its address."""
    INTERRUPTED = 130
    """Ctrl-C."""
