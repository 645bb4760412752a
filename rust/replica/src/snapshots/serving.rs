//! Handing out snapshots.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pssmr_storage::{Snapshot, Snapshots};
use pssmr_types::{Digest, ReplicaId, Slot, SnapshotMessage};

/// A snapshot that a replica has asked for within this time is kept: the log moves on faster than a large one is
/// fetched.
const WANTED_FOR: Duration = Duration::from_secs(60);

/// What a replica has last asked for. It fetches one at a time.
struct Wanted {
    by: ReplicaId,
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

    /// The slots whose snapshots are being fetched: one for each other replica at most.
    pub(crate) fn wanted(&mut self, now: Instant) -> Vec<Slot> {
        self.wanted.retain(|wanted| now < wanted.at + WANTED_FOR);
        self.wanted.iter().map(|wanted| wanted.slot).collect()
    }

    /// The answer to another replica's request.
    pub(crate) fn answer(&mut self, by: ReplicaId, request: &SnapshotMessage, now: Instant) -> Option<SnapshotMessage> {
        let (slot, root, chunk) = match *request {
            SnapshotMessage::ManifestRequest { slot, root } => (slot, root, None),
            SnapshotMessage::ChunkRequest { slot, root, chunk } => (slot, root, Some(chunk)),
            _ => return None,
        };
        let Some(snapshot) = self.open(by, slot, root, now) else { return Some(SnapshotMessage::Gone { slot }) };
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

    fn open(&mut self, by: ReplicaId, slot: Slot, root: Digest, now: Instant) -> Option<&Snapshot> {
        let known = self.wanted.iter().position(|wanted| wanted.by == by && wanted.slot == slot && wanted.root == root);
        if let Some(at) = known {
            self.wanted[at].at = now;
            return Some(&self.wanted[at].snapshot);
        }
        let snapshot = self.snapshots.open_snapshot(slot).ok().filter(|own| own.manifest().root() == root)?;
        self.wanted.retain(|wanted| wanted.by != by && now < wanted.at + WANTED_FOR);
        self.wanted.push(Wanted { by, slot, root, snapshot, at: now });
        self.wanted.last().map(|wanted| &wanted.snapshot)
    }
}
