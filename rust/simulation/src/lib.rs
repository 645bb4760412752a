//! Whole clusters in one thread: faults, checkers, a model checker, and an explorer of the view change.
//!
//! [`cluster`] runs the real core in simulated clusters with clients, faults and Byzantine replicas, and checks what the
//! protocol promises. [`twins`] lets Byzantine replicas be two correct ones each.
//! [`model`] tries every order of events in a very small cluster of it. [`explorer`] puts the choice of a
//! view's base, the function itself, into a model in which liars say anything. `cargo run -p pssmr-simulation --release`
//! says how to run more of them than the tests do, or one of them with a trace.

pub mod cluster;
pub mod explorer;
pub mod model;
pub mod random;
pub mod twins;
