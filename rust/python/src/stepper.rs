//! `_core.Stepper`: commands one at a time, in the caller's thread, in any order. For tests of services.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use pssmr_execution::{Command, CommandKind, Footprint, Service, alone};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::errors;
use crate::service::PythonService;

/// Executes commands of a service object one at a time, in the caller's thread. Each has a position of the agreed order
/// and all that follows from it, whenever it is executed: so the same commands can be tried in several orders.
#[pyclass(frozen, module = "pssmr._core")]
pub(crate) struct Stepper {
    service: PythonService,
}

#[pymethods]
impl Stepper {
    #[new]
    fn new(service: &Bound<'_, PyAny>) -> PyResult<Self> {
        errors::load(service.py())?;
        Ok(Self { service: PythonService::new(service)? })
    }

    /// Executes one command and returns its reply.
    ///
    /// Raises pssmr.ReplicaStopped if it stops a replica.
    #[pyo3(signature = (payload, *, position, time_ns, seed))]
    fn execute<'py>(
        &self,
        py: Python<'py>,
        payload: PyBackedBytes,
        position: u64,
        time_ns: u64,
        seed: &Bound<'_, PyBytes>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let seed = seed.as_bytes().try_into().map_err(|_| PyValueError::new_err("a seed is 32 bytes"))?;
        let request = Command { timestamp: time_ns, seed, ..self.request(&payload, position) };
        let reply = guarded(py, || alone::execute(&self.service, request))?;
        Ok(PyBytes::new(py, &reply))
    }

    /// The digest of the state.
    ///
    /// Raises pssmr.ReplicaStopped if it stops a replica; this holds for what follows, too.
    fn state_digest<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &guarded(py, || self.service.state_digest())?.0))
    }

    /// What the service's own `snapshot` gives; None if it has none.
    ///
    /// Raises pssmr.SnapshotError if it fails.
    fn own_state<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let own = guarded(py, || self.service.own_state())?;
        let own = own.map_err(|error| errors::snapshot_error(py, error.to_string()))?;
        Ok(own.map(|own| PyBytes::new(py, &own)))
    }

    /// The state: the bytes that a replica would give to another one.
    ///
    /// Raises pssmr.SnapshotError if there is no snapshot.
    fn snapshot<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let mut bytes = Vec::new();
        let written = guarded(py, || {
            let source = self.service.snapshot().map_err(|error| error.to_string())?;
            source.write_to(&mut bytes).map_err(|error| error.to_string())
        })?;
        written.map_err(|text| errors::snapshot_error(py, text))?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// Replaces the state by that of a snapshot.
    ///
    /// Raises pssmr.SnapshotError if that can't be: the state may be anything then.
    fn restore(&self, py: Python<'_>, snapshot: &[u8]) -> PyResult<()> {
        self.service.restore(&mut &*snapshot).map_err(|error| errors::snapshot_error(py, error.to_string()))
    }

    /// For each payload, the places of those before it that it conflicts with.
    fn conflicts(&self, payloads: Vec<PyBackedBytes>) -> Vec<Vec<usize>> {
        let touched = |payload: &PyBackedBytes| alone::footprint(&self.service, self.request(payload, 1));
        let footprints: Vec<_> = payloads.iter().map(touched).collect();
        let before = |(place, footprint): (usize, &Footprint)| {
            (0..place).filter(|earlier| footprints[*earlier].conflicts(footprint)).collect()
        };
        footprints.iter().enumerate().map(before).collect()
    }
}

impl Stepper {
    fn request(&self, payload: &[u8], position: u64) -> Command {
        let payload = Bytes::copy_from_slice(payload);
        let version = self.service.latest_version();
        Command { version, ..Command::alone(position, CommandKind::Application, payload) }
    }
}

/// Calls something that stops a replica by a panic.
fn guarded<R>(py: Python<'_>, call: impl FnOnce() -> R) -> PyResult<R> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map_or("the service panicked", String::as_str);
        errors::replica_stopped(py, text)
    })
}
