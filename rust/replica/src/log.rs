//! The log thread: it takes what ordering has decided to remember, writes it in groups, and says how far it is kept. It
//! keeps the replica's promises, too, which there are also without a log.
//!
//! While one group is being synced the next one gathers, so the disk's latency bounds the latency of a vote but not the
//! number of votes.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use pssmr_ordering::{Durability, Promise, Record};
use pssmr_storage::{Log, PromiseFile, StorageError};
use pssmr_types::Slot;

use crate::events::ReplicaEvent;
use crate::inbox::OrderingInbox;
use crate::panic_message;
use crate::past::kept_for;
use crate::snapshots::SnapshotInbox;
use crate::state::State;

/// With [`Durability::Async`], what is written is synced after at most this long.
const SYNC_INTERVAL: Duration = Duration::from_millis(100);

/// How long a full disk is left alone before the next attempt.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// From so many bytes on that are not written, ordering takes nothing new.
const WAITING_BYTES_MAX: usize = 64 << 20;

/// What a record takes beside its batch, roughly.
const RECORD_BYTES: usize = 64;

#[derive(Debug, Default)]
struct Waiting {
    records: Vec<Record>,
    bytes: usize,
    promise: Option<Promise>,
    /// The checkpoint of this slot is stable: what is before it can go.
    truncate: Option<Slot>,
    stopping: bool,
}

/// For the log thread.
#[derive(Debug, Default)]
pub(crate) struct LogInbox {
    waiting: Mutex<Waiting>,
    came: Condvar,
}

fn bytes_of(record: &Record) -> usize {
    RECORD_BYTES + record.batch().map_or(0, |batch| batch.bytes().len())
}

impl LogInbox {
    /// Takes all records; gives their bytes.
    pub(crate) fn append(&self, records: &mut Vec<Record>) -> usize {
        let bytes: usize = records.iter().map(bytes_of).sum();
        let mut waiting = self.waiting.lock();
        waiting.bytes += bytes;
        waiting.records.append(records);
        drop(waiting);
        self.came.notify_one();
        bytes
    }

    /// Takes a promise, in place of the one before.
    pub(crate) fn promise(&self, promise: Promise) {
        self.waiting.lock().promise = Some(promise);
        self.came.notify_one();
    }

    /// What is before the checkpoint of this slot can go.
    pub(crate) fn truncate(&self, slot: Slot) {
        self.waiting.lock().truncate = Some(slot);
        self.came.notify_one();
    }

    /// Whether more waits than should.
    pub(crate) fn is_behind(&self) -> bool {
        self.waiting.lock().bytes > WAITING_BYTES_MAX
    }

    /// The thread ends when all that waits is kept.
    pub(crate) fn stop(&self) {
        self.waiting.lock().stopping = true;
        self.came.notify_one();
    }
}

/// Where the log has what has to be remembered beside the snapshot of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ImageAt {
    pub(crate) slot: Slot,
    /// Its first record.
    pub(crate) first: u64,
    /// The record after its last one.
    pub(crate) end: u64,
}

/// What the log thread owns.
pub(crate) struct LogThread {
    /// None with [`Durability::Memory`].
    pub(crate) log: Option<Log>,
    pub(crate) promises: PromiseFile,
    /// The replica makes no promise until what it has forgotten no longer matters.
    pub(crate) has_forgotten: bool,
    pub(crate) durability: Durability,
    /// The images in the log, ascending.
    pub(crate) images: VecDeque<ImageAt>,
    pub(crate) inbox: Arc<LogInbox>,
    /// Told when what a checkpoint makes superfluous is gone.
    pub(crate) snapshots: Arc<SnapshotInbox>,
    pub(crate) ordering: Arc<OrderingInbox>,
    pub(crate) state: Arc<State>,
}

impl LogThread {
    /// The thread's life.
    pub(crate) fn run(mut self) {
        let reason = match catch_unwind(AssertUnwindSafe(|| self.work())) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => format!("log: {error}"),
            Err(panic) => format!("the log thread panicked: {}", panic_message(&*panic)),
        };
        self.ordering.fail(reason);
    }

    fn work(&mut self) -> Result<(), StorageError> {
        let mut kept = 0;
        let mut group = Vec::new();
        let mut synced_at = Instant::now();
        let mut truncate = None;
        loop {
            let (promise, stopping) = self.next_group(&mut group, &mut truncate);
            if let Some(promise) = promise {
                self.patiently(|thread| {
                    let Promise { view, slot_limit } = promise;
                    let boot = kept_for(thread.durability);
                    thread.promises.write(&pssmr_storage::Promise { view, slot_limit, boot })
                })?;
                if std::mem::take(&mut self.has_forgotten)
                    && let Some(log) = &mut self.log
                {
                    log.damage_repaired()?;
                }
                self.ordering.promised(promise);
            }
            if !group.is_empty() {
                kept += group.len() as u64;
                self.write(&mut group)?;
                if self.durability == Durability::Async {
                    self.ordering.durable(kept);
                }
            }
            let is_due = self.durability == Durability::Sync || stopping || synced_at.elapsed() >= SYNC_INTERVAL;
            if let Some(log) = self.log.as_mut().filter(|_| is_due) {
                let (since, is_synced) = (Instant::now(), log.synced_index() == log.next_index());
                log.sync()?;
                synced_at = Instant::now();
                if !is_synced {
                    self.state.meters.log.synced(synced_at - since);
                }
            }
            self.ordering.durable(kept);
            self.cut_off(&mut truncate)?;
            if stopping {
                return Ok(());
            }
        }
    }

    /// Removes what is before the image of a slot, once all of the image is synced.
    fn cut_off(&mut self, truncate: &mut Option<Slot>) -> Result<(), StorageError> {
        let (Some(slot), Some(log)) = (*truncate, &mut self.log) else { return Ok(()) };
        let Some(image) = self.images.iter().find(|image| image.slot == slot).copied() else {
            *truncate = None;
            return Ok(());
        };
        if image.end > log.synced_index() {
            return Ok(());
        }
        *truncate = None;
        match log.remove_before(image.first) {
            Ok(()) => {
                self.images.retain(|other| other.slot >= slot);
                tracing::debug!(%slot, record = image.first, "the log begins with a checkpoint");
                self.snapshots.truncated(slot);
                Ok(())
            }
            // The next checkpoint is another attempt.
            Err(error @ StorageError::Io { .. }) => {
                tracing::error!(%error, "can't remove what is old of the log");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Writes a group: at once, unless it is very large.
    fn write(&mut self, group: &mut Vec<Record>) -> Result<(), StorageError> {
        const NO_LOG: &str = "only a replica with a log has records";
        let mut header = Vec::with_capacity(RECORD_BYTES);
        let (mut bytes, mut written) = (0, 0);
        let records = group.len();
        for record in group.drain(..) {
            header.clear();
            bytes += bytes_of(&record);
            if let Record::Image(image) = &record {
                self.patiently(|thread| thread.log.as_mut().expect(NO_LOG).roll())?;
                let first = self.log.as_ref().expect(NO_LOG).next_index();
                let end = first + 1 + u64::from(image.follow());
                self.images.push_back(ImageAt { slot: image.slot, first, end });
            }
            let log = self.log.as_mut().expect(NO_LOG);
            match record.encode(&mut header) {
                Some(batch) => log.append_parts(&[&header, batch])?,
                None => log.append(&header)?,
            };
            if bytes > WAITING_BYTES_MAX {
                written += std::mem::take(&mut bytes);
                self.patiently(|thread| thread.log.as_mut().expect(NO_LOG).write())?;
            }
        }
        self.patiently(|thread| thread.log.as_mut().expect(NO_LOG).write())?;
        self.state.meters.log.wrote(records, written + bytes);
        Ok(())
    }

    /// Waits for something to keep, or until a sync is due. Gives the promise, and whether this is the end.
    fn next_group(&self, group: &mut Vec<Record>, truncate: &mut Option<Slot>) -> (Option<Promise>, bool) {
        let mut waiting = self.inbox.waiting.lock();
        let is_idle = |waiting: &Waiting| {
            waiting.records.is_empty() && waiting.promise.is_none() && waiting.truncate.is_none() && !waiting.stopping
        };
        while is_idle(&waiting) {
            let is_synced = self.log.as_ref().is_none_or(|log| log.synced_index() == log.next_index());
            if is_synced {
                self.inbox.came.wait(&mut waiting);
            } else if self.inbox.came.wait_for(&mut waiting, SYNC_INTERVAL).timed_out() {
                break;
            }
        }
        std::mem::swap(&mut waiting.records, group);
        waiting.bytes = 0;
        *truncate = waiting.truncate.take().or(*truncate);
        (waiting.promise.take(), waiting.stopping && group.is_empty())
    }

    /// Writes. A full disk is waited out: until there is room, the replica does not vote.
    fn patiently(&mut self, mut write: impl FnMut(&mut Self) -> Result<(), StorageError>) -> Result<(), StorageError> {
        let mut told = false;
        loop {
            match write(self) {
                Err(error @ StorageError::NoSpace { .. }) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::error!(%error, "the replica does not vote until there is room");
                        self.state.log_error(Some(error.to_string()));
                        self.state.tell(&ReplicaEvent::DiskFull { reason: error.to_string() });
                    }
                    let mut waiting = self.inbox.waiting.lock();
                    if waiting.stopping {
                        return Err(error);
                    }
                    self.inbox.came.wait_for(&mut waiting, RETRY_INTERVAL);
                }
                written => {
                    if told && written.is_ok() {
                        tracing::info!("there is room on the disk again: the replica votes");
                        self.state.log_error(None);
                        self.state.tell(&ReplicaEvent::DiskHasRoom);
                    }
                    return written;
                }
            }
        }
    }
}
