//! This replica's chain: the decided slots that it still keeps, and the undecided ones above them.

use std::collections::VecDeque;

use pssmr_types::{Batch, Digest, Slot};

/// One slot of the chain.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) digest: Digest,
    pub(crate) batch: Batch,
    /// The requests, by index, that nobody but the leader is known to vouch for.
    pub(crate) unproven: Vec<u32>,
}

/// The chain. Slots up to `decided` never change.
#[derive(Debug)]
pub(crate) struct Chain {
    /// The slot before the first link, and the digest there.
    root: (Slot, Digest),
    links: VecDeque<Link>,
    decided: Slot,
    decided_bytes: usize,
}

impl Chain {
    pub(crate) fn new(genesis: Digest) -> Self {
        Self { root: (Slot(0), genesis), links: VecDeque::new(), decided: Slot(0), decided_bytes: 0 }
    }

    /// The last slot.
    pub(crate) fn head(&self) -> Slot {
        Slot(self.root.0.0 + self.links.len() as u64)
    }

    /// The digest at the last slot.
    pub(crate) fn head_digest(&self) -> Digest {
        self.links.back().map_or(self.root.1, |link| link.digest)
    }

    /// The last slot decided.
    pub(crate) fn decided(&self) -> Slot {
        self.decided
    }

    /// The digest at the last slot decided.
    pub(crate) fn decided_digest(&self) -> Digest {
        self.digest_at(self.decided).expect("the last slot decided is kept")
    }

    /// The oldest slot that is kept.
    pub(crate) fn oldest(&self) -> Slot {
        self.root.0.next()
    }

    /// The link at a slot, if it is kept.
    pub(crate) fn get(&self, slot: Slot) -> Option<&Link> {
        self.links.get(self.index(slot)?)
    }

    /// The link at a slot, if it is kept.
    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Link> {
        let index = self.index(slot)?;
        self.links.get_mut(index)
    }

    /// The chain digest at a slot, if it is known.
    pub(crate) fn digest_at(&self, slot: Slot) -> Option<Digest> {
        if slot == self.root.0 { Some(self.root.1) } else { self.get(slot).map(|link| link.digest) }
    }

    fn index(&self, slot: Slot) -> Option<usize> {
        usize::try_from(slot.0.checked_sub(self.root.0.0 + 1)?).ok()
    }

    /// Adds a slot at the head.
    pub(crate) fn push(&mut self, link: Link) {
        self.links.push_back(link);
    }

    /// Cuts off everything above a slot, which must not be below what is decided. Gives the links cut off, highest first.
    pub(crate) fn truncate(&mut self, slot: Slot) -> Vec<Link> {
        assert!(slot >= self.decided, "decided slots are never cut off");
        let mut cut = Vec::new();
        while self.head() > slot {
            cut.extend(self.links.pop_back());
        }
        cut
    }

    /// The slot above the last one decided is decided.
    pub(crate) fn decide_next(&mut self) -> &Link {
        let slot = self.decided.next();
        assert!(slot <= self.head(), "only a slot on the chain can be decided");
        self.decided = slot;
        let index = self.index(slot).expect("undecided slots are kept");
        self.decided_bytes += self.links[index].batch.bytes().len();
        &self.links[index]
    }

    /// Forgets the oldest decided slots beyond the bounds, but never the last one.
    pub(crate) fn forget(&mut self, slots_max: usize, bytes_max: usize) {
        while self.oldest() < self.decided {
            let kept = (self.decided.0 - self.root.0.0) as usize;
            if kept <= slots_max && self.decided_bytes <= bytes_max {
                return;
            }
            let link = self.links.pop_front().expect("the oldest slot is kept");
            self.decided_bytes -= link.batch.bytes().len();
            self.root = (self.root.0.next(), link.digest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(letter: u8) -> Link {
        Link { digest: Digest([letter; 32]), batch: Batch::new(0, vec![]), unproven: vec![] }
    }

    #[test]
    fn slots_are_found_by_number_also_after_forgetting() {
        let mut chain = Chain::new(Digest([0; 32]));
        for letter in 1..=5 {
            chain.push(link(letter));
        }
        for _ in 0..4 {
            chain.decide_next();
        }
        chain.forget(2, usize::MAX);
        assert_eq!(chain.oldest(), Slot(3));
        assert_eq!(chain.digest_at(Slot(1)), None);
        assert_eq!(chain.digest_at(Slot(2)), Some(Digest([2; 32])), "the digest before the oldest slot is known");
        assert_eq!(chain.digest_at(Slot(5)), Some(Digest([5; 32])));
        assert_eq!(chain.digest_at(Slot(6)), None);
        assert_eq!((chain.head(), chain.decided()), (Slot(5), Slot(4)));
    }

    #[test]
    #[should_panic(expected = "decided slots are never cut off")]
    fn what_is_decided_stays() {
        let mut chain = Chain::new(Digest([0; 32]));
        chain.push(link(1));
        chain.decide_next();
        chain.truncate(Slot(0));
    }
}
