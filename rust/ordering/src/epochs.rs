//! Changes of the membership. An administrator's signed change is ordered like any request, and ends its epoch: the leader
//! puts nothing on top of its slot until that is decided, and the next slot is one of the next epoch, with the next
//! membership and no votes yet.
//!
//! A replica that has decided an epoch's last slot says so under its signature, and stays in the epoch until k replicas
//! have: until then it may be the only one that knows, and the others may need it for a view change. The k words together,
//! a [`Handover`], prove the end of the epoch to anybody who knows its membership; so whoever was away learns all memberships
//! since, one after the other, from any single replica. (One change at a time, taking effect at a slot that is known: the
//! reconfiguration of Lamport, Malkhi and Zhou, *Reconfiguring a State Machine*, 2010, section 3, with a window of zero. The
//! chain of signed memberships is that of Rodrigues et al., *Automatic Reconfiguration*, TDSC 2012.)

use pssmr_types::handover::HANDOVERS_MAX;
use pssmr_types::{
    Digest, Epoch, Handover, HandoverVote, Membership, Operation, PeerMessage, Reconfiguration, ReplicaId, Request,
    Slot, Status, View,
};

use crate::catch_up::CatchUp;
use crate::core::{Core, Phase};
use crate::interface::{Effect, Event};
use crate::record::Record;
use crate::view_change::ViewChange;
use crate::votes::VoteSet;

/// How an epoch ends.
#[derive(Clone, Debug)]
struct End {
    slot: Slot,
    digest: Digest,
    next: Membership,
}

/// What the replica knows of epochs.
#[derive(Clone, Debug)]
pub(crate) struct Epochs {
    /// The slot that the epoch begins after, and the chain digest there.
    pub(crate) start: (Slot, Digest),
    /// The end of this epoch, once it is decided here.
    end: Option<End>,
    /// By replica, what it says of the end.
    votes: Vec<Option<HandoverVote>>,
    /// Proofs, each of the membership after the one before. The first of them may be of any epoch.
    handovers: Vec<Handover>,
    /// The replica comes new into a cluster that has run before: only a snapshot helps it.
    pub(crate) is_joining: bool,
    /// The replica is not one of the membership, or not of the newest one that it knows.
    is_retired: bool,
    /// What the log says at first is of an epoch that ended before the snapshot that it begins with: it binds no more.
    pub(crate) is_skipped: bool,
}

impl Epochs {
    pub(crate) fn new(start: (Slot, Digest), replicas: usize, is_joining: bool) -> Self {
        Self {
            start,
            end: None,
            votes: vec![None; replicas],
            handovers: Vec::new(),
            is_joining,
            is_retired: false,
            is_skipped: false,
        }
    }

    /// The proof of an epoch's end.
    fn handover_of(&self, epoch: Epoch) -> Option<&Handover> {
        let first = self.handovers.first()?.next.epoch().0;
        self.handovers.get(usize::try_from((epoch.0 + 1).checked_sub(first)?).ok()?)
    }
}

impl Core {
    /// The membership in force.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// The proofs of the memberships after that of `epoch`, as far as they are known here: as many at a time as one message
    /// holds.
    pub fn handovers_since(&self, epoch: Epoch) -> impl Iterator<Item = PeerMessage> + '_ {
        let known = self.epochs.handover_of(epoch).map_or(0, |_| self.epochs.handovers.len());
        let first = self.epochs.handovers.first().map_or(0, |first| first.next.epoch().0);
        let from = (epoch.0 + 1).saturating_sub(first) as usize;
        let handovers = &self.epochs.handovers[from.min(known)..known];
        handovers.chunks(HANDOVERS_MAX).map(|some| PeerMessage::Handovers(some.to_vec()))
    }

    /// All proofs known, each of the membership after the one before.
    pub fn handovers(&self) -> &[Handover] {
        &self.epochs.handovers
    }

    /// The membership of an epoch, if it is known.
    pub(crate) fn membership_of(&self, epoch: Epoch) -> Option<&Membership> {
        if epoch == self.membership.epoch() {
            return Some(&self.membership);
        }
        self.epochs.handover_of(Epoch(epoch.0.checked_sub(1)?)).map(|handover| &handover.next)
    }

    /// Whether this epoch's last slot is decided here.
    pub(crate) fn is_closing(&self) -> bool {
        self.epochs.end.is_some()
    }

    /// Whether nothing may be put on top of the chain now: a slot that may end the epoch is not decided yet, or one that does
    /// is.
    pub(crate) fn is_barred(&self) -> bool {
        self.is_closing() || self.chain.get(self.chain.head()).is_some_and(|link| link.may_end_epoch)
    }

    /// Whether the batch at a slot, if it is known, may end the epoch.
    pub(crate) fn may_end_epoch(&self, slot: Slot) -> bool {
        slot > self.epochs.start.0
            && self
                .chain
                .batch(slot)
                .is_some_and(|batch| batch.requests().iter().any(|request| request.operation == Operation::Reconfigure))
    }

    /// Why a request need not even be ordered: it asks for a change that would not be made, and would only hold up others.
    pub(crate) fn refusal_of_request(&self, request: &Request) -> Option<String> {
        match request.operation {
            Operation::Reconfigure => {}
            Operation::Upgrade => return self.refusal_of_upgrade(request.payload()),
            _ => return None,
        }
        match Reconfiguration::decode(request.payload()) {
            // If the change is the administrator's and of a later epoch, this replica may be the one that is behind.
            Ok(change) if change.epoch > self.membership.epoch() => self.lack_of_authority(&change),
            Ok(change) => self.refusal_of(&change),
            Err(error) => Some(format!("this is no change of the membership: {error}")),
        }
    }

    fn lack_of_authority(&self, change: &Reconfiguration) -> Option<String> {
        let Some(administrator) = &self.config.administrator else {
            return Some("the cluster has no administrator key, so its membership can't change".to_owned());
        };
        let is_signed = change.is_signed_by(self.membership.cluster(), administrator);
        (!is_signed).then(|| "the change is not signed by the cluster's administrator".to_owned())
    }

    fn refusal_of(&self, change: &Reconfiguration) -> Option<String> {
        let epoch = self.membership.epoch();
        // The signature last of all that is cheap: anybody may send this.
        if change.epoch != epoch && self.config.administrator.is_some() {
            // It does not say in which epoch it was looked at: whoever refuses it, now or later, says the same.
            let when = if change.epoch < epoch { "is over" } else { "has not begun" };
            return Some(format!("the change is one of epoch {}, which {when}", change.epoch.0));
        }
        if let Some(lack) = self.lack_of_authority(change) {
            return Some(lack);
        }
        self.membership.changed(&change.change).err().map(|error| error.to_string())
    }

    /// A change is decided at a slot. Gives its result, the same at every replica: empty if it is made, and why it is not.
    pub(crate) fn reconfigure(&mut self, slot: Slot, digest: Digest, payload: &bytes::Bytes) -> bytes::Bytes {
        let refusal = match Reconfiguration::decode(payload.clone()) {
            Err(error) => Some(format!("this is no change of the membership: {error}")),
            // What a replica that has not decided this slot would say of it comes first, since one may have said it.
            Ok(change) => match self.refusal_of(&change) {
                Some(refusal) => Some(refusal),
                None if self.is_closing() => Some("another change was made just before".to_owned()),
                None => {
                    let next = self.membership.changed(&change.change).expect("it was just tried");
                    self.epochs.end = Some(End { slot, digest, next });
                    None
                }
            },
        };
        refusal.unwrap_or_default().into()
    }

    /// The membership that the slot after the last one decided is of.
    pub(crate) fn membership_after(&self) -> &Membership {
        self.epochs.end.as_ref().map_or(&self.membership, |end| &end.next)
    }

    /// Something was decided, or a proof came: goes over to the next epoch, if it is time.
    pub(crate) fn hand_over(&mut self, effects: &mut Vec<Effect>) {
        while !self.halted {
            self.declare_end(effects);
            let decided = self.chain.decided();
            let Some(handover) = self.epochs.handover_of(self.membership.epoch()) else { return };
            if handover.slot > decided {
                if !self.epochs.is_joining {
                    self.fetch_end(effects);
                }
                return;
            }
            let is_same = self.epochs.end.as_ref().is_some_and(|end| {
                (end.slot, end.digest, &end.next) == (handover.slot, handover.digest, &handover.next)
            });
            if !is_same {
                let epoch = self.membership.epoch();
                self.halt(format!("agreement is broken: {epoch} ended elsewhere at {}", handover.slot), effects);
                return;
            }
            let next = handover.next.clone();
            self.cut_back(decided, effects);
            self.enter(next);
            self.note_retirement(effects);
            self.announce_epoch(effects);
        }
    }

    /// This replica's word on the end of its epoch, and the proof as soon as k say the same.
    fn declare_end(&mut self, effects: &mut Vec<Effect>) {
        let epoch = self.membership.epoch();
        let Some(end) = &self.epochs.end else { return };
        if self.gate.is_replaying || self.epochs.handover_of(epoch).is_some() {
            return;
        }
        let is_member = !self.is_retired();
        if is_member && self.epochs.votes[self.me.index()].is_none() {
            let (cluster, next) = (self.membership.cluster(), end.next.digest());
            let own = HandoverVote::sign(cluster, epoch, end.slot, end.digest, next, &mut self.signer);
            self.epochs.votes[self.me.index()] = Some(own);
            effects.push(Effect::Broadcast(PeerMessage::Handover(own)));
        }
        self.try_handover(effects);
    }

    /// Says again how the epoch ends, as long as too few have said so.
    pub(crate) fn repeat_handover(&self, to: Option<ReplicaId>, effects: &mut Vec<Effect>) {
        if let Some(own) = self.epochs.votes[self.me.index()].filter(|_| self.is_closing()) {
            Self::send(to, PeerMessage::Handover(own), effects);
        }
    }

    /// What another replica says of the end of this epoch.
    pub(crate) fn on_handover(&mut self, from: ReplicaId, vote: HandoverVote, effects: &mut Vec<Effect>) {
        self.epochs.votes[from.index()] = Some(vote);
        self.hand_over(effects);
    }

    fn try_handover(&mut self, effects: &mut Vec<Effect>) {
        let Some(end) = &self.epochs.end else { return };
        let next = end.next.digest();
        let is_equal = |vote: &HandoverVote| (vote.slot, vote.digest, vote.next) == (end.slot, end.digest, next);
        let votes = self.epochs.votes.iter().zip(0..).map(|(vote, id)| (ReplicaId(id), *vote));
        let equal: Vec<_> = votes.filter_map(|(id, vote)| Some((id, vote.filter(is_equal)?))).collect();
        let enough = self.quorums.weak();
        if equal.len() < enough {
            return;
        }
        let (cluster, epoch) = (self.membership.cluster(), self.membership.epoch());
        let is_genuine = |(id, vote): &(ReplicaId, HandoverVote)| {
            self.membership.key(*id).is_some_and(|key| vote.is_signed_by(cluster, epoch, key))
        };
        let (genuine, forged): (Vec<_>, Vec<_>) = equal.into_iter().partition(is_genuine);
        let (slot, digest, next) = (end.slot, end.digest, end.next.clone());
        for (id, _) in forged {
            self.epochs.votes[id.index()] = None;
            Self::misbehaviour(id, "the end of an epoch with a wrong signature", effects);
        }
        if genuine.len() >= enough {
            let signatures = genuine.into_iter().map(|(id, vote)| (id, vote.signature)).collect();
            self.keep_handover(Handover { slot, digest, next, signatures }, effects);
        }
    }

    /// The last membership that is known.
    fn newest_membership(&self) -> &Membership {
        let newest = self.epochs.handovers.last().map(|handover| &handover.next);
        newest.filter(|newest| newest.epoch() > self.membership.epoch()).unwrap_or(&self.membership)
    }

    fn keep_handover(&mut self, handover: Handover, effects: &mut Vec<Effect>) {
        if handover.next.epoch() != self.newest_membership().epoch().next() {
            return;
        }
        let is_next = self.epochs.handovers.last().is_none_or(|last| last.next.epoch().next() == handover.next.epoch());
        if !is_next {
            // The memberships between are known from a snapshot only.
            self.epochs.handovers.clear();
        }
        self.persist(|| Record::Handover(Box::new(handover.clone())), effects);
        self.epochs.handovers.push(handover);
        self.note_retirement(effects);
    }

    /// A replica that is removed may never get to the end of its last epoch: nobody need tell it any more.
    pub(crate) fn note_retirement(&mut self, effects: &mut Vec<Effect>) {
        let own = self.signer.public();
        let newest = self.newest_membership();
        let epoch = newest.epoch();
        let is_retired = newest.key(self.me) != Some(&own) || self.membership.key(self.me) != Some(&own);
        if is_retired && !self.epochs.is_retired {
            effects.push(Effect::Event(Event::Retired { epoch }));
        }
        self.epochs.is_retired = is_retired;
    }

    /// Proofs of memberships, from anybody.
    pub(crate) fn on_handovers(&mut self, handovers: Vec<Handover>, effects: &mut Vec<Effect>) {
        let known = self.epochs.handovers.len();
        for handover in handovers {
            if handover.next.epoch() > self.newest_membership().epoch() && handover.ends(self.newest_membership()) {
                self.keep_handover(handover, effects);
            }
        }
        if self.epochs.handovers.len() != known {
            self.hand_over(effects);
        }
    }

    /// From an image.
    pub(crate) fn restore_handovers(&mut self, handovers: &[Handover]) {
        self.epochs.handovers = handovers.to_vec();
    }

    /// From the log. The snapshot that the log begins with may be of a later epoch.
    pub(crate) fn restore_handover(&mut self, handover: &Handover) -> Result<(), &'static str> {
        if handover.next.epoch() <= self.membership.epoch() {
            let last = self.epochs.handovers.last();
            if last.is_none_or(|last| last.next.epoch().next() == handover.next.epoch()) {
                self.epochs.handovers.push(handover.clone());
            }
            return Ok(());
        }
        if !handover.ends(self.newest_membership()) {
            return Err("it does not prove the next membership");
        }
        self.keep_handover(handover.clone(), &mut Vec::new());
        Ok(())
    }

    /// What lies before the epoch is of no use to a replica that joins without any state: it is told of a snapshot.
    pub(crate) fn help_to_join(&self, from: ReplicaId, status: &Status, effects: &mut Vec<Effect>) {
        if status.decided < self.epochs.start.0 {
            self.offer_checkpoint(from, effects);
        }
    }

    /// A message that a replica of another epoch sent. What proves itself, and what needs no proof, is of use all the same.
    pub(crate) fn on_foreign(
        &mut self,
        from: ReplicaId,
        epoch: Epoch,
        message: PeerMessage,
        effects: &mut Vec<Effect>,
    ) {
        if epoch < self.membership.epoch() {
            match message {
                PeerMessage::Status(status) => {
                    self.on_word(from, &status, effects);
                    let messages = self.handovers_since(epoch);
                    effects.extend(messages.map(|message| Effect::Send { to: from, message }));
                    self.help_to_join(from, &status, effects);
                }
                PeerMessage::Fetch { slot, digest, floor } => self.on_fetch(from, slot, digest, floor, effects),
                PeerMessage::DigestRequest(slot) => self.on_digest_request(from, slot, effects),
                _ => {}
            }
            return;
        }
        match message {
            PeerMessage::Status(status) => {
                self.peers[from.index()] = Some(status);
                self.on_word(from, &status, effects);
            }
            PeerMessage::Entry(entry) => self.on_entry(from, entry, effects),
            PeerMessage::Truncated { oldest } => self.on_truncated(from, oldest, effects),
            PeerMessage::DigestReply { slot, digest } => self.on_digest_reply(from, slot, digest, effects),
            PeerMessage::Certificate(certificate) => self.on_certificate(from, certificate, effects),
            PeerMessage::Handovers(handovers) => self.on_handovers(handovers, effects),
            _ => {}
        }
    }

    /// The last slot that this epoch can have, as far as it is known.
    pub(crate) fn last_of_epoch(&self) -> Slot {
        self.epochs.handover_of(self.membership.epoch()).map_or(Slot(u64::MAX), |handover| handover.slot)
    }

    /// The chain digest at the end of this epoch, if it is proven.
    pub(crate) fn proven_end(&self) -> Option<(Slot, Digest)> {
        self.epochs.handover_of(self.membership.epoch()).map(|handover| (handover.slot, handover.digest))
    }

    /// Begins the epoch of `membership` after the last slot decided, with no votes and nothing promised.
    pub(crate) fn enter(&mut self, membership: Membership) {
        assert!(membership.epoch() > self.membership.epoch(), "epochs only go up");
        assert!(self.chain.head() == self.chain.decided(), "an epoch ends with what is decided");
        let n = membership.table_len().max(self.me.index() + 1);
        self.quorums = *membership.quorums();
        self.view = View::first(membership.epoch());
        self.phase = Phase::Active;
        self.base = self.chain.decided();
        (self.writes, self.accepts) = (VoteSet::new(n, self.config.window), VoteSet::new(n, self.config.window));
        (self.wrote, self.accepted, self.lock) = (None, None, None);
        self.writeset = crate::writeset::Writeset::default();
        self.shelf = crate::shelf::Shelf::default();
        self.unproven = crate::unproven::Unproven::default();
        self.early.clear();
        self.change = ViewChange::new(n, self.now.monotonic);
        self.catch_up = CatchUp::new(n);
        self.peers = vec![None; n];
        self.lost_links = vec![None; n];
        self.epochs.start = (self.chain.decided(), self.chain.decided_digest());
        self.epochs.end = None;
        self.epochs.votes = vec![None; n];
        self.epochs.is_joining = false;
        self.gate.forget_held();
        self.pool.regroup(crate::core::vouchers(&self.quorums), n);
        self.membership = membership;
        self.progressed = self.now.monotonic;
        // What it forgot of an epoch that is over binds it no more.
        if self.promises.forget_before(self.view) {
            self.learner = false;
        }
        self.resign_checkpoint(n);
    }

    /// Tells of the epoch that was just entered.
    pub(crate) fn announce_epoch(&mut self, effects: &mut Vec<Effect>) {
        let epoch = self.membership.epoch();
        effects.push(Effect::Reconfigured(Box::new(self.membership.clone())));
        effects.push(Effect::Event(Event::EpochEntered { epoch, slot: self.chain.decided() }));
    }

    /// Whether the replica is not, or no longer, one of the membership.
    pub fn is_retired(&self) -> bool {
        self.epochs.is_retired
    }
}
