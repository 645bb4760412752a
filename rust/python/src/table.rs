//! `_core.Table`: a table of the state, as handlers use it. `pssmr.Map` is its subclass in Python.

use std::sync::Arc;

use bytes::Bytes;
use pssmr_execution::key;
use pssmr_execution::{Access, AccessError, Mode, TableId};
use pyo3::exceptions::{PyKeyError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};

use crate::codec::{self, Schema, Type};
use crate::errors;
use crate::instance::Instance;
use crate::running::{Denied, with_access};
use crate::state::State;
use crate::table_iterator::{Part, TableIterator};

/// A table of a service's state: maps keys to values.
///
/// Values are kept encoded: what is read is a copy, and what has changed must be set again.
#[pyclass(frozen, subclass, module = "pssmr._core")]
#[derive(Debug)]
pub(crate) struct Table(Option<Place>);

/// Where a table's entries are, and of which types.
#[derive(Debug)]
struct Place {
    state: Arc<State>,
    id: TableId,
    key: Schema,
    value: Schema,
}

/// A key in both its forms.
struct Key<'a, 'py> {
    object: &'a Bound<'py, PyAny>,
    bytes: Vec<u8>,
}

#[pymethods]
impl Table {
    /// A table that is only declared; or the one with this index in an instance's state.
    #[new]
    #[pyo3(signature = (instance=None, index=0))]
    fn new(instance: Option<&Instance>, index: u16) -> PyResult<Self> {
        let Some(instance) = instance else { return Ok(Self(None)) };
        let declared = instance.interface.get().tables.get(usize::from(index));
        let declared = declared.ok_or_else(|| PyTypeError::new_err("there is no such table"))?;
        let (state, key, value) = (instance.state.clone(), declared.key.clone(), declared.value.clone());
        Ok(Self(Some(Place { state, id: TableId(index), key, value })))
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
                let (key, value) = (place.key.0.describe(), place.value.0.describe());
                format!("<Map[{key}, {value}] {}>", place.state.tables.name(place.id))
            }
            None => "<Map, declared>".to_owned(),
        }
    }
}

impl Table {
    fn place(&self) -> PyResult<&Place> {
        self.0.as_ref().ok_or_else(|| {
            PyTypeError::new_err("the class only declares the map: use it through an instance, as in self.accounts")
        })
    }

    fn iterate(&self, py: Python<'_>, part: Part) -> PyResult<TableIterator> {
        let place = self.place()?;
        let snapshot = place.touch_all(py, |access| access.snapshot(place.id))?;
        Ok(TableIterator::new(snapshot, place.key.clone(), place.value.clone(), part))
    }
}

impl Place {
    fn name(&self) -> &str {
        self.state.tables.name(self.id)
    }

    fn key<'a, 'py>(&self, object: &'a Bound<'py, PyAny>) -> PyResult<Key<'a, 'py>> {
        let mut encoding = Vec::with_capacity(32);
        let whole = || format!("a key of {}", self.name());
        codec::encode(&self.key.0, object, &mut encoding)
            .map_err(|error| error.raise(PyTypeError::new_err, &whole()))?;
        let mut bytes = Vec::with_capacity(encoding.len() + 8);
        key::encode(&encoding, &mut bytes).map_err(|error| PyTypeError::new_err(format!("{}: {error}", whole())))?;
        Ok(Key { object, bytes })
    }

    fn encode(&self, key: &Key<'_, '_>, value: &Bound<'_, PyAny>) -> PyResult<Bytes> {
        let mut out = Vec::with_capacity(16);
        codec::encode(&self.value.0, value, &mut out)
            .map_err(|error| error.raise(PyTypeError::new_err, &self.entry(key)))?;
        Ok(Bytes::from(out))
    }

    fn decode<'py>(&self, py: Python<'py>, value: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        codec::decode(&self.value.0, py, value)
            .map_err(|error| error.raise(PyTypeError::new_err, &format!("a value of {}", self.name())))
    }

    fn get(&self, key: &Key<'_, '_>) -> PyResult<Option<Bytes>> {
        self.touch(key, |access, bytes| access.get(self.id, bytes))
    }

    fn remove(&self, key: &Key<'_, '_>) -> PyResult<Option<Bytes>> {
        self.touch(key, |access, bytes| access.remove(self.id, bytes))
    }

    /// Touches one key, as the running command.
    fn touch<R>(
        &self,
        key: &Key<'_, '_>,
        touch: impl FnOnce(&mut Access, &[u8]) -> Result<R, AccessError>,
    ) -> PyResult<R> {
        with_access(&self.state, |access| touch(access, &key.bytes))
            .map_err(|denied| self.denied(key.object.py(), denied, &self.entry(key)))
    }

    /// Touches the whole table, as the running command.
    fn touch_all<R>(&self, py: Python<'_>, touch: impl FnOnce(&mut Access) -> Result<R, AccessError>) -> PyResult<R> {
        with_access(&self.state, touch).map_err(|denied| self.denied(py, denied, &format!("all of {}", self.name())))
    }

    /// How messages call the entry of a key.
    fn entry(&self, key: &Key<'_, '_>) -> String {
        let key: String = key.object.repr().map_or_else(|_| "...".into(), |text| text.to_string());
        format!("{}[{}]", self.name(), key.chars().take(40).collect::<String>())
    }

    fn denied(&self, py: Python<'_>, denied: Denied, what: &str) -> PyErr {
        let name = self.name();
        let (command, error) = match denied {
            Denied::Undeclared { command, error } => (command, error),
            Denied::Held => {
                let message = format!("{what} belongs to a replica: only commands may touch it; ask through a client");
                return errors::undeclared_access(py, message);
            }
        };
        match error {
            AccessError::NotAnInteger => {
                PyValueError::new_err(format!("{what} is beyond 64 bits with a sign, so nothing can be added to it"))
            }
            AccessError::UndeclaredKey { mode, .. } => {
                let (verb, mode) = words(mode);
                errors::undeclared_access(
                    py,
                    format!(
                        "{command} {verb} {what} but does not declare it: annotate the argument that is the key with \
                         {name}.{mode}, or declare the whole map with {}=[{name}]",
                        if mode == "read" { "reads" } else { "writes" }
                    ),
                )
            }
            AccessError::UndeclaredTable { mode, .. } => {
                let (verb, mode) = words(mode);
                let option = if mode == "read" { "reads" } else { "writes" };
                errors::undeclared_access(
                    py,
                    format!(
                        "{command} {verb} {what} but does not declare it: declare the whole map with {option}=[{name}]"
                    ),
                )
            }
        }
    }
}

/// What a command does in a mode, and the mode's name.
fn words(mode: Mode) -> (&'static str, &'static str) {
    match mode {
        Mode::Read => ("reads", "read"),
        Mode::Commute => ("adds to", "commute"),
        Mode::Write => ("writes", "write"),
    }
}

fn missing(key: &Bound<'_, PyAny>) -> PyErr {
    PyKeyError::new_err((key.clone().unbind(),))
}
