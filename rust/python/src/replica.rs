//! `_core.ReplicaCore`: a running replica.

use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use pssmr_replica::{
    AcceptKeys, Durability, Observer, RecordingConfig, Replica, ReplicaConfig, ReplicaEvent, Service, StartError,
    StepDownError, StepDownRefusal, SteppedDown, TracedCommand, Traces, WorkerBounds,
};
use pssmr_transport::TransportError;
use pssmr_types::{BatchLimits, Digest, Epoch, ReplicaId};
use pyo3::exceptions::{PyKeyError, PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::errors;
use crate::keys::{cluster_id, fault_model, listen_address, member, public_key_of, secret_key};
use crate::native::NativeService;
use crate::plan::{self, PlanSpec};
use crate::process::Maker;
use crate::service::PythonService;
use crate::signal::Signal;

/// Most events that wait for Python. The oldest go first: what an operator needs is the latest.
const EVENTS_MAX: usize = 1024;

/// Most workers.
const WORKERS_MAX: usize = 256;

/// What a frame to a client can have beside its results.
const FRAME_MARGIN_BYTES: usize = 8 << 20;

/// A running replica of a Python service.
#[pyclass(frozen, weakref, module = "pssmr._core")]
pub(crate) struct ReplicaCore {
    replica: Arc<Replica>,
    events: Arc<Events>,
    traces: Arc<Traces>,
    maker: Maker,
}

/// What has happened, on its way to Python.
#[derive(Debug)]
struct Events {
    queue: Mutex<Queue>,
    signal: Signal,
}

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<String>,
    raised: bool,
    /// How many events there were.
    count: u64,
}

/// An event with when it happened.
#[derive(serde::Serialize)]
struct Happened<'a> {
    number: u64,
    time: f64,
    #[serde(flatten)]
    event: &'a ReplicaEvent,
}

impl Observer for Events {
    fn event(&self, event: &ReplicaEvent) {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_millis() as f64 / 1000.0);
        let mut queue = self.queue.lock();
        queue.count += 1;
        let happened = Happened { number: queue.count, time, event };
        let text = serde_json::to_string(&happened).expect("events are plain data");
        if queue.events.len() == EVENTS_MAX {
            queue.events.pop_front();
        }
        queue.events.push_back(text);
        if !std::mem::replace(&mut queue.raised, true) {
            self.signal.raise();
        }
    }
}

#[pymethods]
impl ReplicaCore {
    /// Starts a replica. It returns when both ports are open.
    ///
    /// `members` are the replicas of `epoch` by seniority: id, public key, address for replicas and for clients;
    /// `administrator` is the public key that signs changes of the membership, if it can change; `settings` those of `pssmr.Settings`, by name; `plan`
    /// that of the scheduler `early`; with `spans`, traced commands are kept for `next_spans`; `record` is the file where what
    /// ordering is told is recorded, and the most bytes of it.
    ///
    /// Raises pssmr.ConfigError for what can't be, and OSError if an address can't be listened at.
    #[new]
    #[pyo3(signature = (
        service, *, cluster, fault_model, epoch, members, administrator, me, key, listen_peers, listen_clients, clients,
        settings, data, plan=None, spans=false, record=None
    ))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        service: &Bound<'_, PyAny>,
        cluster: &str,
        fault_model: &str,
        epoch: u64,
        members: Vec<(u16, String, String, String)>,
        administrator: Option<&str>,
        me: u16,
        key: &str,
        listen_peers: String,
        listen_clients: String,
        clients: Vec<String>,
        settings: &Bound<'_, PyDict>,
        data: Option<PathBuf>,
        plan: Option<PlanSpec>,
        spans: bool,
        record: Option<(PathBuf, u64)>,
    ) -> PyResult<Self> {
        let py = service.py();
        let members = members.into_iter().map(member).collect::<PyResult<_>>()?;
        let model = self::fault_model(fault_model)?;
        let mut config = ReplicaConfig::new(cluster_id(cluster)?, model, members, ReplicaId(me), secret_key(key)?);
        config.epoch = Epoch(epoch);
        config.clients = AcceptKeys::only(clients.iter().map(|key| public_key_of(key)).collect::<PyResult<Vec<_>>>()?);
        config.data_directory = data;
        config.recording = record.map(|(file, bytes_max)| RecordingConfig { file, bytes_max });
        let scheduler = apply(settings, &mut config)?;
        config.ordering.administrator = administrator.map(public_key_of).transpose()?;
        config.execution.scheduler = plan::scheduler(py, &scheduler, plan)?;
        config.check().map_err(|error| errors::config_error(py, error.to_string()))?;
        let traces = Arc::new(Traces::new(spans));
        config.traces = Some(traces.clone());
        let (service, schema) = service_of(service, config.ordering.first_service_version, &traces)?;
        config.service_schema = schema;
        let events = Arc::new(Events { queue: Mutex::default(), signal: Signal::new()? });
        let observer = events.clone();
        let started = py.detach(move || {
            config.listen_peers = listen_address(&listen_peers).map_err(Failure::Address)?;
            config.listen_clients = listen_address(&listen_clients).map_err(Failure::Address)?;
            Replica::start(&config, service, observer).map_err(Failure::Start)
        });
        let replica = Arc::new(started.map_err(|failure| failure.raise(py))?);
        Ok(Self { replica, events, traces, maker: Maker::here() })
    }

    /// Where it listens for other replicas.
    #[getter]
    fn peer_address(&self) -> String {
        self.replica.peer_address().to_string()
    }

    /// Where it listens for clients.
    #[getter]
    fn client_address(&self) -> String {
        self.replica.client_address().to_string()
    }

    /// How it is: a JSON object.
    fn status(&self, py: Python<'_>) -> PyResult<String> {
        self.maker.check(py, "replica")?;
        let status = py.detach(|| self.replica.status());
        serde_json::to_string(&status).map_err(|error| PyValueError::new_err(error.to_string()))
    }

    /// Changes the number of workers, while they work.
    ///
    /// Raises ValueError for a number that can't be, and OSError if a thread can't be started.
    fn resize_workers(&self, py: Python<'_>, workers: usize) -> PyResult<()> {
        self.maker.check(py, "replica")?;
        if workers == 0 || workers > WORKERS_MAX {
            return Err(PyValueError::new_err(format!("workers is {workers}, expected 1 to {WORKERS_MAX}")));
        }
        Ok(py.detach(|| self.replica.resize_workers(workers))?)
    }

    /// Has the replica, if it leads, give up its view. Returns the view that the others leave for, and who leads that.
    ///
    /// Raises pssmr.StepDownRefused if another one leads, or it can't now.
    fn step_down(&self, py: Python<'_>) -> PyResult<(u64, u16)> {
        self.maker.check(py, "replica")?;
        let stepped_down = py.detach(|| self.replica.step_down());
        stepped_down.map(|SteppedDown { view, leader }| (view, leader)).map_err(|error| {
            let leader = match error {
                StepDownError::Refused(StepDownRefusal::NotLeading { leader }) => Some(leader.0),
                _ => None,
            };
            errors::step_down_refused(py, &error.to_string(), leader)
        })
    }

    /// Why it has stopped for good; None if it has not.
    fn halted(&self) -> Option<String> {
        self.replica.halted()
    }

    /// The file descriptor that is readable while there are events.
    fn fileno(&self) -> RawFd {
        self.events.signal.fileno()
    }

    /// What has happened since the last time: JSON objects, the oldest first. Beside what happened each has a `number`,
    /// which counts from 1, and the `time`, in seconds since the Unix epoch.
    fn events(&self) -> Vec<String> {
        let mut queue = self.events.queue.lock();
        self.events.signal.lower();
        queue.raised = false;
        queue.events.drain(..).collect()
    }

    /// Waits for traced commands that were executed, and takes them: the trace and the flags in it, the command and whether its
    /// writes were kept, and when it was received, decided (None of a query that was not ordered), begun and ended, in
    /// nanoseconds since the Unix epoch. None once the replica is stopped.
    fn next_spans(&self, py: Python<'_>) -> Option<Vec<Span>> {
        let commands = py.detach(|| self.traces.next())?;
        Some(commands.iter().map(span).collect())
    }

    /// Stops the replica, and waits until its threads are gone. May be called twice.
    fn stop(&self, py: Python<'_>) {
        if self.maker.is_here() {
            py.detach(|| self.replica.stop());
            self.traces.close();
        }
    }
}

/// Trace, span and flags; the command, and whether its writes were kept; received, decided, begun, ended.
type Span = ((Vec<u8>, Vec<u8>, u8), (String, bool), (u64, Option<u64>, u64, u64));

fn span(TracedCommand { request, command, started, ended, is_kept }: &TracedCommand) -> Span {
    let context = request.context;
    let ids = (context.trace.to_vec(), context.span.to_vec(), context.flags);
    (ids, (command.to_string(), *is_kept), (request.received, request.decided, *started, *ended))
}

/// The JSON schema of what `ReplicaCore.status` returns.
#[pyfunction]
pub(crate) fn status_schema() -> String {
    pssmr_replica::status_schema().to_string()
}

impl Drop for ReplicaCore {
    fn drop(&mut self) {
        Python::attach(|py| self.stop(py));
        if !self.maker.is_here() {
            // Its threads are in the process that made it: there is nothing to join here.
            std::mem::forget(self.replica.clone());
        }
    }
}

/// Why a replica did not start.
enum Failure {
    Address(String),
    Start(StartError),
}

impl Failure {
    fn raise(self, py: Python<'_>) -> PyErr {
        match self {
            Self::Address(text) => errors::config_error(py, text),
            Self::Start(error) => {
                let text = error.to_string();
                match &error {
                    StartError::Config(_)
                    | StartError::OtherMember { .. }
                    | StartError::Storage(_)
                    | StartError::Version(_)
                    | StartError::Recording { .. }
                    | StartError::Log { .. } => errors::config_error(py, text),
                    StartError::Peers(TransportError::Bind { source, .. })
                    | StartError::Clients(TransportError::Bind { source, .. })
                    | StartError::Thread(source) => PyOSError::new_err((source.raw_os_error(), text)),
                    StartError::Peers(_) | StartError::Clients(_) => PyOSError::new_err(text),
                }
            }
        }
    }
}

/// The service that Python gives, and the digest of the version that a new cluster begins with, which replicas compare, to
/// see that they run the same.
fn service_of(
    service: &Bound<'_, PyAny>,
    first_version: u32,
    traces: &Arc<Traces>,
) -> PyResult<(Arc<dyn Service>, Digest)> {
    if let Ok(native) = service.cast::<NativeService>() {
        return Ok((native.get().take(service.py())?, native.get().schema_digest()));
    }
    let service = PythonService::new(service)?;
    let schema = service.schema(first_version);
    Ok((Arc::new(service.with_traces(traces.clone())), schema))
}

/// Takes over the settings of `pssmr.Settings`, and returns the scheduler's name.
fn apply(settings: &Bound<'_, PyDict>, config: &mut ReplicaConfig) -> PyResult<String> {
    let number = |name: &str| -> PyResult<usize> {
        settings.get_item(name)?.ok_or_else(|| PyKeyError::new_err(name.to_owned()))?.extract()
    };
    let millis = |name: &str| number(name).map(|value| Duration::from_millis(value as u64));
    let text = |name: &str| -> PyResult<String> {
        settings.get_item(name)?.ok_or_else(|| PyKeyError::new_err(name.to_owned()))?.extract()
    };
    let ordering = &mut config.ordering;
    let durability = text("durability")?;
    ordering.durability = Durability::named(&durability)
        .ok_or_else(|| PyValueError::new_err(format!("{durability:?} is no durability")))?;
    ordering.window = number("window")?;
    ordering.limits =
        BatchLimits { requests_max: number("batch_requests_max")?, bytes_max: number("batch_bytes_max")? };
    ordering.request_timeout = millis("request_timeout_ms")?;
    ordering.request_timeout_max = millis("request_timeout_max_ms")?;
    ordering.heartbeat_interval = millis("heartbeat_interval_ms")?;
    ordering.retransmit_interval = millis("retransmit_interval_ms")?;
    ordering.clock_skew_max = millis("clock_skew_max_ms")?;
    ordering.sessions_per_client_max = number("sessions_per_client_max")?;
    ordering.pending_requests_max = number("pending_requests_max")?;
    ordering.pending_bytes_max = number("pending_bytes_max")?;
    ordering.unexecuted_slots_max = number("unexecuted_slots_max")?;
    ordering.checkpoint_slots = number("checkpoint_slots")? as u64;
    ordering.checkpoint_bytes = number("checkpoint_bytes")? as u64;
    ordering.retained_slots_max = number("retained_slots_max")?;
    ordering.retained_bytes_max = number("retained_bytes_max")?;
    ordering.first_service_version = u32::try_from(number("first_service_version")?)?;
    config.limits.result_bytes_max = number("result_bytes_max")?;
    config.limits.transfer_bytes_per_second = number("transfer_bytes_per_second")?;
    config.limits.queued_bytes_max = config.limits.queued_bytes_max.max(config.ordering.limits.bytes_max);
    let send_queue = &mut config.limits.client_send_queue_bytes_max;
    *send_queue =
        (*send_queue).max(FRAME_MARGIN_BYTES + config.ordering.limits.bytes_max.max(config.limits.result_bytes_max));
    config.execution.workers = number("workers")?;
    let max = number("workers_max")?;
    config.worker_bounds = (max > 0).then_some(WorkerBounds { min: number("workers_min")?, max });
    text("scheduler")
}
