//! `_core.Table`: a table of the state, as handlers use it. `pssmr.Map` is its subclass in Python.

use std::ops::Bound as End;

use pyo3::exceptions::{PyKeyError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};

use crate::codec::Type;
use crate::instance::Instance;
use crate::place::Place;
use crate::table_iterator::{Part, TableIterator};

/// A table of a service's state: maps keys to values.
///
/// Values are kept encoded: what is read is a copy, and what has changed must be set again.
#[pyclass(frozen, subclass, module = "pssmr._core")]
#[derive(Debug)]
pub(crate) struct Table(Option<Place>);

#[pymethods]
impl Table {
    /// A table that is only declared; or the one with this index in an instance's state.
    #[new]
    #[pyo3(signature = (instance=None, index=0, *, since=1))]
    fn new(instance: Option<&Instance>, index: u16, since: u32) -> PyResult<Self> {
        // That of a declaration is for Python, which knows it when it declares the interface.
        let _ = since;
        Ok(Self(instance.map(|instance| Place::new("map", instance, index)).transpose()?))
    }

    #[classmethod]
    fn __class_getitem__<'py>(class: &Bound<'py, PyType>, item: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        class.py().import("types")?.getattr("GenericAlias")?.call1((class, item))
    }

    /// The value of a key, or `default`.
    #[pyo3(signature = (key, default=None))]
    fn get<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let place = self.place()?;
        match place.get(&place.key(key)?)? {
            Some(value) => place.decode(key.py(), &value).map(Some),
            None => Ok(default),
        }
    }

    fn __getitem__<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let place = self.place()?;
        match place.get(&place.key(key)?)? {
            Some(value) => place.decode(key.py(), &value),
            None => Err(missing(key)),
        }
    }

    fn __setitem__(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let place = self.place()?;
        let key = place.key(key)?;
        let value = place.encode(&key, value)?;
        place.touch(&key, |access, bytes| access.put(place.id, bytes, value))
    }

    fn __delitem__(&self, key: &Bound<'_, PyAny>) -> PyResult<()> {
        let place = self.place()?;
        match place.remove(&place.key(key)?)? {
            Some(_) => Ok(()),
            None => Err(missing(key)),
        }
    }

    fn __contains__(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        let place = self.place()?;
        place.touch(&place.key(key)?, |access, bytes| access.contains(place.id, bytes))
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        let place = self.place()?;
        place.touch_all(py, |access| access.len(place.id))
    }

    fn __iter__(&self, py: Python<'_>) -> PyResult<TableIterator> {
        self.iterate(py, Part::Keys)
    }

    /// Iterates over the keys, sorted, as they are now.
    fn keys(&self, py: Python<'_>) -> PyResult<TableIterator> {
        self.iterate(py, Part::Keys)
    }

    /// Iterates over the values as they are now, in the order of their keys.
    fn values(&self, py: Python<'_>) -> PyResult<TableIterator> {
        self.iterate(py, Part::Values)
    }

    /// Iterates over pairs of key and value as they are now, in the order of the keys.
    fn items(&self, py: Python<'_>) -> PyResult<TableIterator> {
        self.iterate(py, Part::Items)
    }

    /// Iterates over pairs of key and value as they are now, in the order of the keys, from the key `start` on and up to,
    /// but without, the key `stop`.
    #[pyo3(signature = (start=None, stop=None))]
    fn range(
        &self,
        py: Python<'_>,
        start: Option<Bound<'_, PyAny>>,
        stop: Option<Bound<'_, PyAny>>,
    ) -> PyResult<TableIterator> {
        let place = self.place()?;
        place.iterate(py, Part::Items, place.ends(start.as_ref(), stop.as_ref())?)
    }

    /// Removes a key and returns its value; without the key, returns `default`, or raises KeyError if there is none.
    #[pyo3(signature = (key, *default))]
    fn pop<'py>(&self, key: &Bound<'py, PyAny>, default: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>> {
        if default.len() > 1 {
            return Err(PyTypeError::new_err("pop takes a key and at most one default"));
        }
        let place = self.place()?;
        match place.remove(&place.key(key)?)? {
            Some(value) => place.decode(key.py(), &value),
            None => default.get_item(0).map_err(|_| missing(key)),
        }
    }

    /// The value of a key; a key that is not there gets the value `default` first.
    fn setdefault<'py>(&self, key: &Bound<'py, PyAny>, default: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let place = self.place()?;
        let encoded = place.key(key)?;
        if let Some(value) = place.get(&encoded)? {
            return place.decode(key.py(), &value);
        }
        let value = place.encode(&encoded, default)?;
        let kept = value.clone();
        place.touch(&encoded, |access, bytes| access.put(place.id, bytes, value))?;
        place.decode(key.py(), &kept)
    }

    /// Adds to a key's int; a key that is not there counts as 0. Commands that only add to a key need no order among
    /// themselves: declare it with `commute`. The sum wraps around at 64 bits with a sign.
    fn add(&self, key: &Bound<'_, PyAny>, amount: i64) -> PyResult<()> {
        let place = self.place()?;
        if !matches!(*place.value.0, Type::Int) {
            let message = format!("add needs a table of int, not of {}", place.value.0.describe());
            return Err(PyTypeError::new_err(message));
        }
        place.touch(&place.key(key)?, |access, bytes| access.add(place.id, bytes, amount))
    }

    /// Removes all keys.
    fn clear(&self, py: Python<'_>) -> PyResult<()> {
        let place = self.place()?;
        place.touch_all(py, |access| access.clear(place.id))
    }

    fn __repr__(&self) -> String {
        match &self.0 {
            Some(place) => {
                format!("<Map[{}, {}] {}>", place.key.0.describe(), place.value.0.describe(), place.name())
            }
            None => "<Map, declared>".to_owned(),
        }
    }
}

impl Table {
    fn place(&self) -> PyResult<&Place> {
        Place::of(self.0.as_ref(), "map")
    }

    fn iterate(&self, py: Python<'_>, part: Part) -> PyResult<TableIterator> {
        let place = self.place()?;
        place.iterate(py, part, (End::Unbounded, End::Unbounded))
    }
}

fn missing(key: &Bound<'_, PyAny>) -> PyErr {
    PyKeyError::new_err((key.clone().unbind(),))
}
