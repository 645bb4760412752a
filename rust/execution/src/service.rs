//! Services: the replicated applications that workers execute commands of.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pssmr_types::{ClientId, Digest, Slot};

use crate::compound::Part;
use crate::extract::Refusal;
use crate::footprint::{Footprint, FootprintBuilder};
use crate::histogram::HistogramReading;
use crate::reply;
use crate::snapshot::{RestoreError, SnapshotError, SnapshotSource};
use crate::worker::Worker;

/// A command as it was delivered by the total order.
#[derive(Clone, Debug)]
pub struct Command {
    /// Its position in the delivery order: from 1 on, unique, ascending, possibly with gaps. A
    /// [`CommandKind::Snapshot`] needs no position of its own: it may have that of the command before it, and be of
    /// a slot that was submitted completely just before. A [`CommandKind::Read`] has none.
    pub position: u64,
    /// The slot that it was decided in.
    pub slot: Slot,
    /// Who sent it.
    pub client: ClientId,
    /// The client's number for it.
    pub sequence: u64,
    /// The agreed time of its slot: nanoseconds since the Unix epoch.
    pub timestamp: u64,
    /// The agreed seed of its slot. A command's own randomness comes from this seed and its position.
    pub seed: [u8; 32],
    /// The version of the service that is in force for it.
    pub version: u32,
    /// What to do.
    pub kind: CommandKind,
    /// For an application's command: its name and arguments, as in [`crate::extract`], or several of them, as in
    /// [`crate::compound`]. Otherwise empty.
    pub payload: Bytes,
}

impl Command {
    /// A command that nobody has ordered, as a service gets it that is tried by itself: in a slot of its own, at time 0, in version
    /// 1, and of no client.
    pub fn alone(position: u64, kind: CommandKind, payload: Bytes) -> Self {
        Self {
            position,
            slot: Slot(position),
            client: ClientId::default(),
            sequence: position,
            timestamp: 0,
            seed: [0; 32],
            version: 1,
            kind,
            payload,
        }
    }
}

/// What a command asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandKind {
    /// One of the service's commands.
    Application,
    /// The digest of the state at this position. It is executed when all before it is done and nothing after it has
    /// begun; its reply is the 32 bytes of the digest, without the first byte that other replies have.
    StateDigest,
    /// A snapshot of the state at this position, taken as [`CommandKind::StateDigest`] is. It has no reply: what
    /// becomes of it goes to [`CompletionSink::snapshot`].
    Snapshot,
    /// Nothing is executed: the payload is the reply, as it is.
    Settled,
    /// One of the service's commands that is executed here and now, after all that was submitted, without having been
    /// ordered. Its `position` does not count, its `slot` is the last one that was submitted. An empty reply says that it
    /// has to be ordered: it is none that [`Service::is_readable`], or touches anything but to read it, and was not
    /// executed; or the service found out meanwhile.
    Read,
}

/// A command on its way through the executor.
#[derive(Debug)]
pub struct Task {
    /// The command.
    pub command: Command,
    /// What it may touch.
    pub footprint: Footprint,
    /// What [`Extraction::handler`] said.
    pub handler: u32,
    /// Its place among the operations of the request, from 0 on; 0 if the request has no other.
    pub operation: u32,
    /// The reply, in the form of [`crate::reply`]. `execute` sets it; an empty one becomes an empty result.
    pub reply: Bytes,
    pub(crate) refused: Option<Refusal>,
    /// Whether a worker has to complete the footprint before the task is scheduled.
    pub(crate) deferred: bool,
    /// Counts the submitted commands, without gaps.
    pub(crate) ordinal: u64,
    pub(crate) part: Option<Box<Part>>,
}

/// What a service says about a payload, beside its footprint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extraction {
    /// The service's own number for the command's handler; comes back in [`Task::handler`].
    pub handler: u32,
    /// Whether the footprint is not complete: a worker will call [`Service::compute_footprint`] before the command,
    /// and those delivered after it, are scheduled.
    pub deferred: bool,
}

/// Names a worker: 0 to W − 1.
pub type WorkerId = usize;

/// A replicated application.
///
/// Everything here must be deterministic: the same commands in the same order of conflicting ones give the same
/// replies and the same state on every replica.
pub trait Service: Send + Sync + 'static {
    /// Says what the command with this payload touches. Called by the thread that submits, and by workers for operations
    /// of a request: it must not block, and not need an interpreter. A function of the payload alone.
    ///
    /// # Errors
    /// The command is not executed; the refusal is its reply.
    fn footprint(&self, payload: &[u8], out: &mut FootprintBuilder) -> Result<Extraction, Refusal>;

    /// Completes a footprint that [`Service::footprint`] deferred: adds to what that call put into `out`. Called by a
    /// worker, not in delivery order. A function of the payload alone: it must not look at any state.
    ///
    /// # Errors
    /// The command is not executed; the refusal is its reply.
    fn compute_footprint(&self, payload: &[u8], out: &mut FootprintBuilder) -> Result<(), Refusal> {
        let _ = payload;
        out.exclusive();
        Ok(())
    }

    /// Executes a run of commands, in the order of the run, and sets their replies. Commands of one run may conflict.
    /// Other workers execute at the same time, but nothing that conflicts with this run.
    ///
    /// A panic is not deterministic, so it stops the replica.
    fn execute(&self, worker: WorkerId, run: &mut [Task]);

    /// Executes the operations of one transaction, in their order, and sets their replies. The first one that fails, so
    /// that its reply is no result, ends the transaction: what it and those before it have changed is undone, as far as
    /// the service undoes what a failing command has changed. `footprint` is what all of them touch; each has its own, too.
    ///
    /// By default it refuses: a service that can't undo anything has no transactions.
    ///
    /// # Errors
    /// The place of the operation that has failed.
    fn execute_transaction(
        &self,
        worker: WorkerId,
        footprint: &Footprint,
        operations: &mut [Task],
    ) -> Result<(), usize> {
        let _ = (worker, footprint);
        operations[0].reply = reply::refused(&Refusal::NoTransactions);
        Err(0)
    }

    /// The latest version of itself that the service can be: it behaves as any from 1 to this, command by command, as
    /// [`Command::version`] says.
    fn latest_version(&self) -> u32 {
        1
    }

    /// The digest of what the service's commands and state are in `version`, one of those that it can be.
    fn schema(&self, version: u32) -> Digest {
        let _ = version;
        Digest::default()
    }

    /// Whether the command that this payload calls, if there is one, is there in `version`. If not, the reply is that to a
    /// command that nobody knows: code that is older gives the same.
    fn is_there(&self, payload: &[u8], version: u32) -> bool {
        let _ = (payload, version);
        true
    }

    /// Whether the command with this handler changes nothing, and uses nothing of its place in the order (agreed time,
    /// randomness, position, client): it may be executed unordered then, as a [`CommandKind::Read`]. By default none may.
    fn is_readable(&self, handler: u32) -> bool {
        let _ = handler;
        false
    }

    /// The digest of the whole state. No command runs meanwhile.
    fn state_digest(&self) -> Digest;

    /// Whether [`Service::snapshot`] can give the whole state, as far as can be said before it is called. A replica that
    /// has to take snapshots asks this before it starts.
    ///
    /// # Errors
    /// Why not, and what to do about it.
    fn can_snapshot(&self) -> Result<(), SnapshotError> {
        Err(SnapshotError::Unsupported)
    }

    /// Freezes the whole state. No command runs meanwhile, and all wait for it: it must be quick, however large the
    /// state is.
    ///
    /// # Errors
    /// There is no snapshot at this position; execution goes on.
    fn snapshot(&self) -> Result<Box<dyn SnapshotSource>, SnapshotError> {
        Err(SnapshotError::Unsupported)
    }

    /// Replaces the whole state by the one that [`SnapshotSource::write_to`] has written, and reads `source` to its
    /// end. No command runs meanwhile. The digest of the bytes was verified: they are what a correct replica has
    /// written, unless it runs another version of the service.
    ///
    /// # Errors
    /// After an error the state may be anything: restore again, or stop.
    fn restore(&self, source: &mut dyn Read) -> Result<(), RestoreError> {
        let _ = source;
        Err(RestoreError::Unsupported)
    }

    /// What worker thread `worker` does for its whole life: by default [`Worker::run`].
    ///
    /// A service whose commands need something of the thread (a Python thread state) overrides this. It acquires it,
    /// then loops: release, [`Worker::wait`], acquire, [`Worker::execute`]. `wait` takes locks, hands over replies and
    /// blocks; `execute` does nothing but call this service. The loop must go on until `wait` returns `false`.
    fn work(&self, worker: &mut Worker) {
        worker.run();
    }

    /// How long its handlers take. Called by any thread, at any time.
    fn reading(&self) -> ServiceReading {
        ServiceReading::default()
    }
}

/// The executed command, for the one who waits for its reply.
#[derive(Clone, Debug)]
pub struct Completion {
    /// [`Command::position`].
    pub position: u64,
    /// [`Command::slot`].
    pub slot: Slot,
    /// [`Command::client`].
    pub client: ClientId,
    /// [`Command::sequence`].
    pub sequence: u64,
    /// [`Command::kind`].
    pub kind: CommandKind,
    /// The reply.
    pub reply: Bytes,
}

/// How far execution has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Watermark {
    /// Every submitted command up to this position is executed.
    pub position: u64,
    /// Every command of every slot up to this one is executed.
    pub slot: Slot,
}

/// Why an executor has stopped for good. The replica must halt: its state may be part of the way through a command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    /// The service panicked.
    #[error("the service panicked, in a run of commands from position {position} on: {message}")]
    ServicePanicked {
        /// The position of the first command of the run in which it did.
        position: u64,
        /// What the panic said.
        message: String,
    },
    /// A worker thread ended outside of a command: a panic of the sink, or of the executor itself.
    #[error("worker {worker} died: {message}")]
    WorkerDied {
        /// The worker.
        worker: WorkerId,
        /// What the panic said.
        message: String,
    },
}

/// Where the executor reports to. Called by workers and by the thread that submits, at the same time, and never with a
/// lock of the executor held. It must not block.
pub trait CompletionSink: Send + Sync + 'static {
    /// These commands are executed. `completions` is to be drained; the memory is used again.
    fn completed(&self, completions: &mut Vec<Completion>);

    /// What became of the [`CommandKind::Snapshot`] at `position`, of `slot`. All completions of commands up to there
    /// were handed over before. By default it is dropped.
    fn snapshot(&self, slot: Slot, position: u64, source: Result<Box<dyn SnapshotSource>, SnapshotError>) {
        let _ = (slot, position, source);
    }

    /// Execution has come to `watermark`; all completions up to it have been handed over before. Calls can overtake
    /// each other: the highest watermark counts.
    fn executed(&self, watermark: Watermark);

    /// The executor has stopped for good. Called once. Completions of runs that ended well may still follow.
    fn failed(&self, fatal: Fatal);
}

/// What a service shows of its handlers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceReading {
    /// Its handlers, in the order of their declaration. A service that does not measure them has none here.
    pub handlers: Vec<HandlerReading>,
    /// How long workers have waited for the interpreter, after they had found something to execute.
    pub interpreter_wait: Duration,
}

/// What a service shows of one handler.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HandlerReading {
    /// The command's name.
    pub name: Arc<str>,
    /// How long its executions took, in nanoseconds: with decoding, encoding, and what other threads took of the
    /// interpreter's time meanwhile.
    pub durations: HistogramReading,
}

impl<S: Service + ?Sized> Service for Arc<S> {
    fn footprint(&self, payload: &[u8], out: &mut FootprintBuilder) -> Result<Extraction, Refusal> {
        (**self).footprint(payload, out)
    }

    fn compute_footprint(&self, payload: &[u8], out: &mut FootprintBuilder) -> Result<(), Refusal> {
        (**self).compute_footprint(payload, out)
    }

    fn execute(&self, worker: WorkerId, run: &mut [Task]) {
        (**self).execute(worker, run);
    }

    fn execute_transaction(
        &self,
        worker: WorkerId,
        footprint: &Footprint,
        operations: &mut [Task],
    ) -> Result<(), usize> {
        (**self).execute_transaction(worker, footprint, operations)
    }

    fn latest_version(&self) -> u32 {
        (**self).latest_version()
    }

    fn schema(&self, version: u32) -> Digest {
        (**self).schema(version)
    }

    fn is_there(&self, payload: &[u8], version: u32) -> bool {
        (**self).is_there(payload, version)
    }

    fn is_readable(&self, handler: u32) -> bool {
        (**self).is_readable(handler)
    }

    fn state_digest(&self) -> Digest {
        (**self).state_digest()
    }

    fn can_snapshot(&self) -> Result<(), SnapshotError> {
        (**self).can_snapshot()
    }

    fn snapshot(&self) -> Result<Box<dyn SnapshotSource>, SnapshotError> {
        (**self).snapshot()
    }

    fn restore(&self, source: &mut dyn Read) -> Result<(), RestoreError> {
        (**self).restore(source)
    }

    fn work(&self, worker: &mut Worker) {
        (**self).work(worker);
    }

    fn reading(&self) -> ServiceReading {
        (**self).reading()
    }
}
