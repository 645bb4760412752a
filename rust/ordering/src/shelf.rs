//! Batches that were cut off the chain, but that this replica's state at a view change still speaks of.
//!
//! A lock or an entry of the writeset can make its digest the base of a later view, also after the replica has gone on from
//! another base. Whoever certifies a base has to be able to hand it out: a base that nobody has is the end of progress.

use pssmr_types::{Batch, Digest, Lock, Slot};

use crate::hash::{HashMap, HashSet};
use crate::writeset::Writeset;

#[derive(Clone, Debug)]
struct Shelved {
    slot: Slot,
    parent: Digest,
    batch: Batch,
}

/// Undecided slots off the chain, by chain digest.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shelf {
    slots: HashMap<Digest, Shelved>,
    bytes: usize,
}

impl Shelf {
    /// Keeps a slot that was cut off.
    pub(crate) fn put(&mut self, slot: Slot, digest: Digest, parent: Digest, batch: Batch) {
        let size = batch.bytes().len();
        if self.slots.insert(digest, Shelved { slot, parent, batch }).is_none() {
            self.bytes += size;
        }
    }

    /// The parent and the batch of a slot, if it is here.
    pub(crate) fn get(&self, slot: Slot, digest: Digest) -> Option<(Digest, &Batch)> {
        let shelved = self.slots.get(&digest)?;
        (shelved.slot == slot).then_some((shelved.parent, &shelved.batch))
    }

    /// All that is here, ascending by slot: slot, parent, batch.
    pub(crate) fn slots(&self) -> Vec<(Slot, Digest, &Batch)> {
        let mut slots: Vec<_> = self.slots.iter().map(|(digest, s)| (s.slot, *digest, s.parent, &s.batch)).collect();
        slots.sort_unstable_by_key(|(slot, digest, ..)| (*slot, *digest));
        slots.into_iter().map(|(slot, _, parent, batch)| (slot, parent, batch)).collect()
    }

    /// How many bytes of batches are here.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets what is decided, and what neither the writeset nor the lock's chain holds.
    pub(crate) fn tidy(&mut self, decided: Slot, writeset: &Writeset, lock: Option<&Lock>) {
        if self.slots.is_empty() {
            return;
        }
        let mut wanted: HashSet<Digest> =
            writeset.entries().iter().flat_map(|written| written.digests.iter().copied()).collect();
        let mut next = lock.map(|lock| lock.digest);
        while let Some(digest) = next {
            wanted.insert(digest);
            next = self.slots.get(&digest).map(|shelved| shelved.parent);
        }
        self.slots.retain(|digest, shelved| shelved.slot > decided && wanted.contains(digest));
        self.bytes = self.slots.values().map(|shelved| shelved.batch.bytes().len()).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pssmr_types::View;

    fn digest(letter: u8) -> Digest {
        Digest([letter; 32])
    }

    #[test]
    fn what_the_locks_chain_holds_stays_until_it_is_decided() {
        let mut shelf = Shelf::default();
        for slot in 1..=4u8 {
            shelf.put(Slot(u64::from(slot)), digest(slot), digest(slot - 1), Batch::new(0, vec![]));
        }
        let lock = Lock { view: View(0), slot: Slot(3), digest: digest(3) };
        shelf.tidy(Slot(1), &Writeset::default(), Some(&lock));
        let kept: Vec<bool> = (1..=4).map(|slot| shelf.get(Slot(slot), digest(slot as u8)).is_some()).collect();
        assert_eq!(kept, [false, true, true, false]);
        assert_eq!(shelf.bytes(), 2 * Batch::new(0, vec![]).bytes().len());
        shelf.tidy(Slot(3), &Writeset::default(), Some(&lock));
        assert_eq!(shelf.bytes(), 0);
    }
}
