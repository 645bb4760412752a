//! Parallel state machine replication.
//!
//! This crate is the workspace's facade: it re-exports the crates that a Rust user of pssmr needs, and owns the
//! benchmarks in `benches/`. The Python package is built from `rust/python`.

pub use pssmr_execution as execution;
pub use pssmr_ordering as ordering;
pub use pssmr_types as types;
