//! This replica's chain: the decided slots that it still keeps, and the undecided ones above them.

use std::collections::VecDeque;

use bytes::Bytes;
use pssmr_types::{Batch, BatchLimits, Digest, Slot};

/// A replica that is given the last stable snapshot needs all that was decided since, also if it is long ago.
const ABOVE_STABLE: usize = 8;

/// As many slots since then are kept in any case, if their bytes allow it. How far a stable checkpoint lags is up to the
/// slowest disk that it needs, not to how much is kept.
const SLOTS_ABOVE_STABLE: usize = 1 << 16;

/// One undecided slot of the chain.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) digest: Digest,
    pub(crate) batch: Batch,
    /// How many of its requests nobody but the leader is known to vouch for.
    pub(crate) unproven: u32,
    /// A request in it asks for a change of the membership.
    pub(crate) may_end_epoch: bool,
}

/// One decided slot, kept for replicas that lag. The bytes are a copy: a received frame shares its memory with all that
/// came beside it, and is not to be held for long.
#[derive(Clone, Debug)]
struct Kept {
    digest: Digest,
    timestamp: u64,
    batch: Bytes,
}

/// The chain. Slots up to `decided` never change.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    /// The slot before the oldest one kept, and the digest there.
    root: (Slot, Digest),
    /// The timestamp there.
    root_timestamp: u64,
    kept: VecDeque<Kept>,
    undecided: VecDeque<Link>,
    kept_bytes: usize,
}

impl Chain {
    pub(crate) fn new(genesis: Digest) -> Self {
        Self::on_top_of(Slot(0), genesis, 0)
    }

    /// An empty chain above a decided slot.
    pub(crate) fn on_top_of(slot: Slot, digest: Digest, timestamp: u64) -> Self {
        Self {
            root: (slot, digest),
            root_timestamp: timestamp,
            kept: VecDeque::new(),
            undecided: VecDeque::new(),
            kept_bytes: 0,
        }
    }

    /// The last slot.
    pub(crate) fn head(&self) -> Slot {
        Slot(self.decided().0 + self.undecided.len() as u64)
    }

    /// The digest at the last slot.
    pub(crate) fn head_digest(&self) -> Digest {
        self.undecided.back().map_or_else(|| self.decided_digest(), |link| link.digest)
    }

    /// The timestamp at the last slot; 0 in the empty chain.
    pub(crate) fn head_timestamp(&self) -> u64 {
        self.undecided.back().map_or_else(|| self.decided_timestamp(), |link| link.batch.timestamp())
    }

    /// The timestamp at the last slot decided.
    pub(crate) fn decided_timestamp(&self) -> u64 {
        self.kept.back().map_or(self.root_timestamp, |kept| kept.timestamp)
    }

    /// The last slot decided.
    pub(crate) fn decided(&self) -> Slot {
        Slot(self.root.0.0 + self.kept.len() as u64)
    }

    /// The digest at the last slot decided.
    pub(crate) fn decided_digest(&self) -> Digest {
        self.kept.back().map_or(self.root.1, |kept| kept.digest)
    }

    /// The oldest slot that is kept.
    pub(crate) fn oldest(&self) -> Slot {
        self.root.0.next()
    }

    /// The link at an undecided slot.
    pub(crate) fn get(&self, slot: Slot) -> Option<&Link> {
        self.undecided.get(self.undecided_index(slot)?)
    }

    /// The link at an undecided slot.
    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Link> {
        let index = self.undecided_index(slot)?;
        self.undecided.get_mut(index)
    }

    /// The encoded batch at a slot, if it is kept.
    pub(crate) fn batch_bytes(&self, slot: Slot) -> Option<&Bytes> {
        if slot > self.decided() {
            return self.get(slot).map(|link| link.batch.bytes());
        }
        self.kept.get(self.kept_index(slot)?).map(|kept| &kept.batch)
    }

    /// The batch at a slot, if it is kept.
    pub(crate) fn batch(&self, slot: Slot) -> Option<Batch> {
        if let Some(link) = self.get(slot) {
            return Some(link.batch.clone());
        }
        let bytes = self.batch_bytes(slot)?;
        Some(Batch::decode(bytes, &BatchLimits::WIDEST).expect("a batch on the chain was decoded before"))
    }

    /// The chain digest at a slot, if it is known.
    pub(crate) fn digest_at(&self, slot: Slot) -> Option<Digest> {
        if slot > self.decided() {
            return self.get(slot).map(|link| link.digest);
        }
        if slot == self.root.0 {
            return Some(self.root.1);
        }
        self.kept.get(self.kept_index(slot)?).map(|kept| kept.digest)
    }

    fn kept_index(&self, slot: Slot) -> Option<usize> {
        usize::try_from(slot.0.checked_sub(self.root.0.0 + 1)?).ok()
    }

    fn undecided_index(&self, slot: Slot) -> Option<usize> {
        usize::try_from(slot.0.checked_sub(self.decided().0 + 1)?).ok()
    }

    /// Adds a slot at the head.
    pub(crate) fn push(&mut self, link: Link) {
        self.undecided.push_back(link);
    }

    /// Cuts off everything above a slot, which must not be below what is decided. Gives the links cut off, highest first.
    pub(crate) fn truncate(&mut self, slot: Slot) -> Vec<Link> {
        assert!(slot >= self.decided(), "decided slots are never cut off");
        let mut cut = Vec::new();
        while self.head() > slot {
            cut.extend(self.undecided.pop_back());
        }
        cut
    }

    /// The slot above the last one decided is decided. Gives its link.
    pub(crate) fn decide_next(&mut self) -> Link {
        let link = self.undecided.pop_front().expect("only a slot on the chain can be decided");
        let (digest, timestamp) = (link.digest, link.batch.timestamp());
        self.kept_bytes += link.batch.bytes().len();
        self.kept.push_back(Kept { digest, timestamp, batch: Bytes::copy_from_slice(link.batch.bytes()) });
        link
    }

    /// Forgets the oldest decided slots beyond the bounds, but never the last one; those above the last stable checkpoint
    /// (0 if none is known, as while a log is replayed) only beyond [`ABOVE_STABLE`] times the bounds, and beyond
    /// [`SLOTS_ABOVE_STABLE`].
    pub(crate) fn forget(&mut self, slots_max: usize, bytes_max: usize, stable: Slot) {
        let bytes_above = bytes_max.saturating_mul(ABOVE_STABLE);
        let slots_above = slots_max.saturating_mul(ABOVE_STABLE).max(SLOTS_ABOVE_STABLE);
        let is_beyond = |chain: &Self| {
            let is_before = chain.root.0 < stable;
            let (slots, bytes) = if is_before { (slots_max, bytes_max) } else { (slots_above, bytes_above) };
            chain.kept.len() > slots || chain.kept_bytes > bytes
        };
        while self.kept.len() > 1 && is_beyond(self) {
            let oldest = self.kept.pop_front().expect("more than one is kept");
            self.kept_bytes -= oldest.batch.len();
            self.root = (self.root.0.next(), oldest.digest);
            self.root_timestamp = oldest.timestamp;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(letter: u8) -> Link {
        Link { digest: Digest([letter; 32]), batch: Batch::new(0, vec![]), unproven: 0, may_end_epoch: false }
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
        chain.forget(2, usize::MAX, Slot(9));
        assert_eq!(chain.oldest(), Slot(3));
        assert_eq!(chain.digest_at(Slot(1)), None);
        assert_eq!(chain.digest_at(Slot(2)), Some(Digest([2; 32])), "the digest before the oldest slot is known");
        assert_eq!(chain.digest_at(Slot(5)), Some(Digest([5; 32])));
        assert_eq!(chain.digest_at(Slot(6)), None);
        assert_eq!((chain.head(), chain.decided()), (Slot(5), Slot(4)));
        assert_eq!(chain.batch_bytes(Slot(2)), None);
        assert!(chain.batch_bytes(Slot(3)).is_some() && chain.batch_bytes(Slot(5)).is_some());
        assert!(chain.get(Slot(4)).is_none() && chain.get(Slot(5)).is_some(), "only undecided slots have links");
    }

    #[test]
    fn what_was_decided_since_the_last_stable_checkpoint_is_kept_longer() {
        let mut chain = Chain::new(Digest([0; 32]));
        for letter in 1..=40 {
            chain.push(link(letter));
            chain.decide_next();
        }
        chain.forget(4, usize::MAX, Slot(20));
        assert_eq!(chain.oldest(), Slot(21));
        let bytes = chain.batch_bytes(Slot(40)).unwrap().len();
        chain.forget(4, 2 * bytes, Slot(20));
        assert_eq!(chain.oldest(), Slot(25), "not without bounds");
    }

    /// Simulator, cft5 seed 20280: two replicas that came back forgot, while they read their logs and knew of no stable
    /// checkpoint yet, what a third one needed after the one that then was.
    #[test]
    fn nothing_is_forgotten_early_while_no_stable_checkpoint_is_known() {
        let mut chain = Chain::on_top_of(Slot(20), Digest([0; 32]), 0);
        for letter in 1..=40 {
            chain.push(link(letter));
            chain.decide_next();
            chain.forget(5, usize::MAX, Slot(0));
        }
        chain.forget(5, usize::MAX, Slot(30));
        assert_eq!(chain.oldest(), Slot(31), "all since the stable one");
    }

    #[test]
    fn a_decided_batch_does_not_hold_on_to_the_frame_it_came_in() {
        let frame = Bytes::from(vec![0; 1 << 16]);
        let bytes = frame.slice(100..112);
        let batch = Batch::decode(&bytes, &pssmr_types::BatchLimits::default()).unwrap();
        let mut chain = Chain::new(Digest([0; 32]));
        chain.push(Link { digest: Digest([1; 32]), batch, unproven: 0, may_end_epoch: false });
        drop(chain.decide_next());
        drop(bytes);
        assert!(frame.is_unique());
        assert_eq!(chain.batch_bytes(Slot(1)).map(Bytes::len), Some(12));
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
