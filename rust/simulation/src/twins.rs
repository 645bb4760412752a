//! Twins (Bano et al., OPODIS'21): each Byzantine replica is two correct ones that share an identity and a key, and a
//! scenario says in each round who can hear whom. What no correct program does, two selves do together: they propose two
//! batches for one slot, vote for both, forget what they said, and send two states to a new leader. Each message for itself
//! makes sense, so it gets farther than any made up.
//!
//! A scenario is a few rounds. In each the nodes, the two selves among them, are divided into groups; some get a client's
//! request; some take their time to be up; then all that is sent within a group arrives, in any order, and what is sent out
//! of it is lost. After that all hear all, and everything that was asked for has to be done in bounded time.
//!
//! It is small on purpose: a scenario takes far less than a run of [`cluster`](crate::cluster), so very many can be run.

mod node;
mod scenario;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub use scenario::Size;

/// What happened in a scenario, or in several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Scenarios.
    pub scenarios: u64,
    /// Messages that arrived.
    pub messages: u64,
    /// Slots that correct replicas decided.
    pub slots: u64,
    /// Rounds in which the selves of a replica were in different groups.
    pub apart: u64,
    /// Proposals of one replica, for one slot in one view, that differ.
    pub equivocations: u64,
    /// Times that a correct replica's view got its base.
    pub views: u64,
    /// Among those, views that a Byzantine replica leads.
    pub twins_lead: u64,
    /// Among those, bases that are chains.
    pub chains: u64,
    /// Times that a correct replica saw another one break the protocol.
    pub seen: u64,
    /// Slots that were decided before all could hear all.
    pub early: u64,
    /// Checkpoints that became stable at a node.
    pub checkpoints: u64,
}

impl Tally {
    /// All that is counted, by name.
    pub fn all(&self) -> [(&'static str, u64); 11] {
        [
            ("scenarios", self.scenarios),
            ("messages", self.messages),
            ("slots decided", self.slots),
            ("rounds with selves apart", self.apart),
            ("equivocations", self.equivocations),
            ("views activated", self.views),
            ("views that twins lead", self.twins_lead),
            ("bases above the genesis", self.chains),
            ("misbehaviour seen", self.seen),
            ("slots decided before healing", self.early),
            ("checkpoints stable", self.checkpoints),
        ]
    }

    /// Adds what happened in others.
    pub fn add(&mut self, other: &Self) {
        self.scenarios += other.scenarios;
        self.messages += other.messages;
        self.slots += other.slots;
        self.apart += other.apart;
        self.equivocations += other.equivocations;
        self.views += other.views;
        self.twins_lead += other.twins_lead;
        self.chains += other.chains;
        self.seen += other.seen;
        self.early += other.early;
        self.checkpoints += other.checkpoints;
    }

    /// What never happened.
    pub fn never(&self) -> Vec<&'static str> {
        self.all().into_iter().filter(|(_, count)| *count == 0).map(|(name, _)| name).collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in self.all() {
            writeln!(f, "  {name:38} {count}")?;
        }
        Ok(())
    }
}

/// Runs the scenario that `seed` draws, in a cluster of this size. With `traced`, all that happens is printed.
///
/// # Errors
/// What went wrong, a panic of a core included.
pub fn run(size: Size, seed: u64, traced: bool) -> Result<Tally, String> {
    let attempt = catch_unwind(AssertUnwindSafe(|| scenario::Scenario::new(size, seed, traced).run()));
    attempt.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Err(format!("panic: {}", text.unwrap_or_default()))
    })
}
