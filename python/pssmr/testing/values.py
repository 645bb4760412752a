"""Values of annotated types, for random commands: few and simple, so that commands meet at the same keys."""

from __future__ import annotations

import dataclasses
import enum
import random
import types
import typing
from typing import Annotated, Any, Literal, NewType, Union, get_args, get_origin

from pssmr.errors import Error

SCALARS: dict[object, tuple[object, ...]] = {
    None: (None,),
    type(None): (None,),
    bool: (False, True),
    int: (1, 2, 0, 3, -1, 100),
    float: (1.0, 0.5, 0.0, -1.5),
    str: ("a", "b", "c", ""),
    bytes: (b"x", b"y", b""),
}
"""The simplest first: it comes up as often as all others."""

_ELEMENTS_MAX = 3

_TRIES = 50
"""How often a dataclass that refuses its fields is tried."""


class Undrawable(Error):
    """There is no simple value of a type: its constructor refuses all."""


def draw(annotation: Any, random: random.Random) -> Any:
    """A value of a type that commands can have."""
    scalars = SCALARS.get(annotation) if annotation is None or isinstance(annotation, type) else None
    if scalars is not None:
        return scalars[0] if random.random() < 0.5 else random.choice(scalars)
    if isinstance(annotation, NewType):
        return draw(annotation.__supertype__, random)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return draw(arguments[0], random)
    if origin in (Union, types.UnionType):
        return draw(random.choice(arguments), random)
    if origin is Literal:
        return random.choice(arguments)
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return random.choice(list(annotation))
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        return _draw_dataclass(annotation, random)
    return _draw_container(origin or annotation, arguments, random)


def _draw_dataclass(kind: type, random: random.Random) -> Any:
    hints = typing.get_type_hints(kind, include_extras=True)
    fields = [field.name for field in dataclasses.fields(kind) if field.init]
    for _ in range(_TRIES):
        try:
            return kind(**{name: draw(hints[name], random) for name in fields})
        except Exception as error:
            refusal = error  # It has rules of its own for what its fields may be.
    raise Undrawable(f"no {kind.__name__} can be drawn: it raises {refusal!r}; give calls to draw from") from refusal


def _draw_container(kind: Any, arguments: tuple[Any, ...], random: random.Random) -> Any:
    if kind is tuple and not (len(arguments) == 2 and arguments[1] is Ellipsis):
        return tuple(draw(argument, random) for argument in arguments)
    count = random.randint(0, _ELEMENTS_MAX)
    if kind is dict:
        return {draw(arguments[0], random): draw(arguments[1], random) for _ in range(count)}
    return kind(draw(arguments[0], random) for _ in range(count))


def simplest(annotation: Any) -> Any:
    """The value that is easiest to read."""
    return draw(annotation, _First())


class _First(random.Random):
    """Always the first choice, and as few as can be."""

    def random(self) -> float:
        return 0.0

    def choice(self, seq: Any) -> Any:
        return seq[0]

    def randint(self, a: int, b: int) -> int:
        return a
