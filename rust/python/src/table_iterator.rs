//! `_core.TableIterator`: over a table as it was when the iteration began.

use std::collections::VecDeque;
use std::ops::Bound as End;

use bytes::Bytes;
use parking_lot::Mutex;
use pssmr_execution::{TableSnapshot, key};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::codec::{self, Schema};
use crate::place::Ends;

/// How many entries are looked up at once.
const PAGE_LENGTH: usize = 64;

/// What of each entry an iterator yields.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    Keys,
    Values,
    Items,
}

/// Iterates over a table as it was when the iteration began, sorted by key.
#[pyclass(frozen, module = "pssmr._core")]
#[derive(Debug)]
pub(crate) struct TableIterator {
    snapshot: TableSnapshot,
    key: Schema,
    value: Schema,
    part: Part,
    stop: End<Vec<u8>>,
    ahead: Mutex<Ahead>,
}

/// The entries that were looked up and not yet yielded.
#[derive(Debug)]
struct Ahead {
    page: VecDeque<(Vec<u8>, Bytes)>,
    /// Where the next page begins.
    from: End<Vec<u8>>,
    ended: bool,
}

impl TableIterator {
    pub(crate) fn new(snapshot: TableSnapshot, key: Schema, value: Schema, part: Part, (from, stop): Ends) -> Self {
        let ahead = Mutex::new(Ahead { page: VecDeque::new(), from, ended: false });
        Self { snapshot, key, value, part, stop, ahead }
    }

    /// The next entry. Runs no Python code, so the lock is never held across any.
    fn advance(&self) -> Option<(Vec<u8>, Bytes)> {
        let mut ahead = self.ahead.lock();
        if ahead.page.is_empty() && !ahead.ended {
            let page: VecDeque<_> = self
                .snapshot
                .range(ahead.from.as_ref().map(Vec::as_slice), self.stop.as_ref().map(Vec::as_slice))
                .take(PAGE_LENGTH)
                .map(|(key, value)| (key.to_vec(), value.clone()))
                .collect();
            ahead.ended = page.len() < PAGE_LENGTH;
            if let Some((last, _)) = page.back() {
                ahead.from = End::Excluded(last.clone());
            }
            ahead.page = page;
        }
        ahead.page.pop_front()
    }

    fn key<'py>(&self, py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        let mut encoding = Vec::with_capacity(bytes.len());
        key::decode(bytes, &mut encoding).map_err(|error| PyValueError::new_err(error.to_string()))?;
        codec::decode(&self.key.0, py, &encoding).map_err(|error| error.raise(PyValueError::new_err, "a key"))
    }

    fn value<'py>(&self, py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        codec::decode(&self.value.0, py, bytes).map_err(|error| error.raise(PyValueError::new_err, "a value"))
    }
}

#[pymethods]
impl TableIterator {
    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some((key, value)) = self.advance() else { return Ok(None) };
        Ok(Some(match self.part {
            Part::Keys => self.key(py, &key)?,
            Part::Values => self.value(py, &value)?,
            Part::Items => PyTuple::new(py, [self.key(py, &key)?, self.value(py, &value)?])?.into_any(),
        }))
    }
}
