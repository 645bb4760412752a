//! `_core.Instance`: what the core keeps for one service object: its tables, and plain calls of its commands.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use pssmr_execution::{Access, FootprintBuilder};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::context::Facts;
use crate::errors;
use crate::interface::{Interface, arguments_of};
use crate::method::{ArgumentsError, Method};
use crate::running::{self, Scope};
use crate::state::State;
use crate::vectorized::{self, Columns};

/// What the core keeps for one service object.
#[pyclass(frozen, module = "pssmr._core")]
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) interface: Py<Interface>,
    pub(crate) state: Arc<State>,
    /// The number of plain calls so far.
    calls: AtomicU64,
}

#[pymethods]
impl Instance {
    #[new]
    fn new(interface: Py<Interface>) -> Self {
        let tables = &interface.get().tables;
        let state = Arc::new(State::new(tables.iter().map(|table| (table.name.as_str(), table.since > 1))));
        Self { interface, state, calls: AtomicU64::new(0) }
    }

    /// Calls a command without a cluster, with the same checks, guard and rollback as in one. Called by a handler of
    /// the same object, it is a part of that handler's command.
    #[pyo3(signature = (method, service, args, kwargs=None))]
    fn call<'py>(
        &self,
        py: Python<'py>,
        method: &Method,
        service: Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if running::is_running(&self.state) && method.vectorized {
            let payload = method.payload(args, kwargs)?;
            return call_vectorized(py, method, service, arguments_of(&payload));
        }
        if running::is_running(&self.state) {
            let mut positional = vec![service];
            if method.context {
                positional.extend(running::context(py, &self.state)?.map(|context| context.into_bound(py).into_any()));
            }
            positional.extend(args);
            return method.function.bind(py).call(PyTuple::new(py, positional)?, kwargs);
        }
        if self.state.is_held() {
            let message = format!("{}: a replica runs this service: call the command through a client", method.name);
            return Err(errors::closed(py, message));
        }
        self.call_plain(py, method, service, args, kwargs)
    }

    /// Whether commands change the state now: a replica has the service object, or this thread executes a command of it.
    #[getter]
    fn is_executing(&self) -> bool {
        self.state.is_held() || running::is_running(&self.state)
    }

    /// The digest of the tables: equal for equal contents.
    fn tables_digest(&self, py: Python<'_>) -> [u8; 32] {
        py.detach(|| self.state.tables.digest().0)
    }
}

impl Instance {
    fn call_plain<'py>(
        &self,
        py: Python<'py>,
        method: &Method,
        service: Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let interface = self.interface.get();
        let payload = method.payload(args, kwargs)?;
        let mut builder = FootprintBuilder::new();
        let extraction = interface.commands.extract(&payload, &mut builder).and_then(|extraction| {
            if extraction.deferred {
                interface.compute_footprint(py, &payload, &mut builder)?;
            }
            Ok(extraction)
        });
        let refused = |refusal: pssmr_execution::Refusal| {
            errors::refused(py, refusal.code(), format!("{}: {refusal}", method.name))
        };
        let handler = &interface.handlers[extraction.map_err(refused)?.handler as usize];
        let position = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        let access = Box::new(Access::new(self.state.tables.clone()));
        let scope =
            Scope::enter(access, &builder.build(), handler.name.clone(), Facts::local(position, now, interface.latest));
        let result = if method.vectorized {
            call_vectorized(py, method, service, arguments_of(&payload))
        } else {
            let arguments = method.decode_arguments(py, arguments_of(&payload)).map_err(|e| misfit(py, method, e))?;
            method.run(py, &self.state, service, arguments).and_then(|result| {
                let whole = format!("{}: the result", method.name);
                let reply = method.encode_result(&result).map_err(|error| error.raise(PyTypeError::new_err, &whole))?;
                method.decode_result(py, &reply[1..])
            })
        };
        if result.is_ok() {
            scope.commit()
        } else {
            scope.rollback()
        };
        result
    }
}

/// Calls a vectorised handler with one command, as the one that runs on this thread.
fn call_vectorized<'py>(
    py: Python<'py>,
    method: &Method,
    service: Bound<'py, PyAny>,
    arguments: &[u8],
) -> PyResult<Bound<'py, PyAny>> {
    let mut columns = Columns::new(method, 1);
    columns.push(py, method, arguments).map_err(|error| misfit(py, method, error))?;
    let replies = vectorized::call(py, method, service, &columns)?;
    method.decode_result(py, &replies[0][1..])
}

fn misfit(py: Python<'_>, method: &Method, error: ArgumentsError) -> PyErr {
    match error {
        ArgumentsError::Mismatch(text) => errors::argument_error(py, format!("{}: {text}", method.name)),
        ArgumentsError::Raised(error) => error,
    }
}
