"""Spans for OpenTelemetry. Importing this needs the extra `otel`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

if TYPE_CHECKING:
    from pssmr.tracing import Span


class OpenTelemetrySpans:
    """Makes a client's call a span, and a command's ordering and execution at a replica two more below it."""

    def __init__(self, tracer_provider: Any = None) -> None:
        """Takes OpenTelemetry's global provider, unless another one is given."""
        self._tracer = trace.get_tracer("pssmr", version("pssmr"), tracer_provider)

    def current(self) -> bytes | None:
        """The span that the calling code is in, as the core takes it."""
        return _for_core(trace.get_current_span().get_span_context())

    @contextmanager
    def calling(self, command: str, parent: bytes | None) -> Iterator[bytes | None]:
        """A span for a call, below `parent` or the span that the calling code is in."""
        context = None if parent is None else _below(parent[:16], parent[16:24], parent[24])
        attributes: dict[str, Any] = {"pssmr.command": command}
        with self._tracer.start_as_current_span(
            f"pssmr.call {command}", context=context, kind=SpanKind.CLIENT, attributes=attributes
        ) as span:
            yield _for_core(span.get_span_context())

    def executed(self, replica: int, spans: Sequence[Span]) -> None:
        """Commands were executed at a replica."""
        for (trace_id, span_id, flags), (command, is_kept), (received, decided, started, ended) in spans:
            context = _below(trace_id, span_id, flags)
            attributes: dict[str, Any] = {"pssmr.command": command, "pssmr.replica": replica}
            if decided is not None:
                ordering = self._tracer.start_span(
                    f"pssmr.order {command}",
                    context=context,
                    kind=SpanKind.SERVER,
                    attributes=attributes,
                    start_time=received,
                )
                ordering.end(decided)
            execution = self._tracer.start_span(
                f"pssmr.execute {command}",
                context=context,
                kind=SpanKind.SERVER,
                attributes=attributes,
                start_time=started,
            )
            if not is_kept:
                execution.set_status(Status(StatusCode.ERROR, "it was refused or failed: its writes are undone"))
            execution.end(ended)


def _for_core(context: SpanContext) -> bytes | None:
    """Trace, span and flags; `None` of a span that is not recorded."""
    if not context.is_valid or not context.trace_flags.sampled:
        return None
    trace_id, span_id, flags = int(context.trace_id), int(context.span_id), int(context.trace_flags)
    return trace_id.to_bytes(16, "big") + span_id.to_bytes(8, "big") + bytes([flags])


def _below(trace_id: bytes, span_id: bytes, flags: int) -> Context:
    """The context of somebody else's span."""
    parent = SpanContext(
        int.from_bytes(trace_id, "big"), int.from_bytes(span_id, "big"), is_remote=True, trace_flags=TraceFlags(flags)
    )
    return trace.set_span_in_context(NonRecordingSpan(parent), Context())
