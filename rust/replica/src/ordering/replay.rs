//! The replay of the log, before the ordering thread begins.

use std::thread;
use std::time::Duration;

use pssmr_ordering::{Effect, Promise, Record};
use pssmr_types::{Slot, View};

use super::{OrderingThread, RestoreFailure};
use crate::inbox::Notice;
use crate::past::Past;

/// How long to wait for execution at a time.
const PAUSE: Duration = Duration::from_millis(1);

impl OrderingThread {
    /// Whether the replay of a log that was cut off can begin with this record: the image of a snapshot that is here.
    pub(crate) fn can_begin_with(&self, record: &Record) -> bool {
        let store = self.checkpointing.as_ref().map(|checkpointing| &checkpointing.store);
        matches!((record, store), (Record::Image(image), Some(store)) if store.open_snapshot(image.slot).is_ok())
    }

    /// Takes the next record of the log. Waits while execution is far behind.
    ///
    /// # Errors
    /// A snapshot that it goes on from is lost: the records from here on are of no use. What is wrong with the record, or
    /// why execution has stopped.
    pub(crate) fn replay(&mut self, record: &Record) -> Result<(), RestoreFailure> {
        let mut effects = Vec::new();
        if let Some(slot) = self.core.snapshot_before(record) {
            let snapshot = self.restore(slot)?;
            self.core.restore(&snapshot);
        }
        self.core.replay(record, &mut effects).map_err(|error| RestoreFailure::Fatal(error.to_string()))?;
        for effect in effects {
            match effect {
                Effect::Deliver(delivery) => self.deliver(delivery).map_err(RestoreFailure::Version)?,
                Effect::SessionEvicted(client) => {
                    self.notices.push(Notice::Evicted { client, slot: self.core.decided() });
                }
                Effect::Checkpoint { snapshot, is_asked } => self.checkpoint(snapshot, is_asked),
                other => unreachable!("a replay only delivers, not {other:?}"),
            }
        }
        if self.notices.len() >= 1024 {
            self.clients.notify(&mut self.notices);
        }
        while self.core.decided().0 - self.inbox.executed_slot().0 >= 2 * self.backlog_slots {
            if let Some(reason) = self.inbox.failure() {
                return Err(RestoreFailure::Fatal(reason));
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// The last slot decided.
    pub(crate) fn decided(&self) -> Slot {
        self.core.decided()
    }

    /// Ends the replay. `before` is the promise that was on disk; the one to be kept there from now on is returned.
    pub(crate) fn begin(&mut self, past: Past, before: Option<Promise>) -> Promise {
        self.clients.notify(&mut self.notices);
        if let Some(certificate) = self.find_certificate() {
            self.core.set_stable(certificate);
        }
        let before = before.unwrap_or(Promise { view: View(0), slot_limit: Slot(0) });
        let promise = Promise { view: before.view.max(self.core.view()), ..before };
        self.core.set_promise(promise);
        match past {
            Past::None => self.core.set_newborn(),
            Past::Remembered => {}
            Past::Forgotten(Some(bound)) => self.core.set_forgotten(bound),
            // From a time before there were bounds.
            Past::Forgotten(None) => self.core.set_learner(true),
        }
        if past != Past::None {
            // The links are not up yet: what is to be sent is sent again when they are.
            self.core.resume(&mut Vec::new());
        }
        self.counters = super::Counters::default();
        // Nobody is to see a vote that the replica does not have.
        self.state.ordering.lock().core = self.core.status();
        promise
    }
}
