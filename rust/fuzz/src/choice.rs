//! The choice of a view's base, against its definition said once more, in other words.

use bytes::Bytes;
use pssmr_ordering::choice::{Base, choose};
use pssmr_types::wire::Reader;
use pssmr_types::{
    Digest, Epoch, FaultModel, Lock, Quorums, ReplicaId, Signature, Slot, StopData, Sync, View, Written,
};

use crate::choices::Choices;

const VIEW: View = View(6);

/// States of distinct replicas, as they are or as a SYNC's bytes: the choice is the same in any order of them, and what
/// the definition says.
pub fn choice(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let (model, replicas) = match choices.below(4) {
        0 | 1 => (FaultModel::Byzantine, 4),
        2 => (FaultModel::Byzantine, 7),
        _ => (FaultModel::Crash, 3),
    };
    let quorums = Quorums::new(model, replicas).expect("a membership");
    let states = if choices.below(8) == 0 {
        let mut reader = Reader::new(Bytes::copy_from_slice(choices.rest()));
        let Ok(mut sync) = Sync::decode(&mut reader) else { return };
        let mut known = Vec::new();
        sync.states.retain(|state| {
            let is_new = state.replica.index() < replicas && !known.contains(&state.replica);
            known.push(state.replica);
            is_new
        });
        sync.states
    } else {
        (0..replicas).filter_map(|replica| draw(&mut choices, replica)).collect()
    };
    let chosen = choose(&quorums, &states);
    let reversed: Vec<_> = states.iter().rev().cloned().collect();
    assert_eq!(choose(&quorums, &reversed), chosen, "the order of states is nothing");
    assert_eq!(chosen, defined(&quorums, &states), "the choice is what its definition says: {states:?}");
}

/// A replica's state, if there is one of it. Digests are letters, so that many are alike.
fn draw(choices: &mut Choices<'_>, replica: usize) -> Option<StopData> {
    let kind = choices.byte();
    if kind.is_multiple_of(8) {
        return None;
    }
    let letter = |choices: &mut Choices<'_>| Digest([choices.byte() % 4; 32]);
    let lock = (kind & 8 == 0).then(|| Lock {
        view: View(choices.below(5) as u64),
        slot: Slot(1 + choices.below(5) as u64),
        digest: letter(choices),
    });
    let mut writeset = Vec::new();
    for view in 0..5 {
        if choices.flag() {
            let (base, first) = (choices.below(5) as u64, 1 + choices.below(5) as u64);
            let least = (base + 1).saturating_sub(first).max(1) as usize;
            let digests = (0..least + choices.below(3)).map(|_| letter(choices)).collect();
            writeset.push(Written { view: View(view), base: Slot(base), first: Slot(first), digests });
        }
    }
    let signature = Signature([0; 64]);
    Some(StopData { epoch: Epoch(0), view: VIEW, replica: ReplicaId(replica as u16), lock, writeset, signature })
}

/// The definition: of all locks that are bound, the one of the highest view, slot and digest; else the genesis, if a
/// quorum has no lock.
fn defined(quorums: &Quorums, states: &[StopData]) -> Option<Base> {
    if states.len() < quorums.quorum() {
        return None;
    }
    let bound = |lock: &Lock| !quorums.has_write_phase() || is_bound(quorums, states, lock);
    let highest = states
        .iter()
        .filter_map(|state| state.lock)
        .filter(bound)
        .max_by_key(|lock| (lock.view, lock.slot, lock.digest));
    match highest {
        Some(lock) => Some(Base::Chain { slot: lock.slot, digest: lock.digest }),
        None if states.iter().filter(|state| state.lock.is_none()).count() >= quorums.quorum() => Some(Base::Genesis),
        None => None,
    }
}

fn is_bound(quorums: &Quorums, states: &[StopData], lock: &Lock) -> bool {
    let says = |written: &Written| {
        written.view >= lock.view && written.base <= lock.slot && written.digest_at(lock.slot) == Some(lock.digest)
    };
    let certifiers: Vec<_> = states.iter().filter(|state| state.writeset.iter().any(says)).collect();
    if certifiers.len() < quorums.weak() {
        return false;
    }
    let lies_below = |other: &Lock| {
        let shows = |written: &Written| {
            says(written) && (written.first > other.slot || written.digest_at(other.slot) == Some(other.digest))
        };
        certifiers.iter().filter(|state| state.writeset.iter().any(shows)).count() >= quorums.weak()
    };
    let agrees = |state: &&StopData| match state.lock {
        None => true,
        Some(other) if other.view < lock.view => true,
        Some(other) if other.view > lock.view || other.slot > lock.slot => false,
        Some(other) if other.slot == lock.slot => other.digest == lock.digest,
        Some(other) => lies_below(&other),
    };
    states.iter().filter(agrees).count() >= quorums.quorum()
}
