//! Dispatch: which worker runs what. The state that workers share, behind a lock that the submitting thread never takes.

use std::collections::VecDeque;

use crate::inbox::{Inbox, Incoming, Phase, Wake};
use crate::scheduler::{Handle, Ready, Scheduler, SchedulerStats};
use crate::service::{Task, WorkerId};
use crate::sync::{Mutex, lock};

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

/// Who asks for a job.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Applicant {
    pub(crate) worker: WorkerId,
    /// The most commands that it takes at once.
    pub(crate) limit: usize,
    /// Whether it was parked, and woken to look for a job.
    pub(crate) was_woken: bool,
}

pub(crate) struct Dispatch {
    scheduler: Box<dyn Scheduler>,
    /// Scheduled tasks by handle; `None` while a worker has the task, or if the handle is free.
    tasks: Vec<Option<Task>>,
    free: Vec<Handle>,
    ready: VecDeque<Handle>,
    /// Tasks from the first one on whose footprint is not known.
    held_up: VecDeque<Incoming>,
    /// Whether a worker is computing the footprints of the tasks that were before all of `held_up`.
    computing: bool,
    workers: usize,
    runs: u64,
    // Memory that is used again.
    fresh: Ready,
    own: VecDeque<Handle>,
    batch: Vec<Incoming>,
}

impl Dispatch {
    pub(crate) fn new(scheduler: Box<dyn Scheduler>, workers: usize) -> Self {
        Self {
            scheduler,
            tasks: Vec::new(),
            free: Vec::new(),
            ready: VecDeque::new(),
            held_up: VecDeque::new(),
            computing: false,
            workers,
            runs: 0,
            fresh: Vec::new(),
            own: VecDeque::new(),
            batch: Vec::new(),
        }
    }

    /// Takes the oldest list of the inbox to the scheduler; whether there was one.
    fn fetch(&mut self, inbox: &Mutex<Inbox>) -> bool {
        let empty = std::mem::take(&mut self.batch);
        let Some(mut batch) = lock(inbox).take(empty) else { return false };
        self.scheduler.expect_submissions(&mut batch.iter().map(|incoming| &incoming.task.footprint));
        for incoming in batch.drain(..) {
            if incoming.deferred || self.computing || !self.held_up.is_empty() {
                self.held_up.push_back(incoming);
            } else {
                self.schedule(incoming.task);
            }
        }
        self.batch = batch;
        true
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
        while self.held_up.front().is_some_and(|incoming| !incoming.deferred) {
            let incoming = self.held_up.pop_front().expect("there is a front");
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

    /// Finds a job for a worker, and chooses who is woken for what it leaves.
    pub(crate) fn take(
        &mut self,
        applicant: Applicant,
        inbox: &Mutex<Inbox>,
        handles: &mut Vec<Handle>,
        run: &mut Vec<Task>,
    ) -> (Job, Wake) {
        let Applicant { worker, limit, mut was_woken } = applicant;
        loop {
            // Enough for every worker. Only ready commands count, so what waits behind others is fetched too.
            while self.own.len() + self.ready.len() < limit * self.workers && self.fetch(inbox) {}
            let mut inbox = lock(inbox);
            if std::mem::take(&mut was_woken) {
                inbox.has_looked();
            }
            if inbox.phase() == Phase::Stopped {
                return (Job::Exit, inbox.wake_all());
            }
            let job = self.find(limit, inbox.idle(), handles, run);
            // What the worker was wished to run and does not take is for everybody.
            self.ready.extend(self.own.drain(..));
            if let Some(job) = job {
                let leaves_something = !self.ready.is_empty() || self.footprints_wanted() || !inbox.is_empty();
                return (job, if leaves_something { inbox.wake_one() } else { Wake::Nobody });
            }
            if inbox.is_empty() {
                if inbox.phase() == Phase::Finishing && self.pending() == 0 {
                    return (Job::Exit, inbox.wake_all());
                }
                inbox.park(worker);
                return (Job::Park, Wake::Nobody);
            }
        }
    }

    fn find(&mut self, limit: usize, idle: usize, handles: &mut Vec<Handle>, run: &mut Vec<Task>) -> Option<Job> {
        if self.footprints_wanted() {
            self.computing = true;
            while run.len() < FOOTPRINTS_AT_ONCE && self.held_up.front().is_some_and(|incoming| incoming.deferred) {
                run.push(self.held_up.pop_front().expect("there is a front").task);
            }
            return Some(Job::Footprints);
        }
        // Its own, unless others would stand idle; then a fair share of what is for all.
        let own = if idle == 0 { limit } else { (self.own.len() + self.ready.len()).div_ceil(idle + 1) };
        handles.extend(self.own.drain(..own.min(limit).min(self.own.len())));
        let share = self.ready.len().div_ceil(self.workers).min(limit - handles.len());
        handles.extend(self.ready.drain(..share));
        let mut last = *handles.last()?;
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
        self.runs += 1;
        Some(Job::Run)
    }

    fn footprints_wanted(&self) -> bool {
        !self.computing && self.held_up.front().is_some_and(|incoming| incoming.deferred)
    }

    /// Drops what no worker has.
    pub(crate) fn drop_pending(&mut self) {
        self.ready.clear();
        self.held_up.clear();
        self.tasks.iter_mut().for_each(|task| *task = None);
    }

    /// The number of commands that were fetched and are not complete.
    fn pending(&self) -> u64 {
        self.scheduler.stats().pending() + self.held_up.len() as u64 + u64::from(self.computing)
    }

    pub(crate) fn stats(&self) -> (SchedulerStats, u64) {
        (self.scheduler.stats(), self.runs)
    }
}
