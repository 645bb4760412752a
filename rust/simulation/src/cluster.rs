//! Whole clusters in one thread, in virtual time: real cores, simulated machines, networks, clients and adversaries.
//!
//! A run has two phases. First anything goes wrong that the seed has drawn: messages are lost, late, doubled or out of
//! order, links break, replicas are cut off from each other in all shapes, stand still, are slow, have wrong clocks,
//! stop for good, or are Byzantine. Then all of that ends, but for replicas that stopped or are Byzantine, and all
//! that clients wait for has to be done within a bounded virtual time, with all correct replicas at one place.
//!
//! What must hold all the time, `checker` says. A run is a function of its profile and seed.
//!
//! | file | what it is about |
//! |---|---|
//! | `profile` | what the seed draws beforehand |
//! | `world`, `effects`, `traffic` | the event loop, and what cores and clients do to it |
//! | `reads` | queries that are not ordered |
//! | `weather`, `faults`, `network` | what goes wrong with machines and links |
//! | `adversary`, `tamper` | Byzantine replicas |
//! | `members` | changes of the membership |
//! | `host`, `disk`, `service`, `client` | machines, their application, and who uses it |
//! | `recordings` | what the replicas were told, to be played back |
//! | `checker`, `counters` | what must hold, and what must have happened |

mod adversary;
mod checker;
mod client;
mod counters;
mod disk;
mod effects;
mod faults;
mod host;
mod members;
mod network;
mod profile;
mod queue;
mod reads;
mod recordings;
mod service;
mod snapshots;
mod tamper;
mod traffic;
mod weather;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::time::Instant;

use pssmr_types::Digest;

pub use counters::{Counters, Sometimes};
pub use profile::Profile;
pub use recordings::Recording;
use recordings::Recordings;

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Events handled.
    pub events: u64,
    /// Virtual time that passed.
    pub nanoseconds: u64,
    /// Slots decided.
    pub slots: u64,
    /// The last view of any correct replica.
    pub views: u64,
    /// The chain digest at the last slot decided.
    pub digest: Digest,
    /// What happened.
    pub counters: Counters,
}

/// A run of `profile`, a function of `seed`. With `traced`, all that happens is printed.
///
/// # Errors
/// What went wrong, a panic of a core included.
pub fn run(profile: Profile, seed: u64, traced: bool) -> Result<Report, String> {
    run_world(|| world::World::new(profile, seed, traced, None))
}

/// The same, with a recording of each start of each replica, in the order of the starts.
///
/// # Errors
/// As [`run`].
pub fn record(profile: Profile, seed: u64) -> Result<Vec<Recording>, String> {
    let recordings = Recordings::default();
    run_world(|| world::World::new(profile, seed, false, Some(recordings.clone())))?;
    Ok(recordings.take())
}

fn run_world(world: impl FnOnce() -> world::World) -> Result<Report, String> {
    let attempt = catch_unwind(AssertUnwindSafe(|| world().run()));
    attempt.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Err(format!("panic: {}", text.unwrap_or_default()))
    })
}

/// The processor time that this thread has had, in seconds. What a run costs does not depend on who else is at work.
pub fn cpu_seconds() -> f64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let schedule = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = schedule.and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    let elapsed = || START.get_or_init(Instant::now).elapsed().as_secs_f64();
    nanoseconds.map_or_else(elapsed, |nanoseconds| nanoseconds as f64 / 1e9)
}
