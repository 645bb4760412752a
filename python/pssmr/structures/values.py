"""What ready-made structures can hold."""

from __future__ import annotations

from typing import TypeAlias

from pssmr.errors import Refused

Value: TypeAlias = bool | int | float | str | bytes | None
"""A value. Whatever else there is can be kept as the bytes that `pssmr.encode` makes of it."""

Key: TypeAlias = int | str | bytes
"""A key of a dict, or an element of a set."""


def check_owner(place: tuple[str, Key], name: str) -> None:
    """Refuses a command that names one structure for the key and another for the count of keys.

    Raises:
        Refused: If it does.
    """
    if place[0] != name:
        raise Refused(f"the key is of {place[0]!r}, the count of {name!r}; name the same")
