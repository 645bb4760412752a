//! `pssmr._core`: conversions between Python and the Rust crates, nothing else.

// PyO3 hands arguments over by value.
#![allow(clippy::needless_pass_by_value)]
// Doc comments of exported items are Python's docstrings, and name Python's classes in its way.
#![allow(clippy::doc_markdown)]

mod backup;
mod client;
mod codec;
mod completions;
mod context;
mod counter;
mod errors;
mod executor;
mod failure;
mod handler_meters;
mod instance;
mod interface;
mod keys;
mod logs;
mod membership;
mod method;
mod native;
mod own_state;
mod place;
mod plan;
mod process;
mod queue;
mod recording;
mod replica;
mod replies;
mod running;
mod service;
mod set;
mod signal;
mod simulation;
mod state;
mod stepper;
mod table;
mod table_iterator;
mod trace;
mod upgrade;
mod vectorized;

use pyo3::prelude::*;

/// The core of pssmr. Use the names that the package `pssmr` exports.
#[pymodule(gil_used = false)]
mod _core {
    #[pymodule_export]
    use super::backup::{restore_backup, verify_backup};
    #[pymodule_export]
    use super::client::ClientCore;
    #[pymodule_export]
    use super::codec::Schema;
    #[pymodule_export]
    use super::context::Context;
    #[pymodule_export]
    use super::counter::Counter;
    #[pymodule_export]
    use super::executor::Executor;
    #[pymodule_export]
    use super::instance::Instance;
    #[pymodule_export]
    use super::interface::Interface;
    #[pymodule_export]
    use super::keys::{generate_key, public_key};
    #[pymodule_export]
    use super::logs::{end_logs, forward_logs, next_logs, set_log_level};
    #[pymodule_export]
    use super::membership::sign_reconfiguration;
    #[pymodule_export]
    use super::method::Method;
    #[pymodule_export]
    use super::native::NativeService;
    #[pymodule_export]
    use super::process::interpreter_ends;
    #[pymodule_export]
    use super::queue::Queue;
    #[pymodule_export]
    use super::recording::Recording;
    #[pymodule_export]
    use super::replica::{ReplicaCore, status_schema};
    #[pymodule_export]
    use super::replies::{decode_several, encode_several};
    #[pymodule_export]
    use super::set::Set;
    #[pymodule_export]
    use super::simulation::simulate;
    #[pymodule_export]
    use super::stepper::Stepper;
    #[pymodule_export]
    use super::table::Table;
    #[pymodule_export]
    use super::table_iterator::TableIterator;
    #[pymodule_export]
    use super::trace::current_trace;
    #[pymodule_export]
    use super::upgrade::sign_upgrade;
}
