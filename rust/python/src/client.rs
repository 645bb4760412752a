//! `_core.ClientCore`: a client of a cluster.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use pssmr_client::{Client, ClientConfig, ConnectError, RequestError, Response, Submission, SubmitError, Work};
use pssmr_transport::HandshakeFailure;
use pssmr_types::{ReplicaId, TraceContext};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::completions::{Completions, Outcome, Sink};
use crate::errors;
use crate::keys::{cluster_id, fault_model, secret_key};
use crate::membership::{MemberTuple, membership, tuple_of};
use crate::process::{Maker, Visitors};

/// How often a thread that waits looks whether it was interrupted.
const INTERRUPT_INTERVAL: Duration = Duration::from_millis(50);

/// A client of a cluster: takes encoded requests, and gives their completions to an asyncio loop or to threads.
#[pyclass(frozen, weakref, module = "pssmr._core")]
pub(crate) struct ClientCore {
    /// `None` once it is closed.
    client: Mutex<Option<Arc<Client>>>,
    completions: Arc<Completions>,
    next_token: AtomicU64,
    maker: Maker,
    visitors: Visitors,
}

/// One completion as Python gets it: token, result or exception, whether it is an exception.
type Completed = (u64, Py<PyAny>, bool);

#[pymethods]
impl ClientCore {
    /// Starts a client. Links come up behind it.
    #[new]
    #[pyo3(signature = (
        *, cluster, fault_model, epoch, members, key, for_loop, timeout, in_flight_max, request_bytes_max,
        result_bytes_max
    ))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        cluster: &str,
        fault_model: &str,
        epoch: u64,
        members: Vec<MemberTuple>,
        key: &str,
        for_loop: bool,
        timeout: f64,
        in_flight_max: usize,
        request_bytes_max: usize,
        result_bytes_max: usize,
    ) -> PyResult<Self> {
        errors::load(py)?;
        let model = self::fault_model(fault_model)?;
        let membership = membership(py, cluster_id(cluster)?, epoch, model, members)?;
        let mut config = ClientConfig::new(membership, secret_key(key)?);
        config.request_timeout = seconds(timeout)?;
        config.in_flight_max = in_flight_max;
        config.payload_bytes_max = request_bytes_max;
        config.result_bytes_max = result_bytes_max;
        let completions = if for_loop { Completions::for_loop()? } else { Completions::for_threads() };
        let completions = Arc::new(completions);
        let client =
            py.detach(|| Client::connect(&config, Sink(completions.clone()))).map_err(|error| match error {
                ConnectError::Config(error) => errors::config_error(py, error.to_string()),
                ConnectError::Transport(_) | ConnectError::Thread(_) => PyOSError::new_err(error.to_string()),
            })?;
        let client = Mutex::new(Some(Arc::new(client)));
        Ok(Self {
            client,
            completions,
            next_token: AtomicU64::new(1),
            maker: Maker::here(),
            visitors: Visitors::default(),
        })
    }

    /// The file descriptor that is readable while there is something to drain.
    ///
    /// Raises ValueError if the client is one for threads.
    fn fileno(&self) -> PyResult<RawFd> {
        self.completions.fileno().ok_or_else(|| PyValueError::new_err("the client is one for threads"))
    }

    /// Sends encoded requests, which may each take as many seconds as given, and returns the token of each, in order.
    /// If there is room for the first ones only, the others are not sent and have no token.
    ///
    /// Raises pssmr.Busy if there is room for none, pssmr.RequestTooLarge or pssmr.Closed.
    /// The first ones belong to these traces: the ids of trace and span and the flags, 25 bytes each, or None. Reads are
    /// queries that need not be ordered.
    #[pyo3(signature = (payloads, timeout=None, traces=None, reads=false))]
    fn submit(
        &self,
        py: Python<'_>,
        payloads: Vec<Bound<'_, PyBytes>>,
        timeout: Option<f64>,
        traces: Option<Vec<Option<Bound<'_, PyBytes>>>>,
        reads: bool,
    ) -> PyResult<Vec<u64>> {
        let work = if reads { Work::Read } else { Work::Command };
        let works = payloads.iter().map(|payload| work(Bytes::copy_from_slice(payload.as_bytes())));
        let traces = traces.unwrap_or_default();
        if traces.len() > payloads.len() {
            return Err(PyValueError::new_err("there are more traces than commands"));
        }
        let traces = traces.iter().map(|trace| trace.as_ref().map(trace_context).transpose());
        self.submit_traced(py, works.collect(), timeout, traces.collect::<PyResult<_>>()?)
    }

    /// Asks for the digest of each replica's state, at one position of the total order; returns the token.
    #[pyo3(signature = (timeout=None))]
    fn submit_state_digests(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<u64> {
        Ok(self.submit_works(py, vec![Work::StateDigests], timeout)?[0])
    }

    /// Asks for a checkpoint, and for the digest of each replica's state there; returns the token.
    #[pyo3(signature = (timeout=None))]
    fn submit_checkpoint(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<u64> {
        Ok(self.submit_works(py, vec![Work::Checkpoint], timeout)?[0])
    }

    /// Asks for a change of the membership, as `sign_reconfiguration` gives it; returns the token. The result is empty bytes
    /// if the change is made, and otherwise the reason why not, in UTF-8.
    #[pyo3(signature = (payload, timeout=None))]
    fn submit_reconfiguration(
        &self,
        py: Python<'_>,
        payload: Bound<'_, PyBytes>,
        timeout: Option<f64>,
    ) -> PyResult<u64> {
        let work = Work::Reconfigure(Bytes::copy_from_slice(payload.as_bytes()));
        Ok(self.submit_works(py, vec![work], timeout)?[0])
    }

    /// Asks that the service go over to a later version, as `sign_upgrade` gives it; returns the token. The result is empty
    /// bytes if that version is in force, and otherwise the reason why not, in UTF-8.
    #[pyo3(signature = (payload, timeout=None))]
    fn submit_upgrade(&self, py: Python<'_>, payload: Bound<'_, PyBytes>, timeout: Option<f64>) -> PyResult<u64> {
        let work = Work::Upgrade(Bytes::copy_from_slice(payload.as_bytes()));
        Ok(self.submit_works(py, vec![work], timeout)?[0])
    }

    /// The newest membership that the client knows: its epoch, and its members by seniority, each with its id, its public
    /// key in hexadecimal, and its addresses for replicas and for clients. A change that is made is known a little later.
    fn membership(&self, py: Python<'_>) -> PyResult<(u64, Vec<MemberTuple>)> {
        self.maker.check(py, "client")?;
        let client = self.client.lock().clone();
        let membership = client.ok_or_else(|| errors::closed(py, "the client is closed"))?.membership();
        Ok((membership.epoch().0, membership.members().iter().map(tuple_of).collect()))
    }

    /// Asks one replica how it is; returns the token.
    #[pyo3(signature = (replica, timeout=None))]
    fn submit_status(&self, py: Python<'_>, replica: u16, timeout: Option<f64>) -> PyResult<u64> {
        Ok(self.submit_works(py, vec![Work::Status(ReplicaId(replica))], timeout)?[0])
    }

    /// What has completed since the last time: token, result or exception, whether it is an exception.
    fn drain(&self, py: Python<'_>) -> PyResult<Vec<Completed>> {
        self.maker.check(py, "client")?;
        let _visit = self.visitors.enter(py);
        let drained = self.completions.drain();
        drained
            .into_iter()
            .map(|completion| {
                let (value, failed) = self.outcome(py, completion.result)?;
                Ok((completion.token, value, failed))
            })
            .collect()
    }

    /// Waits, without holding up other threads, until a request has completed, and returns its result. The token must
    /// have come from a client for threads, and is used up even if the wait is interrupted.
    fn wait(&self, py: Python<'_>, token: u64) -> PyResult<Py<PyAny>> {
        self.maker.check(py, "client")?;
        let visit = self.visitors.enter(py);
        loop {
            let closed = self.client.lock().is_none();
            let outcome = match self.completions.take(token) {
                None if !closed => visit.wait(py, || self.completions.wait(token, INTERRUPT_INTERVAL)),
                taken => taken,
            };
            if let Some(outcome) = outcome {
                let (value, failed) = self.outcome(py, outcome)?;
                return if failed { Err(PyErr::from_value(value.into_bound(py))) } else { Ok(value) };
            }
            if closed {
                return Err(errors::closed(py, "the client is closed, and has nothing for this token"));
            }
            if let Err(interrupt) = py.check_signals() {
                self.completions.forget([token]);
                return Err(interrupt);
            }
        }
    }

    /// Gives up on these tokens: what comes for them is dropped.
    fn forget(&self, tokens: Vec<u64>) {
        self.completions.forget(tokens);
    }

    /// Ends the client; what is under way completes with pssmr.OutcomeUnknown.
    fn close(&self, py: Python<'_>) {
        let client = self.client.lock().take();
        let Some(client) = client else { return };
        if self.maker.is_here() {
            py.detach(|| client.close());
            self.visitors.wait_until_gone(py);
        } else {
            // Its threads are in the process that made it: there is nothing to close here.
            std::mem::forget(client);
        }
    }
}

impl ClientCore {
    fn submit_works(&self, py: Python<'_>, works: Vec<Work>, timeout: Option<f64>) -> PyResult<Vec<u64>> {
        self.submit_traced(py, works, timeout, Vec::new())
    }

    /// Submits all, the first ones with these traces.
    fn submit_traced(
        &self,
        py: Python<'_>,
        works: Vec<Work>,
        timeout: Option<f64>,
        traces: Vec<Option<TraceContext>>,
    ) -> PyResult<Vec<u64>> {
        self.maker.check(py, "client")?;
        let _visit = self.visitors.enter(py);
        let timeout = timeout.map(seconds).transpose()?;
        let client = self.client.lock().clone();
        let client = client.ok_or_else(|| errors::closed(py, "the client is closed"))?;
        let first = self.next_token.fetch_add(works.len() as u64, Ordering::Relaxed);
        let mut tokens: Vec<u64> = (first..).take(works.len()).collect();
        let traces = traces.into_iter().chain(std::iter::repeat(None));
        let mut submissions: Vec<_> = (tokens.iter().zip(works).zip(traces))
            .map(|((token, work), trace)| Submission { token: *token, work, timeout, trace })
            .collect();
        if self.completions.fileno().is_none() {
            self.completions.expect(tokens.iter().copied());
        }
        let submitted = client.submit_many(&mut submissions);
        let Err(error) = submitted else { return Ok(tokens) };
        let left = tokens.split_off(tokens.len() - submissions.len());
        self.completions.forget(left);
        if !tokens.is_empty() {
            return Ok(tokens);
        }
        Err(match error {
            SubmitError::QueueFull => errors::busy(py, error.to_string()),
            SubmitError::RequestTooLarge { .. } => errors::request_too_large(py, error.to_string()),
            SubmitError::Closed => errors::closed(py, error.to_string()),
            SubmitError::NoSuchReplica => errors::config_error(py, error.to_string()),
        })
    }

    fn outcome(&self, py: Python<'_>, outcome: Outcome) -> PyResult<(Py<PyAny>, bool)> {
        let value = match outcome {
            Ok(Response::Result(bytes) | Response::Status(bytes)) => PyBytes::new(py, &bytes).into_any().unbind(),
            Ok(Response::StateDigests(digests)) => {
                let dict = PyDict::new(py);
                for (replica, digest) in digests {
                    dict.set_item(replica.0, PyBytes::new(py, &digest.0))?;
                }
                dict.into_any().unbind()
            }
            Err(error) => return Ok((self.exception(py, error).into_value(py).into_any(), true)),
        };
        Ok((value, false))
    }

    fn exception(&self, py: Python<'_>, error: RequestError) -> PyErr {
        let message = error.to_string();
        match error {
            RequestError::NoQuorum { .. } => self.no_quorum(py, &message),
            RequestError::Busy => errors::busy(py, message),
            RequestError::ReplicaGone => errors::config_error(py, message),
            RequestError::SessionExpired => errors::session_expired(py, message),
            RequestError::OutcomeUnknown | RequestError::Closed => errors::outcome_unknown(py, message),
        }
    }

    /// Says of each replica that can't be reached why.
    fn no_quorum(&self, py: Python<'_>, message: &str) -> PyErr {
        let client = self.client.lock().clone();
        let links = client.map(|client| client.status().links).unwrap_or_default();
        let unreachable: Vec<_> = links
            .iter()
            .filter(|(_, link)| !link.up)
            .map(|(replica, link)| (replica.0, link.last_error.as_deref().unwrap_or("not yet connected")))
            .collect();
        let reasons: Vec<_> =
            unreachable.iter().map(|(replica, reason)| format!("replica {replica}: {reason}")).collect();
        let text = if reasons.is_empty() { message.to_owned() } else { format!("{message} ({})", reasons.join("; ")) };
        if unreachable.iter().any(|(_, reason)| is_about_keys(reason)) {
            errors::wrong_key(py, text)
        } else {
            errors::no_quorum(py, text)
        }
    }
}

fn trace_context(trace: &Bound<'_, PyBytes>) -> PyResult<TraceContext> {
    let bytes = trace.as_bytes().try_into().ok();
    let bytes = bytes.ok_or_else(|| PyValueError::new_err(format!("a trace is {} bytes", TraceContext::BYTES)))?;
    Ok(TraceContext::from_bytes(bytes))
}

fn seconds(seconds: f64) -> PyResult<Duration> {
    let duration = Duration::try_from_secs_f64(seconds).ok().filter(|duration| !duration.is_zero());
    duration.ok_or_else(|| PyValueError::new_err(format!("a time-out of {seconds} seconds: it must be above 0")))
}

/// Whether a link is down because one side does not take the other's key.
fn is_about_keys(reason: &str) -> bool {
    let refused = HandshakeFailure::KeyRefused.to_string();
    let unexpected = HandshakeFailure::UnexpectedKey(None).to_string();
    let (before, after) = unexpected.split_once("(unreadable)").unwrap_or((&unexpected, ""));
    reason.ends_with(&refused) || (reason.contains(before) && reason.ends_with(after))
}

impl Drop for ClientCore {
    fn drop(&mut self) {
        Python::attach(|py| self.close(py));
    }
}
