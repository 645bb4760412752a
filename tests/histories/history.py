"""What clients asked for and were told, and when: a history, to be judged afterwards."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Literal

Action = Literal["read", "write", "add", "replace"]


@dataclass(eq=False, slots=True)
class Operation:
    """One command of one client on one register.

    `read` gives the value; `write` sets it to `argument` and gives what it was; `add` gives the sum; `replace` sets it
    to `argument` if it is `expected`, and says whether it was.
    """

    number: int
    """Its own number, in the whole history."""
    client: int
    key: int
    action: Action
    argument: int = 0
    expected: int = 0
    called: float = 0
    """When it was sent, in the history's own time, in which no two things happen at once."""
    returned: float = math.inf
    """When its result came; never, if nobody knows whether it was executed."""
    result: int = 0

    @property
    def is_acknowledged(self) -> bool:
        """Whether the client got a result."""
        return self.returned < math.inf

    def apply(self, value: int) -> tuple[int, int]:
        """The register's value afterwards, and the result, if the register has this value."""
        match self.action:
            case "read":
                return value, value
            case "write":
                return self.argument, value
            case "add":
                return value + self.argument, value + self.argument
            case "replace":
                return (self.argument, 1) if value == self.expected else (value, 0)


@dataclass
class History:
    """Operations in the order in which they were sent."""

    operations: list[Operation] = field(default_factory=list)
    _now: int = 0

    def begin(self, client: int, key: int, action: Action, argument: int = 0, expected: int = 0) -> Operation:
        """An operation that is going to be sent now."""
        operation = Operation(len(self.operations), client, key, action, argument, expected, called=self._tick())
        self.operations.append(operation)
        return operation

    def end(self, operation: Operation, result: int) -> None:
        """The client has got the result of an operation now."""
        operation.result = result
        operation.returned = self._tick()

    def withdraw(self, operation: Operation) -> None:
        """The client was told that the operation was not executed, and will not be."""
        operation.action, operation.returned = "read", math.inf

    def by_key(self) -> dict[int, list[Operation]]:
        """The operations of each register."""
        registers: dict[int, list[Operation]] = defaultdict(list)
        for operation in self.operations:
            registers[operation.key].append(operation)
        return registers

    @property
    def acknowledged(self) -> int:
        """How many operations have a result."""
        return sum(operation.is_acknowledged for operation in self.operations)

    def _tick(self) -> int:
        self._now += 1
        return self._now
