//! Writing snapshots.

use std::collections::VecDeque;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};
use pssmr_execution::SnapshotSource;
use pssmr_ordering::{CoreSnapshot, Input};
use pssmr_storage::Snapshots;
use pssmr_types::{Checkpoint, Digest};

use super::content;
use crate::events::ReplicaEvent;
use crate::inbox::OrderingInbox;
use crate::panic_message;
use crate::state::State;

/// Snapshots that wait to be written. More are not taken: the disk does not keep up.
const WAITING_MAX: usize = 2;

/// A state that was frozen, to be written.
pub(crate) struct Frozen {
    pub(crate) core: Arc<CoreSnapshot>,
    /// The replies that clients may still want.
    pub(crate) replies: Vec<u8>,
    pub(crate) service: Box<dyn SnapshotSource>,
}

#[derive(Default)]
struct Waiting {
    frozen: VecDeque<Frozen>,
    /// One is being written.
    is_writing: bool,
    stopping: bool,
}

/// For the thread that writes snapshots.
#[derive(Default)]
pub(crate) struct WriterInbox {
    waiting: Mutex<Waiting>,
    came: Condvar,
}

impl WriterInbox {
    /// Takes a state to be written. False if too many wait.
    pub(crate) fn write(&self, frozen: Frozen) -> bool {
        let mut waiting = self.waiting.lock();
        let has_room = waiting.frozen.len() < WAITING_MAX;
        if has_room {
            waiting.frozen.push_back(frozen);
            self.came.notify_one();
        }
        has_room
    }

    /// Whether nothing is being written, nor going to be.
    pub(crate) fn is_idle(&self) -> bool {
        let waiting = self.waiting.lock();
        waiting.frozen.is_empty() && !waiting.is_writing
    }

    /// The thread ends.
    pub(crate) fn stop(&self) {
        self.waiting.lock().stopping = true;
        self.came.notify_one();
    }

    fn next(&self) -> Option<Frozen> {
        let mut waiting = self.waiting.lock();
        loop {
            if waiting.stopping {
                return None;
            }
            waiting.is_writing = !waiting.frozen.is_empty();
            if let Some(frozen) = waiting.frozen.pop_front() {
                return Some(frozen);
            }
            self.came.wait(&mut waiting);
        }
    }
}

/// What the thread that writes snapshots owns.
pub(crate) struct WriterThread {
    pub(crate) snapshots: Arc<Snapshots>,
    pub(crate) inbox: Arc<WriterInbox>,
    pub(crate) ordering: Arc<OrderingInbox>,
    pub(crate) state: Arc<State>,
}

impl WriterThread {
    /// The thread's life.
    pub(crate) fn run(self) {
        let work = AssertUnwindSafe(|| {
            while let Some(frozen) = self.inbox.next() {
                self.write(frozen);
            }
        });
        if let Err(panic) = catch_unwind(work) {
            self.ordering.fail(format!("the thread that writes snapshots panicked: {}", panic_message(&*panic)));
        }
    }

    /// Writes a snapshot. If that fails there is none of this slot: the log stays, and the next one may succeed.
    fn write(&self, frozen: Frozen) {
        let (slot, digest) = (frozen.core.slot, frozen.core.digest);
        let started = Instant::now();
        match self.try_write(frozen) {
            Ok((root, bytes)) => {
                let milliseconds = started.elapsed().as_millis() as u64;
                tracing::debug!(%slot, bytes, milliseconds, "snapshot written");
                self.state.meters.snapshots.wrote(bytes, started.elapsed());
                self.ordering.tell(Input::CheckpointTaken(Checkpoint { slot, digest, root }));
            }
            Err(reason) => {
                tracing::error!(%slot, reason, "no snapshot: the log is not cut off here");
                self.state.tell(&ReplicaEvent::SnapshotFailed { slot: slot.0, reason });
            }
        }
    }

    fn try_write(&self, frozen: Frozen) -> Result<(Digest, u64), String> {
        let mut writer = self.snapshots.begin(frozen.core.slot).map_err(|error| error.to_string())?;
        content::write_head(&frozen.core, &frozen.replies, &mut writer)
            .and_then(|()| frozen.service.write_to(&mut writer))
            .and_then(|()| writer.flush())
            .map_err(|error| error.to_string())?;
        let manifest = writer.finish().map_err(|error| error.to_string())?;
        Ok((manifest.root(), manifest.bytes))
    }
}
