//! A random explorer of the view change: whether the choice of a base, the very function that replicas run, ever cuts
//! off what was decided.
//!
//! # The model
//!
//! Correct replicas write, lock, accept, decide, learn late what others decided, leave their view and take a base, in a
//! random order and with random delays. There are no messages: a replica sees what others did at any later time, or
//! never. Their states at a view change are those of the protocol: the highest lock, and per view one chain with its
//! base, trimmed below what is decided and dropped when a later view decides.
//!
//! Byzantine replicas are not modelled as state machines; they help wherever that could hurt. They are counted in every
//! quorum for every chain, they lead every view, so that each correct replica may get other proposals and another set
//! of states, and their own states are drawn anew for every set: random locks, views and bases, truncated lists, and
//! digests that are no chain. That is more than one signed state could do.
//!
//! With crash faults the leaders are honest, and a view has one base and one chain.
//!
//! # What is checked
//!
//! - Of two decided chains one begins with the other.
//! - Every base that any set of states determines, taken by a replica or not, extends what was or will be decided in
//!   the views before. This fails much sooner than agreement does.
//! - A base is a chain that a correct replica wrote.
//! - Fewer than a quorum of states determine nothing.
//! - The states of all correct replicas always determine a base, whatever liars add.
//!
//! It samples a small model: evidence, not proof. The mutations, of the choice and of what replicas keep for it, show
//! what it would find.

mod chains;
mod liar;
mod replica;
mod world;

use std::fmt;

use pssmr_ordering::choice::Mutation;
use pssmr_types::{FaultModel, Quorums};

pub use chains::Chains;
use world::World;

/// What correct replicas do. All but the first are seeded faults; [`Setting::mutants`] has those that do harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// As the protocol says.
    Correct,
    /// They accept in a view that they have left already.
    AcceptsAfterLeaving,
    /// They trim their entries further than they have decided.
    TrimsUndecided,
    /// They drop the entries of older views also for decisions that they only heard of.
    DropsEntriesWhenCatchingUp,
    /// They count ACCEPTs of one view together with those of another.
    CountsAcceptsOfAnyView,
    /// They count WRITEs of one view together with those of another.
    CountsWritesOfAnyView,
    /// They go on voting in their view after they have learned that something else than their chain was decided. No
    /// violation is known; forbidden to be strict.
    VotesOnAnotherChain,
    /// They count WRITEs also for slots at or below the voter's base. No violation is known; forbidden to be strict.
    CountsBelowTheBase,
}

/// What is explored.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The fault model.
    pub model: FaultModel,
    /// The number of replicas.
    pub replicas: usize,
    /// The choice, or a mutation of it.
    pub mutation: Mutation,
    /// The replicas, or a mutation of them.
    pub behaviour: Behaviour,
}

impl Setting {
    /// The protocol itself.
    pub fn new(model: FaultModel, replicas: usize) -> Self {
        Self { model, replicas, mutation: Mutation::None, behaviour: Behaviour::Correct }
    }

    /// The four memberships that are explored.
    pub fn all() -> [Self; 4] {
        [(FaultModel::Byzantine, 4), (FaultModel::Byzantine, 7), (FaultModel::Crash, 3), (FaultModel::Crash, 5)]
            .map(|(model, replicas)| Self::new(model, replicas))
    }

    /// Every seeded fault that does harm, each in the fault model where it matters.
    pub fn mutants() -> Vec<Self> {
        let byzantine = Self::new(FaultModel::Byzantine, 4);
        let crash = Self::new(FaultModel::Crash, 3);
        let rules = [
            Mutation::EntriesNotSenders,
            Mutation::NoCertification,
            Mutation::SameViewLockAnywhere,
            Mutation::ChoiceBelowBase,
            Mutation::CertifiedByOlderViews,
            Mutation::PrefixByOneCertifier,
            Mutation::UnboundByFew,
        ];
        let behaviours = [
            Behaviour::AcceptsAfterLeaving,
            Behaviour::TrimsUndecided,
            Behaviour::DropsEntriesWhenCatchingUp,
            Behaviour::CountsAcceptsOfAnyView,
            Behaviour::CountsWritesOfAnyView,
        ];
        let mut all: Vec<Self> = rules.map(|mutation| Self { mutation, ..byzantine }).to_vec();
        all.push(Self { mutation: Mutation::LowestLock, ..crash });
        all.extend(behaviours.map(|behaviour| Self { behaviour, ..byzantine }));
        all
    }

    fn quorums(&self) -> Quorums {
        Quorums::new(self.model, self.replicas).expect("the settings above are memberships")
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.model.as_str(), self.replicas)?;
        if self.mutation != Mutation::None {
            write!(f, " {:?}", self.mutation)?;
        }
        if self.behaviour != Behaviour::Correct {
            write!(f, " {:?}", self.behaviour)?;
        }
        Ok(())
    }
}

/// What went wrong in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Two chains were decided, and neither begins with the other.
    Disagreement(String),
    /// A base cuts off a decision of a view before.
    DecisionLost(String),
    /// A base is no chain that a correct replica wrote.
    Forged(String),
    /// Fewer than a quorum of states determined a base.
    TooFewStates(String),
    /// The states of all correct replicas did not determine a base.
    Undetermined(String),
}

/// What happened in a run, or in several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Slots decided.
    pub decided: u64,
    /// Times that a replica took a base.
    pub views: u64,
    /// Sets of states tried.
    pub choices: u64,
    /// Sets that determined nothing.
    pub undetermined: u64,
    /// Times that the states of all correct replicas were there, and so had to determine a base.
    pub complete: u64,
    /// Decisions that a replica was told of.
    pub caught_up: u64,
}

impl Summary {
    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        self.decided += other.decided;
        self.views += other.views;
        self.choices += other.choices;
        self.undetermined += other.undetermined;
        self.complete += other.complete;
        self.caught_up += other.caught_up;
    }
}

/// One run, a function of `setting` and `seed` alone. `chains` is a cache.
///
/// # Errors
/// The first [`Violation`].
pub fn explore(setting: &Setting, seed: u64, chains: &mut Chains) -> Result<Summary, Violation> {
    chains.bound();
    World::new(setting, seed, chains).run()
}
