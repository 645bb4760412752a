//! Schedulers: which command may run when.
//!
//! A scheduler is deterministic logic without threads, locks or clocks. Two drivers use it: the worker threads of
//! [`crate::executor`], and a virtual-time simulation in the tests.
//!
//! All of them keep one promise: of two commands whose footprints conflict, the one submitted first is complete before
//! the other is ready, or they are ordered within one run, see [`Scheduler::follow`].

mod early;
mod graph;
mod keyed;
mod lanes;
mod sequential;
mod static_lanes;

use std::str::FromStr;
use std::sync::Arc;

use crate::footprint::Footprint;
use crate::service::WorkerId;

pub use early::{Class, Early, Mapping, MappingError, Partitioning, Synchronisation};
pub use graph::{ConflictGraph, Conflicts, Graph, GraphVariant, WINDOW_MAX};
pub use keyed::Keyed;
pub use sequential::Sequential;
pub use static_lanes::{LANES_MAX, LaneSet, Static, lane_of, lanes_of};

/// Names a command between its submission and its completion. The driver chooses it: a small number, which it may use
/// again once the command is complete.
pub type Handle = u32;

/// A command that may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadyCommand {
    /// The command.
    pub handle: Handle,
    /// The worker that should run it, because what it touches is in that worker's caches. A wish: any worker may.
    pub worker: Option<WorkerId>,
}

/// Where a scheduler puts commands that have become ready, in the order in which they should start.
pub type Ready = Vec<ReadyCommand>;

/// Counts since the scheduler was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchedulerStats {
    /// Commands submitted.
    pub submitted: u64,
    /// Commands completed.
    pub completed: u64,
    /// Commands that could not run at once when they were submitted.
    pub delayed: u64,
}

impl SchedulerStats {
    /// Commands submitted and not complete.
    pub fn pending(&self) -> u64 {
        self.submitted - self.completed
    }
}

/// Orders the execution of commands by their footprints.
pub trait Scheduler: Send {
    /// Takes the next command of the delivery order. It goes to `ready` if it may run now.
    ///
    /// # Panics
    /// If a command with this handle is pending.
    fn submit(&mut self, handle: Handle, footprint: &Footprint, ready: &mut Ready);

    /// Takes note that `worker` has executed a command. What may run from now on goes to `ready`.
    ///
    /// # Panics
    /// If the command was neither ready nor returned by [`Scheduler::follow`], or is complete already.
    fn complete(&mut self, worker: WorkerId, handle: Handle, ready: &mut Ready);

    /// A command that waits for nothing but `handle`, if there is one that would gain nothing by running elsewhere. The
    /// driver has to run it after `handle`, in the same run of the same worker, and complete the two in this order; it
    /// never goes to `ready`. `handle` itself has to be ready, or returned by this method, and not complete.
    ///
    /// So a run of commands on one hot key stays on one worker, and costs one hand-off.
    fn follow(&mut self, handle: Handle) -> Option<Handle>;

    /// Announces commands that will be submitted. Changes nothing: a scheduler may fetch what it needs into the cache,
    /// and waits less for a whole run at once than for its commands one by one.
    fn expect_submissions(&self, footprints: &mut dyn Iterator<Item = &Footprint>) {
        let _ = footprints;
    }

    /// Announces commands that will be completed, as [`Scheduler::expect_submissions`].
    fn expect_completions(&self, run: &[Handle]) {
        let _ = run;
    }

    /// Submits a command that runs when all before it are complete, and before anything after it is ready.
    ///
    /// # Panics
    /// As [`Scheduler::submit`].
    fn fence(&mut self, handle: Handle, ready: &mut Ready) {
        self.submit(handle, &Footprint::exclusive(), ready);
    }

    /// How many commands may be submitted before one has to complete.
    fn room(&self) -> usize {
        usize::MAX
    }

    /// The graph that workers may remove their commands from while others are submitted, if there is one. It is instead
    /// of [`Scheduler::complete`]; [`Scheduler::completed`] then says how many were removed.
    fn graph(&self) -> Option<Arc<dyn ConflictGraph>> {
        None
    }

    /// So many commands were removed from [`Scheduler::graph`].
    fn completed(&mut self, count: usize) {
        unreachable!("{count} commands were removed from no graph");
    }

    /// There are `workers` workers from now on. Wishes go to no other.
    fn resize(&mut self, workers: usize);

    /// Counts.
    fn stats(&self) -> SchedulerStats;
}

/// Which scheduler to use.
#[derive(Clone, Debug)]
pub enum SchedulerConfig {
    /// One command after the other, in delivery order. What all others are tested against.
    Sequential,
    /// Queues by key.
    Keyed {
        /// The number of entries of the key table: a power of two. Two keys that share an entry wait for each other
        /// though they need not, so take many more than commands are pending. An entry has 16 bytes.
        entries: usize,
    },
    /// A graph of all pending commands.
    Graph {
        /// How threads share it.
        variant: GraphVariant,
        /// The most pending commands: 1 to [`WINDOW_MAX`].
        window: usize,
        /// What conflicts.
        conflicts: Conflicts,
    },
    /// Lanes by class.
    Early {
        /// The classes and their lanes; by default [`Mapping::by_key`], with a lane for each worker.
        mapping: Option<Arc<Mapping>>,
    },
    /// Lanes by key.
    Static {
        /// The number of lanes: 1 to [`LANES_MAX`]; by default one for each worker there is at the start.
        lanes: Option<usize>,
    },
}

/// The window of a graph if nothing else is said: that of the papers.
const WINDOW: usize = 150;

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self::Keyed { entries: 1 << 18 }
    }
}

impl SchedulerConfig {
    /// The names that [`SchedulerConfig::from_str`] knows.
    pub const NAMES: [&str; 7] =
        ["keyed", "sequential", "graph-coarse", "graph-fine", "graph-lock-free", "early", "static"];

    /// Its name in [`SchedulerConfig::NAMES`].
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sequential => "sequential",
            Self::Keyed { .. } => "keyed",
            Self::Graph { variant: GraphVariant::Coarse, .. } => "graph-coarse",
            Self::Graph { variant: GraphVariant::Fine, .. } => "graph-fine",
            Self::Graph { variant: GraphVariant::LockFree, .. } => "graph-lock-free",
            Self::Early { .. } => "early",
            Self::Static { .. } => "static",
        }
    }

    /// A graph with the papers' window, of what footprints say.
    pub fn graph(variant: GraphVariant) -> Self {
        Self::Graph { variant, window: WINDOW, conflicts: Conflicts::default() }
    }

    /// The scheduler, for `workers` workers. `secret` is that of [`Keyed::new`].
    ///
    /// # Panics
    /// If the number of entries is not a power of two, or is above 2³¹; if the window or the lanes are not in their
    /// range.
    pub fn build(&self, workers: usize, secret: u64) -> Box<dyn Scheduler> {
        match self {
            Self::Sequential => Box::new(Sequential::new()),
            Self::Keyed { entries } => Box::new(Keyed::new(*entries, workers, secret)),
            Self::Graph { variant, window, conflicts } => Box::new(Graph::new(*variant, *window, conflicts.clone())),
            Self::Early { mapping } => {
                let mapping = mapping.clone().unwrap_or_else(|| Arc::new(Mapping::by_key(workers)));
                Box::new(Early::new(mapping, workers))
            }
            Self::Static { lanes } => Box::new(Static::new(lanes.unwrap_or(workers).min(LANES_MAX), workers)),
        }
    }
}

/// There is no scheduler of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no scheduler: there are {known}", known = SchedulerConfig::NAMES.join(", "))]
pub struct UnknownScheduler(String);

/// By name, with default settings.
impl FromStr for SchedulerConfig {
    type Err = UnknownScheduler;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Ok(match name {
            "keyed" => Self::default(),
            "sequential" => Self::Sequential,
            "graph-coarse" => Self::graph(GraphVariant::Coarse),
            "graph-fine" => Self::graph(GraphVariant::Fine),
            "graph-lock-free" => Self::graph(GraphVariant::LockFree),
            "early" => Self::Early { mapping: None },
            "static" => Self::Static { lanes: None },
            other => return Err(UnknownScheduler(other.to_owned())),
        })
    }
}
