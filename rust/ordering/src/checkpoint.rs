//! Checkpoints: at slots that all replicas agree on, each takes a snapshot of its state and signs what it found. The equal
//! words of f + 1 make the checkpoint stable: the log before it can go, a replica that lags can be given the snapshot
//! instead of the log, and a replica that found something else knows that it has diverged. (Castro and Liskov, *Practical
//! Byzantine Fault Tolerance*, OSDI'99, section 4.3.)

use std::collections::VecDeque;
use std::sync::Arc;

use pssmr_types::{Certificate, Checkpoint, CheckpointVote, Epoch, PeerMessage, ReplicaId, Slot};

use crate::core::{Core, Phase, Tip};
use crate::interface::{Effect, Event};
use crate::record::Record;
use crate::sessions::Sessions;
use crate::snapshot::CoreSnapshot;

/// A checkpoint that is asked for is taken if the last one that was is older than this, in nanoseconds of agreed time: a
/// client that asks all the time keeps nobody busy.
const ASKED_INTERVAL: u64 = 10_000_000_000;

/// How many checkpoints of each replica are remembered until one is stable: a replica that executes far behind another one
/// says what that one said long ago.
const VOTES_MAX: usize = 256;

/// What the replica knows of checkpoints.
#[derive(Clone, Debug)]
pub(crate) struct Checkpoints {
    /// The bytes of batches delivered since the last one, and the agreed time of the last one that somebody asked for: part
    /// of the replicated state.
    bytes: u64,
    asked_at: u64,
    /// How many were due.
    number: u64,
    /// By replica, what it said of slots above the stable one; the newest last.
    votes: Vec<VecDeque<CheckpointVote>>,
    stable: Option<Certificate>,
    /// Slots whose image goes into the log when what is at hand is done.
    pub(crate) due_images: Vec<Slot>,
    /// The one whose snapshot the host is fetching.
    transfer: Option<Certificate>,
    /// A stable one of others, above what is decided here.
    ahead: Option<Certificate>,
}

impl Checkpoints {
    pub(crate) fn new(replicas: usize) -> Self {
        Self {
            bytes: 0,
            asked_at: 0,
            number: 0,
            votes: vec![VecDeque::new(); replicas],
            stable: None,
            due_images: Vec::new(),
            transfer: None,
            ahead: None,
        }
    }

    /// The slot of the highest stable one known; 0 if there is none.
    pub(crate) fn stable_slot(&self) -> Slot {
        self.stable.as_ref().map_or(Slot(0), |certificate| certificate.checkpoint.slot)
    }

    /// Whether a checkpoint at this slot says nothing new: a stable one is as high, and of this epoch.
    fn is_settled(&self, slot: Slot, epoch: Epoch) -> bool {
        self.stable.as_ref().is_some_and(|stable| (stable.checkpoint.slot, stable.epoch) >= (slot, epoch))
    }

    /// Whether the host is fetching a snapshot.
    pub(crate) fn is_transferring(&self) -> bool {
        self.transfer.is_some()
    }

    fn vote_of(&self, replica: ReplicaId, slot: Slot) -> Option<&CheckpointVote> {
        self.votes[replica.index()].iter().find(|vote| vote.checkpoint.slot == slot)
    }
}

impl Core {
    /// A slot was delivered: if a checkpoint is due, or somebody has asked for one, it is taken of the state after exactly
    /// this slot.
    pub(crate) fn count_for_checkpoint(&mut self, slot: Slot, bytes: usize, is_asked: bool, effects: &mut Vec<Effect>) {
        let ends_epoch = self.is_closing();
        let timestamp = self.chain.decided_timestamp();
        let checkpoints = &mut self.checkpoints;
        checkpoints.bytes += bytes as u64;
        // By the slot's number, not by distance: replicas that once disagreed on what was last agree on the next one.
        let is_asked = is_asked && timestamp >= checkpoints.asked_at.saturating_add(ASKED_INTERVAL);
        let is_due = slot.0.is_multiple_of(self.config.checkpoint_slots)
            || checkpoints.bytes >= self.config.checkpoint_bytes
            || is_asked
            || ends_epoch;
        if !is_due {
            return;
        }
        checkpoints.bytes = 0;
        if is_asked {
            checkpoints.asked_at = timestamp;
        }
        checkpoints.number += 1;
        checkpoints.due_images.push(slot);
        let number = checkpoints.number;
        let snapshot = Arc::new(CoreSnapshot {
            slot,
            digest: self.chain.decided_digest(),
            timestamp,
            position: self.sessions.position(),
            number,
            asked_at: checkpoints.asked_at,
            membership: self.membership_after().clone(),
            sessions: self.sessions.snapshot(),
            upgraded: self.upgraded,
        });
        // Whoever joins needs the state at the end of the epoch.
        effects.push(Effect::Checkpoint { snapshot, is_asked: is_asked || ends_epoch });
    }

    /// The snapshot of an [`Effect::Checkpoint`] is durable.
    pub(crate) fn on_checkpoint_taken(&mut self, checkpoint: Checkpoint, effects: &mut Vec<Effect>) {
        // A replica that joined in this epoch can be of no use with the state before it.
        if checkpoint.slot < self.epochs.start.0 {
            return;
        }
        let (cluster, epoch) = (self.membership.cluster(), self.membership.epoch());
        let vote = CheckpointVote::sign(cluster, epoch, checkpoint, &mut self.signer);
        self.keep_vote(self.me, vote);
        if let Some(certificate) = self.checkpoints.stable.clone().filter(|c| c.checkpoint.slot == checkpoint.slot) {
            self.settle(certificate, effects);
        }
        if !self.checkpoints.is_settled(checkpoint.slot, epoch) {
            effects.push(Effect::Broadcast(PeerMessage::Checkpoint(vote)));
            self.try_stable(checkpoint, effects);
        }
    }

    /// What another replica found.
    pub(crate) fn on_checkpoint(&mut self, from: ReplicaId, vote: CheckpointVote, effects: &mut Vec<Effect>) {
        let is_settled = self.checkpoints.is_settled(vote.checkpoint.slot, self.membership.epoch());
        if let Some(certificate) = self.checkpoints.stable.as_ref().filter(|_| is_settled) {
            effects.push(Effect::Send { to: from, message: PeerMessage::Certificate(certificate.clone()) });
            return;
        }
        self.keep_vote(from, vote);
        self.try_stable(vote.checkpoint, effects);
    }

    fn keep_vote(&mut self, from: ReplicaId, vote: CheckpointVote) {
        let votes = &mut self.checkpoints.votes[from.index()];
        votes.retain(|before| before.checkpoint.slot != vote.checkpoint.slot);
        votes.push_back(vote);
        if votes.len() > VOTES_MAX {
            votes.pop_front();
        }
    }

    /// If enough say the same, it is stable. Signatures are looked at only then.
    fn try_stable(&mut self, checkpoint: Checkpoint, effects: &mut Vec<Effect>) {
        let replicas = || self.membership.replicas();
        let of = |replica| self.checkpoints.vote_of(replica, checkpoint.slot).copied();
        let equal = || replicas().filter_map(|r| Some((r, of(r)?))).filter(|(_, vote)| vote.checkpoint == checkpoint);
        let enough = self.quorums.faults() + 1;
        if equal().count() < enough {
            return;
        }
        let (cluster, epoch) = (self.membership.cluster(), self.membership.epoch());
        let is_genuine = |(replica, vote): &(ReplicaId, CheckpointVote)| {
            self.membership.key(*replica).is_some_and(|key| vote.is_signed_by(cluster, epoch, key))
        };
        let (genuine, forged): (Vec<_>, Vec<_>) = equal().partition(is_genuine);
        for (replica, _) in forged {
            self.checkpoints.votes[replica.index()].clear();
            Self::misbehaviour(replica, "a checkpoint with a wrong signature", effects);
        }
        if genuine.len() >= enough {
            let signatures = genuine.into_iter().map(|(replica, vote)| (replica, vote.signature)).collect();
            self.take_proof(Certificate { checkpoint, epoch, signatures }, effects);
        }
    }

    /// The proof of a stable checkpoint, from another replica.
    pub(crate) fn on_certificate(&mut self, from: ReplicaId, certificate: Certificate, effects: &mut Vec<Effect>) {
        let slot = certificate.checkpoint.slot;
        let ahead = self.checkpoints.ahead.as_ref().filter(|ahead| ahead.checkpoint.slot > self.chain.decided());
        let is_known = match ahead {
            Some(ahead) => slot <= ahead.checkpoint.slot,
            None => self.checkpoints.is_settled(slot, certificate.epoch),
        };
        if is_known {
            return;
        }
        let Some(membership) = self.membership_of(certificate.epoch) else { return };
        if certificate.is_valid(membership) {
            self.take_proof(certificate, effects);
        } else {
            Self::misbehaviour(from, "a certificate that proves nothing", effects);
        }
    }

    /// A checkpoint is stable: one of this replica's, too, or one that it has not got to yet.
    fn take_proof(&mut self, certificate: Certificate, effects: &mut Vec<Effect>) {
        if certificate.checkpoint.slot <= self.chain.decided() {
            self.settle(certificate, effects);
        } else {
            self.checkpoints.ahead = Some(certificate);
        }
    }

    /// The proof of the newest checkpoint that the replica knew before it went down. With its log, it may have lost that it
    /// had got there.
    pub fn set_stable(&mut self, certificate: Certificate) {
        if certificate.checkpoint.slot <= self.chain.decided() {
            self.checkpoints.stable = Some(certificate);
        } else {
            self.checkpoints.ahead = Some(certificate);
        }
    }

    /// A checkpoint at a slot that is decided here is stable.
    fn settle(&mut self, certificate: Certificate, effects: &mut Vec<Effect>) {
        let stable = certificate.checkpoint;
        let slot = stable.slot;
        if self.chain.digest_at(slot).is_some_and(|ours| ours != stable.digest) {
            let theirs = stable.digest;
            self.halt(
                format!("agreement is broken: the stable checkpoint at {slot} is of the chain {theirs}"),
                effects,
            );
            return;
        }
        let own = self.checkpoints.vote_of(self.me, slot).map(|vote| vote.checkpoint.root);
        if own.is_some_and(|own| own != stable.root) {
            self.halt(
                format!("this replica's state after {slot} differs from that of the others: it has diverged"),
                effects,
            );
            return;
        }
        if slot > self.checkpoints.stable_slot() {
            effects.push(Effect::Event(Event::CheckpointStable { slot }));
        }
        self.checkpoints.stable = Some(certificate.clone());
        for votes in &mut self.checkpoints.votes {
            votes.retain(|vote| vote.checkpoint.slot >= slot);
        }
        if own.is_some() {
            effects.push(Effect::Stable(certificate));
        }
    }

    /// Says again what nobody has confirmed yet.
    pub(crate) fn repeat_checkpoint(&self, to: Option<ReplicaId>, effects: &mut Vec<Effect>) {
        let own = self.checkpoints.votes[self.me.index()].back();
        let epoch = self.membership.epoch();
        if let Some(vote) = own.filter(|vote| !self.checkpoints.is_settled(vote.checkpoint.slot, epoch)) {
            Self::send(to, PeerMessage::Checkpoint(*vote), effects);
        }
    }

    /// The proof of the newest stable checkpoint, for a replica that lags behind what is kept.
    pub(crate) fn offer_checkpoint(&self, to: ReplicaId, effects: &mut Vec<Effect>) {
        if let Some(certificate) = &self.checkpoints.stable {
            effects.push(Effect::Send { to, message: PeerMessage::Certificate(certificate.clone()) });
        }
    }

    /// Others no longer have the slot after the last one decided here: only a snapshot helps.
    pub(crate) fn transfer_beyond(&mut self, oldest: Slot, effects: &mut Vec<Effect>) {
        let Some(certificate) = &self.checkpoints.ahead else { return };
        let slot = certificate.checkpoint.slot;
        if slot.next() >= oldest && slot > self.chain.decided() && self.checkpoints.transfer.is_none() {
            let certificate = certificate.clone();
            self.checkpoints.transfer = Some(certificate.clone());
            effects.push(Effect::Event(Event::Transferring { slot }));
            effects.push(Effect::Transfer(certificate));
        }
    }

    /// A replica that joins has nothing to go on from but a snapshot.
    pub(crate) fn transfer_to_join(&mut self, effects: &mut Vec<Effect>) {
        self.transfer_beyond(Slot(1), effects);
    }

    /// No replica has the snapshot any more.
    pub(crate) fn on_transfer_failed(&mut self) {
        self.checkpoints.transfer = None;
    }

    /// The snapshot of a stable checkpoint was fetched. If the chain has not got there meanwhile, the replica goes on from it.
    pub(crate) fn on_transferred(&mut self, snapshot: &CoreSnapshot, effects: &mut Vec<Effect>) {
        let slot = snapshot.slot;
        let proof = self.checkpoints.transfer.take();
        let Some(proof) = proof.filter(|proof| proof.checkpoint.slot == slot && slot > self.chain.decided()) else {
            return;
        };
        assert_eq!(proof.checkpoint.digest, snapshot.digest, "the host has verified the snapshot");
        // The chain got there meanwhile, with a view's base, say. It stays: this replica may have voted or proposed above.
        if self.chain.digest_at(slot) == Some(snapshot.digest) {
            self.decide_fetched(slot, effects);
            self.settle(proof, effects);
            return;
        }
        effects.push(Effect::Install(slot));
        self.cut_back(self.chain.decided(), effects);
        let epoch = self.membership.epoch();
        self.restore(snapshot);
        if self.membership.epoch() != epoch {
            self.announce_epoch(effects);
        }
        self.persist(|| Record::Installed(slot), effects);
        self.hand_over(effects);
        self.catch_up.learned_in(self.view);
        // What it proposed in this view may be cut off: it must not propose for the same slots again.
        if self.leader() == self.me {
            self.restarted_in = Some(self.view);
        }
        self.checkpoints.due_images.push(slot);
        self.writeset.decided(slot, None);
        self.tidy_shelf();
        self.rebase(effects);
        self.put_images(effects);
        self.progressed = self.now.monotonic;
        self.change.caught_up(self.me, self.view);
        effects.push(Effect::Event(Event::Installed { slot }));
        let (cluster, epoch) = (self.membership.cluster(), self.membership.epoch());
        let vote = CheckpointVote::sign(cluster, epoch, proof.checkpoint, &mut self.signer);
        self.keep_vote(self.me, vote);
        self.settle(proof, effects);
        self.fetch_base(effects);
    }

    /// Goes on from a snapshot: what is decided up to its slot is in there, and nothing else.
    pub fn restore(&mut self, snapshot: &CoreSnapshot) {
        let CoreSnapshot { slot, digest, timestamp, .. } = *snapshot;
        assert!(slot >= self.chain.decided(), "a snapshot leads forward");
        assert!(self.chain.head() == self.chain.decided(), "what is not decided was cut off");
        self.chain = crate::chain::Chain::on_top_of(slot, digest, timestamp);
        self.sessions = Sessions::restored(self.config.sessions_per_client_max, snapshot);
        self.upgraded = snapshot.upgraded;
        if snapshot.membership.epoch() > self.membership.epoch() {
            self.enter(snapshot.membership.clone());
            self.note_retirement(&mut Vec::new());
        }
        self.epochs.start = (slot, digest);
        self.epochs.is_joining = false;
        let sessions = &self.sessions;
        self.pool.keep_new(|request| sessions.standing(request) == crate::sessions::Standing::New);
        self.catch_up.give_up();
        let checkpoints = &mut self.checkpoints;
        (checkpoints.bytes, checkpoints.asked_at, checkpoints.number) = (0, snapshot.asked_at, snapshot.number);
        self.checkpoints.due_images.clear();
        self.executed = self.executed.max(slot);
        self.decided_at_retransmit = slot;
    }

    /// What the replica voted for in its view lies below what is decided, and whether it is on the chain it can't tell any
    /// more. So its votes of this view begin anew above that: they say nothing of what lies below.
    pub(crate) fn rebase(&mut self, effects: &mut Vec<Effect>) {
        let decided = self.chain.decided();
        let is_lost = |tip: Option<Tip>| tip.is_some_and(|tip| self.chain.digest_at(tip.slot) != Some(tip.digest));
        let is_below = |tip: Option<Tip>| tip.is_none_or(|tip| tip.slot <= decided);
        let is_due = is_lost(self.wrote) || is_lost(self.accepted);
        if self.phase == Phase::Active && is_due && is_below(self.wrote) && is_below(self.accepted) {
            self.base = decided;
            (self.wrote, self.accepted) = (None, None);
            let sync = self.change.sync.clone();
            self.persist(|| Record::Base { slot: decided, sync }, effects);
        }
    }

    /// The epoch has changed: whoever joins knows only the new replicas' keys, so they sign what they have anew.
    pub(crate) fn resign_checkpoint(&mut self, replicas: usize) {
        let own = self.checkpoints.votes[self.me.index()].back().map(|vote| vote.checkpoint);
        self.checkpoints.votes = vec![VecDeque::new(); replicas];
        if let Some(checkpoint) = own.filter(|own| own.slot >= self.epochs.start.0) {
            let (cluster, epoch) = (self.membership.cluster(), self.membership.epoch());
            let vote = CheckpointVote::sign(cluster, epoch, checkpoint, &mut self.signer);
            self.keep_vote(self.me, vote);
        }
    }

    /// What a change of the epoch leaves undone of a decision.
    pub(crate) fn settle_decided(&mut self, effects: &mut Vec<Effect>) {
        self.put_images(effects);
        self.forget_old();
    }

    /// Forgets decided slots that need not be kept for others any more.
    pub(crate) fn forget_old(&mut self) {
        let stable = self.checkpoints.stable_slot();
        self.chain.forget(self.config.retained_slots_max, self.config.retained_bytes_max, stable);
    }
}
