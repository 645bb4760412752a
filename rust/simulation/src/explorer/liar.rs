//! What a Byzantine replica may say of itself at a view change: anything.

use pssmr_types::{Epoch, Lock, ReplicaId, Signature, Slot, StopData, View, Written};

use super::chains::{Chain, Chains};
use crate::random::Random;

/// Draws a state of `replica` for `view` in favour of `aim`, a chain that is to become the base. `known` are chains
/// that were proposed. What is drawn is well formed, since anything else is refused before it is counted.
pub(super) fn state(
    random: &mut Random,
    chains: &Chains,
    replica: u16,
    view: u64,
    aim: Chain,
    known: &[Chain],
) -> StopData {
    let lock = if random.chance(1, 3) {
        None
    } else {
        let chain = if random.chance(3, 4) { aim } else { *random.pick(known) };
        (chains.slot(chain) > 0).then(|| Lock {
            view: View(random.below(view)),
            slot: Slot(chains.slot(chain)),
            digest: chains.digest(chain),
        })
    };
    let mut writeset = Vec::new();
    for written_view in 0..view {
        if random.chance(1, 4) {
            continue;
        }
        if let Some(written) = written(random, chains, written_view, aim, known) {
            writeset.push(written);
        }
    }
    StopData {
        epoch: Epoch(0),
        view: View(view),
        replica: ReplicaId(replica),
        lock,
        writeset,
        signature: Signature([0; 64]),
    }
}

/// An entry that certifies `aim` if it can; none if the chain drawn is empty.
fn written(random: &mut Random, chains: &Chains, view: u64, aim: Chain, known: &[Chain]) -> Option<Written> {
    let longer = *random.pick(known);
    let chain = match random.below(4) {
        0 => longer,
        1 if chains.extends(longer, aim) => longer,
        _ => aim,
    };
    let last = chains.slot(chain);
    if last == 0 {
        return None;
    }
    let base = match random.below(3) {
        0 => 0,
        1 => last - 1,
        _ => random.below(last),
    };
    let first = match random.below(3) {
        0 => random.between(1, last),
        1 => last.min(base + 1),
        _ => 1,
    };
    let mut digests = chains.digests_from(chain, first);
    // Digests that are no chain: nobody can check that one follows from the other.
    if random.chance(1, 3) && digests.len() > 1 {
        let place = random.index(digests.len() - 1);
        let slot = first + place as u64;
        let other = *random.pick(known);
        if chains.slot(other) >= slot {
            digests[place] = chains.digest(chains.up_to(other, slot));
        }
    }
    Some(Written { view: View(view), base: Slot(base), first: Slot(first), digests })
}
