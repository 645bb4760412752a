//! The replica as a state machine: total order, view change, sessions. No I/O, no threads, no clock, no randomness.

pub mod interface;

pub use interface::{Command, Config, ConfigError, Delivery, Effect, Event, Input, Now};
