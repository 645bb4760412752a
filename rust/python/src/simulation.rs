//! Schedulers in virtual time, for Python.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use parking_lot::Mutex;
use pssmr_execution::SchedulerConfig;
use pssmr_execution::virtual_time::{Load, Trace};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use crate::errors;

/// How long Ctrl-C may go unnoticed.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Executes a random load in virtual time under each of these schedulers. Returns for each how many commands it
/// completes in the mean time of one, and, the same for all, how many no scheduler exceeds.
///
/// Raises ValueError for a load that can't be, and pssmr.ConfigError for a scheduler that is none.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
#[pyo3(signature = (schedulers, *, workers, window, commands, keys, keys_each, skew, writes, conflicts, wide, seed))]
pub(crate) fn simulate(
    py: Python<'_>,
    schedulers: Vec<String>,
    workers: usize,
    window: usize,
    commands: usize,
    keys: usize,
    keys_each: usize,
    skew: f64,
    writes: f64,
    conflicts: f64,
    wide: f64,
    seed: u64,
) -> PyResult<(Vec<f64>, f64)> {
    let counts = [workers, window, commands, keys, keys_each];
    let shares = [writes, conflicts, wide];
    if counts.contains(&0) || !shares.iter().all(|share| (0.0..=1.0).contains(share)) || !(0.0..=10.0).contains(&skew) {
        return Err(PyValueError::new_err("counts are 1 or more, shares 0 to 1, and the skew 0 to 10"));
    }
    let configs = schedulers
        .iter()
        .map(|name| name.parse().map_err(|error| errors::config_error(py, format!("scheduler: {error}"))))
        .collect::<PyResult<Vec<SchedulerConfig>>>()?;
    let load = Load { commands, keys, keys_each, skew, writes, conflicts, wide, seed };
    interruptibly(py, move |is_wanted| {
        let trace = Trace::of(&load);
        let runs = configs.iter().take_while(|_| is_wanted.load(Ordering::Relaxed));
        let outcomes: Vec<_> =
            runs.map(|config| trace.run(&mut *config.build(workers, seed), workers, window)).collect();
        let bound = outcomes.first().map_or(0.0, |outcome| outcome.bound);
        (outcomes.iter().map(|outcome| outcome.speed_up).collect(), bound)
    })
}

/// Computes beside this thread, which looks for Ctrl-C meanwhile. Then nobody wants the result any more, and what is being
/// computed ends by itself where it next asks.
fn interruptibly<T: Send + 'static>(
    py: Python<'_>,
    compute: impl FnOnce(&AtomicBool) -> T + Send + 'static,
) -> PyResult<T> {
    let is_wanted = Arc::new(AtomicBool::new(true));
    let (done, result) = mpsc::sync_channel(1);
    // Only this thread uses it; the lock lets detached code do so.
    let result = Mutex::new(result);
    let wanted = Arc::clone(&is_wanted);
    let thread = std::thread::Builder::new().name("pssmr-simulate".into());
    thread.spawn(move || done.send(compute(&wanted)))?;
    loop {
        match py.detach(|| result.lock().recv_timeout(LOOK_INTERVAL)) {
            Ok(result) => return Ok(result),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(PyRuntimeError::new_err("the simulation has failed")),
        }
        py.check_signals().inspect_err(|_| is_wanted.store(false, Ordering::Relaxed))?;
    }
}
