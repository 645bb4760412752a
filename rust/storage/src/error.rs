//! What goes wrong with files, typed; each text says what to do.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use pssmr_types::{ClusterId, DecodeError, ReplicaId, Slot};

/// Why what a replica keeps on disk can't be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The system refused an operation on a file.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The disk is full, or the user's quota is used up. Nothing is lost; the operation may be repeated.
    #[error("cannot {doing} {}: no space is left; make room and it goes on", path.display())]
    NoSpace {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A sync failed, or a name could not be given to what was synced. What was written since the last one may be lost, though reading shows it, so the log does nothing
    /// more: every later call gives this error.
    #[error(
        "syncing {} failed ({source}): the disk may be failing; the replica must stop, and be started again only when the disk is sound",
        path.display()
    )]
    SyncFailed {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// Another process has the directory.
    #[error("{} is in use by {}: stop it, or give this replica a directory of its own", path.display(), process(*pid))]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The other process, if it could be read.
        pid: Option<u32>,
    },
    /// The file or directory is another cluster's.
    #[error("{} belongs to cluster {found}, not to {expected}: check the configured directory", path.display())]
    OtherCluster {
        /// The file or directory.
        path: PathBuf,
        /// Whose it is.
        found: ClusterId,
        /// Whose it should be.
        expected: ClusterId,
    },
    /// The file or directory is another replica's.
    #[error("{} belongs to replica {found}, not to {expected}: check the configured directory", path.display())]
    OtherReplica {
        /// The file or directory.
        path: PathBuf,
        /// Whose it is.
        found: ReplicaId,
        /// Whose it should be.
        expected: ReplicaId,
    },
    /// The file is from another version of pssmr.
    #[error(
        "{} has format {found}, written by {}; this version reads format {expected}: use the version that wrote it, or a newer one",
        path.display(), version(written_by.as_ref())
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The format known here.
        expected: u32,
        /// The version of pssmr that wrote it, if the file says so.
        written_by: Option<String>,
    },
    /// The file is not what was written.
    #[error("{} is damaged ({what}): the disk may be failing; restore it, or start this replica as a new one", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A record above [`RECORD_BYTES_MAX`](crate::RECORD_BYTES_MAX).
    #[error("a record of {bytes} bytes is above the limit of {limit}")]
    RecordTooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// Too much is appended and not written; [`Log::write`](crate::Log::write) first.
    #[error("{bytes} bytes wait to be written, the limit is {limit}")]
    BufferFull {
        /// What would wait.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// No snapshot is kept for this slot.
    #[error("there is no snapshot of slot {slot}")]
    NoSnapshot {
        /// The slot.
        slot: Slot,
    },
    /// A chunk of a snapshot on disk is not what was written.
    #[error("chunk {chunk} of {} is damaged: the disk may be failing; fetch the snapshot from a peer", path.display())]
    ChunkDamaged {
        /// The file.
        path: PathBuf,
        /// The chunk's number, from 0.
        chunk: u32,
    },
    /// A chunk that arrived is not the manifest's.
    #[error("chunk {chunk} is not what the manifest says: whoever sent it is wrong")]
    WrongChunk {
        /// The chunk's number.
        chunk: u32,
    },
    /// A snapshot of which chunks are missing can't be finished.
    #[error("{missing} chunks of the snapshot are missing")]
    Incomplete {
        /// How many.
        missing: u32,
    },
    /// A state that is larger than a snapshot can be.
    #[error("a snapshot has at most {limit} chunks; choose larger chunks")]
    SnapshotTooLarge {
        /// The limit on chunks.
        limit: u32,
    },
    /// Bytes that are not a manifest.
    #[error("not a snapshot's manifest: {0}")]
    Manifest(#[from] DecodeError),
}

fn process(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

fn version(written_by: Option<&String>) -> String {
    written_by.map_or_else(|| "another version of pssmr".to_owned(), |version| format!("pssmr {version}"))
}
