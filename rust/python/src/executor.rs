//! `_core.Executor`: parallel execution in this process, without replicas. For tests of services.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use pssmr_execution::{
    Command, CommandKind, Completion, CompletionSink, Executor as Core, ExecutorConfig, Fatal, Pending, Service as _,
    SnapshotError, SnapshotSource, Watermark,
};
use pssmr_types::{ClientId, Slot};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::errors;
use crate::plan::{self, PlanSpec};
use crate::process::Visitors;
use crate::service::PythonService;

/// Most workers.
const WORKERS_MAX: usize = 1024;

/// How many commands are handed over at once: workers begin with them while the footprints of the next ones are found.
const HANDED_OVER: usize = 512;

/// Executes commands of a service object on worker threads, ordered by what they declare.
#[pyclass(frozen, weakref, module = "pssmr._core")]
pub(crate) struct Executor {
    core: Core,
    replies: Arc<Replies>,
    /// The position of the latest command.
    position: Mutex<u64>,
    visitors: Visitors,
    /// The version of the service that commands are executed in.
    version: u32,
}

/// The replies to one run of commands.
#[derive(Default)]
struct Replies {
    state: Mutex<Arrived>,
    changed: Condvar,
}

#[derive(Default)]
struct Arrived {
    /// In the order of positions, from `first` on; empty where none has arrived.
    replies: Vec<Bytes>,
    first: u64,
    snapshot: Option<Result<Box<dyn SnapshotSource>, SnapshotError>>,
    executed: u64,
    /// The position that somebody waits for: before it is executed, nobody is woken.
    awaited: u64,
    failed: Option<String>,
}

impl CompletionSink for Replies {
    fn completed(&self, completions: &mut Vec<Completion>) {
        let mut state = self.state.lock();
        for Completion { position, reply, .. } in completions.drain(..) {
            let place = (position - state.first) as usize;
            state.replies[place] = reply;
        }
    }

    fn snapshot(&self, _: Slot, _: u64, source: Result<Box<dyn SnapshotSource>, SnapshotError>) {
        self.state.lock().snapshot = Some(source);
        self.changed.notify_all();
    }

    fn executed(&self, watermark: Watermark) {
        let mut state = self.state.lock();
        state.executed = state.executed.max(watermark.position);
        if state.executed >= state.awaited {
            self.changed.notify_all();
        }
    }

    fn failed(&self, fatal: Fatal) {
        self.state.lock().failed = Some(fatal.to_string());
        self.changed.notify_all();
    }
}

#[pymethods]
impl Executor {
    #[new]
    #[pyo3(signature = (service, workers, scheduler="keyed", plan=None, version=None))]
    fn new(
        service: &Bound<'_, PyAny>,
        workers: usize,
        scheduler: &str,
        plan: Option<PlanSpec>,
        version: Option<u32>,
    ) -> PyResult<Self> {
        if workers == 0 || workers > WORKERS_MAX {
            return Err(PyValueError::new_err(format!("workers is {workers}, expected 1 to {WORKERS_MAX}")));
        }
        errors::load(service.py())?;
        let scheduler = plan::scheduler(service.py(), scheduler, plan)?;
        let service = Arc::new(PythonService::new(service)?);
        let latest = service.latest_version();
        let version = version.unwrap_or(latest);
        if version == 0 || version > latest {
            return Err(PyValueError::new_err(format!("version is {version}, the service's are 1 to {latest}")));
        }
        let replies = Arc::new(Replies::default());
        let config = ExecutorConfig { workers, scheduler, ..ExecutorConfig::default() };
        let core = Core::start(service, &config, replies.clone())?;
        Ok(Self { core, replies, position: Mutex::new(0), visitors: Visitors::default(), version })
    }

    /// Executes these payloads as commands of one slot, in the order of the list wherever they conflict, and returns
    /// their replies in that order.
    ///
    /// Raises pssmr.ReplicaStopped if one of them stops a replica.
    #[pyo3(signature = (payloads, *, time_ns, seed))]
    fn execute<'py>(
        &self,
        py: Python<'py>,
        payloads: &Bound<'py, PyAny>,
        time_ns: u64,
        seed: &Bound<'_, PyBytes>,
    ) -> PyResult<Vec<Bound<'py, PyBytes>>> {
        let seed = seed.as_bytes().try_into().map_err(|_| PyValueError::new_err("a seed is 32 bytes"))?;
        let payloads = Payloads::copied(payloads)?;
        let replies = self.run(py, CommandKind::Application, &payloads, time_ns, seed)?;
        Ok(objects_of(py, &replies))
    }

    /// The digest of the state.
    ///
    /// Raises pssmr.ReplicaStopped if the executor has stopped.
    fn state_digest<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let replies = self.run(py, CommandKind::StateDigest, &Payloads::empty(), 0, [0; 32])?;
        Ok(PyBytes::new(py, &replies[0]))
    }

    /// The state: the bytes that a replica would give to another one.
    ///
    /// Raises pssmr.SnapshotError if there is no snapshot, and pssmr.ReplicaStopped if the executor has stopped.
    fn snapshot<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        self.run(py, CommandKind::Snapshot, &Payloads::empty(), 0, [0; 32])?;
        let source = self.replies.state.lock().snapshot.take().expect("a snapshot command was executed");
        let mut bytes = Vec::new();
        let written = py.detach(|| {
            let source = source.map_err(|error| error.to_string())?;
            source.write_to(&mut bytes).map_err(|error| error.to_string())
        });
        written.map_err(|text| errors::snapshot_error(py, text))?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// Replaces the state by that of a snapshot.
    ///
    /// Raises pssmr.SnapshotError if that can't be: the state may be anything then.
    fn restore(&self, py: Python<'_>, snapshot: PyBackedBytes) -> PyResult<()> {
        let visit = self.visitors.enter(py);
        if let Some(message) = self.replies.state.lock().failed.clone() {
            return Err(errors::replica_stopped(py, message));
        }
        let restored = visit.wait(py, || {
            // Nothing is executed meanwhile.
            let _position = self.position.lock();
            self.core.restore(&mut &snapshot[..], self.core.executed())
        });
        restored.map_err(|error| errors::snapshot_error(py, error.to_string()))
    }

    /// Ends the workers. The executor can't be used afterwards.
    fn close(&self, py: Python<'_>) {
        self.replies.state.lock().failed.get_or_insert_with(|| "the executor was closed".to_owned());
        self.replies.changed.notify_all();
        py.detach(|| self.core.shutdown(Pending::Drop));
        self.visitors.wait_until_gone(py);
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        // The workers may have to attach before they end.
        Python::attach(|py| self.close(py));
    }
}

impl Executor {
    fn run(
        &self,
        py: Python<'_>,
        kind: CommandKind,
        payloads: &Payloads,
        timestamp: u64,
        seed: [u8; 32],
    ) -> PyResult<Vec<Bytes>> {
        let visit = self.visitors.enter(py);
        let failed = self.replies.state.lock().failed.clone();
        let outcome = match failed {
            Some(message) => Err(message),
            None => visit.wait(py, || self.run_detached(kind, payloads, timestamp, seed)),
        };
        outcome.map_err(|message| errors::replica_stopped(py, message))
    }

    /// Runs commands to their end; one caller at a time.
    fn run_detached(
        &self,
        kind: CommandKind,
        payloads: &Payloads,
        timestamp: u64,
        seed: [u8; 32],
    ) -> Result<Vec<Bytes>, String> {
        let count = payloads.ends.len();
        if count == 0 {
            return Ok(Vec::new());
        }
        let mut position = self.position.lock();
        let first = *position + 1;
        let slot = Slot(first);
        *position += count as u64;
        self.replies.expect(first, count);
        for (part, from) in payloads.parts(HANDED_OVER).zip((first..).step_by(HANDED_OVER)) {
            let commands = (from..).zip(part).map(|(position, payload)| Command {
                position,
                slot,
                client: ClientId::default(),
                sequence: position,
                timestamp,
                seed,
                version: self.version,
                kind,
                payload,
            });
            let is_last = from + HANDED_OVER as u64 > *position;
            self.core.submit(commands, if is_last { slot } else { Slot(slot.0 - 1) });
        }
        let mut state = self.replies.state.lock();
        while (state.executed < *position || (kind == CommandKind::Snapshot && state.snapshot.is_none()))
            && state.failed.is_none()
        {
            self.replies.changed.wait(&mut state);
        }
        if let Some(message) = &state.failed {
            return Err(message.clone());
        }
        Ok(std::mem::take(&mut state.replies))
    }
}

impl Replies {
    /// So many commands come, from this position on.
    fn expect(&self, first: u64, count: usize) {
        let mut state = self.state.lock();
        state.first = first;
        state.replies.resize(count, Bytes::new());
        state.awaited = first + count as u64 - 1;
    }
}

/// Payloads next to each other, as in a message that a replica gets.
struct Payloads {
    bytes: Vec<u8>,
    /// Where each one ends.
    ends: Vec<usize>,
}

impl Payloads {
    /// One without content.
    fn empty() -> Self {
        Self { bytes: Vec::new(), ends: vec![0] }
    }

    /// Copies of the bytes objects of an iterable.
    fn copied(payloads: &Bound<'_, PyAny>) -> PyResult<Self> {
        let mut copied = Self { bytes: Vec::new(), ends: Vec::with_capacity(payloads.len().unwrap_or_default()) };
        for payload in payloads.try_iter()? {
            copied.bytes.extend_from_slice(payload?.cast::<PyBytes>()?.as_bytes());
            copied.ends.push(copied.bytes.len());
        }
        Ok(copied)
    }

    /// Each payload, in groups of so many: a group shares memory, which workers let go of while the next one is made.
    fn parts(&self, count: usize) -> impl Iterator<Item = impl Iterator<Item = Bytes>> {
        let mut begin = 0;
        self.ends.chunks(count).map(move |ends| {
            let start = begin;
            begin = ends.last().copied().unwrap_or(start);
            let mut rest = Bytes::copy_from_slice(&self.bytes[start..begin]);
            ends.iter().scan(start, move |from, end| Some(rest.split_to(end - std::mem::replace(from, *end))))
        })
    }
}

/// Replies that are the same and follow each other are one object: most of a run's say that there is no result.
fn objects_of<'py>(py: Python<'py>, replies: &[Bytes]) -> Vec<Bound<'py, PyBytes>> {
    let mut objects = Vec::<Bound<'py, PyBytes>>::with_capacity(replies.len());
    for reply in replies {
        let same = objects.last().filter(|last| last.as_bytes() == reply.as_ref()).cloned();
        objects.push(same.unwrap_or_else(|| PyBytes::new(py, reply)));
    }
    objects
}
