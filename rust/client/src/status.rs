//! How a client is.

use std::collections::BTreeMap;

use pssmr_types::ReplicaId;

/// A client's state, for people and for error messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientStatus {
    /// The session's number, while one is open.
    pub session: Option<u64>,
    /// Where the client sends first, in `cft`; in `bft` it sends to all.
    pub leader: ReplicaId,
    /// Requests sent and not complete.
    pub in_flight: usize,
    /// Requests that wait for a session or for room among those in flight.
    pub waiting: usize,
    /// The links, by replica of the newest membership known.
    pub links: BTreeMap<ReplicaId, LinkStatus>,
}

/// One link's state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkStatus {
    /// Whether it can be used.
    pub up: bool,
    /// Why it was last lost, or could not be made.
    pub last_error: Option<String>,
}
