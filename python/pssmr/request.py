"""Requests: what a client sends at once, a command or several."""

from __future__ import annotations

import abc
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pssmr._core import decode_several, encode_several

if TYPE_CHECKING:
    from pssmr.service import Call

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Request(abc.ABC, Generic[R_co]):
    """What is sent at once, and has one reply: a `Call`, a `Batch` or a `Transaction`."""

    name: str
    """What messages call it."""
    payload: bytes
    """Its encoding."""
    readable: bool = False
    """Whether it can be answered without being ordered."""

    @abc.abstractmethod
    def decode(self, reply: bytes) -> R_co:
        """The result that a reply carries.

        Raises:
            Exception: What the command raised, or why it was refused.
        """


def check_request_type(request: object) -> None:
    """Refuses what can't be sent.

    Raises:
        TypeError: If it can't.
    """
    if not isinstance(request, Request):
        remedy = "bind a command of the service class to its arguments, as in Bank.transfer.bind('ann', 'bob', 5)"
        raise TypeError(f"{request!r:.80} is no request: {remedy}")


class _Several(Request[R_co]):
    """Commands that are sent together."""

    calls: tuple[Call[Any], ...]
    """The commands, in their order."""

    def _take(self, calls: Iterable[Call[Any]], *, transaction: bool) -> None:
        self.calls = tuple(calls)
        for call in self.calls:
            check_request_type(call)
        if any(isinstance(call, _Several) for call in self.calls):
            raise TypeError(f"a {self.name} has commands, made by bind, not other requests of several")
        if not self.calls:
            raise ValueError(f"a {self.name} of no commands")
        self.payload = encode_several([call.payload for call in self.calls], transaction)

    def __repr__(self) -> str:
        return f"<{self.name} of {len(self.calls)} commands>"


class Batch(_Several["list[R | Exception]"], Generic[R]):
    """Commands that are sent and answered together, and are otherwise on their own.

    ```python
    results = client.execute(pssmr.Batch([Bank.deposit.bind("ann", 5), Bank.deposit.bind("bob", 5)]))
    ```

    Those that are independent run at once, those that conflict in their order; commands of others may come between
    them. The result is a list of their results, with the exception in the place of one that failed.
    """

    name = "batch"

    def __init__(self, calls: Iterable[Call[R]]) -> None:
        """Encodes it.

        Args:
            calls: Commands with their arguments, made by `bind`: 1 to 1024.

        Raises:
            RequestTooLarge: If there are more.
            ValueError: If there is none.
        """
        self._take(calls, transaction=False)

    def decode(self, reply: bytes) -> list[R | Exception]:
        """The result of each command, or its exception.

        Raises:
            CommandError: If all of it was refused.
        """
        _, replies = decode_several(reply, self.name)
        results: list[R | Exception] = []
        for call, each in zip(self.calls, replies, strict=True):
            try:
                results.append(call.decode(each))
            except Exception as error:
                results.append(error)
        return results


class Transaction(_Several["list[R]"], Generic[R]):
    """Commands that are executed as one: all of them or none, with no other command between them.

    ```python
    client.execute(pssmr.Transaction([Bank.withdraw.bind("ann", 5), Bank.deposit.bind("bob", 5)]))
    ```

    It touches what its commands touch together, and runs beside everything that does not conflict with that. Each
    command sees what those before it have done. The result is a list of their results.

    The first that raises ends it: what it and those before it have written to maps, sets, counters and queues is
    undone, those after it are not executed, and the client gets that exception, with a note that says which command it
    was. Attributes of a service's own are not undone, here as in a command that fails. If the replicas don't know one
    of the commands, or can't find the keys that it touches, none is executed.
    """

    name = "transaction"

    def __init__(self, calls: Iterable[Call[R]]) -> None:
        """Encodes it.

        Args:
            calls: Commands with their arguments, made by `bind`: 1 to 1024. Together they touch 4096 keys at most.

        Raises:
            RequestTooLarge: If there are more.
            ValueError: If there is none.
        """
        self._take(calls, transaction=True)

    def decode(self, reply: bytes) -> list[R]:
        """The result of each command.

        Raises:
            Exception: That of the first command that failed.
        """
        failed, replies = decode_several(reply, self.name)
        if failed is None:
            return [call.decode(each) for call, each in zip(self.calls, replies, strict=True)]
        if failed < len(self.calls):
            call = self.calls[failed]
            try:
                call.decode(replies[0])
            except Exception as error:
                error.add_note(f"raised by {call.name}, command {failed + 1} of {len(self.calls)} of the transaction")
                raise
        raise ValueError("the replicas' reply is malformed")


def results_of(results: list[R | Exception], *, return_exceptions: bool) -> list[Any]:
    """What a client returns of these.

    Raises:
        Exception: The first of them, unless they are wanted.
    """
    if not return_exceptions:
        for result in results:
            if isinstance(result, Exception):
                raise result
    return results
