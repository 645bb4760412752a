//! From replies to Python's exceptions; requests of several operations, and the replies to them.

use bytes::Bytes;
use pssmr_execution::compound::OPERATIONS_MAX;
use pssmr_execution::{Compound, Reply};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyTuple};

use crate::codec;
use crate::errors;

fn malformed() -> PyErr {
    PyValueError::new_err("the replicas' reply is malformed")
}

/// Takes a reply apart.
///
/// # Errors
/// If it is malformed.
pub(crate) fn decode(data: &[u8]) -> PyResult<Reply> {
    Reply::decode(&Bytes::copy_from_slice(data)).map_err(|_| malformed())
}

/// The exception that a reply is to a command or a request with this name.
pub(crate) fn error_of(py: Python<'_>, name: &str, reply: Reply) -> PyErr {
    match reply {
        Reply::ApplicationError { name, arguments } => {
            let arguments = codec::decode_plain(py, &arguments)
                .map_err(|error| error.raise(|_| malformed(), ""))
                .and_then(|arguments| arguments.cast_into::<PyTuple>().map_err(|_| malformed()));
            match arguments {
                Ok(arguments) => errors::application_error(py, &name, &arguments),
                Err(error) => error,
            }
        }
        Reply::HandlerFailed { exception } => errors::handler_failed(py, exception),
        Reply::Refused { code, message } => errors::refused(py, code, format!("{name}: {message}")),
        Reply::Result(_) | Reply::Several(_) | Reply::OperationFailed { .. } => malformed(),
    }
}

/// The payload of a request that has these commands executed, which are encoded: each by itself, or as one transaction.
///
/// Raises pssmr.RequestTooLarge if there are too many, and ValueError if there is none.
#[pyfunction]
pub(crate) fn encode_several(
    py: Python<'_>,
    payloads: Vec<PyBackedBytes>,
    transaction: bool,
) -> PyResult<Bound<'_, PyBytes>> {
    if payloads.is_empty() {
        return Err(PyValueError::new_err("a request of no commands"));
    }
    if payloads.len() > OPERATIONS_MAX as usize {
        let text =
            format!("{} commands in one request, the limit is {OPERATIONS_MAX}; send less at once", payloads.len());
        return Err(errors::request_too_large(py, text));
    }
    let compound = if transaction { Compound::Transaction } else { Compound::Batch };
    let payloads: Vec<&[u8]> = payloads.iter().map(|payload| &payload[..]).collect();
    Ok(PyBytes::new(py, &compound.payload(&payloads)))
}

/// The replies to commands that were sent together. If they are a transaction and one has failed, its place and the reply to
/// it alone.
///
/// Raises why the whole request was refused or failed.
#[pyfunction]
#[allow(clippy::type_complexity)]
pub(crate) fn decode_several<'py>(
    py: Python<'py>,
    data: &[u8],
    name: &str,
) -> PyResult<(Option<u64>, Vec<Bound<'py, PyBytes>>)> {
    match decode(data)? {
        Reply::Several(replies) => Ok((None, replies.iter().map(|reply| PyBytes::new(py, reply)).collect())),
        Reply::OperationFailed { place, reply } => Ok((Some(place), vec![PyBytes::new(py, &reply)])),
        other => Err(error_of(py, name, other)),
    }
}
