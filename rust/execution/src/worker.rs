//! Workers: the threads that execute commands.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::compound::{Part, unfold};
use crate::dispatch::{Applicant, Dispatch, Job};
use crate::executor::{Pending, Shared};
use crate::extract::Refusal;
use crate::footprint::FootprintBuilder;
use crate::inbox::{Phase, Wake};
use crate::progress::SnapshotOutcome;
use crate::reply;
use crate::scheduler::Handle;
use crate::service::{Command, CommandKind, Completion, Fatal, Service, Task, WorkerId};
use crate::sync::{Stopwatch, lock, wait};

/// How long a run should take at most: replies wait for the end of the run, and so do commands that wait for it.
const RUN_TIME_MAX: Duration = Duration::from_micros(200);

/// One worker thread's end of the executor. See [`Service::work`].
pub struct Worker {
    id: WorkerId,
    shared: Arc<Shared>,
    job: Job,
    handles: Vec<Handle>,
    freed: Vec<Handle>,
    run: Vec<Task>,
    ordinals: Vec<u64>,
    /// How many operations of unfolded requests the last run had.
    operations: usize,
    completions: Vec<Completion>,
    snapshots: Vec<SnapshotOutcome>,
    builder: FootprintBuilder,
    fatal: Option<Fatal>,
    limit: usize,
    /// Nanoseconds.
    busy: Arc<AtomicU64>,
}

impl Worker {
    pub(crate) fn new(id: WorkerId, shared: Arc<Shared>) -> Self {
        let limit = shared.run_length_max.min(16);
        let busy = shared.busy_of(id);
        Self {
            id,
            shared,
            job: Job::Park,
            handles: Vec::new(),
            freed: Vec::new(),
            run: Vec::new(),
            ordinals: Vec::new(),
            operations: 0,
            completions: Vec::new(),
            snapshots: Vec::new(),
            builder: FootprintBuilder::new(),
            fatal: None,
            limit,
            busy,
        }
    }

    /// Which worker this is.
    pub fn id(&self) -> WorkerId {
        self.id
    }

    /// Executes commands until the executor ends.
    pub fn run(&mut self) {
        while self.wait() {
            self.execute();
        }
    }

    /// Hands over what the last [`Worker::execute`] has done, and waits for the next run. Returns `false` when there
    /// will be none: the worker then has to return from [`Service::work`].
    pub fn wait(&mut self) -> bool {
        if let Some(fatal) = self.fatal.take() {
            self.handles.clear();
            self.job = Job::Exit;
            self.shared.fail(fatal);
            return false;
        }
        let shared = self.shared.clone();
        if self.job == Job::Run
            && let Some(graph) = &shared.graph
        {
            // Others schedule meanwhile.
            self.handles.iter().for_each(|handle| graph.remove(*handle, &mut self.freed));
        }
        let mut dispatch = lock(&shared.dispatch);
        dispatch.operations_completed(std::mem::take(&mut self.operations));
        match self.job {
            Job::Run if shared.graph.is_some() => dispatch.removed(&mut self.handles, &mut self.freed),
            Job::Run => dispatch.complete(self.id, &mut self.handles),
            Job::Footprints => dispatch.footprints_computed(&mut self.run),
            Job::Park => {}
            Job::Exit => return false,
        }
        let wake = self.take(&mut dispatch, false);
        drop(dispatch);
        wake.notify();
        self.report();
        while self.job == Job::Park {
            self.park(&shared);
        }
        self.job != Job::Exit
    }

    fn take(&mut self, dispatch: &mut Dispatch, was_woken: bool) -> Wake {
        let applicant = Applicant { worker: self.id, limit: self.limit, was_woken };
        let (job, wake) = dispatch.take(applicant, &self.shared.inbox, &mut self.handles, &mut self.run);
        self.job = job;
        wake
    }

    fn park(&mut self, shared: &Shared) {
        let mut inbox = lock(&shared.inbox);
        let condition = inbox.condition(self.id);
        while !inbox.was_woken(self.id) {
            inbox = wait(&condition, inbox);
        }
        drop(inbox);
        let mut dispatch = lock(&shared.dispatch);
        let wake = self.take(&mut dispatch, true);
        drop(dispatch);
        wake.notify();
    }

    /// Gives the replies to the sink, and only then lets the watermark pass them.
    fn report(&mut self) {
        if self.ordinals.is_empty() {
            return;
        }
        let sink = &*self.shared.sink;
        if !self.completions.is_empty() {
            sink.completed(&mut self.completions);
            self.completions.clear();
        }
        let mut progress = lock(&self.shared.progress);
        self.snapshots.drain(..).for_each(|outcome| progress.snapshot_taken(outcome));
        let moved = progress.executed(&self.ordinals);
        self.ordinals.clear();
        let due: SmallVec<[SnapshotOutcome; 1]> = std::iter::from_fn(|| progress.pop_snapshot()).collect();
        drop(progress);
        for SnapshotOutcome { slot, position, source, .. } in due {
            sink.snapshot(slot, position, source);
        }
        if let Some(watermark) = moved {
            sink.executed(watermark);
        }
    }

    /// Executes the run that [`Worker::wait`] has found. Takes no lock and does not block, but for what the service
    /// does.
    pub fn execute(&mut self) {
        let Some(position) = self.run.first().map(|first| first.command.position) else { return };
        let stopwatch = Stopwatch::start();
        let service = &*self.shared.service;
        let (id, run) = (self.id, &mut self.run);
        let (builder, snapshots) = (&mut self.builder, &mut self.snapshots);
        let outcome = catch_unwind(AssertUnwindSafe(|| match self.job {
            Job::Run => execute_run(service, id, run, snapshots),
            Job::Footprints => unfold(service, run, builder),
            Job::Park | Job::Exit => unreachable!("there is a run"),
        }));
        if let Err(panic) = outcome {
            self.fatal = Some(Fatal::ServicePanicked { position, message: message_of(&*panic) });
            self.run.clear();
            self.snapshots.clear();
        } else if self.job == Job::Run {
            let elapsed = stopwatch.elapsed();
            self.busy.fetch_add(elapsed.as_nanos() as u64, Relaxed);
            self.adapt(elapsed);
            for task in &mut self.run {
                self.operations += task.operations();
                if task.command.kind == CommandKind::Snapshot {
                    self.ordinals.push(task.ordinal);
                } else if let Some(completion) = completion(task) {
                    self.ordinals.push(task.ordinal);
                    self.completions.push(completion);
                }
            }
            self.run.clear();
        }
    }

    /// Longer runs while they are quick, shorter ones when they are slow.
    fn adapt(&mut self, elapsed: Duration) {
        if elapsed > RUN_TIME_MAX {
            let share = RUN_TIME_MAX.as_nanos() * self.run.len() as u128 / elapsed.as_nanos();
            self.limit = (share as usize).max(1);
        } else if self.run.len() >= self.limit && elapsed < RUN_TIME_MAX / 4 {
            self.limit = (self.limit * 2).min(self.shared.run_length_max);
        }
    }

    /// Whether the worker has seen the end.
    pub(crate) fn has_ended(&self) -> bool {
        self.job == Job::Exit
    }
}

/// Runs of the application's own commands go to the service in one call; what is refused or built in does not.
pub(crate) fn execute_run(
    service: &dyn Service,
    worker: WorkerId,
    run: &mut [Task],
    snapshots: &mut Vec<SnapshotOutcome>,
) {
    let is_plain = |task: &Task| {
        matches!(task.command.kind, CommandKind::Application | CommandKind::Read)
            && task.refused.is_none()
            && !task.is_transaction()
    };
    for part in run.chunk_by_mut(|a, b| is_plain(a) && is_plain(b)) {
        let task = &mut part[0];
        match (&task.refused, task.command.kind) {
            // Its reply stays empty.
            (Some(Refusal::MustBeOrdered), _) => {}
            (Some(refusal), _) => task.reply = reply::refused(refusal),
            (None, CommandKind::Application) if task.is_transaction() => task.execute_transaction(service, worker),
            (None, CommandKind::Application | CommandKind::Read) => service.execute(worker, part),
            (None, CommandKind::StateDigest) => task.reply = Bytes::copy_from_slice(&service.state_digest().0),
            (None, CommandKind::Settled) => task.reply = std::mem::take(&mut task.command.payload),
            (None, CommandKind::Snapshot) => {
                let Command { slot, position, .. } = task.command;
                snapshots.push(SnapshotOutcome { ordinal: task.ordinal, slot, position, source: service.snapshot() });
            }
        }
    }
}

/// What the one who waits gets: nothing, while other operations of the request are missing.
pub(crate) fn completion(task: &mut Task) -> Option<Completion> {
    let Command { position, slot, client, sequence, kind, .. } = task.command;
    let reply = std::mem::take(&mut task.reply);
    let has_none = reply.is_empty() && !matches!(kind, CommandKind::Settled | CommandKind::Read);
    let mut reply = if has_none { Bytes::from_static(reply::NIL) } else { reply };
    if let Some(Part::OfBatch(gathering)) = task.part.as_deref() {
        reply = gathering.add(task.operation, reply)?;
    }
    Some(Completion { position, slot, client, sequence, kind, reply })
}

pub(crate) fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_owned()
}

impl Shared {
    /// Whether worker `id`, which is the next one at most, has no thread and needs one. It counts from now on.
    pub(crate) fn wants_thread(&self, id: WorkerId) -> bool {
        let mut dispatch = lock(&self.dispatch);
        let mut inbox = lock(&self.inbox);
        if inbox.phase() != Phase::Running {
            return false;
        }
        if id >= dispatch.workers() {
            dispatch.resize(id + 1);
        }
        inbox.sit(id)
    }

    /// Workers from `workers` on end.
    pub(crate) fn resize(&self, workers: usize) {
        let mut dispatch = lock(&self.dispatch);
        dispatch.resize(workers);
        let wake = lock(&self.inbox).wake_all();
        drop(dispatch);
        wake.notify();
    }

    /// Tells the sink, once, and stops everything.
    pub(crate) fn fail(&self, fatal: Fatal) {
        let first = !std::mem::replace(&mut *lock(&self.failed), true);
        if first {
            tracing::error!(%fatal, "execution has stopped for good");
            self.sink.failed(fatal);
        }
        self.end(Pending::Drop);
    }

    /// No more commands are taken. Those that wait are executed first, or dropped.
    pub(crate) fn end(&self, pending: Pending) {
        let mut dispatch = lock(&self.dispatch);
        if pending == Pending::Drop {
            dispatch.drop_pending();
        }
        let wake = lock(&self.inbox).end(pending);
        drop(dispatch);
        wake.notify();
    }
}

/// What a worker thread does.
pub(crate) fn work(mut worker: Worker) {
    let (id, shared) = (worker.id, worker.shared.clone());
    let outcome = catch_unwind(AssertUnwindSafe(|| shared.service.work(&mut worker)));
    let message = match outcome {
        Ok(()) if worker.has_ended() => return,
        Ok(()) => "the service has left its loop".to_owned(),
        Err(panic) => message_of(&*panic),
    };
    let died = worker.fatal.take().unwrap_or(Fatal::WorkerDied { worker: id, message });
    shared.fail(died);
}
