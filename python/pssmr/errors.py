"""Everything that pssmr raises: one small tree under `Error`.

Each class says what happened, whether the command may have been executed, and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence


class Error(Exception):
    """The root of what pssmr raises."""


class ConfigError(Error):
    """A configuration that can't be used.

    Attributes:
        problem: What is wrong, with the value.
        field: The path of the field, such as `replicas[2].peers`; empty if the whole source is meant.
        remedy: What to do about it; may be empty.
        source: The file that the configuration came from; empty for a Python object.
    """

    def __init__(self, problem: str, *, field: str = "", remedy: str = "", source: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.field = field
        self.remedy = remedy
        self.source = source

    def __str__(self) -> str:
        text = ": ".join(part for part in (self.source, self.field, self.problem) if part)
        return f"{text}; {self.remedy}" if self.remedy else text

    def within(self, prefix: str = "", *, source: str = "") -> ConfigError:
        """The same error, seen from outside: its field lies under `prefix`, its configuration came from `source`."""
        dot = "." if prefix and self.field and not self.field.startswith("[") else ""
        return ConfigError(
            self.problem, field=f"{prefix}{dot}{self.field}", remedy=self.remedy, source=source or self.source
        )


class DeclarationError(Error, TypeError):
    """A service class declares something that can't be. Raised where the class is made; the message says the remedy."""


class CommandError(Error):
    """A command that was refused before it was executed: it has changed nothing, and won't. Correct it."""


class UnknownCommand(CommandError):
    """The replicas' service has no command of this name.

    Not executed. The client's class is newer than the replicas', or another one: run the same on both sides.
    """


class VersionNotInForce(CommandError):
    """A command of a version of the service that is not in force yet.

    Not executed. `pssmr upgrade` brings it into force when all replicas run code that has it.
    """


class ArgumentError(CommandError, TypeError):
    """The arguments do not fit the command's annotations.

    Not executed. Raised by the client before it sends anything, or by the replicas if their annotations differ from
    the client's. The message names the argument and the place in it.
    """


class RequestTooLarge(CommandError):
    """The encoded arguments are larger than a request may be.

    Also a batch or a transaction of too many commands, or a transaction that touches too many keys. Not executed. Send
    less at once, or raise the limit in the cluster's settings.
    """


class ApplicationError(Error):
    """The base of errors that a service's commands answer with, as deliberately as with a result.

    A command that raises a subclass has been executed: its writes to tables are rolled back, and the client gets the
    error as the same class with the same arguments. The arguments may be None, bool, int, float, str and bytes, and
    tuples of those.
    """


class Refused(ApplicationError):
    """A command's own "no". The writes are rolled back. What to do is the application's to say."""


class HandlerFailed(Error):
    """A command's handler raised what it does not declare, or returned what its annotation does not allow.

    Executed, and what it had written to tables is rolled back; the same at every replica. The replicas have logged the
    traceback to the logger `pssmr.handler`. Sending the command again gives the same failure in the same state.

    Attributes:
        exception: The name of the exception's type, as in `"KeyError"`.
    """

    def __init__(self, exception: str) -> None:
        super().__init__(exception)
        self.exception = exception

    def __str__(self) -> str:
        return f"the command's handler failed with {self.exception}; the replicas' logs have the traceback"


class UndeclaredAccess(Error):
    """A handler touched state that its command does not declare.

    The access has not happened. Declare the key, or the whole table, as the message says: commands run in parallel by
    what they declare.
    """


class Unavailable(Error):
    """The base of: not enough replicas answer."""


class NoQuorum(Unavailable):
    """Too few replicas could be reached in time.

    Not executed as far as this client knows: nothing was sent to enough replicas. Try again when they are back.
    """


class WrongKey(Unavailable):
    """A replica has not proved that it has the key that the configuration gives it, or refused this client's.

    Not executed. Compare the `cluster.toml` of both sides.
    """


class Busy(Unavailable):
    """The cluster, or this client's own window of requests in flight, is full.

    Not executed. Send again, later and less at once.
    """


class ReconfigurationRefused(Error):
    """A change of the membership that is not made.

    Either the replicas refused it, or the client did not send it, because the cluster might stand still afterwards. The
    message says why.
    """


class StepDownRefused(Error):
    """A replica that does not give up its view: it does not lead, or it can't now.

    Nothing has changed. Ask the one that leads.

    Attributes:
        leader: The replica that leads, if it is another one; else None.
    """

    def __init__(self, message: str, leader: int | None = None) -> None:
        super().__init__(message)
        self.leader = leader


class UpgradeRefused(Error):
    """An upgrade of the service that is not made.

    Either the replicas refused it, or the client did not send it, because some of them don't run code that has the new
    version. The message says why.
    """


class OutcomeUnknown(Error):
    """The client gave up waiting after the command was sent.

    It may have been executed, may still be, or never. Ask the service what the state is, or make commands that can be
    repeated.
    """


class SessionExpired(Error):
    """The replicas have forgotten this client's session, because many others came after it.

    Whether commands in flight were executed is not known. New commands of the client get a new session.
    """


class SnapshotError(Error):
    """A service's state can't be frozen, or not be brought back.

    Nothing is lost: where no snapshot could be taken, commands go on, and the log keeps what a snapshot would have
    replaced. The message says what is missing and what to do.
    """


class Closed(Error):
    """The client or replica was closed, or belongs to another process.

    Not executed if it was closed before the call. Make a new one, in this process.
    """


class ReplicaStopped(Error):
    """The replica has stopped for good, because going on could have made it differ from the others.

    The message says why. Repair the cause, and start the replica again.
    """


def application_error(name: str, arguments: Sequence[object]) -> ApplicationError:
    """The error with this name that a command answered with.

    Its class is looked up among the subclasses of `ApplicationError` in this process. If there is none, or it does not
    take the arguments, the error is an `ApplicationError` of the name and the arguments.
    """
    for error in _subclasses(ApplicationError):
        if error.__name__ == name:
            try:
                return error(*arguments)
            except TypeError:
                break
    return ApplicationError(name, *arguments)


def _subclasses(base: type[ApplicationError]) -> list[type[ApplicationError]]:
    """All subclasses, the latest first."""
    found: list[type[ApplicationError]] = []
    for subclass in reversed(base.__subclasses__()):
        found += [subclass, *_subclasses(subclass)]
    return found
