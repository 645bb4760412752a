//! The trace that the running command belongs to: for logs and spans, and never for handlers, which have to do the same at
//! every replica.

use std::cell::Cell;
use std::sync::Arc;

use pssmr_execution::{CommandKind, Task};
use pssmr_replica::{TracedCommand, TracedRequest, Traces, now};
use pssmr_types::TraceContext;
use pyo3::prelude::*;

thread_local! {
    static CURRENT: Cell<Option<TraceContext>> = const { Cell::new(None) };
}

/// The ids of the trace and of the span that the running command was sent in, in hexadecimal; None if there is none.
#[pyfunction]
pub(crate) fn current_trace() -> Option<(String, String)> {
    CURRENT.get().map(|TraceContext { trace, span, .. }| {
        (format!("{:032x}", u128::from_be_bytes(trace)), format!("{:016x}", u64::from_be_bytes(span)))
    })
}

/// A command of which the trace is known, while it is executed.
pub(crate) struct Running<'a> {
    traces: &'a Traces,
    request: TracedRequest,
    started: u64,
}

impl<'a> Running<'a> {
    /// Begins a command, if it belongs to a trace. Its trace is the current one of this thread until it ends.
    pub(crate) fn begin(traces: Option<&'a Traces>, task: &Task) -> Option<Self> {
        let running = Self::begin_beside_others(traces, task)?;
        CURRENT.set(Some(running.request.context));
        Some(running)
    }

    /// Begins one of several commands that are executed together.
    pub(crate) fn begin_beside_others(traces: Option<&'a Traces>, task: &Task) -> Option<Self> {
        let traces = traces?;
        let request = match task.command.kind {
            CommandKind::Read => traces.take_read(task.command.sequence)?,
            _ => traces.take(task.command.client, task.command.sequence)?,
        };
        Some(Self { traces, request, started: now() })
    }

    /// The command has ended.
    pub(crate) fn end(self, command: &Arc<str>, is_kept: bool) {
        let command = Arc::clone(command);
        self.traces.executed(TracedCommand {
            request: self.request,
            command,
            started: self.started,
            ended: now(),
            is_kept,
        });
    }
}

/// A handler that unwinds leaves nothing behind.
impl Drop for Running<'_> {
    fn drop(&mut self) {
        CURRENT.set(None);
    }
}
