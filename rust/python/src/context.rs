//! `_core.Context`: what the replicas agree on about a command.

use std::fmt::Write as _;

use pssmr_execution::{CommandKind, Task};
use pssmr_types::Digest;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDateTime, PyDelta, PyTzInfo};

/// What the replicas agree on about a command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    slot: u64,
    position: u64,
    time_ns: u64,
    seed: [u8; 32],
    principal: u64,
    session: u64,
    sequence: u64,
    operation: u32,
    version: u32,
    /// It has no place in the order.
    is_read: bool,
}

impl Facts {
    pub(crate) fn of(task: &Task) -> Self {
        let command = &task.command;
        Self {
            slot: command.slot.0,
            position: command.position,
            time_ns: command.timestamp,
            seed: command.seed,
            principal: command.client.principal.0,
            session: command.client.session,
            sequence: command.sequence,
            operation: task.operation,
            version: command.version,
            is_read: command.kind == CommandKind::Read,
        }
    }

    pub(crate) fn is_read(&self) -> bool {
        self.is_read
    }

    pub(crate) fn version(&self) -> u32 {
        self.version
    }

    /// The facts of a plain call, outside of a cluster: each call is a slot of its own.
    pub(crate) fn local(position: u64, time_ns: u64, version: u32) -> Self {
        Self {
            slot: position,
            position,
            time_ns,
            seed: [0; 32],
            principal: 0,
            session: 0,
            sequence: position,
            operation: 0,
            version,
            is_read: false,
        }
    }
}

/// What the replicas agree on about a command. Ask for it with a first parameter that is annotated `pssmr.Context`.
#[pyclass(frozen, module = "pssmr._core")]
pub(crate) struct Context {
    facts: Facts,
    random: PyOnceLock<Py<PyAny>>,
}

impl Context {
    pub(crate) fn new(facts: Facts) -> Self {
        Self { facts, random: PyOnceLock::new() }
    }
}

#[pymethods]
impl Context {
    /// The slot that the command was decided in.
    #[getter]
    fn slot(&self) -> u64 {
        self.facts.slot
    }

    /// The request's position in the total order: unique, ascending, possibly with gaps. Commands that were sent together,
    /// as a batch or a transaction, have the same.
    #[getter]
    fn position(&self) -> u64 {
        self.facts.position
    }

    /// The command's place among those that were sent together, from 0 on; 0 for one that was sent alone.
    #[getter]
    fn operation(&self) -> u32 {
        self.facts.operation
    }

    /// The agreed time, in nanoseconds since 1970.
    #[getter]
    fn time_ns(&self) -> u64 {
        self.facts.time_ns
    }

    /// The agreed time, in UTC, to the microsecond.
    #[getter]
    fn time<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        const DAY_SECONDS: u64 = 86_400;
        let utc = PyTzInfo::utc(py)?;
        let epoch = PyDateTime::new(py, 1970, 1, 1, 0, 0, 0, 0, Some(&utc))?;
        let seconds = self.facts.time_ns / 1_000_000_000;
        let days = (seconds / DAY_SECONDS) as i32;
        let micros = (self.facts.time_ns / 1_000 % 1_000_000) as i32;
        epoch.add(PyDelta::new(py, days, (seconds % DAY_SECONDS) as i32, micros, false)?)
    }

    /// Agreed random numbers: a `random.Random` of the command's own, seeded alike at every replica.
    #[getter]
    fn random<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let random = self.random.get_or_try_init(py, || {
            let mut seed = self.facts.seed.to_vec();
            seed.extend_from_slice(&self.facts.position.to_le_bytes());
            if self.facts.operation > 0 {
                seed.extend_from_slice(&self.facts.operation.to_le_bytes());
            }
            let digest = Digest::of("pssmr command random 1", &seed);
            CLASS.import(py, "random", "Random")?.call1((PyBytes::new(py, &digest.0),)).map(Bound::unbind)
        })?;
        Ok(random.bind(py).clone())
    }

    /// The client that sent the command: the digest of its public key, in hexadecimal. Its link has proved it.
    #[getter]
    fn client(&self) -> String {
        let mut text = String::new();
        write!(text, "{:016x}", self.facts.principal).expect("writing to a string");
        text
    }

    /// The client's session.
    #[getter]
    fn session(&self) -> u64 {
        self.facts.session
    }

    /// The client's number for the request, in its session.
    #[getter]
    fn sequence(&self) -> u64 {
        self.facts.sequence
    }

    /// The version of the service that is in force: the same at every replica, whichever code it runs. A plain call, without
    /// a cluster, is one of the latest.
    #[getter]
    fn version(&self) -> u32 {
        self.facts.version
    }

    fn __repr__(&self) -> String {
        format!("<Context of position {} in slot {}>", self.facts.position, self.facts.slot)
    }
}
