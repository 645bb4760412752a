//! Whole clusters in one thread: faults, checkers, and an explorer of the view change.

pub mod cluster;
pub mod explorer;
pub mod random;
