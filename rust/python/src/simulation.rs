//! Schedulers in virtual time, for Python.

use pssmr_execution::SchedulerConfig;
use pssmr_execution::virtual_time::{Load, Trace};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::errors;

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
    Ok(py.detach(|| {
        let trace = Trace::of(&load);
        let outcomes: Vec<_> =
            configs.iter().map(|config| trace.run(&mut *config.build(workers, seed), workers, window)).collect();
        let bound = outcomes.first().map_or(0.0, |outcome| outcome.bound);
        (outcomes.iter().map(|outcome| outcome.speed_up).collect(), bound)
    }))
}
