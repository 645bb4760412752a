//! The normal case: PROPOSE, WRITE, ACCEPT, decide. Mod-SMaRt's phases (EDCC'12, section III), over a chain of slots
//! with a window of them in flight.

use pssmr_types::states::WINDOW_MAX;
use pssmr_types::{
    Batch, Lock, Operation, Outcome, PeerMessage, Propose, ReplicaId, Request, Slot, Vote, chain_digest,
};

use crate::chain::Link;
use crate::core::{Core, Phase, Tip, nanos};
use crate::gate::Held;
use crate::interface::{Command, Delivery, Effect};
use crate::pool;
use crate::record::Record;
use crate::sessions::{Applied, Standing};

impl Core {
    /// Goes as far as what is known allows.
    pub(crate) fn advance(&mut self, effects: &mut Vec<Effect>) {
        loop {
            let mut moved = false;
            if self.phase == Phase::Active {
                moved |= self.take_early(effects);
                moved |= self.propose(effects);
                moved |= self.write(effects);
                moved |= self.accept(effects);
                moved |= self.decide(effects);
            }
            if !moved || self.halted {
                return;
            }
        }
    }

    /// A request from its client's own link.
    pub(crate) fn on_request(&mut self, request: Request, effects: &mut Vec<Effect>) {
        let (client, sequence) = (request.client, request.sequence);
        let awaited = self.unproven.is_awaited(&(client, sequence));
        let opened = self.openings.session_of(&pool::key(&request)).filter(|_| !awaited);
        let refusal = match self.sessions.standing(&request) {
            _ if opened.is_some() => opened.map(Outcome::SessionOpened),
            Standing::Executed => return,
            Standing::Expired => Some(Outcome::SessionExpired),
            Standing::OutsideWindow => Some(Outcome::OutsideWindow),
            Standing::New if request.batch_bytes() > self.config.limits.bytes_max => Some(Outcome::Busy),
            Standing::New => match self.refusal_of_request(&request) {
                Some(reason) => Some(Outcome::Result(reason.into())),
                None => match self.pool.add_from_client(request, self.now.monotonic, awaited) {
                    Ok(true) => {
                        self.unproven.prove(&(client, sequence), &mut self.chain, &self.pool);
                        None
                    }
                    Ok(false) => None,
                    Err(pool::Refused::Full) => Some(Outcome::Busy),
                },
            },
        };
        if let Some(outcome) = refusal {
            effects.push(Effect::Reply { client, sequence, outcome });
        }
    }

    /// Requests that another replica's clients wait for.
    pub(crate) fn on_forward(&mut self, from: ReplicaId, requests: Vec<Request>) {
        for request in requests {
            let key = pool::key(&request);
            let is_over = self.openings.session_of(&key).is_some() && !self.unproven.is_awaited(&key);
            if is_over || self.refusal_of_request(&request).is_some() {
                continue;
            }
            if self.sessions.standing(&request) == Standing::New
                && request.batch_bytes() <= self.config.limits.bytes_max
                && self.pool.add_forwarded(request, from, self.now.monotonic)
            {
                self.unproven.prove(&key, &mut self.chain, &self.pool);
            }
        }
    }

    /// A leader's batch for a slot.
    pub(crate) fn on_propose(&mut self, from: ReplicaId, propose: Propose, effects: &mut Vec<Effect>) {
        if propose.view != self.view || from != self.leader() {
            return;
        }
        if propose.slot <= self.chain.head() && self.phase == Phase::Active {
            let digest = self.digest_of(&propose);
            let ours = self.chain.digest_at(propose.slot).filter(|_| propose.slot > self.base);
            if ours.is_some_and(|ours| ours != digest) {
                self.accuse_leader("two proposals for one slot of one view", effects);
            } else if ours.is_some() {
                // A slot that a view votes for once more was on the chain before.
                self.count_proposal(from, propose.slot, digest);
            }
            return;
        }
        // The highest are kept: a replica that lags fetches what lies below, and goes on with them.
        self.early.entry(propose.slot).or_insert(propose);
        if self.early.len() > 4 * self.config.window {
            self.early.pop_first();
        }
    }

    /// What the leader says does not go with this replica's chain: it broke the protocol, unless the chain is in part what
    /// this replica has learned from others, which another view may have decided.
    fn accuse_leader(&self, what: &'static str, effects: &mut Vec<Effect>) {
        if !self.catch_up.has_learned_in(self.view) {
            Self::misbehaviour(self.leader(), what, effects);
        }
    }

    /// A leader's PROPOSE is its WRITE, too, where there is no log that the WRITE has to wait for.
    pub(crate) fn count_proposal(&mut self, leader: ReplicaId, slot: Slot, digest: pssmr_types::Digest) {
        if self.quorums.has_write_phase() && leader != self.me && !self.gate.has_log() {
            let vote = Vote { view: self.view, base: self.base, slot, digest };
            self.writes.record(leader, &vote, Some(digest));
        }
    }

    fn digest_of(&self, propose: &Propose) -> pssmr_types::Digest {
        let (cluster, epoch) = (self.membership.cluster(), self.membership.epoch());
        chain_digest(cluster, epoch, propose.slot, propose.parent, propose.batch.digest())
    }

    /// Moves proposals that the chain has reached onto it.
    fn take_early(&mut self, effects: &mut Vec<Effect>) -> bool {
        let mut moved = false;
        while let Some(slot) = self.early.keys().next().copied() {
            let next = self.chain.head().next();
            if slot > next || (slot == next && (self.is_barred() || !self.has_room_for(slot))) {
                break;
            }
            let propose = self.early.remove(&slot).expect("just seen");
            if slot < next {
                continue;
            }
            let leader = self.leader();
            if propose.parent != self.chain.head_digest() {
                self.accuse_leader("a proposal that is not on top of its own chain", effects);
            } else if !self.is_timely(&propose.batch) {
                Self::misbehaviour(leader, "a timestamp that goes back or is too far ahead", effects);
            } else {
                self.push(&propose.batch, true, effects);
                moved = true;
            }
        }
        moved
    }

    /// The highest slot that may be voted for now. One slot on top of the base always may, or the base could never be
    /// decided; but only one, so that the undecided part of a chain grows by no more than a slot per view.
    fn window_end(&self) -> Slot {
        let decided = self.chain.decided().0;
        let end = (decided + self.config.window as u64).max(self.base.0 + 1);
        // What was written above the last slot decided goes into a StopData.
        Slot(end.min(decided + WINDOW_MAX as u64 - 1))
    }

    /// Whether a slot is within the window, and execution keeps up with it. Execution does not keep out the slot that
    /// decides a view's base, or the base could stay undecided for ever.
    fn has_room_for(&self, slot: Slot) -> bool {
        let is_executable = slot.0 - self.executed.0 <= self.config.unexecuted_slots_max as u64;
        slot <= self.window_end() && !self.gate.is_behind && (is_executable || slot == self.base.next())
    }

    /// Whether there is room for more decided slots that are not executed yet, and the log takes them.
    pub(crate) fn keeps_up(&self) -> bool {
        !self.gate.is_behind && self.chain.decided().0 - self.executed.0 < self.config.unexecuted_slots_max as u64
    }

    fn is_timely(&self, batch: &Batch) -> bool {
        let latest = self.now.wall.saturating_add(nanos(self.config.clock_skew_max));
        batch.timestamp() >= self.chain.head_timestamp() && batch.timestamp() <= latest
    }

    /// The leader proposes what waits, as far as the window allows. In a view that is not the first, it begins with a
    /// slot on top of the base at once, to get the base decided.
    fn propose(&mut self, effects: &mut Vec<Effect>) -> bool {
        if !self.may_lead() || self.waits_for_newborn() {
            return false;
        }
        let mut moved = false;
        loop {
            let slot = self.chain.head().next();
            let is_promised = slot <= self.promises.slot_limit() && self.promises.allows(self.view);
            if !is_promised
                || self.is_barred()
                || !self.has_room_for(slot)
                || !(self.change.must_open || self.pool.has_proposable() || self.helps())
            {
                return moved;
            }
            self.change.must_open = false;
            let timestamp = self.now.wall.max(self.chain.head_timestamp());
            let batch = Batch::new(timestamp, self.pool.take_batch(&self.config.limits));
            let propose = Propose { view: self.view, slot, parent: self.chain.head_digest(), batch };
            self.push(&propose.batch, true, effects);
            effects.push(Effect::Broadcast(PeerMessage::Propose(propose)));
            moved = true;
        }
    }

    /// The highest slot that this replica may vote for in this view's first phase: its requests are their clients', as
    /// far as this replica can tell or k others vouch.
    ///
    /// `voted` is what it voted for before in that phase. If that is not on its chain any more (it has fetched
    /// decided slots of another view since), it votes no more in this view. And it votes for nothing below what is decided,
    /// which others' word may have taken beyond what it may vote for: a replay of its log would not take that vote.
    fn votable(&self, voted: Option<Tip>) -> Option<Slot> {
        if voted.is_some_and(|tip| self.chain.digest_at(tip.slot) != Some(tip.digest)) {
            return None;
        }
        let mut slot = voted.map_or(self.base, |tip| tip.slot);
        slot = slot.max(self.chain.decided());
        if self.quorums.must_authenticate_requests() {
            slot = slot.max(self.writes.slot_with(self.quorums.weak()));
        }
        let last = self.chain.head().min(self.window_end()).min(self.promises.slot_limit());
        while slot < last && self.chain.get(slot.next()).is_some_and(|link| link.unproven == 0) {
            slot = slot.next();
        }
        if last < self.chain.decided() {
            return None;
        }
        let slot = slot.min(last);
        (slot > voted.map_or(self.base, |tip| tip.slot)).then_some(slot)
    }

    fn write(&mut self, effects: &mut Vec<Effect>) -> bool {
        let has_room = self.writeset.has_room(self.view) && self.shelf.bytes() <= self.config.pending_bytes_max;
        if !self.quorums.has_write_phase() || self.is_learner() || !has_room {
            return false;
        }
        let Some(slot) = self.votable(self.wrote) else { return false };
        let Some(digest) = self.chain.digest_at(slot) else { return false };
        self.writeset.write(self.view, self.base, slot, &self.chain);
        self.wrote = Some(Tip { slot, digest });
        self.persist(|| Record::Wrote(slot), effects);
        let vote = Vote { view: self.view, base: self.base, slot, digest };
        self.when_durable(Held::Write(vote), effects);
        true
    }

    /// Another replica's WRITE.
    pub(crate) fn on_write(&mut self, from: ReplicaId, vote: &Vote, effects: &mut Vec<Effect>) {
        if vote.view != self.view || !self.quorums.has_write_phase() {
            return;
        }
        let ours = self.own_digest_for(vote);
        if !self.writes.record(from, vote, ours) && from == self.leader() {
            self.accuse_leader("a WRITE against its own proposal", effects);
        }
    }

    /// Another replica's ACCEPT.
    pub(crate) fn on_accept(&mut self, from: ReplicaId, vote: &Vote) {
        self.catch_up.note_accept(from, vote.slot, self.config.window);
        if vote.view == self.view {
            let ours = self.own_digest_for(vote);
            self.accepts.record(from, vote, ours);
        }
    }

    /// Our digest at a vote's slot; none while our chain is not this view's.
    pub(crate) fn own_digest_for(&self, vote: &Vote) -> Option<pssmr_types::Digest> {
        if self.phase == Phase::Active { self.chain.digest_at(vote.slot) } else { None }
    }

    /// Locks what a quorum has written, and accepts it. With crash faults only, the leader can't say two things, so what
    /// it proposes is locked at once.
    fn accept(&mut self, effects: &mut Vec<Effect>) -> bool {
        if self.is_learner() {
            return false;
        }
        let slot = if self.quorums.has_write_phase() {
            self.writes.slot_with(self.quorums.quorum())
        } else {
            self.votable(self.accepted).unwrap_or(Slot(0))
        };
        let done = self.accepted.map_or(self.base, |tip| tip.slot);
        if slot <= done || self.accepted.is_some_and(|tip| self.chain.digest_at(tip.slot) != Some(tip.digest)) {
            return false;
        }
        let Some(digest) = self.chain.digest_at(slot) else { return false };
        self.raise_lock(Lock { view: self.view, slot, digest });
        self.accepted = Some(Tip { slot, digest });
        self.persist(|| Record::Accepted { slot, digest }, effects);
        let vote = Vote { view: self.view, base: self.base, slot, digest };
        self.when_durable(Held::Accept(vote), effects);
        true
    }

    /// The lock only goes up.
    pub(crate) fn raise_lock(&mut self, lock: Lock) {
        if self.lock.is_none_or(|held| (held.view, held.slot) < (lock.view, lock.slot)) {
            self.lock = Some(lock);
        }
    }

    fn decide(&mut self, effects: &mut Vec<Effect>) -> bool {
        let slot = self.accepts.slot_with(self.quorums.quorum());
        if slot <= self.chain.decided() {
            // Others may have told this replica before it had the votes.
            self.try_rejoin(slot, effects);
            return false;
        }
        while self.chain.decided() < slot {
            self.deliver_next(effects);
        }
        self.persist(|| Record::Decided { slot, in_view: true }, effects);
        let view = self.view;
        self.hand_over(effects);
        if self.view != view {
            self.settle_decided(effects);
            return true;
        }
        self.writeset.decided(slot, Some(self.view));
        self.try_rejoin(slot, effects);
        self.tidy_shelf();
        self.put_images(effects);
        self.forget_old();
        self.change.progressed(self.me, self.view);
        true
    }

    /// The next slot of the chain is decided: its requests go to execution, in order, each once.
    pub(crate) fn deliver_next(&mut self, effects: &mut Vec<Effect>) {
        let slot = self.chain.decided().next();
        self.unproven.forget(slot, &mut self.chain);
        let Link { digest, batch, .. } = self.chain.decide_next();
        let bytes = batch.bytes().len();
        let mut commands = Vec::with_capacity(batch.requests().len());
        let mut asks_for_checkpoint = false;
        for request in batch.requests() {
            let (client, sequence) = (request.client, request.sequence);
            self.pool.delivered(&pool::key(request));
            let outcome = match self.sessions.apply(request) {
                Applied::Execute => {
                    asks_for_checkpoint |= request.operation == Operation::Checkpoint;
                    let payload = match request.operation {
                        Operation::Reconfigure => self.reconfigure(slot, digest, &request.payload()),
                        Operation::Upgrade => self.upgrade(request.payload()),
                        _ => request.payload(),
                    };
                    commands.push(Command {
                        position: self.sessions.position(),
                        client,
                        sequence,
                        acknowledged: request.acknowledged,
                        operation: request.operation,
                        version: self.service_version(),
                        payload,
                    });
                    continue;
                }
                Applied::Duplicate => continue,
                Applied::Opened { session, evicted } => {
                    effects.extend(evicted.map(Effect::SessionEvicted));
                    self.openings.opened(pool::key(request), session);
                    Outcome::SessionOpened(session)
                }
                Applied::Expired => Outcome::SessionExpired,
                Applied::OutsideWindow => Outcome::OutsideWindow,
            };
            effects.push(Effect::Reply { client, sequence, outcome });
        }
        effects.push(Effect::Deliver(Delivery { slot, digest, timestamp: batch.timestamp(), commands }));
        self.progressed = self.now.monotonic;
        self.count_for_checkpoint(slot, bytes, asks_for_checkpoint, effects);
    }

    /// Cuts the chain back. The requests of the slots cut off are still pending, and the slots that this replica's state
    /// speaks of go onto the shelf.
    pub(crate) fn cut_back(&mut self, slot: Slot, effects: &mut Vec<Effect>) {
        if self.chain.head() > slot {
            self.persist(|| Record::Cut(slot), effects);
        }
        for number in slot.0 + 1..=self.chain.head().0 {
            self.unproven.forget(Slot(number), &mut self.chain);
        }
        let head = self.chain.head();
        let cut = self.chain.truncate(slot);
        for (depth, link) in cut.iter().enumerate() {
            let parent = cut.get(depth + 1).map_or(self.chain.head_digest(), |below| below.digest);
            self.shelf.put(Slot(head.0 - depth as u64), link.digest, parent, link.batch.clone());
        }
        self.tidy_shelf();
        self.writes.truncated(slot);
        self.accepts.truncated(slot);
    }

    /// What is decided, or no longer part of this replica's state, need not be kept off the chain.
    pub(crate) fn tidy_shelf(&mut self) {
        self.shelf.tidy(self.chain.decided(), &self.writeset, self.lock.as_ref());
    }

    /// Sends this view's last votes again, to one replica or to all: they stand for all those before.
    pub(crate) fn repeat_votes(&self, to: Option<ReplicaId>, effects: &mut Vec<Effect>) {
        let vote = |tip: Tip| Vote { view: self.view, base: self.base, slot: tip.slot, digest: tip.digest };
        // What waits for the log leaves by itself, and stands for all before it.
        if !self.gate.is_open() {
            return;
        }
        if let Some(tip) = self.wrote.filter(|_| !self.proposes_for_write()) {
            Self::send(to, PeerMessage::Write(vote(tip)), effects);
        }
        if let Some(tip) = self.accepted {
            Self::send(to, PeerMessage::Accept(vote(tip)), effects);
        }
    }

    /// Proposes the undecided slots again.
    pub(crate) fn repeat_proposals(&self, to: Option<ReplicaId>, effects: &mut Vec<Effect>) {
        if !self.may_lead() {
            return;
        }
        let first = self.chain.decided().max(self.base).next();
        for number in first.0..=self.chain.head().0 {
            let slot = Slot(number);
            let link = self.chain.get(slot).expect("undecided slots are kept");
            let parent = self.chain.digest_at(Slot(number - 1)).expect("undecided slots are kept");
            let propose = Propose { view: self.view, slot, parent, batch: link.batch.clone() };
            Self::send(to, PeerMessage::Propose(propose), effects);
        }
    }
}
