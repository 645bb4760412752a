//! Snapshots: one thread writes them, and one hands them to replicas that lag and fetches them when this one does. What they
//! do takes time and waits for the disk, so no vote ever waits for it.

mod content;
mod download;
mod fetching;
mod pace;
mod serving;
mod writing;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use pssmr_ordering::Input;
use pssmr_storage::{SnapshotOptions, Snapshots, StorageError};
use pssmr_types::{Certificate, Checkpoint, ReplicaId, Slot, SnapshotMessage};

pub(crate) use self::content::{Content, ContentError};
use self::fetching::Fetching;
pub(crate) use self::pace::Pace;
use self::serving::Serving;
pub(crate) use self::writing::{Frozen, WriterInbox, WriterThread};
use crate::inbox::OrderingInbox;
use crate::log::LogInbox;
use crate::panic_message;
use crate::state::State;

/// Messages of other replicas that wait to be looked at.
const MESSAGES_MAX: usize = 1024;

/// Bytes that wait to be sent.
const OUTBOX_BYTES_MAX: usize = 32 << 20;

/// What a message takes beside a chunk or a manifest, at most.
const MESSAGE_BYTES: usize = 64;

#[derive(Default)]
struct Waiting {
    stable: Option<Certificate>,
    /// The log before this slot's checkpoint is gone.
    truncated: Option<Slot>,
    messages: VecDeque<(ReplicaId, SnapshotMessage)>,
    transfer: Option<Certificate>,
    stopping: bool,
}

#[derive(Debug, Default)]
struct Outbox {
    messages: VecDeque<(ReplicaId, SnapshotMessage)>,
    bytes: usize,
}

/// For the snapshot thread, and from it to the ordering thread.
pub(crate) struct SnapshotInbox {
    waiting: Mutex<Waiting>,
    came: Condvar,
    outbox: Mutex<Outbox>,
}

impl SnapshotInbox {
    pub(crate) fn new() -> Self {
        Self { waiting: Mutex::default(), came: Condvar::new(), outbox: Mutex::default() }
    }

    /// This replica's own checkpoint is stable.
    pub(crate) fn stable(&self, certificate: Certificate) {
        self.waiting.lock().stable = Some(certificate);
        self.came.notify_one();
    }

    /// The log before this slot's checkpoint is gone.
    pub(crate) fn truncated(&self, slot: Slot) {
        self.waiting.lock().truncated = Some(slot);
        self.came.notify_one();
    }

    /// Another replica says something of a snapshot. Who says too much is not heard: it asks again.
    pub(crate) fn message(&self, from: ReplicaId, message: SnapshotMessage) {
        let mut waiting = self.waiting.lock();
        if waiting.messages.len() < MESSAGES_MAX {
            waiting.messages.push_back((from, message));
            self.came.notify_one();
        }
    }

    /// The replica needs this snapshot of others.
    pub(crate) fn transfer(&self, certificate: Certificate) {
        self.waiting.lock().transfer = Some(certificate);
        self.came.notify_one();
    }

    /// The thread ends.
    pub(crate) fn stop(&self) {
        self.waiting.lock().stopping = true;
        self.came.notify_one();
    }

    /// The next message to send, if `may_go` lets so many bytes go to that replica now.
    pub(crate) fn take_message(
        &self,
        mut may_go: impl FnMut(ReplicaId, usize) -> bool,
    ) -> Option<(ReplicaId, SnapshotMessage, usize)> {
        let mut outbox = self.outbox.lock();
        let at = outbox.messages.iter().position(|(to, message)| may_go(*to, bytes_of(message)))?;
        let (to, message) = outbox.messages.remove(at).expect("it was found there");
        let bytes = bytes_of(&message);
        outbox.bytes -= bytes;
        Some((to, message, bytes))
    }

    /// Whether something waits to be sent.
    pub(crate) fn has_messages(&self) -> bool {
        !self.outbox.lock().messages.is_empty()
    }

    /// Puts a message where the ordering thread finds it. False if there is no room.
    fn send(&self, to: ReplicaId, message: SnapshotMessage) -> bool {
        let mut outbox = self.outbox.lock();
        let bytes = bytes_of(&message);
        let has_room = outbox.bytes + bytes <= OUTBOX_BYTES_MAX;
        if has_room {
            outbox.bytes += bytes;
            outbox.messages.push_back((to, message));
        }
        has_room
    }
}

fn bytes_of(message: &SnapshotMessage) -> usize {
    MESSAGE_BYTES
        + match message {
            SnapshotMessage::Manifest { bytes, .. } | SnapshotMessage::Chunk { bytes, .. } => bytes.len(),
            _ => 0,
        }
}

/// What the snapshot thread owns.
pub(crate) struct SnapshotThread {
    pub(crate) snapshots: Arc<Snapshots>,
    pub(crate) inbox: Arc<SnapshotInbox>,
    pub(crate) ordering: Arc<OrderingInbox>,
    /// None with durability `memory`.
    pub(crate) log: Option<Arc<LogInbox>>,
    pub(crate) state: Arc<State>,
    pub(crate) me: ReplicaId,
}

/// How this replica's snapshots are cut into chunks. The same at all replicas, or their roots would differ.
pub(crate) fn snapshot_options() -> SnapshotOptions {
    SnapshotOptions::default()
}

impl SnapshotThread {
    /// The thread's life.
    pub(crate) fn run(self) {
        let ordering = Arc::clone(&self.ordering);
        let reason = match catch_unwind(AssertUnwindSafe(|| self.work())) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => format!("snapshots: {error}"),
            Err(panic) => format!("the snapshot thread panicked: {}", panic_message(&*panic)),
        };
        ordering.fail(reason);
    }

    fn work(self) -> Result<(), StorageError> {
        let mut serving = Serving::new(Arc::clone(&self.snapshots));
        let mut fetching: Option<Fetching> = None;
        loop {
            let Some(mut waiting) = self.wait(fetching.as_ref().map(Fetching::deadline)) else { return Ok(()) };
            let now = Instant::now();
            if let Some(certificate) = waiting.transfer.take() {
                fetching = self.begin_transfer(certificate.checkpoint, now);
            }
            for (from, message) in waiting.messages.drain(..) {
                match message {
                    SnapshotMessage::ManifestRequest { .. } | SnapshotMessage::ChunkRequest { .. } => {
                        if let Some(answer) = serving.answer(from, &message, now) {
                            self.inbox.send(from, answer);
                        }
                    }
                    answer => {
                        if let Some(fetching) = &mut fetching {
                            fetching.take(from, answer, now)?;
                        }
                    }
                }
            }
            if let Some(going_on) = &mut fetching
                && self.go_on(going_on, now)?
            {
                fetching = None;
            }
            if let Some(certificate) = waiting.stable.take() {
                self.certify(&certificate)?;
            }
            if let Some(slot) = waiting.truncated.take() {
                self.snapshots.remove_before(slot, &serving.wanted(now))?;
            }
            self.ordering.wake();
        }
    }

    /// Waits for something to do, until a deadline. None: it is the end.
    fn wait(&self, deadline: Option<Instant>) -> Option<Waiting> {
        let mut waiting = self.inbox.waiting.lock();
        loop {
            if waiting.stopping {
                return None;
            }
            let is_idle = waiting.stable.is_none()
                && waiting.truncated.is_none()
                && waiting.messages.is_empty()
                && waiting.transfer.is_none();
            if !is_idle {
                break;
            }
            match deadline {
                None => self.inbox.came.wait(&mut waiting),
                Some(deadline) => {
                    if self.inbox.came.wait_until(&mut waiting, deadline).timed_out() {
                        break;
                    }
                }
            }
        }
        Some(std::mem::take(&mut *waiting))
    }

    /// Keeps the proof beside the snapshot. Then what comes before it can go.
    fn certify(&self, certificate: &Certificate) -> Result<(), StorageError> {
        let slot = certificate.checkpoint.slot;
        let mut bytes = Vec::new();
        certificate.encode(&mut bytes);
        match self.snapshots.open_snapshot(slot).and_then(|snapshot| snapshot.set_certificate(&bytes)) {
            Ok(()) => {}
            Err(error @ StorageError::SyncFailed { .. }) => return Err(error),
            Err(error) => {
                tracing::error!(%slot, %error, "the proof of a checkpoint is not kept: what is before it stays");
                return Ok(());
            }
        }
        match &self.log {
            Some(log) => log.truncate(slot),
            None => self.inbox.truncated(slot),
        }
        Ok(())
    }

    fn begin_transfer(&self, checkpoint: Checkpoint, now: Instant) -> Option<Fetching> {
        let Checkpoint { slot, root, .. } = checkpoint;
        // It may be here already, from before a crash.
        let own = self.snapshots.open_snapshot(slot).ok().filter(|own| own.manifest().root() == root);
        if own.is_some() {
            self.give(slot);
            return None;
        }
        tracing::info!(%slot, %root, "fetching a snapshot from other replicas");
        let others = self.state.membership().replicas().filter(|id| *id != self.me).collect();
        Some(Fetching::new(checkpoint, others, Arc::clone(&self.snapshots), now))
    }

    /// Asks for what is missing. True if the transfer has ended.
    fn go_on(&self, fetching: &mut Fetching, now: Instant) -> Result<bool, StorageError> {
        for (to, message) in fetching.requests(now) {
            self.inbox.send(to, message);
        }
        *self.state.transfer.lock() = Some(fetching.progress());
        if fetching.is_complete() {
            let slot = fetching.slot();
            fetching.finish()?;
            *self.state.transfer.lock() = None;
            self.give(slot);
            return Ok(true);
        }
        if fetching.is_hopeless() {
            tracing::warn!(slot = %fetching.slot(), "no replica has this snapshot any more");
            *self.state.transfer.lock() = None;
            self.ordering.tell(Input::TransferFailed);
            return Ok(true);
        }
        Ok(false)
    }

    /// A snapshot that the replica needs is here.
    fn give(&self, slot: Slot) {
        let content = self.snapshots.open_snapshot(slot).map_err(ContentError::from);
        match content.and_then(|snapshot| Content::read(&mut snapshot.reader()).map(|content| content.core)) {
            Ok(core) => self.ordering.tell(Input::Transferred(Box::new(core))),
            Err(error) => {
                tracing::error!(%slot, %error, "a snapshot that was fetched can't be read");
                if let Err(error) = self.snapshots.remove(slot) {
                    tracing::error!(%slot, %error, "nor removed");
                }
                self.ordering.tell(Input::TransferFailed);
            }
        }
    }
}

/// The proof kept beside a snapshot, if it is there and can be read.
pub(crate) fn certificate_of(snapshots: &Snapshots, slot: Slot) -> Option<Certificate> {
    let bytes = snapshots.open_snapshot(slot).and_then(|snapshot| snapshot.certificate()).ok()??;
    Certificate::decode(&mut pssmr_types::Reader::new(Bytes::from(bytes.to_vec()))).ok()
}
