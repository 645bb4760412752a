"""The canonical encoding of values, for snapshots and for data that is kept as bytes."""

from __future__ import annotations

import functools
from typing import Any, TypeVar, overload

from pssmr._core import Schema
from pssmr.schema import schema_of

T = TypeVar("T")


@functools.lru_cache(maxsize=256)
def _schema_of(kind: object) -> Schema:
    return schema_of(kind)


def encode(kind: object, value: object) -> bytes:
    """The canonical encoding of a value of a type: equal values have equal bytes, in every process.

    Args:
        kind: The type, as in an annotation: `dict[str, list[int]]`.
        value: The value.

    Raises:
        TypeError: If the value is not of the type, or the type can't be encoded.
    """
    return _schema_of(kind).encode(value)


@overload
def decode(kind: type[T], data: bytes) -> T: ...
@overload
def decode(kind: object, data: bytes) -> Any: ...
def decode(kind: object, data: bytes) -> Any:
    """The value that bytes encode.

    Args:
        kind: The type that it was encoded as.
        data: What `encode` returned. Other bytes do no harm.

    Raises:
        ValueError: If the bytes are not the encoding of a value of the type.
        TypeError: If the type can't be encoded.
    """
    return _schema_of(kind).decode(data)
