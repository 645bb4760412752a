//! Handing out snapshots.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pssmr_storage::{Snapshot, Snapshots};
use pssmr_types::{Digest, Slot, SnapshotMessage};

/// A snapshot that somebody has asked for within this time is kept: the log moves on faster than a large one is fetched.
const WANTED_FOR: Duration = Duration::from_secs(60);

/// What was last asked for.
struct Wanted {
    slot: Slot,
    root: Digest,
    snapshot: Snapshot,
    at: Instant,
}

/// The answers to other replicas.
pub(crate) struct Serving {
    snapshots: Arc<Snapshots>,
    wanted: Vec<Wanted>,
}

impl Serving {
    pub(crate) fn new(snapshots: Arc<Snapshots>) -> Self {
        Self { snapshots, wanted: Vec::new() }
    }

    /// The oldest slot whose snapshot somebody is fetching.
    pub(crate) fn oldest_wanted(&mut self, now: Instant) -> Option<Slot> {
        self.wanted.retain(|wanted| now < wanted.at + WANTED_FOR);
        self.wanted.iter().map(|wanted| wanted.slot).min()
    }

    /// The answer to a request.
    pub(crate) fn answer(&mut self, request: &SnapshotMessage, now: Instant) -> Option<SnapshotMessage> {
        let (slot, root, chunk) = match *request {
            SnapshotMessage::ManifestRequest { slot, root } => (slot, root, None),
            SnapshotMessage::ChunkRequest { slot, root, chunk } => (slot, root, Some(chunk)),
            _ => return None,
        };
        let Some(snapshot) = self.open(slot, root, now) else { return Some(SnapshotMessage::Gone { slot }) };
        Some(match chunk {
            None => SnapshotMessage::Manifest { slot, bytes: snapshot.manifest().encode().into() },
            Some(chunk) => match snapshot.read_chunk(chunk) {
                Ok(bytes) => SnapshotMessage::Chunk { slot, chunk, bytes },
                Err(error) => {
                    tracing::error!(%slot, chunk, %error, "a chunk of a snapshot can't be handed out");
                    SnapshotMessage::Gone { slot }
                }
            },
        })
    }

    fn open(&mut self, slot: Slot, root: Digest, now: Instant) -> Option<&Snapshot> {
        if let Some(at) = self.wanted.iter().position(|wanted| wanted.slot == slot && wanted.root == root) {
            self.wanted[at].at = now;
            return Some(&self.wanted[at].snapshot);
        }
        let snapshot = self.snapshots.open_snapshot(slot).ok().filter(|own| own.manifest().root() == root)?;
        self.wanted.retain(|wanted| now < wanted.at + WANTED_FOR);
        self.wanted.push(Wanted { slot, root, snapshot, at: now });
        self.wanted.last().map(|wanted| &wanted.snapshot)
    }
}
