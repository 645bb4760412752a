//! Counting votes: the one place where it is done.

use pssmr_types::{Digest, REPLICAS_MAX, ReplicaId, Slot, Vote};

/// The votes of one kind in one view, seen from one replica's chain. A sender counts once.
///
/// A vote for a slot is a vote for the chain that ends there, so all there is to remember of a sender is the highest
/// slot of *our* chain that it voted for. Votes for slots that our chain has not reached yet wait in a ring, the first
/// one for a slot from a sender, so memory is fixed and nothing is allocated per vote.
#[derive(Clone, Debug)]
pub(crate) struct VoteSet {
    senders: Vec<Sender>,
    ring: usize,
}

#[derive(Clone, Debug, Default)]
struct Sender {
    /// The highest slot of our chain that it voted for; 0 is none.
    up_to: Slot,
    /// Its votes say nothing of this slot and those below.
    base: Slot,
    early: Vec<Option<Vote>>,
}

impl VoteSet {
    /// No votes yet, of `replicas` senders, with room for votes `window` slots ahead of the chain.
    pub(crate) fn new(replicas: usize, window: usize) -> Self {
        let ring = 2 * window;
        Self { senders: vec![Sender { early: vec![None; ring], ..Sender::default() }; replicas], ring }
    }

    /// Forgets all votes: a new view.
    pub(crate) fn clear(&mut self) {
        for sender in &mut self.senders {
            sender.up_to = Slot(0);
            sender.base = Slot(0);
            sender.early.fill(None);
        }
    }

    /// Counts a vote. `ours` is our chain's digest at the vote's slot, if our chain has it. False if it contradicts ours.
    pub(crate) fn record(&mut self, from: ReplicaId, vote: &Vote, ours: Option<Digest>) -> bool {
        let sender = &mut self.senders[from.index()];
        match ours {
            Some(digest) if digest == vote.digest => {
                if vote.slot > sender.up_to {
                    sender.up_to = vote.slot;
                    sender.base = vote.base;
                }
                true
            }
            Some(_) => false,
            None => {
                let place = &mut sender.early[(vote.slot.0 % self.ring as u64) as usize];
                if place.is_none_or(|early| early.slot < vote.slot) {
                    *place = Some(*vote);
                }
                true
            }
        }
    }

    /// Our chain has grown by this slot: votes that waited for it count now.
    pub(crate) fn extended(&mut self, slot: Slot, digest: Digest) {
        let index = (slot.0 % self.ring as u64) as usize;
        for sender in &mut self.senders {
            if let Some(vote) = sender.early[index]
                && vote.slot == slot
            {
                sender.early[index] = None;
                if vote.digest == digest && slot > sender.up_to {
                    sender.up_to = slot;
                    sender.base = vote.base;
                }
            }
        }
    }

    /// Our chain was cut back to this slot: what counted above it no longer does.
    pub(crate) fn truncated(&mut self, slot: Slot) {
        for sender in &mut self.senders {
            sender.up_to = sender.up_to.min(slot);
        }
    }

    /// The highest slot of our chain with `votes` votes; 0 if there is none.
    pub(crate) fn slot_with(&self, votes: usize) -> Slot {
        let mut sorted = [Slot(0); REPLICAS_MAX];
        let sorted = &mut sorted[..self.senders.len()];
        for (place, sender) in sorted.iter_mut().zip(&self.senders) {
            *place = sender.up_to;
        }
        sorted.sort_unstable_by(|a, b| b.cmp(a));
        sorted[votes - 1..]
            .iter()
            .copied()
            .find(|slot| *slot > Slot(0) && self.votes_at(*slot) >= votes)
            .unwrap_or(Slot(0))
    }

    /// How many senders voted for our chain at this slot.
    fn votes_at(&self, slot: Slot) -> usize {
        self.senders.iter().filter(|sender| sender.base < slot && slot <= sender.up_to).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pssmr_types::View;

    fn digest(slot: u64) -> Digest {
        Digest([slot as u8; 32])
    }

    fn vote(base: u64, slot: u64) -> Vote {
        Vote { view: View(0), base: Slot(base), slot: Slot(slot), digest: digest(slot) }
    }

    fn seen(votes: &mut VoteSet, from: u16, base: u64, slot: u64) {
        assert!(votes.record(ReplicaId(from), &vote(base, slot), Some(digest(slot))));
    }

    #[test]
    fn a_sender_counts_once() {
        let mut votes = VoteSet::new(4, 4);
        for _ in 0..5 {
            seen(&mut votes, 1, 0, 3);
        }
        assert_eq!(votes.slot_with(2), Slot(0));
        seen(&mut votes, 2, 0, 2);
        assert_eq!(votes.slot_with(2), Slot(2));
    }

    #[test]
    fn a_vote_is_for_all_of_the_chain_above_the_base() {
        let mut votes = VoteSet::new(4, 4);
        seen(&mut votes, 0, 0, 9);
        seen(&mut votes, 1, 0, 7);
        seen(&mut votes, 2, 5, 8);
        assert_eq!(votes.slot_with(3), Slot(7));
        let mut low = VoteSet::new(4, 4);
        seen(&mut low, 0, 0, 4);
        seen(&mut low, 1, 5, 8);
        assert_eq!(low.slot_with(2), Slot(0), "a vote above base 5 says nothing of slot 4");
    }

    #[test]
    fn a_vote_for_another_chain_does_not_count() {
        let mut votes = VoteSet::new(4, 4);
        assert!(!votes.record(ReplicaId(0), &vote(0, 3), Some(digest(200))));
        assert_eq!(votes.slot_with(1), Slot(0));
    }

    #[test]
    fn votes_for_what_was_cut_off_count_no_more() {
        let mut votes = VoteSet::new(4, 4);
        (0..3).for_each(|from| seen(&mut votes, from, 0, 5));
        votes.truncated(Slot(3));
        assert_eq!(votes.slot_with(3), Slot(3), "another chain may grow from there");
    }

    #[test]
    fn an_early_vote_counts_when_the_chain_gets_there() {
        let mut votes = VoteSet::new(4, 4);
        assert!(votes.record(ReplicaId(0), &vote(0, 3), None));
        assert!(votes.record(ReplicaId(1), &vote(0, 3), None));
        votes.extended(Slot(3), digest(3));
        assert_eq!(votes.slot_with(2), Slot(3));
    }

    #[test]
    fn the_first_early_vote_for_a_slot_stays() {
        let mut votes = VoteSet::new(4, 4);
        votes.record(ReplicaId(0), &vote(0, 3), None);
        votes.record(ReplicaId(0), &Vote { digest: digest(77), ..vote(0, 3) }, None);
        votes.extended(Slot(3), digest(77));
        assert_eq!(votes.slot_with(1), Slot(0));
    }
}
