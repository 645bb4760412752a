//! The executor: delivered commands in, replies out.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use pssmr_types::Slot;

use crate::compound::Compound;
use crate::dispatch::Dispatch;
use crate::extract::Refusal;
use crate::footprint::{Footprint, FootprintBuilder};
use crate::inbox::{Batch, Inbox};
use crate::progress::Progress;
use crate::scheduler::{ConflictGraph, SchedulerConfig, SchedulerStats};
use crate::service::{
    Command, CommandKind, CompletionSink, Extraction, Fatal, Service, ServiceReading, Task, Watermark, WorkerId,
};
use crate::snapshot::RestoreError;
use crate::sync::{Mutex, has_ended, lock, thread, worker_thread};
use crate::worker::{Worker, message_of, work};

/// How to execute.
#[derive(Clone, Debug)]
pub struct ExecutorConfig {
    /// The scheduler.
    pub scheduler: SchedulerConfig,
    /// The number of worker threads: at least 1.
    pub workers: usize,
    /// The most commands that a worker takes at once: at least 1. Workers take fewer while commands are slow.
    pub run_length_max: usize,
    /// Makes it unpredictable which keys share an entry of the key table. By default random.
    pub secret: u64,
    /// What the service's state contains already: the first command is of a later position and slot.
    pub start: Watermark,
}

impl Default for ExecutorConfig {
    fn default() -> Self {
        Self {
            scheduler: SchedulerConfig::default(),
            workers: thread_count(),
            run_length_max: 256,
            secret: RandomState::new().build_hasher().finish(),
            start: Watermark::default(),
        }
    }
}

fn thread_count() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// What becomes of commands that are not executed when the executor ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pending {
    /// They are executed first.
    Execute,
    /// They are dropped; runs that have begun are finished.
    Drop,
}

/// Counts since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecutorStats {
    /// The scheduler's counts.
    pub scheduler: SchedulerStats,
    /// Runs given to workers: `scheduler.completed / runs` commands share one hand-off.
    pub runs: u64,
    /// The scheduler's name.
    pub scheduler_name: &'static str,
    /// The number of workers.
    pub workers: usize,
    /// How long each worker has executed commands: those that there are, and those that there were.
    pub busy: Vec<Duration>,
}

pub(crate) struct Shared {
    pub(crate) service: Arc<dyn Service>,
    pub(crate) sink: Arc<dyn CompletionSink>,
    pub(crate) run_length_max: usize,
    scheduler_name: &'static str,
    pub(crate) graph: Option<Arc<dyn ConflictGraph>>,
    pub(crate) dispatch: Mutex<Dispatch>,
    /// Its lock is taken under that of `dispatch`, or alone.
    pub(crate) inbox: Mutex<Inbox>,
    pub(crate) progress: Mutex<Progress>,
    pub(crate) failed: Mutex<bool>,
    /// By worker, in nanoseconds. No part of any decision, so it is unknown to shuttle.
    busy: std::sync::Mutex<Vec<Arc<AtomicU64>>>,
}

/// Runs delivered commands on worker threads.
pub struct Executor {
    shared: Arc<Shared>,
    intake: Mutex<Intake>,
    threads: Mutex<Vec<thread::JoinHandle<()>>>,
}

/// What only the submitting thread uses.
#[derive(Default)]
struct Intake {
    builder: FootprintBuilder,
    batch: Batch,
}

impl Executor {
    /// Starts the workers.
    ///
    /// # Errors
    /// If a thread can't be started.
    ///
    /// # Panics
    /// If the configuration has no workers, or runs of no length, or a number of entries that is not a power of two.
    pub fn start(
        service: Arc<dyn Service>,
        config: &ExecutorConfig,
        sink: Arc<dyn CompletionSink>,
    ) -> io::Result<Self> {
        assert!(config.workers > 0 && config.run_length_max > 0, "no workers, or runs of no length");
        let dispatch = Dispatch::new(config.scheduler.build(config.workers, config.secret));
        let shared = Arc::new(Shared {
            service,
            sink,
            run_length_max: config.run_length_max,
            scheduler_name: config.scheduler.name(),
            graph: dispatch.graph(),
            dispatch: Mutex::new(dispatch),
            inbox: Mutex::new(Inbox::new()),
            progress: Mutex::new(Progress::new(config.start)),
            failed: Mutex::new(false),
            busy: std::sync::Mutex::default(),
        });
        let executor = Self { shared, intake: Mutex::default(), threads: Mutex::new(Vec::new()) };
        executor.resize(config.workers)?;
        Ok(executor)
    }

    /// Changes the number of workers, while they work. One that is too many ends after its run; this does not wait for
    /// it. The lanes of `early` and `static` stay as they are: no more commands run at once than there are lanes. After
    /// the end it does nothing.
    ///
    /// # Errors
    /// If a thread can't be started: there are as many workers then as could be.
    ///
    /// # Panics
    /// If `workers` is 0.
    pub fn resize(&self, workers: usize) -> io::Result<()> {
        assert!(workers > 0, "no workers");
        // Held to the end: a shutdown that comes meanwhile waits for the new threads too.
        let mut threads = lock(&self.threads);
        threads.retain(|thread| !has_ended(thread));
        for id in 0..workers {
            if self.shared.wants_thread(id) {
                let worker = Worker::new(id, Arc::clone(&self.shared));
                match worker_thread(format!("worker {id}")).spawn(move || work(worker)) {
                    Ok(thread) => threads.push(thread),
                    Err(error) => {
                        lock(&self.shared.inbox).leave(id);
                        self.shared.resize(id);
                        return Err(error);
                    }
                }
            }
        }
        self.shared.resize(workers);
        Ok(())
    }

    /// The number of workers.
    pub fn workers(&self) -> usize {
        lock(&self.shared.dispatch).workers()
    }

    /// Takes the next commands of the delivery order. With them, all commands of slots up to `through` are submitted;
    /// a slot may have none.
    ///
    /// Does not wait for anything to be executed. It takes whatever it is given: keep the backlog bounded by
    /// [`Executor::executed`] or [`Executor::pending`]. After the end, or after a fatal error, commands are dropped.
    ///
    /// # Panics
    /// If positions or slots do not ascend, or a command is of a slot after `through`. Reads are of no slot of their own:
    /// `through` is that of what was submitted last.
    pub fn submit(&self, commands: impl IntoIterator<Item = Command>, through: Slot) {
        let mut intake = lock(&self.intake);
        let Intake { builder, batch } = &mut *intake;
        let service = &*self.shared.service;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            batch.extend(commands.into_iter().map(|command| Some(task_of(service, command, builder))));
        }));
        if let Err(panic) = outcome {
            batch.clear();
            drop(intake);
            let position = self.executed().position;
            return self.shared.fail(Fatal::ServicePanicked { position, message: message_of(&*panic) });
        }
        let mut progress = lock(&self.shared.progress);
        for task in batch.iter_mut().flatten() {
            let Command { kind, position, slot, .. } = task.command;
            task.ordinal = progress.submitted(kind, position, slot);
        }
        let moved = progress.submitted_through(through);
        drop(progress);
        let wake = lock(&self.shared.inbox).submit(batch);
        drop(intake);
        wake.notify();
        if let Some(watermark) = moved {
            self.shared.sink.executed(watermark);
        }
    }

    /// Replaces the whole state by a snapshot, which is that after everything up to `at`; the next command is of a later
    /// position and slot. The caller's thread does it.
    ///
    /// # Errors
    /// Those of [`Service::restore`]. The state may be anything then, and the watermark has not moved: restore again,
    /// or stop.
    ///
    /// # Panics
    /// If a command is pending, or `at` is before [`Executor::executed`].
    pub fn restore(&self, source: &mut dyn Read, at: Watermark) -> Result<(), RestoreError> {
        // Nothing is submitted while this lock is held.
        let _intake = lock(&self.intake);
        assert_eq!(self.pending(), 0, "no command is pending");
        self.shared.service.restore(source)?;
        lock(&self.shared.progress).restored(at);
        Ok(())
    }

    /// Up to where everything is executed, and its replies are handed over.
    pub fn executed(&self) -> Watermark {
        lock(&self.shared.progress).watermark()
    }

    /// The number of submitted commands above the watermark.
    pub fn pending(&self) -> usize {
        lock(&self.shared.progress).pending()
    }

    /// Counts.
    pub fn stats(&self) -> ExecutorStats {
        let dispatch = lock(&self.shared.dispatch);
        let ((scheduler, runs), workers) = (dispatch.stats(), dispatch.workers());
        drop(dispatch);
        let busy = self.shared.busy().iter().map(|nanos| Duration::from_nanos(nanos.load(Relaxed))).collect();
        ExecutorStats { scheduler, runs, scheduler_name: self.shared.scheduler_name, workers, busy }
    }

    /// How long the service's handlers take.
    pub fn service_reading(&self) -> ServiceReading {
        self.shared.service.reading()
    }

    /// Ends all workers and waits until their threads are gone. Ends at once if it was called before. Never call it
    /// from a worker's thread, nor while holding what a command needs to finish (a Python thread state, say).
    pub fn shutdown(&self, pending: Pending) {
        self.shared.end(pending);
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            // Its panics were caught and reported.
            drop(thread.join());
        }
    }
}

impl Shared {
    fn busy(&self) -> std::sync::MutexGuard<'_, Vec<Arc<AtomicU64>>> {
        self.busy.lock().expect("nothing panics while it is held")
    }

    /// Where a worker counts how long it has executed commands: the next one of its number goes on with it.
    pub(crate) fn busy_of(&self, worker: WorkerId) -> Arc<AtomicU64> {
        let mut busy = self.busy();
        if worker >= busy.len() {
            busy.resize_with(worker + 1, Arc::default);
        }
        Arc::clone(&busy[worker])
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.shutdown(Pending::Drop);
    }
}

/// The task that a command becomes. One of several operations is unfolded later, by a worker.
pub(crate) fn task_of(service: &dyn Service, command: Command, builder: &mut FootprintBuilder) -> Task {
    builder.clear();
    if command.kind == CommandKind::Application && Compound::is_in(&command.payload) {
        return Task { deferred: true, ..Task::of(command) };
    }
    let extraction = match command.kind {
        CommandKind::Read if Compound::is_in(&command.payload) => Err(Refusal::MustBeOrdered),
        CommandKind::Application | CommandKind::Read if !service.is_there(&command.payload, command.version) => {
            Err(Refusal::UnknownCommand)
        }
        CommandKind::Application => service.footprint(&command.payload, builder),
        CommandKind::Read => {
            let extraction = service.footprint(&command.payload, builder);
            extraction.and_then(|it| service.is_readable(it.handler).then_some(it).ok_or(Refusal::MustBeOrdered))
        }
        CommandKind::StateDigest | CommandKind::Snapshot => {
            builder.exclusive();
            Ok(Extraction::default())
        }
        CommandKind::Settled => Ok(Extraction::default()),
    };
    let (Extraction { handler, deferred }, refused) = match extraction {
        Ok(extraction) => (extraction, None),
        Err(refusal) => {
            builder.clear();
            (Extraction::default(), Some(refusal))
        }
    };
    // Each field by itself: a task is large, and would be moved once more.
    let mut task = Task {
        command,
        footprint: builder.build(),
        handler,
        operation: 0,
        reply: Bytes::new(),
        refused,
        deferred,
        ordinal: 0,
        part: None,
    };
    task.only_reads();
    task
}

impl Task {
    /// A task that is not executed yet.
    pub fn new(command: Command, footprint: Footprint, handler: u32) -> Self {
        Self { footprint, handler, ..Self::of(command) }
    }

    /// A task that touches nothing.
    pub(crate) fn of(command: Command) -> Self {
        Self {
            command,
            footprint: Footprint::nothing(),
            handler: 0,
            operation: 0,
            reply: Bytes::new(),
            refused: None,
            deferred: false,
            ordinal: 0,
            part: None,
        }
    }

    /// A read that touches anything but to read it is refused.
    pub(crate) fn only_reads(&mut self) {
        if self.command.kind == CommandKind::Read && !self.footprint.is_read_only() {
            self.deferred = false;
            self.refuse(Refusal::MustBeOrdered);
        }
    }

    /// The command will not be executed; it touches nothing.
    pub(crate) fn refuse(&mut self, refusal: Refusal) {
        self.footprint = Footprint::nothing();
        self.refused = Some(refusal);
    }
}
