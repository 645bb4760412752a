//! Snapshots of Python services: the core freezes the tables; what a service keeps beside them it gives and takes itself,
//! by the methods `snapshot` and `restore` of its class.
//!
//! The bytes: those of the tables, and then `0`, or `1`, the number of bytes of the service's own state (8 bytes, the
//! lowest first), and that state.

use std::io::{self, BufWriter, Read, Write};
use std::sync::Arc;

use pssmr_execution::{Access, Footprint, RestoreError, SnapshotError, SnapshotReader, SnapshotSource, TablesSnapshot};
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::context::Facts;
use crate::failure;
use crate::running::Scope;
use crate::state::State;

/// The most of its own state that a service can give, in bytes.
const OWN_BYTES_MAX: usize = 1 << 36;

/// What a service object keeps beside its tables.
pub(crate) struct OwnState {
    object: Py<PyAny>,
    state: Arc<State>,
    /// The name of the service's class.
    class: String,
    /// Whether the class has `snapshot` and `restore`.
    has_methods: bool,
    /// What no snapshot would have, and what to do about it.
    obstacle: Option<String>,
}

/// A service's state as it was at one moment.
struct Frozen {
    tables: TablesSnapshot,
    own: Option<Vec<PyBackedBytes>>,
}

impl OwnState {
    pub(crate) fn new(object: &Bound<'_, PyAny>, state: Arc<State>) -> PyResult<Self> {
        let py = object.py();
        let class = object.get_type();
        let obstacle = py.import("pssmr.snapshots")?.call_method1("snapshot_obstacle", (object,))?;
        Ok(Self {
            object: object.clone().unbind(),
            state,
            class: class.name()?.to_string(),
            has_methods: class.getattr(intern!(py, "_has_snapshot"))?.extract()?,
            obstacle: obstacle.extract()?,
        })
    }

    /// Whether [`OwnState::snapshot`] can have the whole state.
    pub(crate) fn can_freeze(&self) -> Result<(), SnapshotError> {
        self.obstacle.as_ref().map_or(Ok(()), |obstacle| Err(SnapshotError::Incomplete(obstacle.clone())))
    }

    /// What the class's `snapshot` gives, in pieces; `None` if it has none. It is all there when this returns, so that
    /// commands may go on.
    pub(crate) fn freeze(&self) -> Result<Option<Vec<PyBackedBytes>>, SnapshotError> {
        if !self.has_methods {
            return Ok(None);
        }
        Python::attach(|py| {
            self.reading("snapshot", || pieces(&self.object.bind(py).call_method0(intern!(py, "snapshot"))?))
                .map(Some)
                .map_err(|error| {
                    let text = error.to_string();
                    failure::log(py, &format!("{}.snapshot", self.class), error);
                    SnapshotError::Failed(format!("{}.snapshot raised {text}", self.class))
                })
        })
    }

    /// Freezes tables and own state.
    pub(crate) fn snapshot(&self) -> Result<Box<dyn SnapshotSource>, SnapshotError> {
        self.can_freeze()?;
        let own = self.freeze()?;
        Ok(Box::new(Frozen { tables: self.state.tables.snapshot_all(), own }))
    }

    /// Replaces tables and own state. The tables come first: the class's `restore` may read them.
    pub(crate) fn restore(&self, source: &mut dyn Read) -> Result<(), RestoreError> {
        self.state.tables.restore_all(source)?;
        let mut reader = SnapshotReader::new(source);
        let malformed = |text: String| Err(RestoreError::Malformed(text));
        match (reader.array()?, self.has_methods) {
            ([0], false) => reader.end(),
            ([1], true) => {
                let own = reader.bytes("state", OWN_BYTES_MAX)?;
                reader.end()?;
                self.thaw(&own)
            }
            ([0], true) => malformed(format!("it is of a {} without snapshot and restore", self.class)),
            ([1], false) => malformed(format!("it is of a {} with snapshot and restore", self.class)),
            _ => malformed("what follows the tables has no meaning".to_owned()),
        }
    }

    /// Gives bytes to the class's `restore`.
    fn thaw(&self, own: &[u8]) -> Result<(), RestoreError> {
        Python::attach(|py| {
            let state = PyBytes::new(py, own);
            let object = self.object.bind(py);
            self.reading("restore", || object.call_method1(intern!(py, "restore"), (state,))).map_err(|error| {
                let text = error.to_string();
                failure::report(py, "error", &format!("{}.restore failed", self.class), error);
                RestoreError::Failed(format!("{}.restore raised {text}", self.class))
            })?;
            Ok(())
        })
    }

    /// Calls something that may read all tables, and write none.
    fn reading<R>(&self, name: &str, call: impl FnOnce() -> PyResult<R>) -> PyResult<R> {
        let access = Box::new(Access::new(self.state.tables.clone()));
        // What is not in force yet is empty.
        let facts = Facts::local(0, 0, u32::MAX);
        let scope = Scope::enter(access, &Footprint::read_all(), name.into(), facts);
        let outcome = call();
        scope.rollback();
        outcome
    }
}

/// What `snapshot` returned: bytes, or an iterable of bytes, which is read to its end.
fn pieces(returned: &Bound<'_, PyAny>) -> PyResult<Vec<PyBackedBytes>> {
    if let Ok(bytes) = returned.cast::<PyBytes>() {
        return Ok(vec![bytes.clone().into()]);
    }
    let wrong = |what: &str, value: &Bound<'_, PyAny>| {
        let class = value.get_type().name().map_or_else(|_| "an object".to_owned(), |name| name.to_string());
        PyTypeError::new_err(format!("snapshot {what} {class}; expected bytes, or an iterable of bytes"))
    };
    let mut pieces = Vec::new();
    let mut length = 0;
    for piece in returned.try_iter().map_err(|_| wrong("returned", returned))? {
        let piece = piece?;
        let piece = piece.cast::<PyBytes>().map_err(|_| wrong("gave a piece that is", &piece))?;
        length += piece.as_bytes().len();
        if length > OWN_BYTES_MAX {
            return Err(PyTypeError::new_err(format!("snapshot gave more than {OWN_BYTES_MAX} bytes")));
        }
        pieces.push(piece.clone().into());
    }
    Ok(pieces)
}

impl SnapshotSource for Frozen {
    fn write_to(self: Box<Self>, out: &mut dyn Write) -> io::Result<()> {
        self.tables.encode(out)?;
        let mut out = BufWriter::new(out);
        match &self.own {
            None => out.write_all(&[0])?,
            Some(pieces) => {
                let length: usize = pieces.iter().map(|piece| piece.len()).sum();
                out.write_all(&[1])?;
                out.write_all(&(length as u64).to_le_bytes())?;
                pieces.iter().try_for_each(|piece| out.write_all(piece))?;
            }
        }
        out.flush()
    }
}
