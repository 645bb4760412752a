//! The inbox: what was submitted and no worker has looked at, and which workers there are and are parked. It is what the
//! submitting thread and the workers share, so its lock is held for no longer than it takes to move a list.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::executor::Pending;
use crate::service::{Task, WorkerId};
use crate::sync::Condvar;

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
#[derive(Default)]
pub(crate) enum Wake {
    #[default]
    Nobody,
    One(Arc<Condvar>),
    All(Vec<Arc<Condvar>>),
}

impl Wake {
    pub(crate) fn notify(self) {
        match self {
            Self::Nobody => {}
            Self::One(condition) => condition.notify_one(),
            Self::All(conditions) => conditions.iter().for_each(|condition| condition.notify_one()),
        }
    }
}

/// What the inbox knows of a worker.
#[derive(Default)]
struct Seat {
    /// With the lock of the inbox.
    condition: Arc<Condvar>,
    woken: bool,
    /// Whether there is a thread for it that will look for a job again.
    taken: bool,
}

/// The most batches that are kept to be used again.
const SPARE_MAX: usize = 64;

pub(crate) struct Inbox {
    batches: VecDeque<Batch>,
    spare: Vec<Batch>,
    phase: Phase,
    /// Workers that are parked and not woken; the one parked last is woken first.
    idle: Vec<WorkerId>,
    seats: Vec<Seat>,
    /// Workers that were woken and have not looked for a job yet. While there is one, nobody else is woken: it wakes
    /// the next if it leaves something. So one command wakes one worker, and none is left behind.
    searching: usize,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self {
            batches: VecDeque::new(),
            spare: Vec::new(),
            phase: Phase::Running,
            idle: Vec::new(),
            seats: Vec::new(),
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
        self.idle.pop().map_or(Wake::Nobody, |worker| Wake::One(self.wake(worker)))
    }

    fn wake(&mut self, worker: WorkerId) -> Arc<Condvar> {
        let seat = &mut self.seats[worker];
        seat.woken = true;
        self.searching += 1;
        Arc::clone(&seat.condition)
    }

    pub(crate) fn wake_all(&mut self) -> Wake {
        if self.idle.is_empty() {
            return Wake::Nobody;
        }
        let idle = std::mem::take(&mut self.idle);
        Wake::All(idle.into_iter().map(|worker| self.wake(worker)).collect())
    }

    /// A thread for `worker` is wanted; whether there is none.
    pub(crate) fn sit(&mut self, worker: WorkerId) -> bool {
        if worker >= self.seats.len() {
            self.seats.resize_with(worker + 1, Seat::default);
        }
        !std::mem::replace(&mut self.seats[worker].taken, true)
    }

    /// The thread of `worker` is gone, or will look for no job again.
    pub(crate) fn leave(&mut self, worker: WorkerId) {
        self.seats[worker].taken = false;
    }

    /// What wakes a worker: a condition with the lock of the inbox.
    pub(crate) fn condition(&self, worker: WorkerId) -> Arc<Condvar> {
        Arc::clone(&self.seats[worker].condition)
    }

    /// Whether a parked worker was woken. If so, it has to look for a job, and then to call [`Inbox::has_looked`].
    pub(crate) fn was_woken(&mut self, worker: WorkerId) -> bool {
        std::mem::take(&mut self.seats[worker].woken)
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
