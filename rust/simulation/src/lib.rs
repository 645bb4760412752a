//! Whole clusters in one thread: faults, checkers, and an explorer of the view change.
//!
//! [`cluster`] runs the real core in simulated clusters with clients, faults and Byzantine replicas, and checks what the
//! protocol promises. [`explorer`] puts the choice of a view's base, the function itself, into a model in which liars say
//! anything. Both are functions of a seed: `cargo run -p pssmr-simulation --release` says how to run more of them than
//! the tests do, or one of them with a trace.

pub mod cluster;
pub mod explorer;
pub mod random;
