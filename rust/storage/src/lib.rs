//! Files: what a replica keeps on disk.
//!
//! A [`DataDirectory`] belongs to one replica of one cluster, and to one process at a time. In it are
//!
//! - the [`Log`]: the records that must survive before a vote leaves, in order, with group commit;
//! - the [`PromiseFile`]: the view that the replica will never vote below, and how far it may have voted;
//! - the [`MembershipFile`]: the replicas that the log begins with;
//! - the [`Snapshots`]: states at a slot, in chunks that are verified one by one.
//!
//! Whatever is read is verified: against rot by checksums, against another replica's files by whose they are, against
//! stale or misdirected sectors by what they are bound to. What a crash can leave behind is told from damage, and
//! damage is never cut off or overwritten: the caller is told, and asks its peers.
//!
//! Everything goes through a [`Disk`], so that tests and the simulator can run on one that fails (`faults`, a cargo
//! feature of the same name).

mod atomic;
mod directory;
mod disk;
mod error;
#[cfg(any(test, feature = "faults"))]
pub mod faults;
mod identity;
mod log;
mod membership;
mod preamble;
mod promise;
mod snapshots;

pub use directory::DataDirectory;
pub use disk::{Disk, DiskFile, Held, LockAttempt, SystemDisk};
pub use error::StorageError;
pub use log::{Damage, Log, LogOptions, RECORD_BYTES_MAX, Recovery};
pub use membership::MembershipFile;
pub use promise::{Copies, Promise, PromiseFile, boot_id};
pub use snapshots::{
    CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, CHUNKS_MAX, Manifest, Snapshot, SnapshotDownload, SnapshotOptions,
    SnapshotReader, SnapshotWriter, Snapshots,
};
