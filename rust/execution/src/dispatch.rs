//! Dispatch: which worker runs what. The state that workers share, behind a lock that the submitting thread never takes.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::batches::{Batches, Place, Span};
use crate::inbox::{Inbox, Phase, Wake};
use crate::scheduler::{ConflictGraph, Handle, Ready, Scheduler, SchedulerStats};
use crate::service::{Task, WorkerId};
use crate::sync::{Mutex, lock};

/// The most commands whose footprints one worker computes at once.
const FOOTPRINTS_AT_ONCE: usize = 64;

/// How many tasks are announced to the scheduler and then scheduled: enough for what they need to be fetched into the cache
/// at once, and few enough for it to be there still when it is needed.
const SCHEDULED_AT_ONCE: usize = 32;

/// Requests of several operations stay folded while there are so many operations that are not complete: it bounds the
/// memory that they take.
const OPERATIONS_MAX: usize = 1 << 14;

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
    /// Where the task of each handle is, until a worker takes it.
    places: Vec<Place>,
    free: Vec<Handle>,
    batches: Batches,
    ready: VecDeque<Handle>,
    /// Tasks that are not scheduled: there is enough to do without them, the footprint of the first one is not known, or
    /// the scheduler has no room.
    unscheduled: VecDeque<Span>,
    /// Whether a worker is computing the footprints of the tasks that were before all of `unscheduled`.
    computing: bool,
    workers: usize,
    /// Operations of unfolded requests that are not complete.
    operations: usize,
    runs: u64,
    // Memory that is used again.
    fresh: Ready,
    own: VecDeque<Handle>,
}

impl Dispatch {
    /// Without workers.
    pub(crate) fn new(scheduler: Box<dyn Scheduler>) -> Self {
        Self {
            scheduler,
            places: Vec::new(),
            free: Vec::new(),
            batches: Batches::default(),
            ready: VecDeque::new(),
            unscheduled: VecDeque::new(),
            computing: false,
            workers: 0,
            operations: 0,
            runs: 0,
            fresh: Vec::new(),
            own: VecDeque::new(),
        }
    }

    /// Takes the oldest batch of the inbox; whether there was one.
    fn fetch(&mut self, inbox: &Mutex<Inbox>) -> bool {
        let Some(batch) = lock(inbox).take() else { return false };
        let span = self.batches.add(batch);
        self.unscheduled.push_back(span);
        true
    }

    /// Schedules tasks, in their order, until so many are ready. No more than workers have a use for: one that others will
    /// wait for begins the later, the more are ready before it.
    fn schedule_until_ready(&mut self, enough: usize, inbox: &Mutex<Inbox>) {
        while self.own.len() + self.ready.len() < enough {
            if self.may_schedule() {
                let missing = enough - self.own.len() - self.ready.len();
                self.schedule_up_to(missing.min(SCHEDULED_AT_ONCE));
            } else if !self.may_fetch() || !self.fetch(inbox) {
                return;
            }
        }
    }

    /// Schedules so many tasks, fewer if one of them can't be yet. The first one can.
    fn schedule_up_to(&mut self, most: usize) {
        let most = most.min(self.scheduler.room());
        if most > 1
            && let Some(next) = self.unscheduled.front()
        {
            let tasks = self.batches.tasks(*next).iter().take(most);
            self.scheduler.expect_submissions(&mut tasks.flatten().map(|task| &task.footprint));
        }
        for _ in 0..most {
            if self.unscheduled.is_empty() || self.next_is_deferred() {
                return;
            }
            let place = self.next_unscheduled();
            self.schedule(place);
        }
    }

    /// Takes the oldest task that is not scheduled off the list of those.
    fn next_unscheduled(&mut self) -> Place {
        let span = self.unscheduled.front_mut().expect("there is a front");
        let place = span.take_first();
        if span.is_empty() {
            self.unscheduled.pop_front();
        }
        place
    }

    /// Whether there is an oldest task that is not scheduled, and can be.
    fn may_schedule(&self) -> bool {
        !self.computing
            && self.has_room()
            && self.unscheduled.front().is_some_and(|next| !self.batches.task(next.first()).deferred)
    }

    fn schedule(&mut self, place: Place) {
        let handle = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            self.places.len() as Handle - 1
        });
        self.places[handle as usize] = place;
        self.scheduler.submit(handle, &self.batches.task(place).footprint, &mut self.fresh);
        self.ready.extend(self.fresh.drain(..).map(|command| command.handle));
    }

    /// The footprints of these tasks, which [`Job::Footprints`] gave out, are complete.
    pub(crate) fn footprints_computed(&mut self, run: &mut Vec<Task>) {
        assert!(self.computing);
        self.computing = false;
        self.operations += run.iter().map(Task::operations).sum::<usize>();
        let span = self.batches.add(run.drain(..).map(Some).collect());
        if !span.is_empty() {
            self.unscheduled.push_front(span);
        }
    }

    /// `worker` has executed these commands, in this order.
    pub(crate) fn complete(&mut self, worker: WorkerId, run: &mut Vec<Handle>) {
        self.scheduler.expect_completions(run);
        for handle in run.drain(..) {
            self.scheduler.complete(worker, handle, &mut self.fresh);
            self.free.push(handle);
        }
        self.own_first(worker);
    }

    /// So many operations of unfolded requests are executed.
    pub(crate) fn operations_completed(&mut self, count: usize) {
        self.operations -= count;
    }

    /// Commands were executed and removed from the scheduler's graph; those of `ready` are ready because of that.
    pub(crate) fn removed(&mut self, run: &mut Vec<Handle>, ready: &mut Vec<Handle>) {
        self.scheduler.completed(run.len());
        self.free.append(run);
        self.ready.extend(ready.drain(..));
    }

    fn own_first(&mut self, worker: WorkerId) {
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
            // Enough for every worker. Only ready commands count, so what waits behind others is scheduled too.
            self.schedule_until_ready(limit * self.workers, inbox);
            let mut inbox = lock(inbox);
            inbox.recycle(self.batches.empty());
            if std::mem::take(&mut was_woken) {
                inbox.has_looked();
            }
            if inbox.phase() == Phase::Stopped {
                return (Job::Exit, inbox.wake_all());
            }
            if worker >= self.workers {
                inbox.leave(worker);
                self.ready.extend(self.own.drain(..));
                return (Job::Exit, self.pass_on(&mut inbox));
            }
            let job = self.find(limit, inbox.idle(), handles, run);
            // What the worker was wished to run and does not take is for everybody.
            self.ready.extend(self.own.drain(..));
            if let Some(job) = job {
                return (job, self.pass_on(&mut inbox));
            }
            if inbox.is_empty() || !self.may_fetch() {
                if inbox.phase() == Phase::Finishing && inbox.is_empty() && self.pending() == 0 {
                    return (Job::Exit, inbox.wake_all());
                }
                inbox.park(worker);
                return (Job::Park, Wake::Nobody);
            }
        }
    }

    /// Wakes another worker if something is left to do.
    fn pass_on(&self, inbox: &mut Inbox) -> Wake {
        let more = self.may_schedule() || (self.may_fetch() && !inbox.is_empty());
        if more || !self.ready.is_empty() || self.footprints_wanted() { inbox.wake_one() } else { Wake::Nobody }
    }

    fn find(&mut self, limit: usize, idle: usize, handles: &mut Vec<Handle>, run: &mut Vec<Task>) -> Option<Job> {
        if self.footprints_wanted() {
            self.computing = true;
            while run.len() < FOOTPRINTS_AT_ONCE && self.next_is_deferred() {
                let place = self.next_unscheduled();
                self.batches.take(place, run);
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
        for handle in &*handles {
            self.batches.take(self.places[*handle as usize], run);
        }
        self.runs += 1;
        Some(Job::Run)
    }

    /// Whether the scheduler takes more than what was fetched already.
    fn has_room(&self) -> bool {
        self.scheduler.room() > 0
    }

    /// Whether all that was fetched is scheduled, and the scheduler takes more.
    fn may_fetch(&self) -> bool {
        self.unscheduled.is_empty() && !self.computing && self.has_room()
    }

    fn footprints_wanted(&self) -> bool {
        !self.computing && self.operations < OPERATIONS_MAX && self.next_is_deferred()
    }

    fn next_is_deferred(&self) -> bool {
        self.unscheduled.front().is_some_and(|next| self.batches.task(next.first()).deferred)
    }

    /// There are `workers` workers from now on. Those above end when they look for a job.
    pub(crate) fn resize(&mut self, workers: usize) {
        self.workers = workers;
        self.scheduler.resize(workers);
    }

    pub(crate) fn workers(&self) -> usize {
        self.workers
    }

    /// Drops what no worker has.
    pub(crate) fn drop_pending(&mut self) {
        self.ready.clear();
        self.unscheduled.clear();
        self.batches = Batches::default();
    }

    /// The number of commands that were fetched and are not complete.
    fn pending(&self) -> u64 {
        let unscheduled: usize = self.unscheduled.iter().map(Span::len).sum();
        self.scheduler.stats().pending() + unscheduled as u64 + u64::from(self.computing)
    }

    /// See [`Scheduler::graph`].
    pub(crate) fn graph(&self) -> Option<Arc<dyn ConflictGraph>> {
        self.scheduler.graph()
    }

    pub(crate) fn stats(&self) -> (SchedulerStats, u64) {
        (self.scheduler.stats(), self.runs)
    }
}
