//! The replica as a state machine: total order, view change, sessions. No I/O, no threads, no clock, no randomness.

pub mod choice;
pub mod interface;
mod replies;
mod sessions;
mod votes;

pub use interface::{Command, Config, ConfigError, Delivery, Effect, Event, Input, Now};
pub use replies::ReplyCache;
pub use sessions::SESSION_WINDOW;
