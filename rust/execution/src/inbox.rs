//! The inbox: what was submitted and no worker has looked at, and which workers are parked. It is what the submitting
//! thread and the workers share, so its lock is held for no longer than it takes to move a list.

use std::collections::VecDeque;

use crate::executor::Pending;
use crate::service::{Task, WorkerId};

/// Tasks in delivery order; `None` where a worker has taken one. A task stays in its batch until then: moving it costs
/// more than scheduling it.
pub(crate) type Batch = Vec<Option<Task>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Running,
    /// Workers end when everything is executed.
    Finishing,
    /// Workers end after their run.
    Stopped,
}

/// Workers to notify once the lock is released.
#[must_use]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Wake {
    #[default]
    Nobody,
    One(WorkerId),
    Everybody,
}

/// The most batches that are kept to be used again.
const SPARE_MAX: usize = 64;

pub(crate) struct Inbox {
    batches: VecDeque<Batch>,
    spare: Vec<Batch>,
    phase: Phase,
    /// Workers that are parked and not woken; the one parked last is woken first.
    idle: Vec<WorkerId>,
    woken: Vec<bool>,
    /// Workers that were woken and have not looked for a job yet. While there is one, nobody else is woken: it wakes
    /// the next if it leaves something. So one command wakes one worker, and none is left behind.
    searching: usize,
}

impl Inbox {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            batches: VecDeque::new(),
            spare: Vec::new(),
            phase: Phase::Running,
            idle: Vec::with_capacity(workers),
            woken: vec![false; workers],
            searching: 0,
        }
    }

    /// Takes a batch, and leaves an empty one. After the end its tasks are dropped.
    pub(crate) fn submit(&mut self, batch: &mut Batch) -> Wake {
        if self.phase != Phase::Running {
            batch.clear();
        }
        if batch.is_empty() {
            return Wake::Nobody;
        }
        let empty = self.spare.pop().unwrap_or_default();
        self.batches.push_back(std::mem::replace(batch, empty));
        self.wake_one()
    }

    /// The oldest batch.
    pub(crate) fn take(&mut self) -> Option<Batch> {
        self.batches.pop_front()
    }

    /// Gives back batches whose tasks were all taken.
    pub(crate) fn recycle(&mut self, batches: &mut Vec<Batch>) {
        let room = SPARE_MAX - self.spare.len();
        self.spare.extend(batches.drain(..).take(room));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// The number of workers that are parked.
    pub(crate) fn idle(&self) -> usize {
        self.idle.len()
    }

    /// `worker` waits to be woken.
    pub(crate) fn park(&mut self, worker: WorkerId) {
        self.idle.push(worker);
    }

    /// There is something to do: chooses a parked worker, unless somebody is on the way to it.
    pub(crate) fn wake_one(&mut self) -> Wake {
        if self.searching > 0 {
            return Wake::Nobody;
        }
        self.idle.pop().map_or(Wake::Nobody, |worker| {
            self.woken[worker] = true;
            self.searching += 1;
            Wake::One(worker)
        })
    }

    pub(crate) fn wake_all(&mut self) -> Wake {
        if self.idle.is_empty() {
            return Wake::Nobody;
        }
        for worker in self.idle.drain(..) {
            self.woken[worker] = true;
            self.searching += 1;
        }
        Wake::Everybody
    }

    /// Whether a parked worker was woken. If so, it has to look for a job, and then to call [`Inbox::has_looked`].
    pub(crate) fn was_woken(&mut self, worker: WorkerId) -> bool {
        std::mem::take(&mut self.woken[worker])
    }

    /// A worker that was woken has looked for a job.
    pub(crate) fn has_looked(&mut self) {
        self.searching -= 1;
    }

    /// No more commands are taken. Those that wait are executed first, or dropped.
    pub(crate) fn end(&mut self, pending: Pending) -> Wake {
        match pending {
            Pending::Execute if self.phase == Phase::Running => self.phase = Phase::Finishing,
            Pending::Execute => {}
            Pending::Drop => {
                self.phase = Phase::Stopped;
                self.batches.clear();
            }
        }
        self.wake_all()
    }
}
