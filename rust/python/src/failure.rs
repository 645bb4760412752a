//! What happens to exceptions that commands don't declare.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::errors::{is_fatal, type_name};

/// Logs an exception of the application, with its traceback, to `pssmr.handler`. `what` has failed.
///
/// An exception that says nothing about the command (no memory, an exit) stops the replica instead: it panics, and the
/// executor reports that.
pub(crate) fn log(py: Python<'_>, what: &str, error: PyErr) {
    let fatal = is_fatal(py, &error);
    let name = type_name(py, &error);
    let (level, text) = if fatal { ("critical", "raised; the replica stops") } else { ("error", "failed") };
    report(py, level, &format!("{what} {text}"), error);
    if fatal {
        // Unwinds without a second report of the panic on the standard error stream.
        std::panic::resume_unwind(Box::new(format!("{what} raised {name}")));
    }
}

/// Logs an exception, with its traceback, and does nothing else.
pub(crate) fn report(py: Python<'_>, level: &str, text: &str, error: PyErr) {
    if let Err(error) = write(py, level, text, error) {
        error.write_unraisable(py, None);
    }
}

fn write(py: Python<'_>, level: &str, text: &str, error: PyErr) -> PyResult<()> {
    static LOGGER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let logger = LOGGER.get_or_try_init(py, || {
        py.import("logging")?.call_method1("getLogger", ("pssmr.handler",)).map(Bound::unbind)
    })?;
    let keywords = pyo3::types::PyDict::new(py);
    keywords.set_item("exc_info", error)?;
    logger.bind(py).call_method(level, ("%s", text), Some(&keywords))?;
    Ok(())
}
