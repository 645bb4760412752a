//! `_core.Queue`: a queue of the state, as handlers use it. `pssmr.Queue` is its subclass in Python.

use std::ops::Bound as End;

use pssmr_execution::table::Entry;
use pssmr_execution::{key, messagepack};
use pyo3::exceptions::{PyIndexError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};

use crate::codec;
use crate::instance::Instance;
use crate::place::Place;
use crate::table_iterator::{Part, TableIterator};

/// A queue of a service's state, first in, first out.
///
/// It is a table whose keys count up from 0; an empty one begins again at 0.
#[pyclass(frozen, subclass, module = "pssmr._core")]
#[derive(Debug)]
pub(crate) struct Queue(Option<Place>);

#[pymethods]
impl Queue {
    /// A queue that is only declared; or the one with this index in an instance's state.
    #[new]
    #[pyo3(signature = (instance=None, index=0, *, since=1))]
    fn new(instance: Option<&Instance>, index: u16, since: u32) -> PyResult<Self> {
        // That of a declaration is for Python, which knows it when it declares the interface.
        let _ = since;
        Ok(Self(instance.map(|instance| Place::new("queue", instance, index)).transpose()?))
    }

    #[classmethod]
    fn __class_getitem__<'py>(class: &Bound<'py, PyType>, item: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        class.py().import("types")?.getattr("GenericAlias")?.call1((class, item))
    }

    /// Puts a value at the end.
    fn push(&self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let place = self.place()?;
        let mut encoding = Vec::with_capacity(16);
        codec::encode(&place.value.0, value, &mut encoding)
            .map_err(|error| error.raise(PyTypeError::new_err, place.name()))?;
        place.touch_all(value.py(), |access| {
            let key = key_after(access.last(place.id)?);
            access.put(place.id, &key, encoding.into())
        })
    }

    /// Takes the oldest value; of an empty queue returns `default`, or raises IndexError if there is none.
    #[pyo3(signature = (*default))]
    fn pop<'py>(&self, default: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>> {
        if default.len() > 1 {
            return Err(PyTypeError::new_err("pop takes at most one default"));
        }
        let (py, place) = (default.py(), self.place()?);
        let oldest = place.touch_all(py, |access| {
            let first = access.first(place.id)?;
            first.map(|(key, _)| access.remove(place.id, &key)).transpose()
        })?;
        match oldest.flatten() {
            Some(value) => place.decode(py, &value),
            None => default.get_item(0).map_err(|_| PyIndexError::new_err(format!("{} is empty", place.name()))),
        }
    }

    /// The oldest value, which stays; of an empty queue, `default`.
    #[pyo3(signature = (default=None))]
    fn peek<'py>(&self, py: Python<'py>, default: Option<Bound<'py, PyAny>>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let place = self.place()?;
        match place.touch_all(py, |access| access.first(place.id))? {
            Some((_, value)) => place.decode(py, &value).map(Some),
            None => Ok(default),
        }
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        let place = self.place()?;
        place.touch_all(py, |access| access.len(place.id))
    }

    fn __iter__(&self, py: Python<'_>) -> PyResult<TableIterator> {
        self.place()?.iterate(py, Part::Values, (End::Unbounded, End::Unbounded))
    }

    /// Removes all values.
    fn clear(&self, py: Python<'_>) -> PyResult<()> {
        let place = self.place()?;
        place.touch_all(py, |access| access.clear(place.id))
    }

    fn __repr__(&self) -> String {
        match &self.0 {
            Some(place) => format!("<Queue[{}] {}>", place.value.0.describe(), place.name()),
            None => "<Queue, declared>".to_owned(),
        }
    }
}

impl Queue {
    fn place(&self) -> PyResult<&Place> {
        Place::of(self.0.as_ref(), "queue")
    }
}

/// The key behind the last one.
fn key_after(last: Option<Entry>) -> Vec<u8> {
    let mut encoding = Vec::with_capacity(9);
    let next = last.map_or(0, |(bytes, _)| {
        key::decode(&bytes, &mut encoding).expect("keys of a queue are numbers that it has made");
        let number = match messagepack::Reader::new(&encoding).token() {
            Ok(messagepack::Token::Unsigned(number)) => number,
            other => unreachable!("a key of a queue is {other:?}"),
        };
        number + 1
    });
    encoding.clear();
    messagepack::write_unsigned(&mut encoding, next);
    let mut key = Vec::with_capacity(encoding.len() + 8);
    key::encode(&encoding, &mut key).expect("a number is a key");
    key
}
