//! Where the entries of a stored state are: what maps, sets, counters and queues have in common.

use std::ops::Bound as End;
use std::sync::Arc;

use bytes::Bytes;
use pssmr_execution::key;
use pssmr_execution::{Access, AccessError, Mode, TableId};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

use crate::codec::{self, Schema};
use crate::errors;
use crate::instance::Instance;
use crate::running::{Denied, with_access};
use crate::state::State;
use crate::table_iterator::{Part, TableIterator};

/// Where a table's entries are, and of which types.
#[derive(Debug)]
pub(crate) struct Place {
    /// What it is to its users: "map", "set", "counter" or "queue".
    kind: &'static str,
    pub(crate) state: Arc<State>,
    pub(crate) id: TableId,
    pub(crate) key: Schema,
    pub(crate) value: Schema,
    /// The version of the service that it came with.
    since: u32,
}

/// A key in both its forms.
pub(crate) struct Key<'a, 'py> {
    pub(crate) object: &'a Bound<'py, PyAny>,
    pub(crate) bytes: Vec<u8>,
}

/// Between which keys an iteration goes.
pub(crate) type Ends = (End<Vec<u8>>, End<Vec<u8>>);

impl Place {
    /// The table with this index in an instance's state.
    pub(crate) fn new(kind: &'static str, instance: &Instance, index: u16) -> PyResult<Self> {
        let declared = instance.interface.get().tables.get(usize::from(index));
        let declared = declared.ok_or_else(|| PyTypeError::new_err("there is no such table"))?;
        let (state, key, value) = (instance.state.clone(), declared.key.clone(), declared.value.clone());
        Ok(Self { kind, state, id: TableId(index), key, value, since: declared.since })
    }

    /// The place of what is a `kind`.
    ///
    /// # Errors
    /// If it is only declared.
    pub(crate) fn of<'a>(place: Option<&'a Self>, kind: &str) -> PyResult<&'a Self> {
        place.ok_or_else(|| {
            let message =
                format!("the class only declares the {kind}: use it through an instance, as in self.accounts");
            PyTypeError::new_err(message)
        })
    }

    /// From the key `start` on, and up to, but without, the key `stop`.
    pub(crate) fn ends(&self, start: Option<&Bound<'_, PyAny>>, stop: Option<&Bound<'_, PyAny>>) -> PyResult<Ends> {
        let end = |object: Option<&Bound<'_, PyAny>>, bound: fn(Vec<u8>) -> End<Vec<u8>>| match object {
            Some(object) => Ok::<_, PyErr>(bound(self.key(object)?.bytes)),
            None => Ok(End::Unbounded),
        };
        Ok((end(start, End::Included)?, end(stop, End::Excluded)?))
    }

    /// Iterates over the table as it is now.
    pub(crate) fn iterate(&self, py: Python<'_>, part: Part, ends: Ends) -> PyResult<TableIterator> {
        let snapshot = self.touch_all(py, |access| access.snapshot(self.id))?;
        Ok(TableIterator::new(snapshot, self.key.clone(), self.value.clone(), part, ends))
    }

    pub(crate) fn name(&self) -> &str {
        self.state.tables.name(self.id)
    }

    pub(crate) fn key<'a, 'py>(&self, object: &'a Bound<'py, PyAny>) -> PyResult<Key<'a, 'py>> {
        let mut encoding = Vec::with_capacity(32);
        let whole = || format!("a key of {}", self.name());
        codec::encode(&self.key.0, object, &mut encoding)
            .map_err(|error| error.raise(PyTypeError::new_err, &whole()))?;
        let mut bytes = Vec::with_capacity(encoding.len() + 8);
        key::encode(&encoding, &mut bytes).map_err(|error| PyTypeError::new_err(format!("{}: {error}", whole())))?;
        Ok(Key { object, bytes })
    }

    pub(crate) fn encode(&self, key: &Key<'_, '_>, value: &Bound<'_, PyAny>) -> PyResult<Bytes> {
        let mut out = Vec::with_capacity(16);
        codec::encode(&self.value.0, value, &mut out)
            .map_err(|error| error.raise(PyTypeError::new_err, &self.entry(key)))?;
        Ok(Bytes::from(out))
    }

    pub(crate) fn decode<'py>(&self, py: Python<'py>, value: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        codec::decode(&self.value.0, py, value)
            .map_err(|error| error.raise(PyTypeError::new_err, &format!("a value of {}", self.name())))
    }

    pub(crate) fn get(&self, key: &Key<'_, '_>) -> PyResult<Option<Bytes>> {
        self.touch(key, |access, bytes| access.get(self.id, bytes))
    }

    pub(crate) fn remove(&self, key: &Key<'_, '_>) -> PyResult<Option<Bytes>> {
        self.touch(key, |access, bytes| access.remove(self.id, bytes))
    }

    /// Touches one key, as the running command.
    pub(crate) fn touch<R>(
        &self,
        key: &Key<'_, '_>,
        touch: impl FnOnce(&mut Access, &[u8]) -> Result<R, AccessError>,
    ) -> PyResult<R> {
        with_access(&self.state, self.since, |access| touch(access, &key.bytes))
            .map_err(|denied| self.denied(key.object.py(), denied, &self.entry(key)))
    }

    /// Touches the whole table, as the running command.
    pub(crate) fn touch_all<R>(
        &self,
        py: Python<'_>,
        touch: impl FnOnce(&mut Access) -> Result<R, AccessError>,
    ) -> PyResult<R> {
        with_access(&self.state, self.since, touch).map_err(|denied| self.denied(py, denied, &self.whole()))
    }

    /// Touches the one entry that is the whole table, as the running command.
    pub(crate) fn touch_whole_by_key<R>(
        &self,
        key: &Key<'_, '_>,
        touch: impl FnOnce(&mut Access, &[u8]) -> Result<R, AccessError>,
    ) -> PyResult<R> {
        let whole = |error| match error {
            AccessError::UndeclaredKey { table, mode } => AccessError::UndeclaredTable { table, mode },
            other => other,
        };
        with_access(&self.state, self.since, |access| touch(access, &key.bytes).map_err(whole))
            .map_err(|denied| self.denied(key.object.py(), denied, &self.whole()))
    }

    /// Whether its users see its entries by key.
    fn has_keys(&self) -> bool {
        matches!(self.kind, "map" | "set")
    }

    /// How messages call the whole table.
    fn whole(&self) -> String {
        if self.has_keys() { format!("all of {}", self.name()) } else { self.name().to_owned() }
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
            Denied::NotInForce { command, version } => {
                let since = self.since;
                let message = format!(
                    "{command} touches {what}, which came with version {since} of the service, and version {version} is in \
                     force: ask the context for the version first, or write a command with since={since}"
                );
                return errors::undeclared_access(py, message);
            }
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
                let (verb, mode, option) = words(mode);
                let kind = self.kind;
                errors::undeclared_access(
                    py,
                    format!(
                        "{command} {verb} {what} but does not declare it: annotate the argument that is the key with \
                         {name}.{mode}, or declare the whole {kind} with {option}=[{name}]"
                    ),
                )
            }
            AccessError::UndeclaredTable { mode, .. } => {
                let (verb, _, option) = words(mode);
                let it = if self.has_keys() { format!("the whole {}", self.kind) } else { "it".to_owned() };
                let message =
                    format!("{command} {verb} {what} but does not declare it: declare {it} with {option}=[{name}]");
                errors::undeclared_access(py, message)
            }
        }
    }
}

/// What a command does in a mode, the mode's name, and the option that declares it of a whole table.
fn words(mode: Mode) -> (&'static str, &'static str, &'static str) {
    match mode {
        Mode::Read => ("reads", "read", "reads"),
        Mode::Commute => ("adds to", "commute", "commutes"),
        Mode::Write => ("writes", "write", "writes"),
    }
}
