"""Text from the command line as the arguments of a command, and results as text."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import json
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pssmr.errors import ConfigError


class Mismatch(ValueError):
    """A text that is no value of the type."""


def parse_arguments(
    command: str, parameters: Sequence[inspect.Parameter], hints: Mapping[str, Any], texts: Sequence[str]
) -> list[Any]:
    """The arguments that `texts` stand for.

    Args:
        command: The command's name.
        parameters: What a client gives to it, in order.
        hints: The types of the parameters, by name.
        texts: What was written.

    Raises:
        ConfigError: If there are too many or too few, or one is no value of its type. It says how to write it.
    """
    required = [each for each in parameters if each.default is each.empty]
    usage = ", ".join(f"{each.name}: {describe(hints[each.name])}" for each in parameters) or "no arguments"
    if not len(required) <= len(texts) <= len(parameters):
        raise ConfigError(f"{len(texts)} arguments for {command}", field="ARG", remedy=f"it takes {usage}")
    values = []
    for each, text in zip(parameters, texts, strict=False):
        try:
            values.append(parse(text, hints[each.name]))
        except Mismatch as error:
            raise ConfigError(f"{text!r} is not {error}", field=each.name, remedy=f"it takes {usage}") from None
    return values


def describe(annotation: Any) -> str:
    """An annotation as a person reads it."""
    if get_origin(annotation) is Annotated:
        return describe(get_args(annotation)[0])
    return annotation.__name__ if isinstance(annotation, type) and not get_args(annotation) else str(annotation)


def parse(text: str, annotation: Any) -> Any:
    """The value of this type that the text stands for.

    Text is taken as it is, bytes as `hex:00ff` or text, an enumeration's member by its name, all else as JSON.

    Raises:
        Mismatch: If it stands for none.
    """
    if get_origin(annotation) is Annotated:
        return parse(text, get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        # Text matches everything, so it comes last.
        for member in sorted(get_args(annotation), key=lambda each: each is str):
            try:
                return parse(text, member)
            except Mismatch:
                continue
        raise Mismatch(describe(annotation))
    if annotation is str or get_origin(annotation) is Literal:
        return _convert(text, annotation)
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    return _convert(value, annotation)


def _convert(value: Any, annotation: Any) -> Any:
    """A JSON value as a value of this type."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _convert(value, arguments[0])
    if isinstance(annotation, typing.NewType):
        return _convert(value, annotation.__supertype__)
    if origin in (Union, types.UnionType):
        for member in arguments:
            try:
                return _convert(value, member)
            except Mismatch:
                continue
        raise Mismatch(describe(annotation))
    if origin is Literal:
        for option in arguments:
            if value == option or value == str(option):
                return option
        raise Mismatch(f"one of {', '.join(map(str, arguments))}")
    if annotation in (None, type(None)):
        if value is None:
            return None
        raise Mismatch("null")
    if annotation is bytes:
        return _bytes(value)
    if annotation is float and type(value) is int:
        return float(value)
    if annotation in (bool, int, float, str):
        if type(value) is annotation:
            return value
        raise Mismatch(f"{'an' if annotation is int else 'a'} {describe(annotation)}")
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        if isinstance(value, str) and value in annotation.__members__:
            return annotation[value]
        raise Mismatch(f"one of {', '.join(annotation.__members__)}")
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        return _dataclass(value, annotation)
    return _container(value, annotation, origin or annotation, arguments)


def _bytes(value: Any) -> bytes:
    if not isinstance(value, str):
        raise Mismatch("bytes: write text, or hex:00ff")
    if not value.startswith("hex:"):
        return value.encode()
    try:
        return bytes.fromhex(value.removeprefix("hex:"))
    except ValueError:
        raise Mismatch("bytes: write hex:00ff") from None


def _dataclass(value: Any, annotation: type) -> Any:
    if not isinstance(value, dict):
        raise Mismatch(f"a {annotation.__name__}: write a JSON object")
    hints = typing.get_type_hints(annotation)
    fields = {each.name for each in dataclasses.fields(annotation)}
    if unknown := set(value) - fields:
        raise Mismatch(f"a {annotation.__name__}, which has no {', '.join(sorted(unknown))}")
    try:
        return annotation(**{name: _convert(each, hints[name]) for name, each in value.items()})
    except TypeError as error:
        raise Mismatch(f"a {annotation.__name__}: {error}") from None


def _container(value: Any, annotation: Any, kind: Any, arguments: tuple[Any, ...]) -> Any:
    if kind is dict and isinstance(value, dict):
        of_key, of_value = arguments or (Any, Any)
        return {parse(name, of_key): _convert(each, of_value) for name, each in value.items()}
    if kind in (list, set, frozenset) and isinstance(value, list):
        return kind(_convert(each, arguments[0]) if arguments else each for each in value)
    if kind is tuple and isinstance(value, list):
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(_convert(each, arguments[0]) for each in value)
        if len(arguments) == len(value):
            return tuple(_convert(each, kind) for each, kind in zip(value, arguments, strict=True))
    raise Mismatch(f"{describe(annotation)}: write JSON")


def to_text(value: Any) -> str:
    """A result as text: text as it is, everything else as JSON in the form that `parse` reads."""
    return value if isinstance(value, str) else json.dumps(_to_json(value), ensure_ascii=False)


def _to_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return f"hex:{value.hex()}"
    if isinstance(value, enum.Enum):
        return value.name
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: _to_json(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {to_text(name): _to_json(each) for name, each in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted((_to_json(each) for each in value), key=repr)
    if isinstance(value, (list, tuple)):
        return [_to_json(each) for each in value]
    return value
