//! Fetching a snapshot: the manifest first, then its chunks from several replicas at once. What comes is stored as it
//! comes, so that a replica that is stopped in the middle goes on where it was.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pssmr_storage::{Manifest, SnapshotDownload, Snapshots, StorageError};
use pssmr_types::{Checkpoint, ReplicaId, Slot, SnapshotMessage};

use super::download::{Download, Request};
use crate::status::TransferStatus;

/// How often the log says how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

/// One transfer.
pub(crate) struct Fetching {
    checkpoint: Checkpoint,
    download: Download,
    snapshots: Arc<Snapshots>,
    file: Option<SnapshotDownload>,
    told_at: Instant,
}

impl Fetching {
    pub(crate) fn new(checkpoint: Checkpoint, others: Vec<ReplicaId>, snapshots: Arc<Snapshots>, now: Instant) -> Self {
        Self { checkpoint, download: Download::new(others.into()), snapshots, file: None, told_at: now }
    }

    pub(crate) fn slot(&self) -> Slot {
        self.checkpoint.slot
    }

    /// When there is something to do, even if nothing comes.
    pub(crate) fn deadline(&self) -> Instant {
        self.download.deadline().unwrap_or_else(|| Instant::now() + PROGRESS_INTERVAL)
    }

    /// Takes an answer. Who answers wrongly is not asked again.
    pub(crate) fn take(&mut self, from: ReplicaId, answer: SnapshotMessage, now: Instant) -> Result<(), StorageError> {
        match answer {
            SnapshotMessage::Manifest { slot, bytes } if slot == self.slot() => self.take_manifest(from, bytes),
            SnapshotMessage::Chunk { slot, chunk, bytes } if slot == self.slot() => {
                self.take_chunk(from, chunk, &bytes, now)
            }
            SnapshotMessage::Gone { slot } if slot == self.slot() => {
                self.download.gone(from);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn take_manifest(&mut self, from: ReplicaId, bytes: Bytes) -> Result<(), StorageError> {
        if self.file.is_some() || !self.download.awaits_manifest_of(from) {
            return Ok(());
        }
        let manifest = Manifest::decode(bytes).ok().filter(|manifest| manifest.root() == self.checkpoint.root);
        let Some(manifest) = manifest else {
            self.ban(from);
            return Ok(());
        };
        let file = self.snapshots.begin_download(manifest)?;
        self.download.begin(file.missing().collect());
        let (missing, chunks) = (file.missing_count(), file.manifest().count());
        tracing::info!(slot = %self.slot(), bytes = file.manifest().bytes, chunks, missing, "fetching the chunks");
        self.file = Some(file);
        Ok(())
    }

    fn take_chunk(&mut self, from: ReplicaId, chunk: u32, bytes: &[u8], now: Instant) -> Result<(), StorageError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        if !self.download.awaits(from, chunk) {
            return Ok(());
        }
        match file.put_chunk(chunk, bytes) {
            Ok(()) => self.download.arrived(chunk),
            Err(StorageError::WrongChunk { .. }) => self.ban(from),
            // A full disk: it is asked for again, later.
            Err(error @ StorageError::NoSpace { .. }) => {
                tracing::error!(%error, "no room for a snapshot");
                self.download.put_off(chunk, now);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn ban(&mut self, from: ReplicaId) {
        tracing::warn!(replica = %from, slot = %self.slot(), "a replica sent what is not of the snapshot: it is asked no more");
        self.download.ban(from);
    }

    /// What to ask for now, and whom.
    pub(crate) fn requests(&mut self, now: Instant) -> Vec<(ReplicaId, SnapshotMessage)> {
        if let Some(file) = self.file.as_ref().filter(|_| now >= self.told_at + PROGRESS_INTERVAL) {
            self.told_at = now;
            let (chunks, missing) = (file.manifest().count(), file.missing_count());
            tracing::info!(slot = %self.slot(), chunks, missing, "fetching a snapshot");
        }
        let Checkpoint { slot, root, .. } = self.checkpoint;
        let message = |request| match request {
            Request::Manifest => SnapshotMessage::ManifestRequest { slot, root },
            Request::Chunk(chunk) => SnapshotMessage::ChunkRequest { slot, root, chunk },
        };
        self.download.requests(now).into_iter().map(|(to, request)| (to, message(request))).collect()
    }

    /// How far it is.
    pub(crate) fn progress(&self) -> TransferStatus {
        let status = |bytes, done| TransferStatus { slot: self.slot().0, bytes, bytes_done: done };
        let Some(file) = &self.file else { return status(0, 0) };
        let manifest = file.manifest();
        let missing = u64::from(file.missing_count()) * u64::from(manifest.chunk_bytes);
        status(manifest.bytes, manifest.bytes.saturating_sub(missing))
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.file.as_ref().is_some_and(|file| file.missing_count() == 0)
    }

    pub(crate) fn is_hopeless(&self) -> bool {
        self.download.is_hopeless()
    }

    /// Makes the snapshot durable.
    pub(crate) fn finish(&mut self) -> Result<(), StorageError> {
        let file = self.file.take().expect("it is complete");
        tracing::info!(slot = %self.slot(), bytes = file.manifest().bytes, "a snapshot was fetched");
        file.finish().map(drop)
    }
}
