//! How a replica is, for people and programs.

use serde::Serialize;

/// What a replica does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It proposes.
    Leader,
    /// It votes on what the leader proposes.
    Follower,
    /// It follows without a vote.
    Learner,
    /// It has stopped for good.
    Halted,
}

/// A replica's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReplicaStatus {
    /// Its id.
    pub id: u16,
    /// The cluster, in hexadecimal digits.
    pub cluster: String,
    /// `bft` or `cft`.
    pub fault_model: &'static str,
    /// How many replicas there are.
    pub replicas: usize,
    /// The view that it is in.
    pub view: u64,
    /// The view's leader.
    pub leader: u16,
    /// What it does.
    pub role: Role,
    /// Whether the view has its base here: if not, a view change is going on.
    pub active: bool,
    /// The last slot decided.
    pub decided: u64,
    /// The chain digest there, in hexadecimal digits.
    pub digest: String,
    /// The last slot executed.
    pub executed: u64,
    /// The last slot of its chain.
    pub head: u64,
    /// The oldest slot that it keeps for others.
    pub oldest_kept: u64,
    /// The position of the last command delivered.
    pub position: u64,
    /// Requests that wait to be decided.
    pub pending: usize,
    /// Open sessions.
    pub sessions: usize,
    /// The other replicas, by id.
    pub peers: Vec<PeerStatus>,
    /// The clients' links.
    pub clients: ClientsStatus,
    /// Execution.
    pub execution: ExecutionStatus,
    /// Totals since the start.
    pub counters: Counters,
    /// The digest of the settings that replicas agree on, in hexadecimal digits.
    pub agreed_settings: String,
    /// What survives a crash: `sync`, `async` or `memory`.
    pub durability: &'static str,
    /// Why the log can't be written at the moment, if it can't: the replica does not vote until it can.
    pub log_error: Option<String>,
    /// Why it has stopped for good, if it has.
    pub halted: Option<String>,
    /// Since the start, in milliseconds.
    pub uptime_ms: u64,
}

/// Another replica, as this one sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PeerStatus {
    /// Its id.
    pub id: u16,
    /// Whether the link to it can be used.
    pub up: bool,
    /// Why the link was last lost, or could not be made.
    pub last_error: Option<String>,
    /// The view that it last said it is in.
    pub view: Option<u64>,
    /// The last slot that it said it has decided.
    pub decided: Option<u64>,
}

/// The clients' links.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ClientsStatus {
    /// Links that are up.
    pub links: usize,
    /// Why the last client was refused or sent away, if one was.
    pub last_error: Option<String>,
}

/// Execution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ExecutionStatus {
    /// Commands submitted.
    pub submitted: u64,
    /// Commands executed.
    pub completed: u64,
    /// Commands that had to wait for others.
    pub delayed: u64,
    /// Runs of commands given to workers.
    pub runs: u64,
}

/// Totals since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Messages sent to other replicas, each counted once per receiver.
    pub messages_sent: u64,
    /// Messages not sent because the link's queue was full or the link down.
    pub messages_dropped: u64,
    /// Messages received from other replicas.
    pub messages_received: u64,
    /// Frames that were no message, from replicas and clients; each closed its link.
    pub bad_frames: u64,
    /// Bytes sent to other replicas, encryption included.
    pub peer_bytes_sent: u64,
    /// Bytes received from other replicas, encryption included.
    pub peer_bytes_received: u64,
    /// Bytes sent to clients, encryption included.
    pub client_bytes_sent: u64,
    /// Bytes received from clients, encryption included.
    pub client_bytes_received: u64,
    /// Requests received from clients, retries included.
    pub requests: u64,
    /// Requests refused because too many waited.
    pub requests_refused: u64,
    /// Replies sent to clients.
    pub replies: u64,
    /// Replies sent from the cache.
    pub replies_from_cache: u64,
    /// Slots decided.
    pub slots: u64,
    /// Commands decided.
    pub commands: u64,
    /// Views entered.
    pub view_changes: u64,
}
