//! `_core.NativeService`: a service in Rust, which runs without the interpreter.

use std::sync::Arc;

use parking_lot::Mutex;
use pssmr_execution::Service;
use pssmr_execution::services::{KeyValue, Null};
use pssmr_types::Digest;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::errors;

/// A service in Rust, which runs without the interpreter.
///
/// "null" takes any command, does nothing and returns empty bytes. "key_value" has get, put, add, cas and delete.
#[pyclass(frozen, module = "pssmr._core")]
pub(crate) struct NativeService {
    /// Until a replica takes it: each needs one of its own.
    service: Mutex<Option<Arc<dyn Service>>>,
    name: String,
}

#[pymethods]
impl NativeService {
    #[new]
    fn new(name: String) -> PyResult<Self> {
        let service: Arc<dyn Service> = match name.as_str() {
            "null" => Arc::new(Null::new(0)),
            "key_value" => Arc::new(KeyValue::new()),
            _ => return Err(PyValueError::new_err(format!("no native service {name:?}: null, key_value"))),
        };
        Ok(Self { service: Mutex::new(Some(service)), name })
    }
}

impl NativeService {
    /// Takes the service over.
    pub(crate) fn take(&self, py: Python<'_>) -> PyResult<Arc<dyn Service>> {
        let taken = self.service.lock().take();
        taken.ok_or_else(|| errors::closed(py, "the service object belongs to another replica: make a new one"))
    }

    /// What replicas compare, to see that they run the same.
    pub(crate) fn schema_digest(&self) -> Digest {
        Digest::of("pssmr native service 1", self.name.as_bytes())
    }
}
