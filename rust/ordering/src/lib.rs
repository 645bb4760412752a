//! The replica as a state machine: total order, view change, sessions. No I/O, no threads, no clock, no randomness.
//!
//! [`Core::step`] is the one way in: it takes the time and a burst of [`Input`]s, and appends [`Effect`]s. The same core
//! runs in a replica's process, in the simulator and in the benchmarks. `docs/protocol.md` describes the protocol.
//!
//! | file | what it is about |
//! |---|---|
//! | `interface` | everything that crosses the core's boundary |
//! | `core` | the state, dispatch, timers |
//! | `normal_case` | PROPOSE, WRITE, ACCEPT, delivery |
//! | `view_change` | Stop, StopData, Sync |
//! | `links` | a leader that is suspected sooner, since its link is lost |
//! | `choice` | from what base a new view goes on |
//! | `record`, `gate`, `recovery`, `promise` | what goes into the log, what waits for it, how a replica comes back, also without one |
//! | `catch_up` | fetching what this replica lacks |
//! | `checkpoint`, `snapshot`, `images` | when all before can go, and what takes its place |
//! | `epochs` | changes of the membership |
//! | `versions` | which version of the service is in force |
//! | `votes`, `chain`, `shelf`, `writeset`, `pool`, `hearsay`, `unproven`, `sessions`, `replies` | the data that these work on |

mod catch_up;
mod chain;
mod checkpoint;
pub mod choice;
mod core;
mod epochs;
mod gate;
mod hash;
mod hearsay;
mod images;
pub mod interface;
mod links;
mod newborn;
mod normal_case;
mod openings;
mod pool;
mod promise;
mod reads;
mod record;
mod recovery;
mod replies;
mod sessions;
mod shelf;
mod signer;
mod snapshot;
mod step_down;
mod unproven;
mod versions;
mod view_change;
mod votes;
mod writeset;

pub use crate::core::{Core, CoreStatus};
pub use interface::{
    Command, Config, ConfigError, Delivery, Durability, Effect, Event, Input, Now, Promise, StepDownRefusal,
};
pub use record::{Image, Record};
pub use recovery::ReplayError;
pub use replies::ReplyCache;
pub use sessions::SESSION_WINDOW;
pub use snapshot::{CoreSnapshot, SessionSnapshot};
