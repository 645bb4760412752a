"""Which trace a call belongs to: from a client's call to the handler's logs, and to OpenTelemetry if that is wanted.

A client tells the replicas that it sends a command to which trace and span (W3C Trace Context) it belongs to. That goes
beside the command and is no part of it: it is not ordered, not kept, and nothing that a handler can see. At a replica
that was told, records that a handler logs have `trace_id` and `span_id`, and after `instrument` each client's call is a
span, with the command's ordering and its execution at each replica below it.

While nobody traces anything it costs a look at a variable for each call.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Protocol

from pssmr import _core
from pssmr.errors import Error

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")

_given: ContextVar[bytes | None] = ContextVar("pssmr_trace", default=None)
_lock = threading.Lock()
_has_record_factory = False


Span = tuple[tuple[bytes, bytes, int], tuple[str, bool], tuple[int, int | None, int, int]]
"""A command that was executed: its trace, the caller's span and the flags; its name, and whether its writes were kept;
when it was received, decided (None of a query that was not ordered), begun and ended, in nanoseconds since the Unix
epoch."""


class Spans(Protocol):
    """What makes spans."""

    def current(self) -> bytes | None:
        """The span that the calling code is in, as the core takes it."""

    def calling(self, command: str, parent: bytes | None) -> AbstractContextManager[bytes | None]:
        """A span for a call; what the core is told of it."""

    def executed(self, replica: int, spans: Sequence[Span]) -> None:
        """Commands were executed at a replica."""


_spans: Spans | None = None


@contextmanager
def use(traceparent: str) -> Iterator[None]:
    """Has the calls within belong to this trace.

    ```python
    with pssmr.tracing.use(request.headers["traceparent"]):
        client.call(Bank.transfer, "ann", "bob", 5)
    ```

    Args:
        traceparent: What W3C Trace Context calls so: `00-`, 32 hexadecimal digits of the trace, 16 of the caller's
            span, 2 of flags.

    Raises:
        ValueError: If it is none.
    """
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None:
        raise ValueError(f"{traceparent!r:.80} is no traceparent: 00-, 32 digits, 16 digits, 2 digits, with - between")
    before = _given.set(bytes.fromhex("".join(found.groups())))
    try:
        yield
    finally:
        _given.reset(before)


def instrument(tracer_provider: Any = None) -> None:
    """Makes spans of clients' calls, and of what becomes of them at replicas of this process that are started later.

    Needs `pip install pssmr[otel]`. Calls belong to the span that the calling code is in. Those that are not sampled
    are not told to replicas.

    Args:
        tracer_provider: OpenTelemetry's; the global one by default.

    Raises:
        Error: If OpenTelemetry is not installed.
    """
    global _spans
    try:
        from pssmr.opentelemetry_spans import OpenTelemetrySpans
    except ImportError as error:
        raise Error(f"spans need OpenTelemetry: pip install 'pssmr[otel]' ({error})") from error
    _spans = OpenTelemetrySpans(tracer_provider)


def uninstrument() -> None:
    """Makes no spans any more."""
    global _spans
    _spans = None


def outgoing() -> bytes | None:
    """The trace that what is sent now belongs to, as the core takes it; `None` if it belongs to none."""
    given = _given.get()
    return given if given is not None or _spans is None else _spans.current()


class _Untraced:
    """A call that is no span of its own."""

    def __enter__(self) -> bytes | None:
        return _given.get()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass


_UNTRACED = _Untraced()


def calling(command: str) -> AbstractContextManager[bytes | None]:
    """A call: the trace that the core is told, if there is one."""
    return _UNTRACED if _spans is None else _spans.calling(command, _given.get())


def spans() -> Spans | None:
    """What makes spans now."""
    return _spans


def mark_records() -> None:
    """From now on records that handlers log say which trace the command belongs to."""
    global _has_record_factory
    with _lock:
        if not _has_record_factory:
            _has_record_factory = True
            logging.setLogRecordFactory(_marking(logging.getLogRecordFactory()))


def _marking(make: Any) -> Any:
    def make_marked(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record: logging.LogRecord = make(*args, **kwargs)
        if (trace := _core.current_trace()) is not None:
            record.trace_id, record.span_id = trace
        return record

    return make_marked
