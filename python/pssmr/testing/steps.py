"""Random requests of a service, and how a run of them gets shorter while it still shows the same."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pssmr._core import decode_several, encode_several
from pssmr.errors import DeclarationError
from pssmr.service import Call, Command, Service
from pssmr.signatures import commands_of, parameters_of
from pssmr.testing.values import Undrawable, draw, simplest

_COMPOUND_SHARE = 0.15
"""How often a batch or a transaction begins where a command could."""
_COMPOUND_MAX = 4
"""The most commands of one."""


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

    @property
    def steps(self) -> tuple[Step, ...]:
        """It alone, as a batch or a transaction has several."""
        return (self,)

    def answered(self, reply: bytes) -> list[tuple[Step, bytes]]:
        """What of `steps` a reply answers, and how."""
        return [(self, reply)]

    def __str__(self) -> str:
        keywords = [f"{name}={value!r}" for name, value in self.keywords.items()]
        return f"{self.command.name}({', '.join([*map(repr, self.arguments), *keywords])})"


@dataclass(frozen=True)
class Compound:
    """A batch or a transaction."""

    kind: Literal["batch", "transaction"]
    steps: tuple[Step, ...]
    payload: bytes

    @classmethod
    def of(cls, kind: Literal["batch", "transaction"], steps: Sequence[Step]) -> Compound:
        """Encodes it."""
        payload = encode_several([step.payload for step in steps], kind == "transaction")
        return cls(kind, tuple(steps), payload)

    def answered(self, reply: bytes) -> list[tuple[Step, bytes]]:
        """What of `steps` a reply answers, and how: all of them, or the one that has ended the transaction.

        Raises:
            Error: If all of it was refused.
        """
        failed, replies = decode_several(reply, self.kind)
        steps = self.steps if failed is None else self.steps[failed : failed + 1]
        return list(zip(steps, replies, strict=True))

    def is_undone(self, reply: bytes) -> bool:
        """Whether the reply is to a transaction that one of its commands has ended.

        Raises:
            Error: If all of it was refused.
        """
        return decode_several(reply, self.kind)[0] is not None

    def __str__(self) -> str:
        return f"{self.kind} of {', '.join(map(str, self.steps))}"


Request = Step | Compound
"""What is sent at once."""

History = tuple[Request, ...]


def size(history: History) -> tuple[int, int]:
    """How long a history is to read: how many commands it has, and how many of its requests have several."""
    return sum(len(request.steps) for request in history), sum(isinstance(request, Compound) for request in history)


class Generator:
    """Draws commands: of all kinds, with arguments of their types; or out of given ones. Some are sent together."""

    def __init__(self, service: type[Service], calls: Sequence[Call[Any]], seed: int) -> None:
        """The same seed gives the same commands."""
        self._random = random.Random(seed)  # noqa: S311 - not for secrets
        self._calls = [Step.of_call(call) for call in calls]
        self._signatures = {command: parameters_of(service, command) for command in commands_of(service).values()}
        self._commands = list(self._signatures)
        if not self._commands:
            raise DeclarationError(f"{service.__name__} has no commands; mark its methods with @pssmr.command")

    def history(self, length: int) -> History:
        """As many commands."""
        drawn, history = [self._step() for _ in range(length)], list[Request]()
        while drawn:
            if self._random.random() >= _COMPOUND_SHARE:
                history.append(drawn.pop(0))
                continue
            count = self._random.randint(1, _COMPOUND_MAX)
            kind: Literal["batch", "transaction"] = self._random.choice(("batch", "transaction"))
            history.append(Compound.of(kind, drawn[:count]))
            del drawn[:count]
        return tuple(history)

    def _step(self) -> Step:
        if self._calls:
            return self._random.choice(self._calls)
        command = self._random.choice(self._commands)
        parameters, hints = self._signatures[command]
        values = {each.name: draw(hints[each.name], self._random) for each in parameters}
        return _step_with(command, parameters, values)

    def simpler(self, request: Request) -> Iterator[History]:
        """What may be in the place of a request, and is easier to read."""
        if isinstance(request, Step):
            for step in self._simpler_step(request):
                yield (step,)
            return
        steps = request.steps
        yield steps
        for index, step in enumerate(steps):
            others = [(*steps[:index], *steps[index + 1 :])] if len(steps) > 1 else []
            simpler = ((*steps[:index], simple, *steps[index + 1 :]) for simple in self._simpler_step(step))
            for fewer_or_simpler in (*others, *simpler):
                yield (Compound.of(request.kind, fewer_or_simpler),)

    def _simpler_step(self, step: Step) -> Iterator[Step]:
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
    """A shorter history that still shows it: no command can be left out, sent alone, or given a simpler argument."""
    changed = True
    while changed:
        history, changed = _simplified(_thinned(history, shows), shows, generator)
    return history


def _thinned(history: History, shows: Callable[[History], bool]) -> History:
    """Without requests that can be left out."""
    part = len(history) // 2
    while part > 0:
        start = 0
        while start < len(history):
            candidate = history[:start] + history[start + part :]
            if candidate and shows(candidate):
                history = candidate
            else:
                start += part
        part = part // 2
    return history


def _simplified(history: History, shows: Callable[[History], bool], generator: Generator) -> tuple[History, bool]:
    """With a simpler request in the place of each that allows one; and whether there was any."""
    changed, index = False, 0
    while index < len(history):
        for simpler in generator.simpler(history[index]):
            candidate = (*history[:index], *simpler, *history[index + 1 :])
            if shows(candidate):
                history, changed = candidate, True
                break
        else:
            index += 1
    return history, changed
