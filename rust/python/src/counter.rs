//! `_core.Counter`: a counter of the state, as handlers use it. `pssmr.Counter` is its subclass in Python.

use pssmr_execution::{Access, AccessError};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::codec;
use crate::instance::Instance;
use crate::place::Place;

/// A number of a service's state.
///
/// It is the one entry of a table, at the key None; no entry is 0.
#[pyclass(frozen, subclass, module = "pssmr._core")]
#[derive(Debug)]
pub(crate) struct Counter(Option<Place>);

#[pymethods]
impl Counter {
    /// A counter that is only declared; or the one with this index in an instance's state.
    #[new]
    #[pyo3(signature = (instance=None, index=0, *, since=1))]
    fn new(instance: Option<&Instance>, index: u16, since: u32) -> PyResult<Self> {
        // That of a declaration is for Python, which knows it when it declares the interface.
        let _ = since;
        Ok(Self(instance.map(|instance| Place::new("counter", instance, index)).transpose()?))
    }

    /// The number. Reading it waits for all that add to it: declare it with `reads`.
    #[getter]
    fn value<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let place = self.place()?;
        match self.touch(py, |access, key| access.get(place.id, key))? {
            Some(value) => place.decode(py, &value),
            None => Ok(0_i64.into_pyobject(py)?.into_any()),
        }
    }

    /// Makes the number another one. Declare it with `writes`.
    #[setter]
    fn set_value(&self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let place = self.place()?;
        let mut encoding = Vec::with_capacity(9);
        codec::encode(&place.value.0, value, &mut encoding)
            .map_err(|error| error.raise(PyTypeError::new_err, place.name()))?;
        self.touch(value.py(), |access, key| access.put(place.id, key, encoding.into()))
    }

    /// Adds to the number. Commands that only add need no order among themselves: declare it with `commutes`. The sum
    /// wraps around at 64 bits with a sign.
    #[pyo3(signature = (amount=1))]
    fn add(&self, py: Python<'_>, amount: i64) -> PyResult<()> {
        let place = self.place()?;
        self.touch(py, |access, key| access.add(place.id, key, amount))
    }

    fn __repr__(&self) -> String {
        match &self.0 {
            Some(place) => format!("<Counter {}>", place.name()),
            None => "<Counter, declared>".to_owned(),
        }
    }
}

impl Counter {
    fn place(&self) -> PyResult<&Place> {
        Place::of(self.0.as_ref(), "counter")
    }

    fn touch<R>(
        &self,
        py: Python<'_>,
        touch: impl FnOnce(&mut Access, &[u8]) -> Result<R, AccessError>,
    ) -> PyResult<R> {
        let place = self.place()?;
        let none = py.None().into_bound(py);
        let key = place.key(&none)?;
        place.touch_whole_by_key(&key, touch)
    }
}
