//! What has threads belongs to the process that made it, because threads do not survive a fork; and no thread may be
//! on its way back to Python when the interpreter ends, because that aborts the process.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
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

/// How long an end waits for threads to go back to Python: they have nothing left to wait for.
const RETURN_TIME_MAX: Duration = Duration::from_secs(5);

/// Counts the threads of Python that are in here to wait for something.
#[derive(Debug, Default)]
pub(crate) struct Visitors {
    threads: Mutex<usize>,
    changed: Condvar,
}

/// One thread's stay. Ends with the call from Python: also making an exception can let other threads go first.
#[must_use]
pub(crate) struct Visit<'a>(&'a Visitors);

impl Visitors {
    pub(crate) fn enter(&self) -> Visit<'_> {
        *self.threads.lock() += 1;
        Visit(self)
    }

    /// Waits until all visitors have left. What they wait for must have ended.
    pub(crate) fn wait_until_gone(&self, py: Python<'_>) {
        py.detach(|| {
            let deadline = Instant::now() + RETURN_TIME_MAX;
            let mut threads = self.threads.lock();
            while *threads > 0 && !self.changed.wait_until(&mut threads, deadline).timed_out() {}
        });
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        *self.0.threads.lock() -= 1;
        self.0.changed.notify_all();
    }
}
