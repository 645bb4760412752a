//! Threads do not survive a fork: what has threads belongs to the process that made it.

use pyo3::prelude::*;

use crate::errors;

/// The process that made something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Maker(u32);

impl Maker {
    pub(crate) fn here() -> Self {
        Self(std::process::id())
    }

    pub(crate) fn is_here(self) -> bool {
        self.0 == std::process::id()
    }

    /// # Errors
    /// `pssmr.Closed`, in a process that was forked off the maker.
    pub(crate) fn check(self, py: Python<'_>, what: &str) -> PyResult<()> {
        if self.is_here() {
            return Ok(());
        }
        let message = format!("the {what} was made before this process was forked off: make one here");
        Err(errors::closed(py, message))
    }
}
