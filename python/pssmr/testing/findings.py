"""What is wrong with a service, each with the shortest run of commands that shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pssmr.errors import Error, HandlerFailed
from pssmr.testing.steps import History, Request, Step

Kind = Literal[
    "stops",
    "never ends",
    "undeclared access",
    "query changes",
    "nondeterminism",
    "undeclared conflict",
    "restore",
    "process",
]


class CheckFailed(AssertionError):
    """A service does not do what replicas need. The message says what was seen and what to do.

    Attributes:
        finding: What was found; `None` if only the message says it.
    """

    def __init__(self, text: str, finding: Finding | None = None) -> None:
        super().__init__(text)
        self.finding = finding


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        kind: What it is.
        history: The commands that show it, in the agreed order.
        title: What was seen, in a line.
        observed: More of it: pairs of a circumstance and what each command answered then.
        remedy: What to do.
    """

    kind: Kind
    history: History
    title: str
    observed: tuple[tuple[str, tuple[str, ...]], ...]
    remedy: str

    def __str__(self) -> str:
        lines = [self.title]
        lines += [f"  {number}. {step}" for number, step in enumerate(self.history, 1)]
        lines += [f"{circumstance}: {'; '.join(answers)}" for circumstance, answers in self.observed]
        return "\n".join([*lines, self.remedy])


def answers(history: History, replies: Sequence[bytes], state: bytes | None = None) -> tuple[str, ...]:
    """Replies as people read them, with the number of the command, and the beginning of the state's digest."""
    told = [
        f"{number} {_answer(request, reply)}"
        for number, (request, reply) in enumerate(zip(history, replies, strict=True), 1)
    ]
    return (*told, f"state {state.hex()[:8]}") if state is not None else tuple(told)


def _answer(request: Request, reply: bytes) -> str:
    if isinstance(request, Step):
        return _answer_of_one(request, reply)
    try:
        answered = request.answered(reply)
        if request.is_undone(reply):
            ((step, last),) = answered
            return f"is undone: {step.command.name} {_answer_of_one(step, last)}"
    except Error as error:
        return f"raises {error!r}"
    return f"[{', '.join(_answer_of_one(step, each) for step, each in answered)}]"


def _answer_of_one(step: Step, reply: bytes) -> str:
    try:
        return f"returns {step.command.declared.method.decode_reply(reply)!r}"
    except HandlerFailed as error:
        return f"fails with {error.exception}"
    except Error as error:
        return f"raises {error!r}"
