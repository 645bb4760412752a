//! How a replica is, for people and programs.

use pssmr_execution::{HandlerReading, HistogramReading};
use pssmr_transport::Counters as LinkTotals;
use pssmr_types::Member;
use schemars::JsonSchema;
use serde::Serialize;

/// What a replica does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It proposes.
    Leader,
    /// It votes on what the leader proposes.
    Follower,
    /// It follows without a vote.
    Learner,
    /// It is not one of the membership any more.
    Retired,
    /// It has stopped for good.
    Halted,
}

/// The snapshots that a replica has written since it was started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SnapshotStatus {
    /// How many were begun.
    pub begun: u64,
    /// How many were written.
    pub written: u64,
    /// Bytes of the last one.
    pub last_bytes: u64,
    /// How long writing the last one took, in milliseconds. Commands were executed meanwhile.
    pub last_ms: u64,
}

/// A snapshot on its way from other replicas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TransferStatus {
    /// Its slot.
    pub slot: u64,
    /// Its size in bytes; 0 while it is not known.
    pub bytes: u64,
    /// Bytes of it that are here.
    pub bytes_done: u64,
}

/// A replica's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ReplicaStatus {
    /// Its id.
    pub id: u16,
    /// The cluster, in hexadecimal digits.
    pub cluster: String,
    /// `bft` or `cft`.
    pub fault_model: &'static str,
    /// How many replicas there are.
    pub replicas: usize,
    /// f: how many of them may be faulty.
    pub faults: usize,
    /// Q: how many of them decide.
    pub quorum: usize,
    /// The epoch: how often the membership has changed.
    pub epoch: u64,
    /// The replicas of the epoch, by seniority: who leads when.
    pub members: Vec<MemberStatus>,
    /// The view that it is in, counted from 0 in each epoch.
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
    /// How many slots it has to execute to be where one correct replica, at least, says it is.
    pub lag: u64,
    /// The last slot of its chain.
    pub head: u64,
    /// The oldest slot that it keeps for others.
    pub oldest_kept: u64,
    /// The slot of the last stable checkpoint that it knows; 0 if there is none.
    pub checkpoint: u64,
    /// The snapshots that it has written.
    pub snapshots: SnapshotStatus,
    /// The snapshot that it fetches from others, if it does.
    pub transfer: Option<TransferStatus>,
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
    /// The versions of the service.
    pub service: ServiceStatus,
    /// The service's commands, in the order of their declaration; none of a service in Rust.
    pub handlers: Vec<HandlerStatus>,
    /// From a request's arrival here to its result here, in nanoseconds: of samples, one request at a time. A replica
    /// that clients don't send to (`cft`: all but the leader) has none.
    pub request_ns: HistogramStatus,
    /// Commands per decided slot.
    pub slot_commands: HistogramStatus,
    /// Requests that the ordering thread has not taken.
    pub queued_requests: usize,
    /// Results that the client thread has not taken.
    pub queued_results: usize,
    /// The log; all zero with durability `memory`.
    pub log: LogStatus,
    /// The links to other replicas.
    pub peer_links: LinkCounters,
    /// The links to clients.
    pub client_links: LinkCounters,
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
    /// What its clock says: milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// The version of pssmr that it runs.
    pub version: &'static str,
}

/// The versions of the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ServiceStatus {
    /// The version that is in force.
    pub version: u32,
    /// The latest version that this replica's code has.
    pub latest: u32,
    /// The digest of what commands and state are in that one, in hexadecimal digits.
    pub schema: String,
}

/// A replica of the membership.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MemberStatus {
    /// Its id.
    pub id: u16,
    /// Its public key, in hexadecimal digits.
    pub key: String,
    /// Where the other replicas reach it.
    pub peers: String,
    /// Where clients reach it.
    pub clients: String,
}

impl From<&Member> for MemberStatus {
    fn from(member: &Member) -> Self {
        Self {
            id: member.id.0,
            key: member.key.to_string(),
            peers: member.peer_address.clone(),
            clients: member.client_address.clone(),
        }
    }
}

/// Another replica, as this one sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PeerStatus {
    /// Its id.
    pub id: u16,
    /// Whether the link to it can be used.
    pub up: bool,
    /// Why the link was last lost, or could not be made.
    pub last_error: Option<String>,
    /// The epoch of the view that it last said it is in.
    pub epoch: Option<u64>,
    /// That view, counted from 0 in its epoch.
    pub view: Option<u64>,
    /// The last slot that it said it has decided.
    pub decided: Option<u64>,
}

/// The clients' links.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ClientsStatus {
    /// Links that are up.
    pub links: usize,
    /// Why the last client was refused or sent away, if one was.
    pub last_error: Option<String>,
}

/// Execution.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ExecutionStatus {
    /// Commands submitted.
    pub submitted: u64,
    /// Commands executed.
    pub completed: u64,
    /// Commands that had to wait for others.
    pub delayed: u64,
    /// Runs of commands given to workers.
    pub runs: u64,
    /// Commands submitted and not executed, or executed while one before them is not.
    pub pending: u64,
    /// The scheduler.
    pub scheduler: &'static str,
    /// How many workers there are.
    pub workers: usize,
    /// The workers, by number; after a resize also those that there were.
    pub worker: Vec<WorkerStatus>,
    /// How long workers, together, have waited for the interpreter after they had found something to execute, in
    /// nanoseconds.
    pub interpreter_wait_ns: u64,
}

/// A worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct WorkerStatus {
    /// How long it has executed commands, in nanoseconds.
    pub busy_ns: u64,
}

/// A command of the service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct HandlerStatus {
    /// Its name.
    pub name: String,
    /// How long its executions took, in nanoseconds: with decoding and encoding, and what other threads took of the
    /// interpreter's time meanwhile.
    pub duration_ns: HistogramStatus,
}

impl From<HandlerReading> for HandlerStatus {
    fn from(handler: HandlerReading) -> Self {
        Self { name: handler.name.to_string(), duration_ns: HistogramStatus::of(&handler.durations) }
    }
}

/// How values are distributed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct HistogramStatus {
    /// How many values there were.
    pub count: u64,
    /// Their sum.
    pub sum: u64,
    /// The buckets that have any, ascending: the largest value that is counted there, and how many were. All powers of
    /// two are bounds, so what is counted up to one can be told exactly.
    pub buckets: Vec<(u64, u64)>,
}

impl HistogramStatus {
    pub(crate) fn of(reading: &HistogramReading) -> Self {
        let count = reading.buckets.iter().map(|(_, count)| count).sum();
        Self { count, sum: reading.sum, buckets: reading.buckets.clone() }
    }
}

/// The log, since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LogStatus {
    /// Records written.
    pub records: u64,
    /// Bytes written, roughly.
    pub bytes: u64,
    /// Bytes that wait to be written, roughly.
    pub queued_bytes: u64,
    /// Records that were written together.
    pub group_records: HistogramStatus,
    /// How long the syncs took, in nanoseconds.
    pub sync_ns: HistogramStatus,
}

/// The links of one kind, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LinkCounters {
    /// Connections accepted.
    pub accepted: u64,
    /// Links that came up, dialed and accepted.
    pub links_up: u64,
    /// Connections that did not become a link: wrong key, wrong protocol, garbage, closed early.
    pub handshakes_refused: u64,
    /// Connections that did not prove a key in time.
    pub handshakes_timed_out: u64,
    /// Connections that made place for newer ones before they had proved a key.
    pub handshakes_evicted: u64,
    /// Connections that proved a key and found all links taken.
    pub links_refused: u64,
    /// Links closed because their key connected again.
    pub links_replaced: u64,
    /// Links closed because of what came on them.
    pub links_violated: u64,
    /// Times that accepting paused because the system had no file descriptor or memory left.
    pub accept_pauses: u64,
    /// Frames queued for sending.
    pub frames_sent: u64,
    /// Frames refused because a link's queue was full.
    pub frames_refused: u64,
    /// Frames received.
    pub frames_received: u64,
}

impl From<LinkTotals> for LinkCounters {
    fn from(totals: LinkTotals) -> Self {
        Self {
            accepted: totals.accepted,
            links_up: totals.links_up,
            handshakes_refused: totals.handshakes_refused,
            handshakes_timed_out: totals.handshakes_timed_out,
            handshakes_evicted: totals.handshakes_evicted,
            links_refused: totals.links_refused,
            links_replaced: totals.links_replaced,
            links_violated: totals.links_violated,
            accept_pauses: totals.accept_pauses,
            frames_sent: totals.frames_sent,
            frames_refused: totals.frames_refused,
            frames_received: totals.frames_received,
        }
    }
}

/// The JSON schema of [`ReplicaStatus`], with these comments.
pub fn status_schema() -> serde_json::Value {
    schemars::schema_for!(ReplicaStatus).to_value()
}

/// Totals since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
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
    /// Queries answered that were not ordered, refusals included.
    pub read_replies: u64,
    /// Queries that were refused: to be ordered, or because too many waited or the replica did not vote.
    pub reads_refused: u64,
    /// Slots decided.
    pub slots: u64,
    /// Commands decided.
    pub commands: u64,
    /// Views entered.
    pub view_changes: u64,
}
/// Bytes as people write them.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}
