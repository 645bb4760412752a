"""The core of pssmr. Use the names that the package `pssmr` exports."""

import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from os import PathLike
from random import Random
from types import GenericAlias
from typing import Any, Generic, Self, TypeVar, final, overload

from typing_extensions import disjoint_base

_K = TypeVar("_K")
_V = TypeVar("_V")
_T = TypeVar("_T")

_Plan = tuple[str, int, int, Sequence[tuple[str, Sequence[tuple[int, str]], Sequence[int], bool]]]
_Span = tuple[tuple[bytes, bytes, int], tuple[str, bool], tuple[int, int | None, int, int]]

__all__ = [
    "ClientCore",
    "Context",
    "Counter",
    "Executor",
    "Instance",
    "Interface",
    "Method",
    "NativeService",
    "Queue",
    "Recording",
    "ReplicaCore",
    "Schema",
    "Set",
    "Stepper",
    "Table",
    "TableIterator",
    "current_trace",
    "decode_several",
    "encode_several",
    "end_logs",
    "forward_logs",
    "generate_key",
    "interpreter_ends",
    "next_logs",
    "public_key",
    "restore_backup",
    "set_log_level",
    "sign_reconfiguration",
    "sign_upgrade",
    "simulate",
    "status_schema",
    "verify_backup",
]

@final
class Schema:
    """A compiled type: encodes its values to canonical bytes, and decodes those."""

    @staticmethod
    def scalar(name: str) -> Schema:
        """The schema of a scalar type: "None", "bool", "int", "float", "str" or "bytes"."""
    @staticmethod
    def list_of(element: Schema) -> Schema:
        """The schema of `list[element]`."""
    @staticmethod
    def tuple_of(element: Schema) -> Schema:
        """The schema of `tuple[element, ...]`."""
    @staticmethod
    def tuple_with(elements: Sequence[Schema]) -> Schema:
        """The schema of `tuple[A, B, ...]` with as many elements as given."""
    @staticmethod
    def set_of(element: Schema, frozen: bool) -> Schema:
        """The schema of `set[element]` or `frozenset[element]`."""
    @staticmethod
    def dict_of(key: Schema, value: Schema) -> Schema:
        """The schema of `dict[key, value]`."""
    @staticmethod
    def choice(name: str, enumeration: type[enum.Enum] | None, members: Sequence[tuple[object, object]]) -> Schema:
        """The schema of an enumeration or a `Literal`: `members` are pairs of the value that is encoded and the object."""
    @staticmethod
    def record(dataclass: type, fields: Sequence[tuple[str, Schema, bool, bool]]) -> Schema:
        """The schema of a dataclass: `fields` have name, schema, whether there is a default, whether keyword-only."""
    @staticmethod
    def union(members: Sequence[Schema]) -> Schema:
        """The schema of a union. Its members must be told apart by their encodings."""
    def encode(self, value: object) -> bytes:
        """The canonical encoding of a value.

        Raises TypeError if the value does not fit the type.
        """
    def decode(self, data: bytes) -> Any:
        """The value that these bytes encode.

        Raises ValueError if the bytes are not the canonical encoding of a value of the type.
        """
    @property
    def is_key(self) -> bool:
        """Whether values of this type can be keys of tables."""
    @property
    def element(self) -> Schema | None:
        """The schema of the elements of a list, a set, or a tuple of any length; None for other types."""
    def field(self, name: str) -> tuple[int, Schema] | None:
        """The index and the schema of a field of a dataclass; None if this is no dataclass or has no such field."""
    def __eq__(self, value: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Method:
    """One command or query of a service, compiled."""

    def __new__(
        cls,
        name: str,
        function: Callable[..., Any],
        query: bool,
        context: bool,
        parameters: Sequence[tuple[str, Schema, tuple[Any] | None, bool]],
        result: Schema,
        vectorized: bool = False,
        since: int = 1,
    ) -> Self: ...
    @property
    def name(self) -> str:
        """The command's name."""
    @property
    def query(self) -> bool:
        """Whether it is a query."""
    @property
    def readable(self) -> bool:
        """Whether it can be answered without being ordered: a query that takes no context."""
    @property
    def since(self) -> int:
        """The version of the service that it came with."""
    def encode_call(self, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None = None) -> bytes:
        """The payload of a request that calls the command with these arguments.

        Raises pssmr.ArgumentError if they don't fit.
        """
    def decode_call(self, payload: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of the request with this payload, by position and by keyword: what `encode_call` was given, and
        defaults.

        Raises pssmr.ArgumentError if they don't fit.
        """
    def decode_reply(self, data: bytes) -> Any:
        """The result that a reply carries.

        Raises what the command raised, or why it was refused.
        """

@final
class Interface:
    """What a service class declares, compiled."""

    def __new__(
        cls,
        service: type,
        tables: Sequence[tuple[str, Schema, Schema, int]],
        commands: Sequence[
            tuple[
                Method,
                Sequence[tuple[int, Sequence[int | None], int, str]],
                Sequence[tuple[str, int]],
                Callable[..., Any] | None,
            ]
        ],
        resources_since: Sequence[int],
        latest: int,
    ) -> Self: ...
    @property
    def commands(self) -> list[str]:
        """The names of the commands and queries, in the order of their declaration."""
    def touches(self, payload: bytes, partitioning: str, partitions: int) -> list[tuple[int, str]] | None:
        """Which partitions the command with this payload touches, and how, in a plan for the scheduler `early`:
        partitions of "tables", by their ids, or of "keys", by their hashes. None if it may touch anything.

        Raises pssmr.CommandError for a payload that replicas refuse.
        """

@final
class Instance:
    """What the core keeps for one service object."""

    def __new__(cls, interface: Interface) -> Self: ...
    def call(
        self, method: Method, service: object, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Calls a command without a cluster, with the same checks, guard and rollback as in one. Called by a handler of
        the same object, it is a part of that handler's command.
        """
    @property
    def is_executing(self) -> bool:
        """Whether commands change the state now: a replica has the service object, or this thread executes a command of
        it.
        """
    def tables_digest(self) -> bytes:
        """The digest of the tables: equal for equal contents."""

@disjoint_base
class Table(Generic[_K, _V]):
    """A table of a service's state: maps keys to values.

    Values are kept encoded: what is read is a copy, and what has changed must be set again.
    """

    def __new__(cls, instance: Instance | None = None, index: int = 0, *, since: int = 1) -> Self: ...
    @classmethod
    def __class_getitem__(cls, item: Any) -> GenericAlias: ...
    @overload
    def get(self, key: _K, default: None = None) -> _V | None: ...
    @overload
    def get(self, key: _K, default: _T) -> _V | _T: ...
    def __getitem__(self, key: _K, /) -> _V: ...
    def __setitem__(self, key: _K, value: _V, /) -> None: ...
    def __delitem__(self, key: _K, /) -> None: ...
    def __contains__(self, key: object, /) -> bool: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[_K]: ...
    def keys(self) -> Iterator[_K]:
        """Iterates over the keys, sorted, as they are now."""
    def values(self) -> Iterator[_V]:
        """Iterates over the values as they are now, in the order of their keys."""
    def items(self) -> Iterator[tuple[_K, _V]]:
        """Iterates over pairs of key and value as they are now, in the order of the keys."""
    @overload
    def pop(self, key: _K) -> _V: ...
    @overload
    def pop(self, key: _K, default: _T, /) -> _V | _T: ...
    def setdefault(self, key: _K, default: _V) -> _V:
        """The value of a key; a key that is not there gets the value `default` first."""
    def add(self, key: _K, amount: int) -> None:
        """Adds to a key's int; a key that is not there counts as 0. Commands that only add to a key need no order among
        themselves: declare it with `commute`. The sum wraps around at 64 bits with a sign.
        """
    def range(self, start: _K | None = None, stop: _K | None = None) -> Iterator[tuple[_K, _V]]:
        """Iterates over pairs of key and value as they are now, in the order of the keys, from the key `start` on and up
        to, but without, the key `stop`.
        """
    def clear(self) -> None:
        """Removes all keys."""

@disjoint_base
class Set(Generic[_K]):
    """A set of a service's state."""

    def __new__(cls, instance: Instance | None = None, index: int = 0, *, since: int = 1) -> Self: ...
    @classmethod
    def __class_getitem__(cls, item: Any) -> GenericAlias: ...
    def add(self, element: _K) -> bool:
        """Adds an element; returns whether it was not there."""
    def discard(self, element: _K) -> bool:
        """Removes an element; returns whether it was there."""
    def remove(self, element: _K) -> None:
        """Removes an element, or raises KeyError if it is not there."""
    def __contains__(self, element: object, /) -> bool: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[_K]: ...
    def range(self, start: _K | None = None, stop: _K | None = None) -> Iterator[_K]:
        """Iterates over the elements as they are now, sorted, from `start` on and up to, but without, `stop`."""
    def clear(self) -> None:
        """Removes all elements."""

@disjoint_base
class Counter:
    """A number of a service's state."""

    def __new__(cls, instance: Instance | None = None, index: int = 0, *, since: int = 1) -> Self: ...
    @property
    def value(self) -> int:
        """The number. Reading it waits for all that add to it: declare it with `reads`."""
    @value.setter
    def value(self, value: int) -> None: ...
    def add(self, amount: int = 1) -> None:
        """Adds to the number. Commands that only add need no order among themselves: declare it with `commutes`. The sum
        wraps around at 64 bits with a sign.
        """

@disjoint_base
class Queue(Generic[_V]):
    """A queue of a service's state, first in, first out."""

    def __new__(cls, instance: Instance | None = None, index: int = 0, *, since: int = 1) -> Self: ...
    @classmethod
    def __class_getitem__(cls, item: Any) -> GenericAlias: ...
    def push(self, value: _V) -> None:
        """Puts a value at the end."""
    @overload
    def pop(self) -> _V: ...
    @overload
    def pop(self, default: _T, /) -> _V | _T: ...
    @overload
    def peek(self, default: None = None) -> _V | None: ...
    @overload
    def peek(self, default: _T) -> _V | _T: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[_V]: ...
    def clear(self) -> None:
        """Removes all values."""

@final
class TableIterator:
    """Iterates over a table as it was when the iteration began, sorted by key."""

    def __iter__(self) -> Self: ...
    def __next__(self) -> Any: ...

@final
class Context:
    """What the replicas agree on about a command. Ask for it with a first parameter that is annotated `pssmr.Context`."""

    @property
    def slot(self) -> int:
        """The slot that the command was decided in."""
    @property
    def position(self) -> int:
        """The request's position in the total order: unique, ascending, possibly with gaps. Commands that were sent
        together, as a batch or a transaction, have the same.
        """
    @property
    def operation(self) -> int:
        """The command's place among those that were sent together, from 0 on; 0 for one that was sent alone."""
    @property
    def time_ns(self) -> int:
        """The agreed time, in nanoseconds since 1970."""
    @property
    def time(self) -> datetime:
        """The agreed time, in UTC, to the microsecond."""
    @property
    def random(self) -> Random:
        """Agreed random numbers: a `random.Random` of the command's own, seeded alike at every replica."""
    @property
    def client(self) -> str:
        """The client that sent the command: the digest of its public key, in hexadecimal. Its link has proved it."""
    @property
    def session(self) -> int:
        """The client's session."""
    @property
    def sequence(self) -> int:
        """The client's number for the request, in its session."""
    @property
    def version(self) -> int:
        """The version of the service that is in force: the same at every replica, whichever code it runs. A plain call, without
        a cluster, is one of the latest.
        """

@final
class Executor:
    """Executes commands of a service object on worker threads, ordered by what they declare."""

    def __new__(
        cls,
        service: object,
        workers: int,
        scheduler: str = "keyed",
        plan: _Plan | None = None,
        version: int | None = None,
    ) -> Self: ...
    def execute(self, payloads: Sequence[bytes], *, time_ns: int, seed: bytes) -> list[bytes]:
        """Executes these payloads as commands of one slot, in the order of the list wherever they conflict, and returns
        their replies in that order.

        Raises pssmr.ReplicaStopped if one of them stops a replica.
        """
    def state_digest(self) -> bytes:
        """The digest of the state.

        Raises pssmr.ReplicaStopped if the executor has stopped.
        """
    def snapshot(self) -> bytes:
        """The state: the bytes that a replica would give to another one.

        Raises pssmr.SnapshotError if there is no snapshot, and pssmr.ReplicaStopped if the executor has stopped.
        """
    def restore(self, snapshot: bytes) -> None:
        """Replaces the state by that of a snapshot.

        Raises pssmr.SnapshotError if that can't be: the state may be anything then.
        """
    def close(self) -> None:
        """Ends the workers. The executor can't be used afterwards."""

@final
class Stepper:
    """Executes commands of a service object one at a time, in the caller's thread. Each has a position of the agreed
    order and all that follows from it, whenever it is executed: so the same commands can be tried in several orders.
    """

    def __new__(cls, service: object) -> Self: ...
    def execute(self, payload: bytes, *, position: int, time_ns: int, seed: bytes) -> bytes:
        """Executes one command and returns its reply.

        Raises pssmr.ReplicaStopped if it stops a replica.
        """
    def state_digest(self) -> bytes:
        """The digest of the state.

        Raises pssmr.ReplicaStopped if it stops a replica; this holds for what follows, too.
        """
    def own_state(self) -> bytes | None:
        """What the service's own `snapshot` gives; None if it has none.

        Raises pssmr.SnapshotError if it fails.
        """
    def snapshot(self) -> bytes:
        """The state: the bytes that a replica would give to another one.

        Raises pssmr.SnapshotError if there is no snapshot.
        """
    def restore(self, snapshot: bytes) -> None:
        """Replaces the state by that of a snapshot.

        Raises pssmr.SnapshotError if that can't be: the state may be anything then.
        """
    def conflicts(self, payloads: Sequence[bytes]) -> list[list[int]]:
        """For each payload, the places of those before it that it conflicts with."""

@final
class ClientCore:
    """A client of a cluster: takes encoded requests, and gives their completions to an asyncio loop or to threads."""

    def __new__(
        cls,
        *,
        cluster: str,
        fault_model: str,
        epoch: int,
        members: Sequence[tuple[int, str, str, str]],
        key: str,
        for_loop: bool,
        timeout: float,
        in_flight_max: int,
        request_bytes_max: int,
        result_bytes_max: int,
    ) -> Self: ...
    def fileno(self) -> int:
        """The file descriptor that is readable while there is something to drain.

        Raises ValueError if the client is one for threads.
        """
    def submit(
        self,
        payloads: Sequence[bytes],
        timeout: float | None = None,
        traces: Sequence[bytes | None] | None = None,
        reads: bool = False,
    ) -> list[int]:
        """Sends encoded requests, which may each take as many seconds as given, and returns the token of each, in order.
        If there is room for the first ones only, the others are not sent and have no token.
        The first ones belong to these traces: the ids of trace and span and the flags, 25 bytes each, or None. Reads
        are queries that need not be ordered.

        Raises pssmr.Busy if there is room for none, pssmr.RequestTooLarge or pssmr.Closed.
        """
    def submit_state_digests(self, timeout: float | None = None) -> int:
        """Asks for the digest of each replica's state, at one position of the total order; returns the token."""
    def submit_checkpoint(self, timeout: float | None = None) -> int:
        """Asks for a checkpoint, and for the digest of each replica's state there; returns the token."""
    def submit_reconfiguration(self, payload: bytes, timeout: float | None = None) -> int:
        """Asks for a change of the membership, as `sign_reconfiguration` gives it; returns the token. The result is empty bytes
        if the change is made, and otherwise the reason why not, in UTF-8.
        """
    def submit_upgrade(self, payload: bytes, timeout: float | None = None) -> int:
        """Asks that the service go over to a later version, as `sign_upgrade` gives it; returns the token. The result is empty
        bytes if that version is in force, and otherwise the reason why not, in UTF-8.
        """
    def membership(self) -> tuple[int, list[tuple[int, str, str, str]]]:
        """The newest membership that the client knows: its epoch, and its members by seniority, each with its id, its public
        key in hexadecimal, and its addresses for replicas and for clients. A change that is made is known a little later.
        """
    def submit_status(self, replica: int, timeout: float | None = None) -> int:
        """Asks one replica how it is; returns the token."""
    def drain(self) -> list[tuple[int, Any, bool]]:
        """What has completed since the last time: token, result or exception, whether it is an exception."""
    def wait(self, token: int) -> Any:
        """Waits, without holding up other threads, until a request has completed, and returns its result. The token must
        have come from a client for threads, and is used up even if the wait is interrupted.
        """
    def forget(self, tokens: Sequence[int]) -> None:
        """Gives up on these tokens: what comes for them is dropped."""
    def close(self) -> None:
        """Ends the client; what is under way completes with pssmr.OutcomeUnknown."""

@final
class NativeService:
    """A service in Rust, which runs without the interpreter.

    "null" takes any command, does nothing and returns empty bytes. "key_value" has get, put, add, cas and delete.
    """

    def __new__(cls, name: str) -> Self: ...

@final
class Recording:
    """A recording of what a replica's ordering was told, played back through the same core.

    Raises OSError if the file can't be read, and pssmr.ConfigError if it is no recording.
    """

    def __new__(cls, path: str | PathLike[str]) -> Self: ...
    def header(self) -> str:
        """What the recording says of itself: a JSON object."""
    def forward(self, steps: int, *, decided: int | None = None, view: int | None = None) -> str | None:
        """Plays so many steps back, fewer if that slot is decided before, that view is entered, or a difference is found.
        Returns the last one as a JSON object; None at the end.

        Raises OSError if the file can't be read.
        """
    def summary(self) -> str:
        """What was played back so far, and how it has ended, if it has: a JSON object."""

@final
class ReplicaCore:
    """A running replica of a Python service."""

    def __new__(
        cls,
        service: object,
        *,
        cluster: str,
        fault_model: str,
        epoch: int,
        members: Sequence[tuple[int, str, str, str]],
        administrator: str | None,
        me: int,
        key: str,
        listen_peers: str,
        listen_clients: str,
        clients: Sequence[str],
        settings: Mapping[str, object],
        data: PathLike[str] | None,
        plan: _Plan | None = None,
        spans: bool = False,
        record: tuple[PathLike[str], int] | None = None,
    ) -> Self: ...
    @property
    def peer_address(self) -> str:
        """Where it listens for other replicas."""
    @property
    def client_address(self) -> str:
        """Where it listens for clients."""
    def status(self) -> str:
        """How it is: a JSON object."""
    def resize_workers(self, workers: int) -> None:
        """Changes the number of workers, while they work.

        Raises ValueError for a number that can't be, and OSError if a thread can't be started.
        """
    def next_spans(self) -> list[_Span] | None:
        """Waits for traced commands that were executed, and takes them: the trace and the flags in it, the command and whether its
        writes were kept, and when it was received, decided, begun and ended, in nanoseconds since the Unix epoch. None
        once the replica is stopped.
        """
    def step_down(self) -> tuple[int, int]:
        """Has the replica, if it leads, give up its view. Returns the view that the others leave for, and who leads that.

        Raises pssmr.StepDownRefused if another one leads, or it can't now.
        """
    def halted(self) -> str | None:
        """Why it has stopped for good; None if it has not."""
    def fileno(self) -> int:
        """The file descriptor that is readable while there are events."""
    def events(self) -> list[str]:
        """What has happened since the last time: JSON objects, the oldest first. Beside what happened each has a `number`,
        which counts from 1, and the `time`, in seconds since the Unix epoch.
        """
    def stop(self) -> None:
        """Stops the replica, and waits until its threads are gone. May be called twice."""

def forward_logs(level: int) -> bool:
    """Begins to keep records of this level of `logging` and above, for `next_logs`. Returns whether it does: not if some
    other Rust code of this process takes them already.
    """

def current_trace() -> tuple[str, str] | None:
    """The ids of the trace and of the span that the running command was sent in, in hexadecimal; None if there is none."""

def next_logs() -> list[tuple[int, str, str, list[tuple[str, str]]]] | None:
    """Waits for records, and returns them: level, logger, message, and its other fields by name. None after the end."""

def set_log_level(level: int) -> None:
    """From now on records of this level of `logging` and above are kept."""

def status_schema() -> str:
    """The JSON schema of what `ReplicaCore.status` returns."""

def encode_several(payloads: Sequence[bytes], transaction: bool) -> bytes:
    """The payload of a request that has these commands executed, which are encoded: each by itself, or as one
    transaction.

    Raises pssmr.RequestTooLarge if there are too many, and ValueError if there is none.
    """

def decode_several(data: bytes, name: str) -> tuple[int | None, list[bytes]]:
    """The replies to commands that were sent together. If they are a transaction and one has failed, its place and the
    reply to it alone.

    Raises why the whole request was refused or failed.
    """

def simulate(
    schedulers: Sequence[str],
    *,
    workers: int,
    window: int,
    commands: int,
    keys: int,
    keys_each: int,
    skew: float,
    writes: float,
    conflicts: float,
    wide: float,
    seed: int,
) -> tuple[list[float], float]:
    """Executes a random load in virtual time under each of these schedulers. Returns for each how many commands it
    completes in the mean time of one, and, the same for all, how many no scheduler exceeds.

    Raises ValueError for a load that can't be, and pssmr.ConfigError for a scheduler that is none.
    """

def end_logs() -> None:
    """Ends `next_logs`, once it has returned what there is."""

def interpreter_ends() -> None:
    """The calling thread is about to end the interpreter. Other threads that wait in here, or come in from now on, stay
    until the process is gone, as a daemon thread does that waits in Python's own code: if they went back they would
    run into the end. One that the end waits for goes on after some seconds.
    """

def generate_key() -> tuple[str, str]:
    """A new Ed25519 key pair: the private key in PKCS#8 PEM form, and the public key in hexadecimal."""

def public_key(pem: str) -> str:
    """The public key, in hexadecimal, of a private key in PKCS#8 PEM form.

    Raises ValueError if the text is no such key.
    """

def sign_reconfiguration(
    *,
    cluster: str,
    epoch: int,
    change: str,
    old: int | None = None,
    new: tuple[int, str, str, str] | None = None,
    key: str,
) -> bytes:
    """The administrator's signed change of the membership of one epoch, for `ClientCore.submit_reconfiguration`: "add" `new`,
    "remove" `old`, or "replace" `old` by `new`. A member is an id, a public key in hexadecimal, and the addresses for
    replicas and for clients. `key` is the administrator's private key in PKCS#8 PEM form.

    Raises pssmr.ConfigError for a change that no membership takes.
    """

def sign_upgrade(*, cluster: str, version: int, schema: bytes, key: str) -> bytes:
    """The administrator's signed upgrade of the service, for `ClientCore.submit_upgrade`: to the version of this number whose
    commands and state have this digest, which replicas show. `key` is the administrator's private key in PKCS#8 PEM form.

    Raises pssmr.ConfigError for what is no version.
    """

def verify_backup(
    directory: str | PathLike[str],
    *,
    cluster: str,
    fault_model: str,
    epoch: int,
    members: Sequence[tuple[int, str, str, str]],
) -> tuple[int, int, int | None]:
    """Verifies the newest snapshot in a directory that has one as data directories have it, with its proof: that enough of the
    replicas of this membership have signed it, and that all its bytes are those that they have signed.

    Raises pssmr.ConfigError if it is no backup of this cluster and this membership, or damaged.
    """

def restore_backup(
    directory: str | PathLike[str],
    *,
    cluster: str,
    fault_model: str,
    epoch: int,
    members: Sequence[tuple[int, str, str, str]],
    me: int,
) -> tuple[int, int, int | None]:
    """The same, and makes the directory that of a replica which goes on from there. It must have nothing else.

    Raises pssmr.ConfigError also if it has.
    """
