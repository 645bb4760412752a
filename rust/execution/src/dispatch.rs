//! Dispatch: which worker runs what, and who is woken. The state behind the executor's one lock.

use std::collections::VecDeque;

use crate::executor::Pending;
use crate::scheduler::{Handle, Ready, Scheduler, SchedulerStats};
use crate::service::{Task, WorkerId};

/// The most commands whose footprints one worker computes at once.
const FOOTPRINTS_AT_ONCE: usize = 64;

/// What a worker is to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Job {
    /// Execute the run.
    Run,
    /// Compute the footprints of the run, which are not scheduled yet.
    Footprints,
    /// Wait to be woken.
    Park,
    /// End.
    Exit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    /// Workers end when everything is executed.
    Finishing,
    /// Workers end after their run.
    Stopped,
}

/// A task that is delivered and not yet scheduled: its footprint is not known, or that of one before it is not.
#[derive(Debug)]
struct Incoming {
    task: Task,
    deferred: bool,
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

pub(crate) struct Dispatch {
    scheduler: Box<dyn Scheduler>,
    /// Scheduled tasks by handle; `None` while a worker has the task, or if the handle is free.
    tasks: Vec<Option<Task>>,
    free: Vec<Handle>,
    ready: VecDeque<Handle>,
    incoming: VecDeque<Incoming>,
    /// Whether a worker is computing the footprints of the tasks that were before all of `incoming`.
    computing: bool,
    workers: usize,
    /// Workers that are parked and not woken; the one parked last is woken first.
    idle: Vec<WorkerId>,
    woken: Vec<bool>,
    /// Workers that were woken and have not looked for a job yet. While there is one, nobody else is woken: it wakes
    /// the next if it leaves something. So one command wakes one worker, and none is left behind.
    searching: usize,
    phase: Phase,
    runs: u64,
    // Memory that is used again.
    fresh: Ready,
    own: VecDeque<Handle>,
}

impl Dispatch {
    pub(crate) fn new(scheduler: Box<dyn Scheduler>, workers: usize) -> Self {
        Self {
            scheduler,
            tasks: Vec::new(),
            free: Vec::new(),
            ready: VecDeque::new(),
            incoming: VecDeque::new(),
            computing: false,
            workers,
            idle: Vec::with_capacity(workers),
            woken: vec![false; workers],
            searching: 0,
            phase: Phase::Running,
            runs: 0,
            fresh: Vec::new(),
            own: VecDeque::new(),
        }
    }

    /// Announces tasks that will be delivered.
    pub(crate) fn expect(&self, tasks: &[(Task, bool)]) {
        self.scheduler.expect_submissions(&mut tasks.iter().map(|(task, _)| &task.footprint));
    }

    /// Takes a delivered task. After the end it is dropped.
    pub(crate) fn deliver(&mut self, task: Task, deferred: bool) {
        if self.phase != Phase::Running {
            return;
        }
        if deferred || self.computing || !self.incoming.is_empty() {
            self.incoming.push_back(Incoming { task, deferred });
        } else {
            self.schedule(task);
        }
    }

    fn schedule(&mut self, task: Task) {
        let handle = self.free.pop().unwrap_or_else(|| {
            self.tasks.push(None);
            self.tasks.len() as Handle - 1
        });
        self.scheduler.submit(handle, &task.footprint, &mut self.fresh);
        self.tasks[handle as usize] = Some(task);
        self.ready.extend(self.fresh.drain(..).map(|command| command.handle));
    }

    /// The footprints of these tasks, which [`Job::Footprints`] gave out, are complete.
    pub(crate) fn footprints_computed(&mut self, run: &mut Vec<Task>) {
        assert!(self.computing);
        self.computing = false;
        for task in run.drain(..) {
            self.schedule(task);
        }
        while self.incoming.front().is_some_and(|incoming| !incoming.deferred) {
            let incoming = self.incoming.pop_front().expect("there is a front");
            self.schedule(incoming.task);
        }
    }

    /// `worker` has executed these commands, in this order.
    pub(crate) fn complete(&mut self, worker: WorkerId, run: &mut Vec<Handle>) {
        self.scheduler.expect_completions(run);
        for handle in run.drain(..) {
            self.scheduler.complete(worker, handle, &mut self.fresh);
            self.free.push(handle);
        }
        for command in self.fresh.drain(..) {
            if command.worker == Some(worker) { &mut self.own } else { &mut self.ready }.push_back(command.handle);
        }
    }

    /// Finds a job for `worker`, with at most `limit` commands.
    pub(crate) fn take(
        &mut self,
        worker: WorkerId,
        limit: usize,
        handles: &mut Vec<Handle>,
        run: &mut Vec<Task>,
    ) -> Job {
        let job = self.find(limit, handles, run);
        // What the worker was wished to run and does not take is for everybody.
        self.ready.extend(self.own.drain(..));
        match job {
            Job::Park => self.idle.push(worker),
            Job::Run => self.runs += 1,
            Job::Footprints | Job::Exit => {}
        }
        job
    }

    fn find(&mut self, limit: usize, handles: &mut Vec<Handle>, run: &mut Vec<Task>) -> Job {
        if self.phase == Phase::Stopped {
            return Job::Exit;
        }
        if self.footprints_wanted() {
            self.computing = true;
            while run.len() < FOOTPRINTS_AT_ONCE && self.incoming.front().is_some_and(|incoming| incoming.deferred) {
                run.push(self.incoming.pop_front().expect("there is a front").task);
            }
            return Job::Footprints;
        }
        // Its own, unless others would stand idle; then a fair share of what is for all.
        let idle = self.idle.len();
        let own = if idle == 0 { limit } else { (self.own.len() + self.ready.len()).div_ceil(idle + 1) };
        handles.extend(self.own.drain(..own.min(limit).min(self.own.len())));
        let share = self.ready.len().div_ceil(self.workers).min(limit - handles.len());
        handles.extend(self.ready.drain(..share));
        let Some(&(mut last)) = handles.last() else {
            let done = self.phase == Phase::Finishing && self.pending() == 0;
            return if done { Job::Exit } else { Job::Park };
        };
        while handles.len() < limit
            && let Some(next) = self.scheduler.follow(last)
        {
            handles.push(next);
            last = next;
        }
        run.extend(
            handles
                .iter()
                .map(|&handle| self.tasks[handle as usize].take().expect("a command that is ready has its task here")),
        );
        Job::Run
    }

    fn footprints_wanted(&self) -> bool {
        !self.computing && self.incoming.front().is_some_and(|incoming| incoming.deferred)
    }

    /// Chooses a parked worker if there is something for it to do and nobody is on the way to it.
    pub(crate) fn wake(&mut self) -> Wake {
        if self.phase == Phase::Finishing && self.pending() == 0 {
            return self.wake_all();
        }
        if self.searching > 0 || (self.ready.is_empty() && !self.footprints_wanted()) {
            return Wake::Nobody;
        }
        self.idle.pop().map_or(Wake::Nobody, |worker| {
            self.woken[worker] = true;
            self.searching += 1;
            Wake::One(worker)
        })
    }

    fn wake_all(&mut self) -> Wake {
        if self.idle.is_empty() {
            return Wake::Nobody;
        }
        for worker in self.idle.drain(..) {
            self.woken[worker] = true;
            self.searching += 1;
        }
        Wake::Everybody
    }

    /// Whether a parked worker was woken. If so, it has to look for a job.
    pub(crate) fn was_woken(&mut self, worker: WorkerId) -> bool {
        let woken = std::mem::take(&mut self.woken[worker]);
        self.searching -= usize::from(woken);
        woken
    }

    /// No more commands are taken. Those that wait are executed first, or dropped.
    pub(crate) fn end(&mut self, pending: Pending) -> Wake {
        match pending {
            Pending::Execute if self.phase == Phase::Running => self.phase = Phase::Finishing,
            Pending::Execute => {}
            Pending::Drop => {
                self.phase = Phase::Stopped;
                self.ready.clear();
                self.incoming.clear();
                self.tasks.iter_mut().for_each(|task| *task = None);
            }
        }
        self.wake_all()
    }

    /// The number of commands that were delivered and are not complete.
    pub(crate) fn pending(&self) -> u64 {
        self.scheduler.stats().pending() + self.incoming.len() as u64 + u64::from(self.computing)
    }

    pub(crate) fn stats(&self) -> (SchedulerStats, u64) {
        (self.scheduler.stats(), self.runs)
    }
}
