//! Schedulers: which command may run when.
//!
//! A scheduler is deterministic logic without threads, locks or clocks. Two drivers use it: the worker threads of
//! [`crate::executor`], and a virtual-time simulation in the tests.
//!
//! All of them keep one promise: of two commands whose footprints conflict, the one submitted first is complete before
//! the other is ready, or they are ordered within one run, see [`Scheduler::follow`].

mod keyed;
mod sequential;

use crate::footprint::Footprint;
use crate::service::WorkerId;

pub use keyed::Keyed;
pub use sequential::Sequential;

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

    /// There are `workers` workers from now on. Wishes go to no other.
    fn resize(&mut self, workers: usize);

    /// Counts.
    fn stats(&self) -> SchedulerStats;
}

/// Which scheduler to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchedulerConfig {
    /// One command after the other, in delivery order. What all others are tested against.
    Sequential,
    /// Queues by key.
    Keyed {
        /// The number of entries of the key table: a power of two. Two keys that share an entry wait for each other
        /// though they need not, so take many more than commands are pending. An entry has 16 bytes.
        entries: usize,
    },
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self::Keyed { entries: 1 << 18 }
    }
}

impl SchedulerConfig {
    /// The scheduler, for `workers` workers. `secret` is that of [`Keyed::new`].
    ///
    /// # Panics
    /// If the number of entries is not a power of two, or is above 2³¹.
    pub fn build(self, workers: usize, secret: u64) -> Box<dyn Scheduler> {
        match self {
            Self::Sequential => Box::new(Sequential::new()),
            Self::Keyed { entries } => Box::new(Keyed::new(entries, workers, secret)),
        }
    }
}
