//! A value that does not fit its type, and where in the value that is.

use std::fmt::Write as _;

use pyo3::prelude::*;

/// One step from a value to a part of it.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Field(String),
    Index(usize),
    /// An element of a set.
    Element,
    /// A key of a dict.
    Key,
    /// A value of a dict.
    Value,
    /// The value of a dict at this key.
    At(String),
}

impl Step {
    /// The step to the value of a dict at `key`.
    pub(crate) fn of_key(key: &Bound<'_, PyAny>) -> Self {
        let text = key.repr().map_or_else(|_| "?".to_owned(), |text| text.to_string());
        Self::At(text.chars().take(KEY_CHARACTERS_MAX).collect())
    }
}

/// Most characters of a key in a message.
const KEY_CHARACTERS_MAX: usize = 40;

/// What does not fit, and where.
#[derive(Clone, Debug)]
pub(crate) struct Mismatch {
    /// From the innermost part outwards.
    path: Vec<Step>,
    message: String,
}

impl Mismatch {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { path: Vec::new(), message: message.into() }
    }

    /// The sentence for people. `whole` names the value that the path starts at, as in "argument 'amount'".
    pub(crate) fn describe(&self, whole: &str) -> String {
        let mut text = whole.to_owned();
        for step in self.path.iter().rev() {
            match step {
                Step::Field(name) => write!(text, ".{name}"),
                Step::Index(index) => write!(text, "[{index}]"),
                Step::Element => write!(text, ", an element"),
                Step::Key => write!(text, ", a key"),
                Step::Value => write!(text, ", a value"),
                Step::At(key) => write!(text, "[{key}]"),
            }
            .expect("writing to a string");
        }
        if text.is_empty() { self.message.clone() } else { format!("{text}: {}", self.message) }
    }
}

/// Why a value was not encoded, or bytes not decoded.
#[derive(Debug)]
pub(crate) enum CodecError {
    /// The value does not fit: the same at every replica.
    Mismatch(Mismatch),
    /// Python itself gave up (out of memory, interrupted): no statement about the value.
    Raised(PyErr),
}

impl CodecError {
    pub(crate) fn mismatch(message: impl Into<String>) -> Self {
        Self::Mismatch(Mismatch::new(message))
    }

    /// The exception that Python sees: what Python raised itself, or `make` of the text of the mismatch. `whole` names
    /// the value.
    pub(crate) fn raise(self, make: impl FnOnce(String) -> PyErr, whole: &str) -> PyErr {
        match self {
            Self::Mismatch(mismatch) => make(mismatch.describe(whole)),
            Self::Raised(error) => error,
        }
    }

    /// The same, one step further out.
    pub(crate) fn within(mut self, step: impl FnOnce() -> Step) -> Self {
        if let Self::Mismatch(mismatch) = &mut self {
            mismatch.path.push(step());
        }
        self
    }
}

impl From<PyErr> for CodecError {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}
