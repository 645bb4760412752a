//! What has threads belongs to the process that made it, because threads do not survive a fork; and no thread may be
//! on its way back to Python when the interpreter ends, because that aborts the process.

use std::sync::OnceLock;
use std::thread::{self, ThreadId};
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

/// The thread that ends the interpreter, once one does.
static ENDING: OnceLock<ThreadId> = OnceLock::new();

/// How long a thread that the end of the interpreter finds waiting stays where it is. The process is gone before,
/// unless it waits for that very thread.
const STAY: Duration = Duration::from_secs(2);

/// How long an end waits for threads to go back to Python: they have nothing left to wait for.
const RETURN_TIME_MAX: Duration = Duration::from_secs(5);

/// The calling thread is about to end the interpreter. Other threads that wait in here, or come in from now on, stay
/// until the process is gone, as a daemon thread does that waits in Python's own code: if they went back they would
/// run into the end. One that the end waits for goes on after some seconds.
#[pyfunction]
pub(crate) fn interpreter_ends() {
    // The first one stays the one: it is called once, at exit.
    let _ = ENDING.set(thread::current().id());
}

fn ends_elsewhere() -> bool {
    ENDING.get().is_some_and(|thread| *thread != thread::current().id())
}

/// Stays until the process is gone, or long enough to believe that it waits for this thread. Not attached.
fn stay() {
    thread::sleep(STAY);
    // Attaching here never returns if the interpreter has ended; attaching at the end of `detach` would abort.
    if Python::try_attach(|_| ()).is_none() {
        loop {
            thread::park();
        }
    }
}

/// Where a call from Python enters: it gets no further while another thread ends the interpreter.
pub(crate) fn stay_if_it_ends(py: Python<'_>) {
    if ends_elsewhere() {
        py.detach(stay);
    }
}

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
    pub(crate) fn enter(&self, py: Python<'_>) -> Visit<'_> {
        stay_if_it_ends(py);
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

    fn leave(&self) {
        *self.threads.lock() -= 1;
        self.changed.notify_all();
    }
}

impl Visit<'_> {
    /// Waits for something, detached from Python; does not come back while another thread ends the interpreter.
    pub(crate) fn wait<T: Send>(&self, py: Python<'_>, wait: impl FnOnce() -> T + Send) -> T {
        py.detach(|| {
            let outcome = wait();
            if ends_elsewhere() {
                // It counts as gone.
                self.0.leave();
                stay();
                *self.0.threads.lock() += 1;
            }
            outcome
        })
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}
