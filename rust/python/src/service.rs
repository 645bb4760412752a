//! A Python service as the executor sees it.

use std::cell::{Cell, RefCell};
use std::io::Read;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use pssmr_execution::{
    Access, Extraction, Footprint, FootprintBuilder, Independent, Refusal, Reply, RestoreError, Service,
    ServiceReading, SnapshotError, SnapshotSource, Task, Worker, WorkerId, reply,
};
use pssmr_replica::Traces;
use pssmr_types::Digest;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::codec;
use crate::context::Facts;
use crate::errors;
use crate::failure;
use crate::handler_meters::HandlerMeters;
use crate::instance::Instance;
use crate::interface::{Handler, Interface, arguments_of};
use crate::method::ArgumentsError;
use crate::own_state::OwnState;
use crate::running::{self, Scope};
use crate::trace::Running;
use crate::vectorized::{self, Columns};

/// A Python service, executed by worker threads that keep their thread state for life and attach once for a whole run
/// of commands.
pub(crate) struct PythonService {
    instance: Py<Instance>,
    /// The service object.
    object: Py<PyAny>,
    /// What it keeps beside its tables.
    own: OwnState,
    meters: HandlerMeters,
    /// `None` outside of replicas.
    traces: Option<Arc<Traces>>,
}

thread_local! {
    /// A worker's access to the tables, from one command to the next.
    static ACCESS: Cell<Option<Box<Access>>> = const { Cell::new(None) };
    static INDEPENDENT: RefCell<Independent> = RefCell::default();
}

/// What became of a command.
enum Ended {
    /// Its writes are kept.
    Well(Bytes),
    /// Its writes are undone.
    Badly(Bytes),
}

impl Ended {
    fn reply(self) -> Bytes {
        match self {
            Self::Well(reply) | Self::Badly(reply) => reply,
        }
    }
}

impl PythonService {
    /// Takes over a service object: from here on only its commands touch its tables.
    pub(crate) fn new(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = object.py();
        let instance: Py<Instance> = object.getattr(intern!(py, "_instance"))?.extract()?;
        let own = OwnState::new(object, instance.get().state.clone())?;
        if !instance.get().state.hold() {
            return Err(errors::closed(py, "the service object belongs to another replica: make a new one"));
        }
        let meters = HandlerMeters::new(instance.get().interface.get().handlers.len());
        Ok(Self { instance, object: object.clone().unbind(), own, meters, traces: None })
    }

    /// Looks at the traces of commands.
    pub(crate) fn with_traces(self, traces: Arc<Traces>) -> Self {
        Self { traces: Some(traces), ..self }
    }

    /// Executes operations of a transaction that has begun, up to the first that fails: its place.
    fn execute_operations(&self, py: Python<'_>, scope: &Scope, operations: &mut [Task]) -> Result<(), usize> {
        let mut stopwatch = self.meters.stopwatch();
        for (place, task) in operations.iter_mut().enumerate() {
            let handler = &self.interface().handlers[task.handler as usize];
            scope.begin_operation(&task.footprint, handler.name.clone(), Facts::of(task));
            let ended = self.run(py, handler, arguments_of(&task.command.payload));
            stopwatch.executed(task.handler);
            let failed = matches!(ended, Ended::Badly(_));
            task.reply = ended.reply();
            if failed {
                return Err(place);
            }
        }
        Ok(())
    }

    /// What the class's `snapshot` gives.
    pub(crate) fn own_state(&self) -> Result<Option<Vec<u8>>, SnapshotError> {
        Ok(self.own.freeze()?.map(|pieces| pieces.iter().flat_map(|piece| piece.iter().copied()).collect()))
    }

    fn interface(&self) -> &Interface {
        self.instance.get().interface.get()
    }

    /// This thread's access to the tables.
    fn access(&self) -> Box<Access> {
        let tables = &self.instance.get().state.tables;
        let access = ACCESS.take().filter(|access| Arc::ptr_eq(access.tables(), tables));
        access.unwrap_or_else(|| Box::new(Access::new(tables.clone())))
    }

    /// Executes commands of one vectorised handler that are independent of each other, in one call. If that fails, each
    /// is executed alone, so that each has the outcome that it would have had alone.
    fn execute_together(&self, py: Python<'_>, tasks: &mut [Task]) {
        let Some(first) = tasks.first() else { return };
        let handler = &self.interface().handlers[first.handler as usize];
        let method = handler.method.get();
        let facts = Facts::of(first);
        let mut columns = Columns::new(method, tasks.len());
        let has_tables = !self.interface().tables.is_empty();
        let mut footprint = FootprintBuilder::new();
        let mut called = Vec::with_capacity(tasks.len());
        for (place, task) in tasks.iter_mut().enumerate() {
            match columns.push(py, method, arguments_of(&task.command.payload)) {
                Ok(()) => {
                    // Without tables there is nothing to guard.
                    if has_tables {
                        footprint.include(&task.footprint);
                    }
                    called.push(place);
                }
                Err(ArgumentsError::Mismatch(text)) => task.reply = reply::refused(&Refusal::Argument(text)),
                Err(ArgumentsError::Raised(error)) => task.reply = self.failed(py, handler, error).reply(),
            }
        }
        if called.is_empty() {
            return;
        }
        let scope = Scope::enter(self.access(), &footprint.build(), handler.name.clone(), facts);
        let access = match vectorized::call(py, method, self.object.bind(py).clone(), &columns) {
            Ok(replies) => {
                let must_be_ordered = scope.must_be_ordered();
                for (place, reply) in called.into_iter().zip(replies) {
                    tasks[place].reply = if must_be_ordered { Bytes::new() } else { reply };
                }
                scope.commit()
            }
            Err(error) if called.len() == 1 => {
                let reply = self.failed(py, handler, error).reply();
                tasks[called[0]].reply = if scope.must_be_ordered() { Bytes::new() } else { reply };
                scope.rollback()
            }
            Err(error) => {
                if errors::is_fatal(py, &error) {
                    failure::log(py, &format!("{}.{}", self.interface().name, handler.name), error);
                }
                ACCESS.set(Some(scope.rollback()));
                return called.into_iter().for_each(|place| self.execute_together(py, &mut tasks[place..=place]));
            }
        };
        ACCESS.set(Some(access));
    }

    fn execute_one(&self, py: Python<'_>, task: &mut Task) {
        let handler = &self.interface().handlers[task.handler as usize];
        let traced = Running::begin(self.traces.as_deref(), task);
        let scope = Scope::enter(self.access(), &task.footprint, handler.name.clone(), Facts::of(task));
        let ended = self.run(py, handler, arguments_of(&task.command.payload));
        let must_be_ordered = scope.must_be_ordered();
        let (reply, access, is_kept) = match ended {
            _ if must_be_ordered => (Bytes::new(), scope.rollback(), false),
            Ended::Well(reply) => (reply, scope.commit(), true),
            Ended::Badly(reply) => (reply, scope.rollback(), false),
        };
        // What has to be ordered is still to be executed.
        if let Some(traced) = traced.filter(|_| !must_be_ordered) {
            traced.end(&handler.name, is_kept);
        }
        task.reply = reply;
        ACCESS.set(Some(access));
    }

    fn run(&self, py: Python<'_>, handler: &Handler, arguments: &[u8]) -> Ended {
        let method = handler.method.get();
        if method.vectorized {
            return self.run_vectorized(py, handler, arguments);
        }
        let arguments = match method.decode_arguments(py, arguments) {
            Ok(arguments) => arguments,
            Err(ArgumentsError::Mismatch(text)) => return Ended::Badly(reply::refused(&Refusal::Argument(text))),
            Err(ArgumentsError::Raised(error)) => return self.failed(py, handler, error),
        };
        let service = self.object.bind(py).clone();
        match method.run(py, &self.instance.get().state, service, arguments) {
            Ok(result) => match method.encode_result(&result) {
                Ok(reply) => Ended::Well(reply),
                Err(error) => {
                    let whole = format!("{}.{}: the result", self.interface().name, handler.name);
                    self.failed(py, handler, error.raise(pyo3::exceptions::PyTypeError::new_err, &whole))
                }
            },
            Err(error) => self.failed(py, handler, error),
        }
    }

    /// Calls a vectorised handler with one command.
    fn run_vectorized(&self, py: Python<'_>, handler: &Handler, arguments: &[u8]) -> Ended {
        let method = handler.method.get();
        let mut columns = Columns::new(method, 1);
        match columns.push(py, method, arguments) {
            Ok(()) => {}
            Err(ArgumentsError::Mismatch(text)) => return Ended::Badly(reply::refused(&Refusal::Argument(text))),
            Err(ArgumentsError::Raised(error)) => return self.failed(py, handler, error),
        }
        match vectorized::call(py, method, self.object.bind(py).clone(), &columns) {
            Ok(mut replies) => Ended::Well(replies.pop().expect("a reply to each command")),
            Err(error) => self.failed(py, handler, error),
        }
    }

    /// What an exception becomes at the client.
    fn failed(&self, py: Python<'_>, handler: &Handler, error: PyErr) -> Ended {
        match declared(py, &error) {
            Ok(Some(reply)) => Ended::Badly(reply),
            Ok(None) => self.undeclared(py, handler, error),
            Err(second) => self.undeclared(py, handler, second),
        }
    }

    fn undeclared(&self, py: Python<'_>, handler: &Handler, error: PyErr) -> Ended {
        if running::must_be_ordered() {
            return Ended::Badly(Bytes::new());
        }
        let reply = reply::handler_failed(&errors::type_name(py, &error));
        failure::log(py, &format!("{}.{}", self.interface().name, handler.name), error);
        Ended::Badly(reply)
    }
}

/// The reply with an error that the application declares; `None` for any other.
fn declared(py: Python<'_>, error: &PyErr) -> PyResult<Option<Bytes>> {
    if !errors::is_application_error(py, error)? {
        return Ok(None);
    }
    let arguments = error.value(py).getattr(intern!(py, "args"))?.cast_into::<PyTuple>()?;
    let mut out = Vec::new();
    match codec::encode_plain(&arguments, &mut out) {
        Ok(()) => Ok(Some(reply::application_error(&errors::type_name(py, error), &out))),
        Err(error) => {
            let whole = "the arguments of an application error";
            Err(error.raise(pyo3::exceptions::PyTypeError::new_err, whole))
        }
    }
}

impl Service for PythonService {
    fn footprint(&self, payload: &[u8], out: &mut FootprintBuilder) -> Result<Extraction, Refusal> {
        self.interface().commands.extract(payload, out)
    }

    fn compute_footprint(&self, payload: &[u8], out: &mut FootprintBuilder) -> Result<(), Refusal> {
        Python::attach(|py| self.interface().compute_footprint(py, payload, out))
    }

    fn execute(&self, _: WorkerId, run: &mut [Task]) {
        Python::attach(|py| {
            let mut stopwatch = self.meters.stopwatch();
            let mut rest = run;
            while let Some(first) = rest.first() {
                let handler = first.handler;
                if self.interface().handlers[handler as usize].method.get().vectorized {
                    let count = INDEPENDENT.with_borrow_mut(|independent| independent.prefix(rest));
                    let (together, later) = rest.split_at_mut(count);
                    let traces = self.traces.as_deref().filter(|traces| !traces.is_empty());
                    let traced: Vec<_> = traces.map_or_else(Vec::new, |traces| {
                        together.iter().map(|task| Running::begin_beside_others(Some(traces), task)).collect()
                    });
                    self.execute_together(py, together);
                    for (traced, task) in traced.into_iter().zip(&*together) {
                        if let Some(traced) = traced.filter(|_| !task.reply.is_empty()) {
                            let is_kept = matches!(Reply::decode(&task.reply), Ok(Reply::Result(_)));
                            traced.end(&self.interface().handlers[handler as usize].name, is_kept);
                        }
                    }
                    stopwatch.executed_together(handler, count);
                    rest = later;
                } else {
                    let (task, later) = rest.split_first_mut().expect("there is a first one");
                    self.execute_one(py, task);
                    stopwatch.executed(handler);
                    rest = later;
                }
            }
        });
    }

    fn execute_transaction(&self, _: WorkerId, footprint: &Footprint, operations: &mut [Task]) -> Result<(), usize> {
        Python::attach(|py| {
            let Some(first) = operations.first() else { return Ok(()) };
            let name = self.interface().handlers[first.handler as usize].name.clone();
            let scope = Scope::enter(self.access(), footprint, name, Facts::of(first));
            let ended = self.execute_operations(py, &scope, operations);
            ACCESS.set(Some(if ended.is_ok() { scope.commit() } else { scope.rollback() }));
            ended
        })
    }

    fn latest_version(&self) -> u32 {
        self.interface().latest
    }

    fn schema(&self, version: u32) -> Digest {
        self.interface().digest(version)
    }

    fn is_there(&self, payload: &[u8], version: u32) -> bool {
        self.interface().is_there(payload, version)
    }

    fn is_readable(&self, handler: u32) -> bool {
        self.interface().handlers[handler as usize].method.get().is_readable()
    }

    /// Of the tables, and of what `snapshot` returns if the class has it. State in other attributes is not seen.
    fn state_digest(&self) -> Digest {
        let mut state = self.instance.get().state.tables.digest().0.to_vec();
        match self.own.freeze() {
            Ok(Some(own)) => own.iter().for_each(|piece| state.extend_from_slice(piece)),
            Ok(None) => {}
            // A digest that says so differs from that of every replica whose snapshot worked.
            Err(_) => state.extend_from_slice(b"snapshot failed"),
        }
        Digest::of("pssmr python state 1", &state)
    }

    fn can_snapshot(&self) -> Result<(), SnapshotError> {
        self.own.can_freeze()
    }

    fn snapshot(&self) -> Result<Box<dyn SnapshotSource>, SnapshotError> {
        self.own.snapshot()
    }

    fn restore(&self, source: &mut dyn Read) -> Result<(), RestoreError> {
        self.own.restore(source)
    }

    fn work(&self, worker: &mut Worker) {
        // Attached once for the thread's life: a fresh thread state costs ten times an attach to a kept one.
        Python::attach(|py| {
            while let Some(found) = py.detach(|| worker.wait().then(Instant::now)) {
                self.meters.interpreter_acquired(found);
                worker.execute();
            }
            ACCESS.set(None);
        });
    }

    fn reading(&self) -> ServiceReading {
        self.meters.reading(self.interface().handlers.iter().map(|handler| handler.name.clone()))
    }
}
