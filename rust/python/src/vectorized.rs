//! Vectorised handlers: one call for many commands, with an array for each parameter and one for the results.

use bytes::Bytes;
use pssmr_execution::reply;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};

use crate::codec::{self, CodecError, Decoder, Type};
use crate::method::{ArgumentsError, Method, Parameter};

/// The arguments of some commands, by parameter.
pub(crate) struct Columns {
    columns: Vec<Column>,
    /// How many commands there are.
    count: usize,
}

enum Column {
    Ints(Vec<i64>),
    Floats(Vec<f64>),
    Bools(Vec<bool>),
    Objects(Vec<Py<PyAny>>),
}

impl Columns {
    /// No commands yet, of about `capacity`.
    pub(crate) fn new(method: &Method, capacity: usize) -> Self {
        let column = |parameter: &Parameter| match *parameter.schema.0 {
            Type::Int => Column::Ints(Vec::with_capacity(capacity)),
            Type::Float => Column::Floats(Vec::with_capacity(capacity)),
            Type::Bool => Column::Bools(Vec::with_capacity(capacity)),
            _ => Column::Objects(Vec::with_capacity(capacity)),
        };
        Self { columns: method.parameters.iter().map(column).collect(), count: 0 }
    }

    /// Adds a command with this array of arguments. Those that are missing at the end take their defaults.
    ///
    /// # Errors
    /// Those of [`Method::decode_arguments`]; or an int is too large for an array. The command is not added.
    pub(crate) fn push(&mut self, py: Python<'_>, method: &Method, arguments: &[u8]) -> Result<(), ArgumentsError> {
        let pushed = self.read(py, method, arguments);
        if pushed.is_ok() {
            self.count += 1;
        } else {
            self.columns.iter_mut().for_each(|column| column.truncate(self.count));
        }
        pushed
    }

    fn read(&mut self, py: Python<'_>, method: &Method, arguments: &[u8]) -> Result<(), ArgumentsError> {
        let mut decoder = Decoder::new(py, arguments);
        let whole = |error| ArgumentsError::of(error, "the arguments");
        let given = decoder.array("an array").map_err(whole)?;
        if given > method.parameters.len() {
            return Err(whole(CodecError::mismatch("there are too many")));
        }
        for (index, (parameter, column)) in method.parameters.iter().zip(&mut self.columns).enumerate() {
            let read = match &parameter.default {
                _ if index < given => column.push(&mut decoder, &parameter.schema.0),
                Some(default) => column.push(&mut Decoder::new(py, default), &parameter.schema.0),
                None => Err(CodecError::mismatch("is missing")),
            };
            read.map_err(|error| ArgumentsError::of(error, &format!("argument '{}'", parameter.name)))?;
        }
        decoder.finish().map_err(whole)
    }
}

impl Column {
    fn push(&mut self, decoder: &mut Decoder<'_, '_>, kind: &Type) -> Result<(), CodecError> {
        match self {
            Self::Ints(column) => column.push(decoder.int()?),
            Self::Floats(column) => column.push(decoder.float()?),
            Self::Bools(column) => column.push(decoder.bool()?),
            Self::Objects(column) => column.push(decoder.value(kind)?.unbind()),
        }
        Ok(())
    }

    fn truncate(&mut self, length: usize) {
        match self {
            Self::Ints(column) => column.truncate(length),
            Self::Floats(column) => column.truncate(length),
            Self::Bools(column) => column.truncate(length),
            Self::Objects(column) => column.truncate(length),
        }
    }

    /// The numpy array of it, which can't be written to: it is nobody's state.
    fn array<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let (bytes, dtype) = match self {
            Self::Ints(column) => (bytes_of(py, column, i64::to_ne_bytes)?, "int64"),
            Self::Floats(column) => (bytes_of(py, column, f64::to_ne_bytes)?, "float64"),
            Self::Bools(column) => (bytes_of(py, column, |value| [u8::from(value)])?, "bool"),
            Self::Objects(column) => {
                let keywords = PyDict::new(py);
                keywords.set_item(intern!(py, "dtype"), intern!(py, "object"))?;
                keywords.set_item(intern!(py, "count"), column.len())?;
                let objects = PyList::new(py, column.iter().map(|object| object.bind(py)))?;
                return numpy(py, "fromiter")?.call((objects,), Some(&keywords));
            }
        };
        numpy(py, "frombuffer")?.call1((bytes, dtype))
    }
}

fn bytes_of<'py, T: Copy, const N: usize>(
    py: Python<'py>,
    column: &[T],
    bytes: impl Fn(T) -> [u8; N],
) -> PyResult<Bound<'py, PyBytes>> {
    PyBytes::new_with(py, column.len() * N, |out| {
        for (place, value) in out.chunks_exact_mut(N).zip(column) {
            place.copy_from_slice(&bytes(*value));
        }
        Ok(())
    })
}

/// A function of numpy.
fn numpy<'py>(py: Python<'py>, name: &'static str) -> PyResult<Bound<'py, PyAny>> {
    static NUMPY: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    NUMPY.get_or_try_init(py, || py.import("numpy").map(Bound::unbind))?.bind(py).getattr(name)
}

/// Calls a handler with these commands, as what runs on this thread; the reply to each.
///
/// # Errors
/// What the handler raises; or it returns something else than a result for each command.
pub(crate) fn call<'py>(
    py: Python<'py>,
    method: &Method,
    service: Bound<'py, PyAny>,
    commands: &Columns,
) -> PyResult<Vec<Bytes>> {
    let mut arguments = Vec::with_capacity(1 + commands.columns.len());
    arguments.push(service);
    for column in &commands.columns {
        arguments.push(column.array(py)?);
    }
    let results = method.function.bind(py).call1(PyTuple::new(py, arguments)?)?;
    replies(method, &results, commands.count)
}

fn replies(method: &Method, results: &Bound<'_, PyAny>, count: usize) -> PyResult<Vec<Bytes>> {
    let (py, kind) = (results.py(), &*method.result.0);
    if results.is_none() && matches!(kind, Type::None) {
        return Ok(vec![reply::nil(); count]);
    }
    if let Type::Int = kind
        && let Some(values) = row::<i64>(results)
    {
        check_count(method, values.len(), count)?;
        return Ok(reply::integers(&values));
    }
    let results = if results.hasattr(intern!(py, "tolist"))? {
        results.call_method0(intern!(py, "tolist"))?
    } else {
        results.clone()
    };
    let Ok(results) = results.cast::<PyList>() else {
        let message = format!("{}: a vectorised handler returns an array or a list of results", method.name);
        return Err(PyTypeError::new_err(message));
    };
    check_count(method, results.len(), count)?;
    let (mut out, mut replies) = (Vec::new(), Vec::with_capacity(count));
    for result in results {
        out.clear();
        codec::encode(kind, &result, &mut out)
            .map_err(|error| error.raise(PyTypeError::new_err, &format!("{}: a result", method.name)))?;
        replies.push(reply::result(&out));
    }
    Ok(replies)
}

/// The values of an array of one dimension, if it has this type.
fn row<T: pyo3::buffer::Element>(results: &Bound<'_, PyAny>) -> Option<Vec<T>> {
    let buffer = PyBuffer::<T>::get(results).ok()?;
    if buffer.dimensions() != 1 {
        return None;
    }
    buffer.to_vec(results.py()).ok()
}

fn check_count(method: &Method, returned: usize, count: usize) -> PyResult<()> {
    if returned == count {
        return Ok(());
    }
    let message = format!("{} returned {returned} results for {count} commands", method.name);
    Err(PyTypeError::new_err(message))
}
