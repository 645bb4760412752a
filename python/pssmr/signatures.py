"""The commands of a service as a client calls them: their names, parameters and types."""

from __future__ import annotations

import inspect
import typing
from typing import Any

from pssmr._core import Context
from pssmr.service import Command, Service


def commands_of(service_class: type[Service]) -> dict[str, Command[..., Any]]:
    """The commands and queries of a service, by name, in the order of their declaration."""
    found: dict[str, Command[..., Any]] = {}
    for base in reversed(service_class.__mro__):
        found.update({name: value for name, value in vars(base).items() if isinstance(value, Command)})
    return found


def parameters_of(
    service_class: type[Service], command: Command[..., Any]
) -> tuple[list[inspect.Parameter], dict[str, Any]]:
    """What a client gives to a command, and the types of that by name."""
    names = {name: value for base in reversed(service_class.__mro__) for name, value in vars(base).items()}
    hints = typing.get_type_hints(command.function, localns=names)
    parameters = list(inspect.signature(command.function).parameters.values())[1:]
    if parameters and hints[parameters[0].name] is Context:
        del parameters[0]
    return parameters, hints
