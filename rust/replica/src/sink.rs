//! Where the workers report to.

use std::sync::Arc;

use pssmr_execution::{Completion, CompletionSink, Fatal, SnapshotError, SnapshotSource, Watermark};
use pssmr_types::Slot;

use crate::inbox::{ClientInbox, OrderingInbox, Taken};

/// Hands results to the client thread, and progress to the ordering thread.
pub(crate) struct Sink {
    pub(crate) ordering: Arc<OrderingInbox>,
    pub(crate) clients: Arc<ClientInbox>,
}

impl CompletionSink for Sink {
    fn completed(&self, completions: &mut Vec<Completion>) {
        self.clients.completed(completions);
    }

    fn snapshot(&self, slot: Slot, _position: u64, source: Result<Box<dyn SnapshotSource>, SnapshotError>) {
        self.clients.taken(Taken { slot, source });
    }

    fn executed(&self, watermark: Watermark) {
        self.ordering.executed(watermark.slot);
    }

    fn failed(&self, fatal: Fatal) {
        self.ordering.fail(fatal.to_string());
    }
}
