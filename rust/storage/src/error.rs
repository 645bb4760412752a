//! What goes wrong with files, typed; each text says what to do.

use std::io;
use std::path::PathBuf;

use pssmr_types::{ClusterId, ReplicaId};

/// Why a data directory can't be used.
#[derive(Debug, thiserror::Error)]
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
    /// Another process has the directory.
    #[error("{} is in use by {}: stop it, or give this replica a directory of its own", path.display(), process(*pid))]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The other process, if it could be read.
        pid: Option<u32>,
    },
    /// The directory is another cluster's.
    #[error("{} belongs to cluster {found}, not to {expected}: check the configured directory", path.display())]
    OtherCluster {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        found: ClusterId,
        /// Whose it should be.
        expected: ClusterId,
    },
    /// The directory is another replica's.
    #[error("{} belongs to replica {found}, not to {expected}: check the configured directory", path.display())]
    OtherReplica {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        found: ReplicaId,
        /// Whose it should be.
        expected: ReplicaId,
    },
    /// The file is from another version of pssmr.
    #[error("{} has format {found}, this version reads format {expected}: use the version that wrote it", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The format known here.
        expected: u32,
    },
    /// The file is not what was written.
    #[error("{} is damaged ({what}): the disk may be failing; restore it, or start this replica as a new one", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
}

fn process(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}
