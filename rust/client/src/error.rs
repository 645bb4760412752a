//! What goes wrong, typed.

use pssmr_transport::TransportError;

/// A setting that can't be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("client configuration: {field} must be {expected}")]
pub struct ConfigError {
    /// The setting, or settings.
    pub field: &'static str,
    /// What it has to be.
    pub expected: &'static str,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The transport could not be made.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The client's thread could not be started.
    #[error("cannot start the client's thread: {0}")]
    Thread(std::io::Error),
}

/// Why a request was not taken. It is certainly not executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// As many requests, or bytes of them, are waiting and in flight as may be.
    #[error("the client has as many requests under way as it may: wait for some to complete")]
    QueueFull,
    /// The payload is longer than replicas take.
    #[error("a payload of {bytes} bytes: the limit is {bytes_max}")]
    RequestTooLarge {
        /// The payload, in bytes.
        bytes: usize,
        /// The limit, in bytes.
        bytes_max: usize,
    },
    /// There is no replica with this id in the newest membership known.
    #[error("the cluster has no such replica")]
    NoSuchReplica,
    /// The client is closed.
    #[error("the client is closed")]
    Closed,
}

/// What became of a request that has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// It could not be sent before its time-out. It is certainly not executed.
    #[error("not sent in time: {reachable} replicas were reachable, {needed} have to agree on a result")]
    NoQuorum {
        /// Replicas whose link was up at the time-out.
        reachable: usize,
        /// k: replicas that must agree.
        needed: usize,
    },
    /// Every replica that it was sent to refused it for having too much to do. It is certainly not executed.
    #[error("the replicas have too much to do: try again later, or send less")]
    Busy,
    /// It was sent, and not enough replicas answered before the time-out. Whether it is executed is not known.
    #[error("no answer in time: whether the request was executed is not known")]
    OutcomeUnknown,
    /// The session ended at the replicas. Whether the request was executed before is not known.
    #[error("the session has expired: whether the request was executed is not known")]
    SessionExpired,
    /// The replica that was asked how it is left the membership.
    #[error("the replica that was asked has left the cluster")]
    ReplicaGone,
    /// The client was closed. Whether the request is executed is not known.
    #[error("the client was closed: whether the request was executed is not known")]
    Closed,
}
