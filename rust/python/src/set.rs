//! `_core.Set`: a set of the state, as handlers use it. `pssmr.Set` is its subclass in Python.

use std::ops::Bound as End;

use bytes::Bytes;
use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::instance::Instance;
use crate::place::Place;
use crate::table_iterator::{Part, TableIterator};

/// The value of every key: nil.
const MEMBER: Bytes = Bytes::from_static(&[0xc0]);

/// A set of a service's state.
#[pyclass(frozen, subclass, module = "pssmr._core")]
#[derive(Debug)]
pub(crate) struct Set(Option<Place>);

#[pymethods]
impl Set {
    /// A set that is only declared; or the one with this index in an instance's state.
    #[new]
    #[pyo3(signature = (instance=None, index=0, *, since=1))]
    fn new(instance: Option<&Instance>, index: u16, since: u32) -> PyResult<Self> {
        // That of a declaration is for Python, which knows it when it declares the interface.
        let _ = since;
        Ok(Self(instance.map(|instance| Place::new("set", instance, index)).transpose()?))
    }

    #[classmethod]
    fn __class_getitem__<'py>(class: &Bound<'py, PyType>, item: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        class.py().import("types")?.getattr("GenericAlias")?.call1((class, item))
    }

    /// Adds an element; returns whether it was not there.
    fn add(&self, element: &Bound<'_, PyAny>) -> PyResult<bool> {
        let place = self.place()?;
        place.touch(&place.key(element)?, |access, bytes| {
            let new = !access.contains(place.id, bytes)?;
            if new {
                access.put(place.id, bytes, MEMBER)?;
            }
            Ok(new)
        })
    }

    /// Removes an element; returns whether it was there.
    fn discard(&self, element: &Bound<'_, PyAny>) -> PyResult<bool> {
        let place = self.place()?;
        Ok(place.remove(&place.key(element)?)?.is_some())
    }

    /// Removes an element, or raises KeyError if it is not there.
    fn remove(&self, element: &Bound<'_, PyAny>) -> PyResult<()> {
        if self.discard(element)? { Ok(()) } else { Err(PyKeyError::new_err((element.clone().unbind(),))) }
    }

    fn __contains__(&self, element: &Bound<'_, PyAny>) -> PyResult<bool> {
        let place = self.place()?;
        place.touch(&place.key(element)?, |access, bytes| access.contains(place.id, bytes))
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        let place = self.place()?;
        place.touch_all(py, |access| access.len(place.id))
    }

    fn __iter__(&self, py: Python<'_>) -> PyResult<TableIterator> {
        self.place()?.iterate(py, Part::Keys, (End::Unbounded, End::Unbounded))
    }

    /// Iterates over the elements as they are now, sorted, from `start` on and up to, but without, `stop`.
    #[pyo3(signature = (start=None, stop=None))]
    fn range(
        &self,
        py: Python<'_>,
        start: Option<Bound<'_, PyAny>>,
        stop: Option<Bound<'_, PyAny>>,
    ) -> PyResult<TableIterator> {
        let place = self.place()?;
        place.iterate(py, Part::Keys, place.ends(start.as_ref(), stop.as_ref())?)
    }

    /// Removes all elements.
    fn clear(&self, py: Python<'_>) -> PyResult<()> {
        let place = self.place()?;
        place.touch_all(py, |access| access.clear(place.id))
    }

    fn __repr__(&self) -> String {
        match &self.0 {
            Some(place) => format!("<Set[{}] {}>", place.key.0.describe(), place.name()),
            None => "<Set, declared>".to_owned(),
        }
    }
}

impl Set {
    fn place(&self) -> PyResult<&Place> {
        Place::of(self.0.as_ref(), "set")
    }
}
