//! A replica that remembers nothing: it is new, or has lost its disk. Only the others know.
//!
//! Where replicas do nothing worse than stop (`cft`), it follows without voting until n − Q + 1 others have said how far they
//! are: one of them was in any quorum that the replica was in. If none of them has anything, there is nothing to remember. If
//! the cluster has begun, what they say bounds what the replica may have voted for, as its own promise does otherwise
//! (`promise.rs`). So nothing that was decided is lost with a disk, as long as there are not more than f replicas that are
//! gone or have forgotten. (The questions of Viewstamped Replication's recovery, Liskov and Cowling 2012, section 4.3, but
//! only where a replica has no word of its own.) A cluster's first slot waits until a quorum is settled, by promises that
//! are durable: so those that decide it are enough for whoever is late, also if all lose power at once.
//!
//! Where replicas may do anything (`bft`), one that forgets how it voted is one of the f that nothing depends on: it need not
//! ask, and what liars answer could keep it from voting for ever.

use pssmr_types::{Epoch, FaultModel, PeerMessage, ReplicaId, Slot, Status, View};

use crate::core::Core;
use crate::interface::{Effect, Event, Promise};

/// What the others have said to a replica that remembers nothing.
#[derive(Clone, Debug)]
pub(crate) struct Newborn {
    /// By replica, how far it was when it first spoke: its view, and the last slot of its chain.
    words: Vec<Option<(View, Slot)>>,
}

impl Core {
    /// The replica has no past that it knows of. With crash faults, it asks the others whether it can have one; unless it
    /// joins with the last change of the membership, when the others may need its vote to decide anything.
    pub fn set_newborn(&mut self) {
        let epoch = self.membership.epoch();
        let joins = epoch > Epoch(0) && self.membership.members().last().is_some_and(|last| last.id == self.me);
        if self.quorums.model() == FaultModel::Byzantine || joins {
            return;
        }
        self.promises.newborn = Some(Newborn { words: vec![None; self.membership.table_len()] });
        self.promises.was_newborn = true;
        // Alone it has nobody to ask, and nobody to tell.
        self.try_settle(&mut Vec::new());
    }

    /// How many others have to speak.
    fn words_needed(&self) -> usize {
        let (n, quorum) = (self.quorums.replicas(), self.quorums.quorum());
        (n - quorum + 1).min(n - 1)
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
        if words.len() < self.words_needed() {
            return;
        }
        let view = words.iter().map(|(view, _)| *view).max().unwrap_or_default();
        let head = words.iter().map(|(_, head)| *head).max().unwrap_or_default();
        self.promises.newborn = None;
        self.progressed = self.now.monotonic;
        if (view, head) > (View(0), Slot(0)) {
            // What it voted for lies within a window of what was decided, and that one of those that spoke has.
            let bound = Slot(head.0.saturating_add(self.config.window as u64));
            self.set_forgotten(Promise { view, slot_limit: bound });
            effects.push(Effect::Event(Event::Forgotten { bound }));
        }
        // Those that wait for this replica need not any more.
        effects.push(Effect::Broadcast(PeerMessage::Status(self.own_status())));
    }

    /// Whether a cluster that is about to begin waits for a quorum to be settled: nothing is proposed, and nobody suspected.
    pub(crate) fn waits_for_newborn(&self) -> bool {
        let settled = || self.peers.iter().flatten().filter(|peer| !peer.is_newborn).count();
        self.promises.was_newborn && self.chain.head() == Slot(0) && settled() + 1 < self.quorums.quorum()
    }
}
