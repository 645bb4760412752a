//! A replica that remembers nothing: it is new, or has lost its disk. Only the others know.
//!
//! It follows without voting until so many others have said how far they are that some of them were in any quorum that the
//! replica may have been in. If enough of them have nothing at all, there is nothing to remember. If the cluster has begun,
//! what they say bounds what the replica may have voted for, as its own promise does otherwise (`promise.rs`). So nothing that
//! was decided is lost with a disk. (The questions of Viewstamped Replication's recovery, Liskov and Cowling 2012, section
//! 4.3, but only where a replica has no word of its own.)
//!
//! The replica itself counts as one of the f. So with crashes n − Q + 1 others have to speak: one of them was in each quorum
//! that this replica was in. If replicas lie, f − 1 more of them have to, for the liars; and neither can k − 1 liars make a new
//! cluster look old, nor can they move the bound. A cluster's first slot waits until a quorum is settled, so that those
//! that decide it are enough for whoever is late.

use pssmr_types::{FaultModel, PeerMessage, ReplicaId, Slot, Status, View};

use crate::core::Core;
use crate::interface::{Effect, Event, Promise};

/// What the others have said to a replica that remembers nothing.
#[derive(Clone, Debug)]
pub(crate) struct Newborn {
    /// By replica, how far it was when it first spoke: its view, and the last slot of its chain.
    words: Vec<Option<(View, Slot)>>,
}

impl Core {
    /// The replica has no past that it knows of. It asks the others whether it can have one.
    pub fn set_newborn(&mut self) {
        self.promises.newborn = Some(Newborn { words: vec![None; self.membership.table_len()] });
        // Alone it has nobody to ask, and nobody to tell.
        self.try_settle(&mut Vec::new());
    }

    /// How many others have to speak.
    fn words_needed(&self) -> usize {
        let liars = match self.quorums.model() {
            FaultModel::Crash => 0,
            FaultModel::Byzantine => self.quorums.faults().saturating_sub(1),
        };
        let (n, quorum) = (self.quorums.replicas(), self.quorums.quorum());
        (n - quorum + 1 + liars).min(n - 1)
    }

    /// Another replica says how far it is. Its first word counts: what it knew when this replica had begun anew.
    pub(crate) fn on_word(&mut self, from: ReplicaId, status: &Status, effects: &mut Vec<Effect>) {
        let Some(newborn) = &mut self.promises.newborn else { return };
        if let Some(word) = newborn.words.get_mut(from.index()).filter(|word| word.is_none()) {
            *word = Some((status.view, status.head));
            self.try_settle(effects);
        }
    }

    fn try_settle(&mut self, effects: &mut Vec<Effect>) {
        let Some(newborn) = &self.promises.newborn else { return };
        let words: Vec<_> = newborn.words.iter().flatten().copied().collect();
        let begun = words.iter().filter(|word| **word > (View(0), Slot(0))).count();
        let is_new = words.len() - begun >= self.words_needed();
        if !is_new && (words.len() < self.words_needed() || begun < self.quorums.weak()) {
            return;
        }
        self.promises.newborn = None;
        self.progressed = self.now.monotonic;
        if !is_new {
            let bound = self.bound_of(&words);
            self.set_forgotten(bound);
            effects.push(Effect::Event(Event::Forgotten { bound: bound.slot_limit }));
        }
        // Those that wait for this replica need not any more.
        effects.push(Effect::Broadcast(PeerMessage::Status(self.own_status())));
    }

    /// The view and the slot that the replica can't have voted above. What it voted for lies within a window of what was
    /// decided, and that one of k others has, at least.
    fn bound_of(&self, words: &[(View, Slot)]) -> Promise {
        let mut views: Vec<_> = words.iter().map(|(view, _)| *view).collect();
        let mut heads: Vec<_> = words.iter().map(|(_, head)| *head).collect();
        views.sort_unstable_by(|a, b| b.cmp(a));
        heads.sort_unstable_by(|a, b| b.cmp(a));
        let at = self.quorums.weak() - 1;
        Promise { view: views[at], slot_limit: Slot(heads[at].0.saturating_add(self.config.window as u64)) }
    }

    /// Whether a cluster that is about to begin waits for a quorum to be settled.
    pub(crate) fn waits_for_newborn(&self) -> bool {
        let settled = self.peers.iter().flatten().filter(|peer| !peer.is_newborn).count();
        self.chain.head() == Slot(0) && settled + 1 < self.quorums.quorum()
    }
}
