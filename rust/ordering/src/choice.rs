//! The choice of a view's base: from what chain the new leader must go on.
//!
//! Cachin's conditional-collect predicate, as in Mod-SMaRt (Sousa and Bessani, EDCC'12), lifted from one instance to a
//! chain of slots. With crash faults only it is "the highest (view, slot) wins", as in Viewstamped Replication and Raft.
//!
//! A lock (v*, s*, h*) among the states binds the base if, over **distinct senders**,
//!
//! 1. a quorum has no lock, or a lock of a view below v*, or a lock of v* itself on a prefix of the chain of h*, and
//! 2. k senders *certify* it: they have an entry (u, `base_u`, `chain_u`) with u ≥ v*, `base_u` ≤ s*, and h* on `chain_u`.
//!
//! The base is unbound (the genesis) if a quorum has no lock. `rust/simulation` explores this very function.
//!
//! Whether a lock (v*, s, d), s < s*, lies on the chain of h* is read off the certifying entries, k of them, so that a
//! correct replica is among them: it shows d at s, or has decided s already (s is below its entry's first slot). In the
//! second case d is what was decided: were it not, the slot would have been decided in a view above v*, and
//! condition 1 would fail at every quorum of states, because those who accepted it then hold higher locks.

use pssmr_types::{Digest, Lock, Quorums, Slot, StopData};

/// Where a view's chain begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// Nothing was decided ever: from the empty chain.
    Genesis,
    /// From the chain that ends here.
    Chain {
        /// The chain's last slot.
        slot: Slot,
        /// The chain digest there.
        digest: Digest,
    },
}

/// A fault seeded into the choice, to see that the explorer finds it.
#[cfg(feature = "mutants")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// The rule itself.
    None,
    /// Condition 2 counts entries, not senders.
    EntriesNotSenders,
    /// Condition 2 is left out.
    NoCertification,
    /// Condition 1 takes any lock of v* that is not higher for one on the chain.
    SameViewLockAnywhere,
    /// Condition 2 takes entries whose base is above s*.
    ChoiceBelowBase,
    /// Condition 2 takes entries of views below v*.
    CertifiedByOlderViews,
    /// One certifier's word is enough for what lies on the chain.
    PrefixByOneCertifier,
    /// Crash faults: the lowest lock instead of the highest.
    LowestLock,
    /// The base counts as unbound when k senders have no lock.
    UnboundByFew,
}

#[cfg(not(feature = "mutants"))]
#[derive(Clone, Copy)]
enum Mutation {
    None,
}

/// The base that `states` determine: well-formed states, for one view, of distinct senders. `None` if they don't
/// determine one (yet).
pub fn choose(quorums: &Quorums, states: &[StopData]) -> Option<Base> {
    choose_mutated(quorums, states, Mutation::None)
}

/// [`choose`], with a fault seeded into it.
#[cfg(feature = "mutants")]
pub fn choose_with(quorums: &Quorums, states: &[StopData], mutation: Mutation) -> Option<Base> {
    choose_mutated(quorums, states, mutation)
}

macro_rules! mutated {
    ($mutation:expr, $variant:ident) => {{
        #[cfg(feature = "mutants")]
        {
            $mutation == Mutation::$variant
        }
        #[cfg(not(feature = "mutants"))]
        {
            let Mutation::None = $mutation;
            false
        }
    }};
}

fn choose_mutated(quorums: &Quorums, states: &[StopData], mutation: Mutation) -> Option<Base> {
    if states.len() < quorums.quorum() {
        return None;
    }
    let mut locks: Vec<Lock> = states.iter().filter_map(|state| state.lock).collect();
    locks.sort_unstable_by_key(|lock| (lock.view, lock.slot, lock.digest));
    locks.dedup();
    if mutated!(mutation, LowestLock) {
        locks.reverse();
    }
    let bound = if quorums.has_write_phase() {
        locks.iter().rev().find(|lock| is_bound(quorums, states, lock, mutation))
    } else {
        locks.last()
    };
    if let Some(lock) = bound {
        return Some(Base::Chain { slot: lock.slot, digest: lock.digest });
    }
    let unlocked = states.iter().filter(|state| state.lock.is_none()).count();
    let enough = if mutated!(mutation, UnboundByFew) { quorums.weak() } else { quorums.quorum() };
    (unlocked >= enough).then_some(Base::Genesis)
}

fn is_bound(quorums: &Quorums, states: &[StopData], candidate: &Lock, mutation: Mutation) -> bool {
    let certifiers = if mutated!(mutation, EntriesNotSenders) {
        states.iter().map(|state| certifying(state, candidate, mutation).count()).sum()
    } else {
        count(states, |state| certifying(state, candidate, mutation).next().is_some())
    };
    if certifiers < quorums.weak() && !mutated!(mutation, NoCertification) {
        return false;
    }
    let compatible = count(states, |state| match &state.lock {
        None => true,
        Some(lock) if lock.view != candidate.view => lock.view < candidate.view,
        Some(lock) => {
            lock.slot <= candidate.slot
                && (is_on_chain(quorums, states, candidate, lock, mutation) || mutated!(mutation, SameViewLockAnywhere))
        }
    });
    compatible >= quorums.quorum()
}

/// The entries of `state` by which it certifies the candidate.
fn certifying<'a>(
    state: &'a StopData,
    candidate: &'a Lock,
    mutation: Mutation,
) -> impl Iterator<Item = &'a pssmr_types::Written> {
    state.writeset.iter().filter(move |written| {
        let not_older = written.view >= candidate.view || mutated!(mutation, CertifiedByOlderViews);
        let above_base = written.base <= candidate.slot || mutated!(mutation, ChoiceBelowBase);
        not_older && above_base && written.digest_at(candidate.slot) == Some(candidate.digest)
    })
}

/// Whether `lock`, of the candidate's view and not above it, lies on the candidate's chain.
fn is_on_chain(quorums: &Quorums, states: &[StopData], candidate: &Lock, lock: &Lock, mutation: Mutation) -> bool {
    if lock.slot == candidate.slot {
        return lock.digest == candidate.digest;
    }
    let vouchers = count(states, |state| {
        certifying(state, candidate, mutation)
            .any(|written| lock.slot < written.first || written.digest_at(lock.slot) == Some(lock.digest))
    });
    let enough = if mutated!(mutation, PrefixByOneCertifier) { 1 } else { quorums.weak() };
    vouchers >= enough
}

fn count(states: &[StopData], holds: impl Fn(&StopData) -> bool) -> usize {
    states.iter().filter(|state| holds(state)).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pssmr_types::{Epoch, FaultModel, ReplicaId, Signature, View, Written};

    fn digest(letter: u8) -> Digest {
        Digest([letter; 32])
    }

    fn lock(view: u64, slot: u64, letter: u8) -> Lock {
        Lock { view: View(view), slot: Slot(slot), digest: digest(letter) }
    }

    fn wrote(view: u64, base: u64, first: u64, letters: &[u8]) -> Written {
        let digests = letters.iter().map(|letter| digest(*letter)).collect();
        Written { view: View(view), base: Slot(base), first: Slot(first), digests }
    }

    fn state(replica: u16, lock: impl Into<Option<Lock>>, writeset: Vec<Written>) -> StopData {
        let lock = lock.into();
        let signature = Signature([0; 64]);
        StopData { epoch: Epoch(0), view: View(9), replica: ReplicaId(replica), lock, writeset, signature }
    }

    fn four() -> Quorums {
        Quorums::new(FaultModel::Byzantine, 4).unwrap()
    }

    fn chain(slot: u64, letter: u8) -> Base {
        Base::Chain { slot: Slot(slot), digest: digest(letter) }
    }

    #[test]
    fn fewer_than_a_quorum_determine_nothing() {
        let states = [state(0, None, vec![]), state(1, None, vec![])];
        assert_eq!(choose(&four(), &states), None);
    }

    #[test]
    fn without_locks_the_base_is_the_genesis() {
        let states = [state(0, None, vec![]), state(1, None, vec![]), state(2, None, vec![])];
        assert_eq!(choose(&four(), &states), Some(Base::Genesis));
    }

    #[test]
    fn a_lock_that_may_be_decided_binds() {
        let written = || vec![wrote(0, 0, 1, b"ab")];
        let states =
            [state(0, lock(0, 2, b'b'), written()), state(1, lock(0, 1, b'a'), written()), state(2, None, written())];
        assert_eq!(choose(&four(), &states), Some(chain(2, b'b')));
    }

    #[test]
    fn a_lock_that_only_its_owner_wrote_does_not_bind() {
        let states = [
            state(0, lock(3, 2, b'x'), vec![wrote(3, 0, 1, b"ax")]),
            state(1, lock(0, 1, b'a'), vec![wrote(0, 0, 1, b"a")]),
            state(2, lock(0, 1, b'a'), vec![wrote(0, 0, 1, b"a")]),
        ];
        assert_eq!(choose(&four(), &states), None, "two honest states do not overrule a lock that may be real");
        let mut more = states.to_vec();
        more.push(state(3, lock(0, 1, b'a'), vec![wrote(0, 0, 1, b"a")]));
        assert_eq!(choose(&four(), &more), Some(chain(1, b'a')));
    }

    #[test]
    fn a_lagging_lock_below_what_the_writers_keep_does_not_block() {
        let ahead = || vec![wrote(0, 0, 97, b"wxyz")];
        let states = [
            state(0, lock(0, 10, b'q'), vec![wrote(0, 0, 9, b"pq")]),
            state(1, lock(0, 99, b'y'), ahead()),
            state(2, lock(0, 100, b'z'), ahead()),
        ];
        assert_eq!(choose(&four(), &states), Some(chain(100, b'z')));
    }

    #[test]
    fn a_chosen_slot_below_the_certifying_base_does_not_count() {
        let states = [
            state(0, lock(1, 1, b'x'), vec![wrote(1, 2, 1, b"xyz")]),
            state(1, None, vec![wrote(1, 2, 1, b"xyz")]),
            state(2, None, vec![wrote(1, 2, 1, b"xyz")]),
        ];
        assert_eq!(choose(&four(), &states), None);
    }

    #[test]
    fn with_crash_faults_the_highest_lock_wins() {
        let three = Quorums::new(FaultModel::Crash, 3).unwrap();
        let states = [state(0, lock(1, 9, b'i'), vec![]), state(2, lock(2, 3, b'c'), vec![])];
        assert_eq!(choose(&three, &states), Some(chain(3, b'c')));
    }
}
