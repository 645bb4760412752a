"""From Python annotations to schemas: which values commands, results and tables can have, and how they are encoded."""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from typing import Annotated, Any, Literal, NewType, Union, get_args, get_origin

from pssmr._core import Schema

_SCALARS: dict[object, str] = {
    None: "None",
    type(None): "None",
    bool: "bool",
    int: "int",
    float: "float",
    str: "str",
    bytes: "bytes",
}

_SUPPORTED = (
    "None, bool, int, float, str, bytes, list[T], tuple[T, ...], tuple[A, B], set[T], frozenset[T], dict[K, V], "
    "unions, Literal, enumerations and dataclasses"
)

_BARE = {
    list: "list[int]",
    tuple: "tuple[int, ...]",
    set: "set[int]",
    frozenset: "frozenset[int]",
    dict: "dict[str, int]",
}


def schema_of(annotation: object) -> Schema:
    """Compiles an annotation.

    Args:
        annotation: A type, not a string: `typing.get_type_hints` turns the one into the other.

    Raises:
        TypeError: If it is no type whose values can be encoded the same everywhere; the message says what to use.
    """
    return _compile(annotation, ())


def _compile(annotation: object, enclosing: tuple[type, ...]) -> Schema:
    """Compiles an annotation inside these dataclasses."""
    scalar = _SCALARS.get(annotation) if annotation is None or isinstance(annotation, type) else None
    if scalar is not None:
        return Schema.scalar(scalar)
    if isinstance(annotation, NewType):
        return _compile(annotation.__supertype__, enclosing)
    origin = get_origin(annotation)
    if origin is Annotated:
        return _compile(get_args(annotation)[0], enclosing)
    if origin is Union or origin is types.UnionType:
        return Schema.union([_compile(member, enclosing) for member in get_args(annotation)])
    if origin is Literal:
        values = get_args(annotation)
        return Schema.choice(f"Literal[{', '.join(map(repr, values))}]", None, [(value, value) for value in values])
    if origin in _BARE:
        return _compile_container(origin, get_args(annotation), enclosing)
    if isinstance(annotation, type):
        if annotation in _BARE:
            raise TypeError(f"{annotation.__name__} needs the types of its elements, as in {_BARE[annotation]}")
        if issubclass(annotation, enum.Enum):
            return _compile_enum(annotation)
        if dataclasses.is_dataclass(annotation):
            return _compile_dataclass(annotation, enclosing)
    raise TypeError(f"{_name(annotation)} can't be encoded{_hint(annotation)}; supported are {_SUPPORTED}")


def _compile_container(origin: object, arguments: tuple[Any, ...], enclosing: tuple[type, ...]) -> Schema:
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return Schema.tuple_of(_compile(arguments[0], enclosing))
        return Schema.tuple_with([_compile(element, enclosing) for element in arguments])
    if origin is dict:
        key, value = arguments
        return Schema.dict_of(_compile_hashable(key, "key of a dict", enclosing), _compile(value, enclosing))
    (element,) = arguments
    if origin is list:
        return Schema.list_of(_compile(element, enclosing))
    return Schema.set_of(_compile_hashable(element, "element of a set", enclosing), origin is frozenset)


def _compile_hashable(annotation: object, role: str, enclosing: tuple[type, ...]) -> Schema:
    schema = _compile(annotation, enclosing)
    if not _is_hashable(annotation):
        raise TypeError(f"{_name(annotation)} can't be the {role}: its values are not hashable")
    return schema


def _is_hashable(annotation: object) -> bool:
    if isinstance(annotation, NewType):
        return _is_hashable(annotation.__supertype__)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _is_hashable(arguments[0])
    if origin is Union or origin is types.UnionType or origin is tuple:
        return all(_is_hashable(argument) for argument in arguments if argument is not Ellipsis)
    if origin in (list, set, dict):
        return False
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        fields = typing.get_type_hints(annotation, include_extras=True)
        return annotation.__hash__ is not None and all(
            _is_hashable(fields[field.name]) for field in dataclasses.fields(annotation)
        )
    return True


def _compile_enum(annotation: type[enum.Enum]) -> Schema:
    if issubclass(annotation, enum.Flag):
        raise TypeError(f"{annotation.__name__} is a Flag, which can't be encoded; use int, or a set of an Enum")
    return Schema.choice(annotation.__name__, annotation, [(_plain_value(member), member) for member in annotation])


def _plain_value(member: enum.Enum) -> object:
    """A member's value, without the enumeration that an IntEnum or StrEnum is."""
    value = member.value
    return value.value if isinstance(value, enum.Enum) else value


def _compile_dataclass(annotation: type, enclosing: tuple[type, ...]) -> Schema:
    name = annotation.__name__
    if annotation in enclosing:
        raise TypeError(f"{name} contains itself, which is not supported; refer to other values by key")
    try:
        hints = typing.get_type_hints(annotation, include_extras=True)
    except NameError as error:
        raise TypeError(f"{name}: {error}; define it at the top level of its module") from error
    fields = []
    for field in dataclasses.fields(annotation):
        if not field.init:
            continue
        has_default = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        try:
            schema = _compile(hints[field.name], (*enclosing, annotation))
        except TypeError as error:
            raise TypeError(f"{name}.{field.name}: {error}") from None
        fields.append((field.name, schema, has_default, field.kw_only is True))
    annotations = [hint for base in annotation.__mro__ for hint in vars(base).get("__annotations__", {}).values()]
    if any(_is_init_var(hint) for hint in annotations):
        raise TypeError(f"{name} has an InitVar, whose value is not kept; use a field")
    return Schema.record(annotation, fields)


def _is_init_var(hint: object) -> bool:
    return isinstance(hint, dataclasses.InitVar) or (isinstance(hint, str) and "InitVar" in hint)


def _name(annotation: object) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).removeprefix("typing.")


def _hint(annotation: object) -> str:
    if annotation is Any or annotation is object:
        return " because replicas could not check it: name the types that it can be"
    if isinstance(annotation, str):
        return " because it is a string that names no type here"
    name = getattr(annotation, "__name__", "")
    hints: dict[str, str] = {
        "Decimal": ": use int, in the smallest unit",
        "datetime": ": use int, in nanoseconds since 1970",
        "bytearray": ": use bytes",
        "ndarray": ": use bytes, and numpy.frombuffer where it is read",
        "UUID": ": use bytes or str",
    }
    return hints.get(name, "")
