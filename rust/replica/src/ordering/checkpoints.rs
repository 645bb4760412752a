//! Snapshots, as far as the ordering thread has to do with them: when one is taken, going on from one, and sending pieces
//! of them when votes leave room.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pssmr_execution::{Command, CommandKind, Watermark};
use pssmr_ordering::{CoreSnapshot, Input};
use pssmr_storage::Snapshots;
use pssmr_transport::Transport;
use pssmr_types::{Certificate, Checkpoint, ClientId, PeerMessage, Slot};

use super::OrderingThread;
use crate::inbox::Notice;
use crate::snapshots::{Content, Pace, SnapshotInbox, WriterInbox, certificate_of};
use crate::versions::VersionError;

/// How long to wait for execution at a time.
const PAUSE: Duration = Duration::from_millis(1);

/// A piece of a snapshot waits until no more than this is on its way to the same replica.
const QUEUED_BYTES_MAX: usize = 512 << 10;

/// What the ordering thread needs for snapshots.
pub(crate) struct Checkpointing {
    pub(crate) store: Arc<Snapshots>,
    pub(crate) inbox: Arc<SnapshotInbox>,
    pub(crate) writer: Arc<WriterInbox>,
    pub(crate) pace: Pace,
    /// The service can take and restore snapshots.
    pub(crate) is_possible: bool,
    pub(crate) cached_bytes_per_session_max: usize,
    pub(crate) allowance: Allowance,
}

/// How much may be sent of snapshots: so many bytes a second, and a tenth of that at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    bytes_per_second: u64,
    left: u64,
    at: Instant,
}

impl Allowance {
    pub(crate) fn new(bytes_per_second: u64, now: Instant) -> Self {
        Self { bytes_per_second, left: 0, at: now }
    }

    fn renew(&mut self, now: Instant) {
        let nanoseconds = now.saturating_duration_since(self.at).as_nanos();
        let more = nanoseconds * u128::from(self.bytes_per_second) / 1_000_000_000;
        if more > 0 {
            self.left = self.left.saturating_add(more as u64).min(self.bytes_per_second.div_ceil(10));
            self.at = now;
        }
    }

    /// Whether so much may go; a piece larger than what there ever is may go when there is as much as there ever is.
    fn allows(&self, bytes: usize) -> bool {
        self.left >= (bytes as u64).min(self.bytes_per_second.div_ceil(10))
    }

    fn take(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes as u64);
    }
}

/// Why a snapshot was not restored.
pub(crate) enum RestoreFailure {
    /// It is not there, or damaged: the state is what it was.
    Lost(String),
    /// The replica can't go on.
    Fatal(String),
    /// The code is not the service that is in force.
    Version(VersionError),
}

impl OrderingThread {
    /// The state after the slot that was delivered last goes into a snapshot.
    pub(super) fn checkpoint(&mut self, core: Arc<CoreSnapshot>, is_asked: bool) {
        let Some(checkpointing) = self.checkpointing.as_mut().filter(|checkpointing| checkpointing.is_possible) else {
            return;
        };
        let (slot, position, digest) = (core.slot, core.position, core.digest);
        // From before a restart.
        if let Ok(own) = checkpointing.store.open_snapshot(slot) {
            let root = own.manifest().root();
            self.inbox.tell(Input::CheckpointTaken(Checkpoint { slot, digest, root }));
            return;
        }
        let written = self.state.meters.snapshots.time_of_last();
        let is_busy = !checkpointing.writer.is_idle();
        if !checkpointing.pace.takes(core.number, is_asked, is_busy, written, Instant::now()) {
            tracing::debug!(%slot, "no snapshot: writing the last one took too large a part of the time");
            return;
        }
        self.state.meters.snapshots.began();
        self.notices.push(Notice::Checkpoint(core));
        // Before any command of a later slot can end.
        self.clients.notify(&mut self.notices);
        let command = Command {
            position,
            slot,
            client: ClientId::default(),
            sequence: 0,
            timestamp: 0,
            seed: digest.0,
            version: self.core.service_version(),
            kind: CommandKind::Snapshot,
            payload: Bytes::new(),
        };
        self.executor.submit([command], slot);
    }

    /// This replica's own checkpoint is stable.
    pub(super) fn stable(&mut self, certificate: Certificate) {
        if let Some(checkpointing) = &self.checkpointing {
            checkpointing.inbox.stable(certificate);
        }
    }

    /// The replica needs a snapshot of others.
    pub(super) fn transfer(&mut self, certificate: Certificate) {
        let slot = certificate.checkpoint.slot;
        if let Some(checkpointing) = self.checkpointing.as_ref().filter(|checkpointing| checkpointing.is_possible) {
            checkpointing.inbox.transfer(certificate);
        } else {
            tracing::error!(%slot, "the replica needs a snapshot of others, and can't restore one");
        }
    }

    /// Replaces the application's state and the cached replies by those of a snapshot, and gives ordering's part.
    pub(crate) fn restore(&mut self, slot: Slot) -> Result<CoreSnapshot, RestoreFailure> {
        let lost = |reason: String| RestoreFailure::Lost(format!("the snapshot of {slot}: {reason}"));
        let fatal = |reason: String| RestoreFailure::Fatal(format!("can't restore the snapshot of {slot}: {reason}"));
        let Some(checkpointing) = &self.checkpointing else { return Err(lost("there is no directory".to_owned())) };
        let snapshot = checkpointing.store.open_snapshot(slot).map_err(|error| lost(error.to_string()))?;
        // All of it, before anything is changed.
        for chunk in 0..snapshot.manifest().count() {
            snapshot.read_chunk(chunk).map_err(|error| lost(error.to_string()))?;
        }
        let mut reader = snapshot.reader();
        let content = Content::read(&mut reader).map_err(|error| lost(error.to_string()))?;
        if let Some(in_force) = content.core.upgraded {
            self.state.code.check(in_force).map_err(RestoreFailure::Version)?;
            self.version = in_force.number;
        }
        let replies =
            content.cache(checkpointing.cached_bytes_per_session_max).map_err(|error| lost(error.to_string()))?;
        while self.executor.pending() > 0 {
            if let Some(reason) = self.inbox.failure() {
                return Err(RestoreFailure::Fatal(reason));
            }
            thread::sleep(PAUSE);
        }
        let started = Instant::now();
        let at = Watermark { slot, position: content.core.position };
        self.executor.restore(&mut reader, at).map_err(|error| fatal(error.to_string()))?;
        self.notices.push(Notice::Restored { slot, replies });
        self.clients.notify(&mut self.notices);
        self.inbox.executed(slot);
        self.executed = slot;
        let (bytes, milliseconds) = (snapshot.manifest().bytes, started.elapsed().as_millis() as u64);
        tracing::info!(%slot, bytes, milliseconds, "restored a snapshot");
        Ok(content.core)
    }

    /// The proof of the newest checkpoint that is kept.
    pub(super) fn find_certificate(&self) -> Option<Certificate> {
        let store = &self.checkpointing.as_ref()?.store;
        store.list().ok()?.into_iter().find_map(|slot| certificate_of(store, slot))
    }

    /// Sends what waits to be sent of snapshots, as far as votes leave room. Gives when to look again.
    pub(super) fn send_pieces(&mut self, transport: &mut Transport) -> Option<Duration> {
        let checkpointing = self.checkpointing.as_mut()?;
        if !checkpointing.inbox.has_messages() {
            return None;
        }
        checkpointing.allowance.renew(Instant::now());
        loop {
            let (links, allowance) = (&self.links, checkpointing.allowance);
            let may_go = |to, bytes: usize| {
                allowance.allows(bytes)
                    && links.queued_bytes(to, transport).is_none_or(|queued| queued < QUEUED_BYTES_MAX)
            };
            let Some((to, message, bytes)) = checkpointing.inbox.take_message(may_go) else { break };
            checkpointing.allowance.take(bytes);
            self.links.send(to, &PeerMessage::Snapshot(message), transport, &mut self.counters);
        }
        checkpointing.inbox.has_messages().then_some(PAUSE)
    }
}
