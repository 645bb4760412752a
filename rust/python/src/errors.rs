//! The exceptions that the core raises. The classes are Python's, in `pssmr.errors`; each is looked up once.

use pyo3::exceptions::{PyException, PyMemoryError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyTuple, PyType};

use pssmr_execution::Refusal;

macro_rules! exceptions {
    ($($(#[$doc:meta])* $function:ident, $class:literal;)*) => {
        mod classes {
            use pyo3::prelude::*;
            use pyo3::sync::PyOnceLock;
            use pyo3::types::PyType;

            $(pub(super) fn $function(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
                static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
                CLASS.import(py, "pssmr.errors", $class)
            })*
        }

        $($(#[$doc])*
        pub(crate) fn $function(py: Python<'_>, message: impl Into<String>) -> PyErr {
            match classes::$function(py) {
                Ok(class) => PyErr::from_type(class.clone(), (message.into(),)),
                Err(error) => error,
            }
        })*

        /// Looks all classes up. Later, making an exception lets no other thread go first: a thread that is on its
        /// way back to Python when the interpreter ends aborts the process.
        pub(crate) fn load(py: Python<'_>) -> PyResult<()> {
            $(classes::$function(py)?;)*
            Ok(())
        }
    };
}

exceptions! {
    /// A value that does not fit a command's argument.
    argument_error, "ArgumentError";
    /// A command that is refused for another reason.
    command_error, "CommandError";
    /// A command that nobody knows.
    unknown_command, "UnknownCommand";
    /// A command of a version of the service that is not in force yet.
    version_not_in_force, "VersionNotInForce";
    /// A service that can't be.
    declaration_error, "DeclarationError";
    /// A handler that failed; the text is the name of the exception's type.
    handler_failed, "HandlerFailed";
    /// A handler that touched what its command does not declare.
    undeclared_access, "UndeclaredAccess";
    /// A replica that has stopped for good.
    replica_stopped, "ReplicaStopped";
    /// A state that can't be frozen or brought back.
    snapshot_error, "SnapshotError";
    /// What was closed.
    closed, "Closed";
    /// A configuration that can't be used.
    config_error, "ConfigError";
    /// Too many requests under way.
    busy, "Busy";
    /// A request above the limit.
    request_too_large, "RequestTooLarge";
    /// Too few replicas can be reached.
    no_quorum, "NoQuorum";
    /// A key that the other side does not take.
    wrong_key, "WrongKey";
    /// A command of which nobody knows whether it was executed.
    outcome_unknown, "OutcomeUnknown";
    /// A session that the replicas have forgotten.
    session_expired, "SessionExpired";
}

/// The application's own error with this name.
pub(crate) fn application_error(py: Python<'_>, name: &str, arguments: &Bound<'_, PyTuple>) -> PyErr {
    static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let made = MAKE.import(py, "pssmr.errors", "application_error").and_then(|make| make.call1((name, arguments)));
    made.map_or_else(|error| error, PyErr::from_value)
}

/// A wish to step down that is not granted, and who leads, if that is another replica.
pub(crate) fn step_down_refused(py: Python<'_>, message: &str, leader: Option<u16>) -> PyErr {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let class = CLASS.import(py, "pssmr.errors", "StepDownRefused");
    class.map_or_else(|error| error, |class| PyErr::from_type(class.clone(), (message.to_owned(), leader)))
}

/// Whether it is an error that commands may answer with.
pub(crate) fn is_application_error(py: Python<'_>, error: &PyErr) -> PyResult<bool> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    error.value(py).is_instance(CLASS.import(py, "pssmr.errors", "ApplicationError")?)
}

/// The error that a refused command is at the client.
pub(crate) fn refused(py: Python<'_>, code: u8, message: String) -> PyErr {
    let is = |refusal: &Refusal| refusal.code() == code;
    if is(&Refusal::UnknownCommand) {
        unknown_command(py, message)
    } else if is(&Refusal::Argument(String::new())) || is(&Refusal::ArgumentCount { required: 0, most: 0, given: 0 }) {
        argument_error(py, message)
    } else if is(&Refusal::TooLarge("")) {
        request_too_large(py, message)
    } else {
        command_error(py, message)
    }
}

/// Whether an exception says something about this process rather than about the command: replicas would differ if they
/// went on after it, so this one stops.
pub(crate) fn is_fatal(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyMemoryError>(py) || !error.is_instance_of::<PyException>(py)
}

/// The name of an exception's type: what replicas say of it, because messages can differ between them.
pub(crate) fn type_name(py: Python<'_>, error: &PyErr) -> String {
    error.get_type(py).name().map_or_else(|_| "Exception".to_owned(), |name| name.to_string())
}
