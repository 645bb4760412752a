//! Why a recording can't be played back.

use std::io;

use pssmr_ordering::ConfigError;
use pssmr_types::ReplicaId;

/// Why a recording can't be played back, or not any further.
#[derive(Debug, thiserror::Error)]
pub enum PlaybackError {
    /// The file can't be read.
    #[error("{0}")]
    Io(#[source] io::Error),
    /// It does not begin as recordings do.
    #[error("it is not a recording of a replica")]
    NotARecording,
    /// It is of another version of the format.
    #[error("it is a recording of format {found}; this version of pssmr plays back format {known}")]
    Format {
        /// The version in the file.
        found: u32,
        /// The one that is known.
        known: u32,
    },
    /// A part of it is not as it was written, or was not written by a replica.
    #[error("it is damaged at byte {offset}: {what}")]
    Damaged {
        /// Where in the file the frame begins.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// It ends before it says whose it is.
    #[error("it ends before it says which replica it is of")]
    Empty,
    /// It is of a replica that its membership does not have.
    #[error("it is of replica {0}, which is not in its membership")]
    NoSuchReplica(ReplicaId),
    /// A setting that can't be.
    #[error("its settings: {0}")]
    Config(#[from] ConfigError),
}
