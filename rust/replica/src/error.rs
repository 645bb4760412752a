//! Why a replica does not start, typed.

use std::io;
use std::path::PathBuf;

use pssmr_storage::StorageError;
use pssmr_transport::TransportError;
use pssmr_types::{MembershipError, PublicKey, ReplicaId};

use crate::versions::VersionError;

/// A setting that can't be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The list of replicas.
    #[error("members: {0}")]
    Members(#[from] MembershipError),
    /// A setting of ordering.
    #[error(transparent)]
    Ordering(#[from] pssmr_ordering::ConfigError),
    /// The replica is not in the list.
    #[error("this is replica {me}, but the replicas are {ids}")]
    NoSuchReplica {
        /// The id.
        me: ReplicaId,
        /// The ids that there are.
        ids: String,
    },
    /// The secret key is another replica's, or nobody's.
    #[error(
        "replica {me} has the public key {expected} in the configuration, but the secret key given is that of {got}"
    )]
    OtherKey {
        /// The id.
        me: ReplicaId,
        /// The key in the list.
        expected: PublicKey,
        /// The key given.
        got: PublicKey,
    },
    /// Two clients whose keys have one principal.
    #[error("the client keys {0} and {1} give the same principal: one of the clients needs another key")]
    SamePrincipal(PublicKey, PublicKey),
    /// A log needs a place.
    #[error("durability is {durability:?}, which needs a data directory: give one, or choose \"memory\"")]
    NoDataDirectory {
        /// The durability.
        durability: &'static str,
    },
    /// A bound below what the replica needs.
    #[error("{field} is {value}: {least} or more")]
    TooSmall {
        /// The setting.
        field: &'static str,
        /// Its value.
        value: usize,
        /// The least that it can be.
        least: usize,
    },
}

/// Why a replica does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is refused.
    #[error("configuration: {0}")]
    Config(#[from] ConfigError),
    /// The data directory can't be used.
    #[error("data directory: {0}")]
    Storage(#[from] StorageError),
    /// The data directory is that of a replica with another key.
    #[error(
        "the data directory {} is that of a replica {me} with another key: one that takes its place begins with an empty directory",
        directory.display()
    )]
    OtherMember {
        /// The data directory.
        directory: PathBuf,
        /// The id.
        me: ReplicaId,
    },
    /// The log can't be replayed.
    #[error(
        "the log in {}, record {index}: {reason}; restore the directory as it was. An empty one would make this replica contradict what it has said",
        directory.display()
    )]
    Log {
        /// The data directory.
        directory: PathBuf,
        /// The record.
        index: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The links to other replicas can't be set up.
    #[error("links to other replicas: {0}")]
    Peers(TransportError),
    /// The links to clients can't be set up.
    #[error("links to clients: {0}")]
    Clients(TransportError),
    /// The code is not the service that is in force.
    #[error(transparent)]
    Version(#[from] VersionError),
    /// What ordering is told can't be recorded.
    #[error("cannot record to {}: {error}", file.display())]
    Recording {
        /// The file.
        file: PathBuf,
        /// What the system refused.
        error: io::Error,
    },
    /// A thread can't be started.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}
