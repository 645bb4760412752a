//! The command that a thread is executing. Tables find it here, so that they know what it may touch.

use std::cell::RefCell;
use std::sync::Arc;

use pssmr_execution::{Access, AccessError, Footprint};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::context::{Context, Facts};
use crate::state::State;

/// A command in execution.
pub(crate) struct Running {
    /// Boxed, because it is moved with each command.
    access: Box<Access>,
    /// The command's name.
    command: Arc<str>,
    facts: Facts,
    /// What the handler was given, if it asked. The functions that it calls get the same.
    context: Option<Py<Context>>,
    /// It is a read, and something in it has asked for its place in the order.
    must_be_ordered: bool,
}

thread_local! {
    static RUNNING: RefCell<Option<Running>> = const { RefCell::new(None) };
}

/// Makes a command the running one of this thread. Ends it with [`Scope::commit`], or else its writes are undone.
pub(crate) struct Scope {
    outer: Option<Running>,
}

impl Scope {
    /// Begins a command. A command of another service may be running on this thread: it is the running one again
    /// afterwards.
    pub(crate) fn enter(mut access: Box<Access>, footprint: &Footprint, command: Arc<str>, facts: Facts) -> Self {
        access.begin(footprint);
        Self { outer: RUNNING.replace(Some(Running { access, command, facts, context: None, must_be_ordered: false })) }
    }

    /// Begins an operation of the transaction that the command is.
    #[expect(clippy::unused_self, reason = "it is within this scope")]
    pub(crate) fn begin_operation(&self, footprint: &Footprint, command: Arc<str>, facts: Facts) {
        let ended = RUNNING.with_borrow_mut(|running| {
            let running = running.as_mut().expect("the command that was begun is running");
            running.access.begin_operation(footprint);
            (running.command, running.facts) = (command, facts);
            running.context.take()
        });
        // Gone while nothing is borrowed: that can run other Python code.
        drop(ended);
    }

    /// Whether the command is a read, and something in it has asked for its place in the order: what it came to is void.
    #[expect(clippy::unused_self, reason = "it is within this scope")]
    pub(crate) fn must_be_ordered(&self) -> bool {
        must_be_ordered()
    }

    /// Keeps what the command has written.
    pub(crate) fn commit(self) -> Box<Access> {
        self.end(Access::commit)
    }

    /// Undoes what the command has written.
    pub(crate) fn rollback(self) -> Box<Access> {
        self.end(Access::rollback)
    }

    fn end(mut self, how: impl FnOnce(&mut Access)) -> Box<Access> {
        let running = RUNNING.replace(self.outer.take());
        let mut access = running.expect("the command that was begun is running").access;
        how(&mut access);
        std::mem::forget(self);
        access
    }
}

/// A handler that unwinds leaves nothing behind.
impl Drop for Scope {
    fn drop(&mut self) {
        drop(RUNNING.replace(self.outer.take()));
    }
}

/// Why state was not touched.
#[derive(Debug)]
pub(crate) enum Denied {
    /// The running command does not declare it.
    Undeclared { command: Arc<str>, error: AccessError },
    /// It came with a version of the service that is not in force yet.
    NotInForce { command: Arc<str>, version: u32 },
    /// No command is running, and the state belongs to a replica.
    Held,
}

/// Touches `state` as the command that runs on this thread, or, with no command of this state running, directly. What is
/// touched came with version `since` of the service.
pub(crate) fn with_access<R>(
    state: &State,
    since: u32,
    touch: impl FnOnce(&mut Access) -> Result<R, AccessError>,
) -> Result<R, Denied> {
    RUNNING.with_borrow_mut(|running| match running {
        Some(running) if Arc::ptr_eq(running.access.tables(), &state.tables) => {
            let (command, version) = (&running.command, running.facts.version());
            if version < since {
                return Err(Denied::NotInForce { command: command.clone(), version });
            }
            touch(&mut running.access).map_err(|error| Denied::Undeclared { command: command.clone(), error })
        }
        _ if state.is_held() => Err(Denied::Held),
        _ => touch(&mut Access::unguarded(state.tables.clone()))
            .map_err(|error| Denied::Undeclared { command: "".into(), error }),
    })
}

/// Whether a command of this state runs on this thread.
pub(crate) fn is_running(state: &State) -> bool {
    with_running(state, |_| ()).is_some()
}

/// Whether the running command is a read, and something in it has asked for its place in the order.
pub(crate) fn must_be_ordered() -> bool {
    RUNNING.with_borrow(|running| running.as_ref().is_some_and(|running| running.must_be_ordered))
}

/// The context of the command of this state that runs on this thread.
///
/// # Errors
/// It is a read, which has none: it will be ordered.
pub(crate) fn context(py: Python<'_>, state: &State) -> PyResult<Option<Py<Context>>> {
    let known =
        with_running(state, |running| (running.facts, running.context.as_ref().map(|known| known.clone_ref(py))));
    match known {
        None => Ok(None),
        Some((facts, _)) if facts.is_read() => {
            with_running(state, |running| running.must_be_ordered = true);
            Err(PyRuntimeError::new_err("a query that is not ordered has no context"))
        }
        Some((_, Some(known))) => Ok(Some(known)),
        Some((facts, None)) => {
            // Made while nothing is borrowed: an allocation can run other Python code.
            let made = Py::new(py, Context::new(facts))?;
            let kept = made.clone_ref(py);
            with_running(state, |running| running.context = Some(kept));
            Ok(Some(made))
        }
    }
}

fn with_running<R>(state: &State, read: impl FnOnce(&mut Running) -> R) -> Option<R> {
    RUNNING.with_borrow_mut(|running| {
        let running = running.as_mut().filter(|running| Arc::ptr_eq(running.access.tables(), &state.tables))?;
        Some(read(running))
    })
}
