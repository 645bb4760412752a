//! The tables of one service object, and who may touch them from outside of a command.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pssmr_execution::Tables;

/// The state that the core keeps for one service object.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) tables: Arc<Tables>,
    /// A replica executes the service's commands: nobody else may touch the state.
    held: AtomicBool,
}

impl State {
    /// Empty tables with these names; whether a later version of the service has added each.
    pub(crate) fn new<'a>(tables: impl Iterator<Item = (&'a str, bool)>) -> Self {
        Self { tables: Arc::new(Tables::with_added(tables)), held: AtomicBool::new(false) }
    }

    pub(crate) fn is_held(&self) -> bool {
        self.held.load(Ordering::Acquire)
    }

    /// Gives the state to a replica, for good. Returns whether nobody had it before.
    pub(crate) fn hold(&self) -> bool {
        !self.held.swap(true, Ordering::AcqRel)
    }
}
