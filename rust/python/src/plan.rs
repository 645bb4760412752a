//! Plans for the scheduler `early`, as Python gives them, and what commands touch of the partitions that a plan speaks of.

use std::sync::Arc;

use pssmr_execution::SchedulerConfig;
use pssmr_execution::scheduler::{Class, Mapping, Partitioning, Synchronisation};
use pssmr_execution::{FootprintBuilder, Mode};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::errors;
use crate::interface::{Interface, mode_of};

/// A class as Python gives it: name, partitions with modes, lanes, whether it is synchronised.
type ClassSpec = (String, Vec<(usize, String)>, Vec<usize>, bool);

/// A plan as Python gives it: what the partitions are of ("tables", "keys"), how many, the number of lanes, the classes.
pub(crate) type PlanSpec = (String, usize, usize, Vec<ClassSpec>);

/// The scheduler with this name; with a plan, it is `early`.
pub(crate) fn scheduler(py: Python<'_>, name: &str, plan: Option<PlanSpec>) -> PyResult<SchedulerConfig> {
    let config = name.parse().map_err(|error| errors::config_error(py, format!("scheduler: {error}")))?;
    match (config, plan) {
        (config, None) => Ok(config),
        (SchedulerConfig::Early { .. }, Some(plan)) => {
            Ok(SchedulerConfig::Early { mapping: Some(Arc::new(mapping(py, plan)?)) })
        }
        (_, Some(_)) => Err(errors::config_error(py, format!("scheduler {name} has no plan; choose early"))),
    }
}

fn mapping(py: Python<'_>, (partitioning, partitions, lanes, classes): PlanSpec) -> PyResult<Mapping> {
    let class = |(name, touches, lanes, is_synchronised): ClassSpec| {
        let touch = |(partition, mode): (usize, String)| Ok((partition, mode_of(&mode)?));
        let touches = touches.into_iter().map(touch).collect::<PyResult<_>>()?;
        let synchronisation = if is_synchronised { Synchronisation::Synchronised } else { Synchronisation::Concurrent };
        Ok(Class { name, touches, lanes, synchronisation })
    };
    let classes = classes.into_iter().map(class).collect::<PyResult<_>>()?;
    Mapping::new(partitioning_of(&partitioning)?, partitions, lanes, classes)
        .map_err(|error| errors::config_error(py, format!("plan: {error}")))
}

fn name_of(mode: Mode) -> &'static str {
    match mode {
        Mode::Read => "read",
        Mode::Commute => "commute",
        Mode::Write => "write",
    }
}

fn partitioning_of(name: &str) -> PyResult<Partitioning> {
    match name {
        "tables" => Ok(Partitioning::Tables),
        "keys" => Ok(Partitioning::Keys),
        _ => Err(PyValueError::new_err(format!("{name:?}: partitions are of tables or of keys"))),
    }
}

/// See `Interface.touches`.
pub(crate) fn touches(
    py: Python<'_>,
    interface: &Interface,
    payload: &[u8],
    partitioning: &str,
    partitions: usize,
) -> PyResult<Option<Vec<(usize, &'static str)>>> {
    let partitioning = partitioning_of(partitioning)?;
    if partitions == 0 {
        return Err(PyValueError::new_err("there are no partitions"));
    }
    let mut builder = FootprintBuilder::new();
    let extracted = interface.commands.extract(payload, &mut builder).and_then(|extraction| {
        if extraction.deferred {
            interface.compute_footprint(py, payload, &mut builder)?;
        }
        Ok(())
    });
    extracted.map_err(|refusal| errors::refused(py, refusal.code(), refusal.to_string()))?;
    let touched = partitioning.touched(partitions, &builder.build());
    Ok(touched.map(|touched| touched.into_iter().map(|(partition, mode)| (partition, name_of(mode))).collect()))
}
