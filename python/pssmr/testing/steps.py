"""Random commands of a service, and how a run of them gets shorter while it still shows the same."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pssmr.service import Call, Command, Service
from pssmr.signatures import commands_of, parameters_of
from pssmr.testing.values import Undrawable, draw, simplest


@dataclass(frozen=True)
class Step:
    """A command with its arguments."""

    command: Command[..., Any]
    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]
    payload: bytes

    @classmethod
    def of(cls, command: Command[..., Any], arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> Step:
        """Encodes a command.

        Raises:
            ArgumentError: If the arguments don't fit.
        """
        return cls(command, arguments, keywords, command.declared.method.encode_call(arguments, keywords))

    @classmethod
    def of_call(cls, call: Call[Any]) -> Step:
        """The same as a call."""
        return cls(call.command, *call.command.declared.method.decode_call(call.payload), call.payload)

    def __str__(self) -> str:
        keywords = [f"{name}={value!r}" for name, value in self.keywords.items()]
        return f"{self.command.name}({', '.join([*map(repr, self.arguments), *keywords])})"


History = tuple[Step, ...]


class Generator:
    """Draws commands: of all kinds, with arguments of their types; or out of given ones."""

    def __init__(self, service: type[Service], calls: Sequence[Call[Any]], seed: int) -> None:
        """The same seed gives the same commands."""
        self._random = random.Random(seed)  # noqa: S311 - not for secrets
        self._calls = [Step.of_call(call) for call in calls]
        self._signatures = {command: parameters_of(service, command) for command in commands_of(service).values()}
        self._commands = list(self._signatures)

    def history(self, length: int) -> History:
        """As many commands."""
        return tuple(self._step() for _ in range(length))

    def _step(self) -> Step:
        if self._calls:
            return self._random.choice(self._calls)
        command = self._random.choice(self._commands)
        parameters, hints = self._signatures[command]
        values = {each.name: draw(hints[each.name], self._random) for each in parameters}
        return _step_with(command, parameters, values)

    def simpler(self, step: Step) -> Iterator[Step]:
        """The same command with one argument that is easier to read."""
        if self._calls:
            return
        parameters, hints = self._signatures[step.command]
        values = dict(zip((each.name for each in parameters), [*step.arguments, *step.keywords.values()], strict=True))
        for name, value in values.items():
            try:
                simple = simplest(hints[name])
            except Undrawable:
                continue
            if value != simple:
                yield _step_with(step.command, parameters, {**values, name: simple})


def _step_with(command: Command[..., Any], parameters: Sequence[inspect.Parameter], values: Mapping[str, Any]) -> Step:
    by_keyword = {each.name for each in parameters if each.kind is each.KEYWORD_ONLY}
    arguments = tuple(value for name, value in values.items() if name not in by_keyword)
    return Step.of(command, arguments, {name: value for name, value in values.items() if name in by_keyword})


def shortened(history: History, shows: Callable[[History], bool], generator: Generator) -> History:
    """A shorter history that still shows it: no command can be left out, no argument made simpler."""
    size = len(history) // 2
    while size > 0:
        start = 0
        while start < len(history):
            candidate = history[:start] + history[start + size :]
            if candidate and shows(candidate):
                history = candidate
            else:
                start += size
        size = size // 2
    changed = True
    while changed:
        changed = False
        for index, step in enumerate(history):
            for simple in generator.simpler(step):
                candidate = (*history[:index], simple, *history[index + 1 :])
                if shows(candidate):
                    history, changed = candidate, True
                    break
    return history
