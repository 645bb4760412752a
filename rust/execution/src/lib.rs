//! Parallel execution: commands, delivered in one total order, on W worker threads, such that every two conflicting
//! commands run in delivery order on every replica, and all else runs at once.
//!
//! The way of a command: [`Executor::submit`] asks the [`Service`] for its [`footprint`], a [`scheduler`] decides when
//! it may run, a [`Worker`] takes it in a run of ready commands, the service executes the run, and the
//! [`CompletionSink`] gets the replies. The service's state may live in [`table`]s, which know the running command's
//! footprint and roll back what a failing handler has written.
//!
//! Threads, no sockets.

pub mod access;
pub mod alone;
pub mod autoscaling;
mod batches;
pub mod compound;
pub mod declaration;
mod dispatch;
pub mod executor;
pub mod extract;
pub mod footprint;
pub mod histogram;
mod inbox;
pub mod independent;
#[cfg(test)]
mod interleavings;
pub mod key;
pub mod messagepack;
mod progress;
pub mod reply;
pub mod scheduler;
pub mod service;
pub mod services;
pub mod snapshot;
mod sync;
pub mod table;
pub mod virtual_time;
pub mod worker;

pub use access::{Access, AccessError};
pub use autoscaling::{Autoscaler, LoadMeter, LoadSample, WorkerBounds};
pub use compound::Compound;
pub use declaration::{ArgumentSpec, CommandSpec, DeclarationError, KeyDeclaration, ScopeDeclaration, Step};
pub use executor::{Executor, ExecutorConfig, ExecutorStats, Pending};
pub use extract::{CommandTable, Refusal, arguments_of, payload};
pub use footprint::{Claim, Footprint, FootprintBuilder, KeyHash, Mode, Scope, TableId};
pub use histogram::{Histogram, HistogramReading};
pub use independent::Independent;
pub use reply::Reply;
pub use scheduler::{Scheduler, SchedulerConfig, UnknownScheduler};
pub use service::{
    Command, CommandKind, Completion, CompletionSink, Extraction, Fatal, HandlerReading, Service, ServiceReading, Task,
    Watermark, WorkerId,
};
pub use snapshot::{RestoreError, SnapshotError, SnapshotReader, SnapshotSource};
pub use table::{TableSnapshot, Tables, TablesSnapshot};
pub use worker::Worker;
