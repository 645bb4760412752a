//! A correct replica, as far as a view change depends on it.

use pssmr_types::{Epoch, Lock, ReplicaId, Signature, Slot, StopData, View, Written};

use super::chains::{Chain, Chains};

/// A vote in one view: for the slots of the chain above the base.
#[derive(Clone, Copy, Debug)]
pub(super) struct Voted {
    pub(super) base: u64,
    pub(super) chain: Chain,
}

impl Voted {
    /// Whether it is a vote for this chain.
    pub(super) fn is_for(&self, chains: &Chains, chain: Chain) -> bool {
        self.base < chains.slot(chain) && chains.extends(self.chain, chain)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Replica {
    pub(super) id: u16,
    pub(super) view: u64,
    /// None: in the view, but without its base yet.
    pub(super) base: Option<Chain>,
    /// The chain that it has in its view.
    pub(super) head: Chain,
    /// It learned that something else than its chain was decided: it votes no more in this view.
    pub(super) barred: bool,
    /// A seeded fault: it takes up what was decided and goes on voting.
    pub(super) turns: bool,
    pub(super) decided: Chain,
    pub(super) lock: Option<(u64, Chain)>,
    pub(super) writeset: Vec<Written>,
    /// By view, the longest chain written.
    pub(super) writes: Vec<Option<Voted>>,
    /// By view, the longest chain accepted.
    pub(super) accepts: Vec<Option<Voted>>,
    /// By view, what it froze when it left for that view.
    pub(super) frozen: Vec<Option<StopData>>,
}

impl Replica {
    pub(super) fn new(id: u16, views: u64) -> Self {
        Self {
            id,
            view: 0,
            base: Some(Chains::EMPTY),
            head: Chains::EMPTY,
            barred: false,
            turns: false,
            decided: Chains::EMPTY,
            lock: None,
            writeset: Vec::new(),
            writes: vec![None; views as usize],
            accepts: vec![None; views as usize],
            frozen: vec![None; views as usize],
        }
    }

    /// Appends a slot to its chain and votes for it.
    pub(super) fn write(&mut self, chains: &Chains, chain: Chain) {
        let base = chains.slot(self.base.expect("only with a base does a replica write"));
        self.head = chain;
        self.writes[self.view as usize] = Some(Voted { base, chain });
        // As the replicas do, the entry is read anew off the chain each time.
        self.writeset.pop_if(|last| last.view == View(self.view));
        let first = chains.slot(self.decided).max(1);
        let digests = chains.digests_from(chain, first);
        self.writeset.push(Written { view: View(self.view), base: Slot(base), first: Slot(first), digests });
    }

    /// Locks a chain of its view and accepts it, unless it did already.
    pub(super) fn lock(&mut self, chains: &Chains, chain: Chain) -> bool {
        let higher = self.lock.is_none_or(|(view, held)| (view, chains.slot(held)) < (self.view, chains.slot(chain)));
        if higher {
            let base = chains.slot(self.base.expect("only with a base does a replica lock"));
            self.lock = Some((self.view, chain));
            self.accepts[self.view as usize] = Some(Voted { base, chain });
        }
        higher
    }

    /// Learns that `chain` is decided; in its own view, by a quorum of ACCEPTs, if `by_votes`.
    pub(super) fn decide(&mut self, chains: &Chains, chain: Chain, by_votes: bool) {
        self.decided = chain;
        if by_votes {
            let view = View(self.view);
            self.writeset.retain(|written| written.view >= view);
        }
        let slot = chains.slot(chain);
        for written in &mut self.writeset {
            let first = Slot(slot.clamp(1, written.last().0));
            if first > written.first {
                written.digests.drain(..(first.0 - written.first.0) as usize);
                written.first = first;
            }
        }
        if chains.extends(chain, self.head) {
            self.head = chain;
        } else if !chains.extends(self.head, chain) {
            if self.turns && self.base.is_some_and(|base| chains.extends(chain, base)) {
                self.head = chain;
            } else {
                self.barred = true;
            }
        }
    }

    /// Leaves for a higher view, for good.
    pub(super) fn leave(&mut self, chains: &Chains, view: u64) {
        self.view = view;
        self.base = None;
        let lock = self.lock.map(|(view, chain)| Lock {
            view: View(view),
            slot: Slot(chains.slot(chain)),
            digest: chains.digest(chain),
        });
        self.frozen[view as usize] = Some(StopData {
            epoch: Epoch(0),
            view: View(view),
            replica: ReplicaId(self.id),
            lock,
            writeset: self.writeset.clone(),
            signature: Signature([0; 64]),
        });
    }

    /// Goes on in its view from `base`.
    pub(super) fn adopt(&mut self, chains: &Chains, base: Chain) {
        self.base = Some(base);
        self.head = if chains.extends(self.decided, base) { self.decided } else { base };
        self.barred = !chains.extends(self.head, self.decided);
    }
}
