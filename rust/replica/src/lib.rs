//! One running replica: joins ordering, execution, storage and transport. The only place that knows them all.
//!
//! # Threads
//! | thread | owns | is woken by |
//! |---|---|---|
//! | `pssmr-order` | the links to the other replicas, the ordering core | frames, requests, the core's deadline |
//! | `pssmr-clients` | the links to clients, cached replies | frames, results |
//! | `pssmr-log` | the log, unless durability is `memory` | records |
//! | `pssmr-record` | the recording of what ordering is told, if there is one | calls of the core |
//! | `pssmr-write` | the snapshot that is being written | checkpoints |
//! | `pssmr-transfer` | snapshots that are handed out or fetched | other replicas' messages |
//! | `worker 0` … | the service | commands |
//!
//! A vote is received, decoded, counted and answered by one thread. What threads hand each other goes in bursts through
//! bounded boxes, and a wake-up costs a system call only if the other sleeps. Nothing here ever waits for a worker:
//! a command that loops for a minute costs no leader change.
//!
//! # The way of a request
//! A client's frame is decoded on the client thread. A request that was executed is answered from the cached replies;
//! any other goes to the ordering thread, or is refused as `Busy` if too many wait. Once its slot is decided it is
//! executed by a worker; its result comes back to the client thread, which keeps it and sends it to the link on which
//! the session was last heard.
//!
//! # The way of a read
//! A query that a client wants answered without an order goes to the ordering thread, which says what the replica must have
//! executed before it answers (`pssmr_ordering::Core::read_floor`). When that is delivered, the query goes to a worker behind
//! it. Nothing of it is kept.
//!
//! # Forgetting
//! With a log a replica comes back as it was. Without one, or when the log is damaged, or when the machine went down before
//! the last of it was synced, it may have forgotten a promise, so it comes back as a *learner*: it follows, executes and
//! answers, but does not vote.

mod autoscaling;
mod backup;
mod clients;
mod config;
mod error;
mod events;
mod greeting;
mod inbox;
mod log;
mod meters;
mod ordering;
mod past;
mod reads;
mod recording;
mod replica;
mod sink;
mod snapshots;
mod state;
mod status;
mod step_down;
mod traces;
mod versions;

pub use backup::{Backup, BackupError, restore, verify};
pub use config::{Limits, ReplicaConfig};
pub use error::{ConfigError, StartError};
pub use events::{Observer, ReplicaEvent, Silent};
pub use pssmr_execution::{ExecutorConfig, Service, WorkerBounds};
pub use pssmr_ordering::{Config as OrderingConfig, Durability, StepDownRefusal};
pub use pssmr_transport::AcceptKeys;
pub use recording::RecordingConfig;
pub use replica::Replica;
pub use status::{
    ClientsStatus, Counters, ExecutionStatus, HandlerStatus, HistogramStatus, LinkCounters, LogStatus, MemberStatus,
    PeerStatus, ReplicaStatus, Role, ServiceStatus, SnapshotStatus, TransferStatus, WorkerStatus, status_schema,
};
pub use step_down::{StepDownError, SteppedDown};
pub use traces::{TracedCommand, TracedRequest, Traces, now};
pub use versions::VersionError;

/// What a panic said.
fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
