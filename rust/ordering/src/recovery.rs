//! A replica comes back: its log is replayed, and it goes on where it was.

use pssmr_types::{Batch, Lock, Operation, Slot, Vote};

use crate::chain::Link;
use crate::core::{Core, Phase, Tip};
use crate::gate::Held;
use crate::interface::Effect;
use crate::record::Record;

/// A record that can't follow on those before it: the log is not this replica's, or not whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{record} does not follow on what the log says before: {why}")]
pub struct ReplayError {
    /// The record.
    pub record: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl Core {
    /// The slot of the snapshot that has to be given to [`Core::restore`] before this record, the next one, is replayed;
    /// the application's state then begins with it, too.
    pub fn snapshot_before(&self, record: &Record) -> Option<Slot> {
        match record {
            Record::Image(image) if self.gate.replayed == 0 => Some(image.slot),
            Record::Installed(slot) => Some(*slot),
            _ => None,
        }
    }

    /// Takes the next record of this replica's log. The effects are deliveries, ends of sessions and checkpoints, as
    /// they were when the record was written.
    ///
    /// # Errors
    /// [`ReplayError`]; the core is of no use then.
    pub fn replay(&mut self, record: &Record, effects: &mut Vec<Effect>) -> Result<(), ReplayError> {
        self.gate.is_replaying = true;
        let mut all = Vec::new();
        let replayed = match record {
            Record::OfImage(record) if self.gate.takes_image => self.replay_one(record, &mut all),
            // What it says, the records before its image have said.
            Record::OfImage(_) => Ok(()),
            record => {
                self.gate.takes_image = false;
                self.replay_one(record, &mut all)
            }
        };
        self.gate.replayed += 1;
        // The rest was said when the record was written.
        effects.extend(
            all.into_iter()
                .filter(|e| matches!(e, Effect::Deliver(_) | Effect::SessionEvicted(_) | Effect::Checkpoint { .. })),
        );
        self.gate.is_replaying = false;
        replayed.map_err(|why| ReplayError { record: describe(record), why })
    }

    fn replay_one(&mut self, record: &Record, effects: &mut Vec<Effect>) -> Result<(), &'static str> {
        let ends_skipping = matches!(record, Record::Handover(_) | Record::Installed(_));
        if self.epochs.is_skipped && !ends_skipping {
            return Ok(());
        }
        let (decided, head) = (self.chain.decided(), self.chain.head());
        let is_on_chain = |slot: &Slot| *slot >= decided && *slot <= head;
        let check = |ok: bool, why| if ok { Ok(()) } else { Err(why) };
        match record {
            Record::View(view) => {
                check(*view > self.view, "views only go up")?;
                self.leave_for(*view);
            }
            Record::Base { slot, sync } => {
                check(*slot <= head, "the base is not on the chain")?;
                check(sync.as_ref().is_none_or(|sync| sync.view == self.view), "the base is another view's")?;
                (self.wrote, self.accepted) = (None, None);
                self.change.sync.clone_from(sync);
                self.base = *slot;
                self.phase = Phase::Active;
            }
            Record::Cut(slot) => {
                check(is_on_chain(slot), "the chain does not reach there")?;
                self.cut_back(*slot, effects);
            }
            Record::Slot { slot, proposed, batch } => {
                check(*slot == head.next(), "the slot is not next to the head")?;
                self.push(batch, *proposed, effects);
            }
            Record::Wrote(slot) => {
                let digest = self.chain.digest_at(*slot).ok_or("the slot is not on the chain")?;
                check(is_on_chain(slot) && *slot > self.base, "the slot can't be voted for")?;
                check(self.phase == Phase::Active, "the view has no base")?;
                self.writeset.write(self.view, self.base, *slot, &self.chain);
                self.wrote = Some(Tip { slot: *slot, digest });
            }
            Record::Accepted { slot, digest } => {
                check(*slot > self.base && self.phase == Phase::Active, "the slot can't be voted for")?;
                let ours = self.chain.digest_at(*slot);
                check(ours.is_none_or(|ours| ours == *digest), "another slot is on the chain")?;
                self.raise_lock(Lock { view: self.view, slot: *slot, digest: *digest });
                self.accepted = Some(Tip { slot: *slot, digest: *digest });
            }
            Record::Decided { slot, in_view } => {
                check(*slot <= head, "the slot is not on the chain")?;
                while self.chain.decided() < *slot {
                    self.deliver_next(effects);
                }
                let view = self.view;
                self.hand_over(effects);
                if self.view != view {
                    self.settle_decided(effects);
                    return Ok(());
                }
                self.writeset.decided(*slot, in_view.then_some(self.view));
                if !in_view {
                    self.catch_up.learned_in(self.view);
                }
                self.tidy_shelf();
                self.put_images(effects);
                self.forget_old();
            }
            Record::Image(image) if self.gate.replayed == 0 => {
                check(image.slot == decided && decided > Slot(0), "its snapshot was not restored")?;
                self.gate.takes_image = true;
                self.take_image(image);
            }
            Record::Image(image) => check(image.slot <= decided, "the image is of a slot that is not decided")?,
            Record::OfImage(_) => unreachable!("looked into by the caller"),
            Record::Handover(handover) => {
                self.epochs.is_skipped = false;
                self.restore_handover(handover)?;
                self.hand_over(effects);
                check(!self.halted, "the epoch ended in another way")?;
            }
            Record::Shelved { slot, parent, batch } => {
                let (cluster, epoch) = (self.membership.cluster(), self.membership.epoch());
                let digest = pssmr_types::chain_digest(cluster, epoch, *slot, *parent, batch.digest());
                self.shelf.put(*slot, digest, *parent, batch.clone());
            }
            Record::Installed(slot) => {
                check(*slot == decided && self.chain.oldest() == slot.next(), "the snapshot was not restored")?;
                self.epochs.is_skipped = false;
                self.hand_over(effects);
                self.writeset.decided(*slot, None);
                self.catch_up.learned_in(self.view);
                self.tidy_shelf();
            }
        }
        Ok(())
    }

    /// Ends the replay, of a replica that may have run before, even if its log is empty. What the replica had promised it
    /// repeats; it does not lead the view that it was in, since it may have proposed what its log does not say.
    /// A learner has nothing to repeat.
    pub fn resume(&mut self, effects: &mut Vec<Effect>) {
        // Proposals leave before the log keeps the view that they are of; the promise for it was kept before.
        self.restarted_in = Some(self.view.max(self.promises.view()));
        if self.is_learner() {
            return;
        }
        if self.phase == Phase::AwaitingSync {
            self.when_durable(Held::State(self.view), effects);
            return;
        }
        let vote = |tip: Tip| Vote { view: self.view, base: self.base, slot: tip.slot, digest: tip.digest };
        for (tip, votes) in [(self.wrote, &mut self.writes), (self.accepted, &mut self.accepts)] {
            if let Some(tip) = tip {
                votes.record(self.me, &vote(tip), self.chain.digest_at(tip.slot));
            }
        }
    }

    /// Whether this replica may propose and choose a base in its view. After a restart it waits for a later view: it
    /// may have proposed something in this one that it does not remember. One that steps down has given its view up.
    pub(crate) fn may_lead(&self) -> bool {
        self.leader() == self.me
            && !self.is_learner()
            && self.restarted_in.is_none_or(|view| self.view > view)
            && !self.change.is_given_up(self.view)
    }

    /// Puts a batch on top of the chain.
    pub(crate) fn push(&mut self, batch: &Batch, proposed: bool, effects: &mut Vec<Effect>) {
        let slot = self.chain.head().next();
        let (cluster, epoch) = (self.membership.cluster(), self.membership.epoch());
        let digest = pssmr_types::chain_digest(cluster, epoch, slot, self.chain.head_digest(), batch.digest());
        let leader = self.leader();
        let must_check = proposed && self.quorums.must_authenticate_requests() && leader != self.me;
        let unproven = if must_check { self.unproven.note(slot, batch, &self.pool) } else { 0 };
        if self.chain.head() == self.chain.decided() {
            self.opened = self.now.monotonic;
        }
        let may_end_epoch = batch.requests().iter().any(|request| request.operation == Operation::Reconfigure);
        self.chain.push(Link { digest, batch: batch.clone(), unproven, may_end_epoch });
        self.writes.extended(slot, digest);
        self.accepts.extended(slot, digest);
        if proposed {
            self.count_proposal(leader, slot, digest);
        }
        self.persist(|| Record::Slot { slot, proposed, batch: batch.clone() }, effects);
    }
}

fn describe(record: &Record) -> String {
    match record {
        Record::Slot { slot, .. } | Record::Shelved { slot, .. } => format!("a batch of {slot}"),
        Record::Image(image) => format!("the image of {}", image.slot),
        Record::Handover(handover) => format!("the handover to {}", handover.next.epoch()),
        other => format!("{other:?}"),
    }
}
