//! The core: its state, and the one way in.

use std::collections::BTreeMap;
use std::time::Duration;

use pssmr_types::{
    Digest, Epoch, Lock, Membership, PeerMessage, Propose, Quorums, ReplicaId, SecretKey, ServiceVersion, Slot, Status,
    View, genesis,
};

use crate::catch_up::CatchUp;
use crate::chain::Chain;
use crate::checkpoint::Checkpoints;
use crate::epochs::Epochs;
use crate::gate::Gate;
use crate::interface::{Config, ConfigError, Effect, Event, Input, Now};
use crate::openings::Openings;
use crate::pool::Pool;
use crate::promise::Promises;
use crate::sessions::Sessions;
use crate::shelf::Shelf;
use crate::signer::Signer;
use crate::unproven::Unproven;
use crate::view_change::ViewChange;
use crate::votes::VoteSet;
use crate::writeset::Writeset;

/// Where the replica stands in its view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It has the view's base and votes on what the leader proposes.
    Active,
    /// It has left for the view and waits for the leader's SYNC.
    AwaitingSync,
    /// It knows the view's base and fetches what it lacks of it.
    FetchingBase { slot: Slot, digest: Digest },
}

/// The end of the chain that this replica voted for in its view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tip {
    pub(crate) slot: Slot,
    pub(crate) digest: Digest,
}

/// One replica's ordering, as a deterministic state machine. See the crate's documentation.
#[derive(Clone, Debug)]
pub struct Core {
    pub(crate) config: Config,
    pub(crate) membership: Membership,
    pub(crate) quorums: Quorums,
    pub(crate) me: ReplicaId,
    pub(crate) signer: Signer,
    pub(crate) now: Now,

    pub(crate) chain: Chain,
    pub(crate) sessions: Sessions,
    pub(crate) openings: Openings,
    pub(crate) pool: Pool,
    pub(crate) unproven: Unproven,

    pub(crate) view: View,
    pub(crate) phase: Phase,
    /// Votes of this view are for slots above this one.
    pub(crate) base: Slot,
    pub(crate) writes: VoteSet,
    pub(crate) accepts: VoteSet,
    pub(crate) wrote: Option<Tip>,
    pub(crate) accepted: Option<Tip>,
    pub(crate) lock: Option<Lock>,
    pub(crate) writeset: Writeset,
    pub(crate) shelf: Shelf,
    /// Proposals of this view's leader that the chain has not reached yet.
    pub(crate) early: BTreeMap<Slot, Propose>,

    pub(crate) change: ViewChange,
    pub(crate) catch_up: CatchUp,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) epochs: Epochs,
    /// The version that the service has gone over to, if it has left the first one.
    pub(crate) upgraded: Option<ServiceVersion>,
    /// What each replica last said of itself.
    pub(crate) peers: Vec<Option<Status>>,
    /// Since when the link to each replica is lost.
    pub(crate) lost_links: Vec<Option<u64>>,

    pub(crate) executed: Slot,
    /// When a slot was last decided.
    pub(crate) progressed: u64,
    /// When the chain last grew above what is decided.
    pub(crate) opened: u64,
    /// When this replica last found that it had not been running.
    resumed: u64,
    next_heartbeat: u64,
    next_retransmit: u64,
    /// The last slot decided when messages were last sent again.
    pub(crate) decided_at_retransmit: Slot,
    pub(crate) gate: Gate,
    pub(crate) promises: Promises,
    /// The view that the replica was in when it came back.
    pub(crate) restarted_in: Option<View>,
    pub(crate) learner: bool,
    pub(crate) halted: bool,
}

/// Nanoseconds of a setting; settings are far below the 584 years that fit.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 4)
}

/// How many replicas must vouch for a request that did not come from its client; 0 if nobody need.
pub(crate) fn vouchers(quorums: &Quorums) -> usize {
    if quorums.must_authenticate_requests() { quorums.weak() } else { 0 }
}

impl Core {
    /// A replica with the membership that it was configured with: nothing decided, nothing promised. If that membership is not
    /// the cluster's first one, the replica begins with a snapshot of others.
    ///
    /// # Errors
    /// The first setting that can't be.
    ///
    /// # Panics
    /// If `me` is not in the membership, or `secret` is not its key.
    pub fn new(
        config: Config,
        membership: Membership,
        me: ReplicaId,
        secret: SecretKey,
        now: Now,
    ) -> Result<Self, ConfigError> {
        Self::signing_with(Signer::of_key(secret), config, membership, me, now)
    }

    pub(crate) fn signing_with(
        signer: Signer,
        config: Config,
        membership: Membership,
        me: ReplicaId,
        now: Now,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        assert_eq!(membership.key(me), Some(&signer.public()), "the secret key is the replica's");
        let quorums = *membership.quorums();
        let (n, epoch) = (membership.table_len(), membership.epoch());
        let genesis = genesis(membership.cluster());
        Ok(Self {
            quorums,
            me,
            signer,
            now,
            chain: Chain::new(genesis),
            sessions: Sessions::new(config.sessions_per_client_max),
            openings: Openings::default(),
            pool: Pool::new(config.pending_requests_max, config.pending_bytes_max, vouchers(&quorums), n),
            unproven: Unproven::default(),
            view: View::first(epoch),
            phase: Phase::Active,
            base: Slot(0),
            writes: VoteSet::new(n, config.window),
            accepts: VoteSet::new(n, config.window),
            wrote: None,
            accepted: None,
            lock: None,
            writeset: Writeset::default(),
            shelf: Shelf::default(),
            early: BTreeMap::new(),
            change: ViewChange::new(n, now.monotonic),
            catch_up: CatchUp::new(n),
            checkpoints: Checkpoints::new(n),
            epochs: Epochs::new((Slot(0), genesis), n, epoch > Epoch(0)),
            upgraded: None,
            peers: vec![None; n],
            lost_links: vec![None; n],
            executed: Slot(0),
            progressed: now.monotonic,
            opened: now.monotonic,
            resumed: now.monotonic,
            next_heartbeat: now.monotonic,
            next_retransmit: now.monotonic + nanos(config.retransmit_interval),
            decided_at_retransmit: Slot(0),
            promises: Promises::new(),
            gate: Gate::new(config.durability),
            restarted_in: None,
            learner: false,
            halted: false,
            config,
            membership,
        })
    }

    /// Makes the replica a learner, which follows and executes but never votes, proposes or asks for a view; or ends
    /// that. A replica that may have forgotten its votes has to be one.
    pub fn set_learner(&mut self, learner: bool) {
        self.learner = learner;
    }

    /// Whether the replica only follows: it may have forgotten its votes, it does not know whether it has cast any, it joins and has no state yet, or it is not one of
    /// the membership.
    pub(crate) fn is_learner(&self) -> bool {
        self.learner || self.promises.is_newborn() || self.epochs.is_joining || self.is_retired()
    }

    /// Takes a burst of inputs, and appends what is to be done, in order. Votes and proposals are made once for the
    /// whole burst.
    pub fn step(&mut self, now: Now, inputs: impl IntoIterator<Item = Input>, effects: &mut Vec<Effect>) {
        if self.halted {
            return;
        }
        self.set_clock(now);
        for input in inputs {
            match input {
                Input::Message { from, epoch, message } => self.on_message(from, epoch, message, effects),
                Input::Request(request) => self.on_request(request, effects),
                Input::Executed(slot) => {
                    assert!(slot <= self.chain.decided(), "only what was delivered is executed");
                    self.executed = self.executed.max(slot);
                }
                Input::Promised(promise) => self.on_promised(promise, effects),
                Input::LogBehind(is_behind) => self.gate.is_behind = is_behind,
                Input::Durable(records) => self.on_durable(records, effects),
                Input::Connected(peer) => self.on_connected(peer, effects),
                Input::Disconnected(peer) => self.on_disconnected(peer),
                Input::CheckpointTaken(checkpoint) => self.on_checkpoint_taken(checkpoint, effects),
                Input::Transferred(snapshot) => self.on_transferred(&snapshot, effects),
                Input::TransferFailed => self.on_transfer_failed(),
                Input::StepDown => self.on_step_down(effects),
                Input::Tick => {}
            }
            if self.halted {
                return;
            }
        }
        self.promise_ahead(effects);
        self.advance(effects);
        self.notice_lag(effects);
        if !self.halted {
            self.on_time(effects);
            self.promise_ahead(effects);
        }
    }

    fn set_clock(&mut self, now: Now) {
        let monotonic = now.monotonic.max(self.now.monotonic);
        // A replica that was stopped for a while knows nothing of the leader's silence in the meantime.
        if monotonic > self.next_timer() + nanos(self.config.request_timeout) / 2 {
            self.resumed = monotonic;
        }
        self.now = Now { monotonic, wall: now.wall };
    }

    fn on_message(&mut self, from: ReplicaId, epoch: Epoch, message: PeerMessage, effects: &mut Vec<Effect>) {
        if from == self.me || !self.membership.contains(from) {
            return;
        }
        if epoch != self.membership.epoch() {
            self.on_foreign(from, epoch, message, effects);
            return;
        }
        match message {
            PeerMessage::Propose(propose) => self.on_propose(from, propose, effects),
            PeerMessage::Write(vote) => self.on_write(from, &vote, effects),
            PeerMessage::Accept(vote) => self.on_accept(from, &vote),
            PeerMessage::Stop(view) => self.on_stop(from, view, effects),
            PeerMessage::StopData(state) => self.on_stop_data(from, state, effects),
            PeerMessage::Sync(sync) => self.on_sync(from, sync, effects),
            PeerMessage::Forward(requests) => self.on_forward(from, requests),
            PeerMessage::Status(status) => self.on_status(from, status, effects),
            PeerMessage::Fetch { slot, digest, floor } => self.on_fetch(from, slot, digest, floor, effects),
            PeerMessage::Entry(entry) => self.on_entry(from, entry, effects),
            PeerMessage::Truncated { oldest } => self.on_truncated(from, oldest, effects),
            PeerMessage::DigestRequest(slot) => self.on_digest_request(from, slot, effects),
            PeerMessage::DigestReply { slot, digest } => self.on_digest_reply(from, slot, digest, effects),
            PeerMessage::Checkpoint(vote) => self.on_checkpoint(from, vote, effects),
            PeerMessage::Certificate(certificate) => self.on_certificate(from, certificate, effects),
            PeerMessage::Handover(vote) => self.on_handover(from, vote, effects),
            PeerMessage::Handovers(handovers) => self.on_handovers(handovers, effects),
            // Snapshots are handed over by the hosts.
            PeerMessage::Snapshot(_) => {}
        }
    }

    fn on_connected(&mut self, peer: ReplicaId, effects: &mut Vec<Effect>) {
        if peer == self.me || !self.membership.contains(peer) {
            return;
        }
        self.lost_links[peer.index()] = None;
        effects.push(Effect::Send { to: peer, message: PeerMessage::Status(self.own_status()) });
        self.repeat_view_change(Some(peer), effects);
        self.repeat_checkpoint(Some(peer), effects);
        self.repeat_handover(Some(peer), effects);
        if self.phase == Phase::Active {
            self.repeat_votes(Some(peer), effects);
            self.repeat_proposals(Some(peer), effects);
        }
    }

    /// What only time does.
    fn on_time(&mut self, effects: &mut Vec<Effect>) {
        let now = self.now.monotonic;
        if now >= self.next_heartbeat {
            self.next_heartbeat = now + nanos(self.config.heartbeat_interval);
            effects.push(Effect::Broadcast(PeerMessage::Status(self.own_status())));
            self.repeat_checkpoint(None, effects);
            self.repeat_handover(None, effects);
            self.hand_over(effects);
        }
        if now >= self.next_retransmit {
            self.next_retransmit = now + nanos(self.config.retransmit_interval);
            self.retransmit(effects);
            if self.halted {
                return;
            }
            self.decided_at_retransmit = self.chain.decided();
        }
        self.watch_leader(effects);
    }

    fn retransmit(&mut self, effects: &mut Vec<Effect>) {
        // Long enough for a time-out that has grown: a request that is forgotten before it complains deposes no leader.
        let lifetime = (20 * nanos(self.config.request_timeout)).max(3 * self.timeout()).max(10_000_000_000);
        self.pool.expire(self.now.monotonic.saturating_sub(lifetime));
        self.repeat_view_change(None, effects);
        let is_stuck = self.chain.decided() == self.decided_at_retransmit;
        if self.phase == Phase::Active && is_stuck && self.chain.head() > self.chain.decided() {
            self.repeat_votes(None, effects);
            self.repeat_proposals(None, effects);
        }
        self.pursue(is_stuck, effects);
    }

    /// Nothing that a replica promised was broken yet, but going on could break it.
    pub(crate) fn halt(&mut self, reason: String, effects: &mut Vec<Effect>) {
        self.halted = true;
        effects.push(Effect::Halt(reason));
    }

    pub(crate) fn misbehaviour(replica: ReplicaId, what: &'static str, effects: &mut Vec<Effect>) {
        effects.push(Effect::Event(Event::Misbehaviour { replica, what }));
    }

    pub(crate) fn own_status(&self) -> Status {
        Status {
            view: self.view,
            synced: self.phase != Phase::AwaitingSync,
            decided: self.chain.decided(),
            digest: self.chain.decided_digest(),
            head: self.chain.head(),
            awaited: self.awaited(),
            is_newborn: self.promises.is_newborn() || self.promises.is_unsettled(),
        }
    }

    /// Sends to one replica, or to all.
    pub(crate) fn send(to: Option<ReplicaId>, message: PeerMessage, effects: &mut Vec<Effect>) {
        effects.push(match to {
            Some(to) => Effect::Send { to, message },
            None => Effect::Broadcast(message),
        });
    }

    /// The instant from which the leader's silence counts.
    pub(crate) fn quiet_since(&self) -> u64 {
        self.progressed.max(self.change.entered).max(self.resumed)
    }

    fn next_timer(&self) -> u64 {
        self.next_heartbeat.min(self.next_retransmit)
    }

    /// When a step is due at the latest, even if nothing happens; in [`Now::monotonic`]'s nanoseconds. `None` if never:
    /// the replica has halted.
    pub fn deadline(&self) -> Option<u64> {
        (!self.halted).then(|| self.change.look_at.map_or(self.next_timer(), |at| at.min(self.next_timer())))
    }

    /// Whether what the replica decides and votes goes into a log.
    pub fn has_log(&self) -> bool {
        self.gate.has_log()
    }

    /// The leader of the view that the replica is in.
    pub fn leader(&self) -> ReplicaId {
        self.membership.leader(self.view)
    }

    /// The view that the replica is in.
    pub fn view(&self) -> View {
        self.view
    }

    /// Whether the replica has its view's base: if not, a view change is going on.
    pub fn is_active(&self) -> bool {
        self.phase == Phase::Active
    }

    /// The last slot decided.
    pub fn decided(&self) -> Slot {
        self.chain.decided()
    }

    /// The last slot of the chain, decided or not.
    pub fn head(&self) -> Slot {
        self.chain.head()
    }

    /// Where the replica is, for an operator.
    pub fn status(&self) -> CoreStatus {
        CoreStatus {
            view: self.view,
            leader: self.leader(),
            active: self.is_active(),
            epoch: self.membership.epoch(),
            learner: self.is_learner(),
            retired: self.is_retired(),
            halted: self.halted,
            decided: self.chain.decided(),
            digest: self.chain.decided_digest(),
            executed: self.executed,
            head: self.chain.head(),
            oldest_kept: self.chain.oldest(),
            checkpoint: self.checkpoints.stable_slot(),
            pending: self.pool.len(),
            sessions: self.sessions.len(),
            position: self.sessions.position(),
            service_version: self.service_version(),
            peers: self.peers.clone(),
        }
    }
}

/// Where a replica is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each says something of its own, for people")]
pub struct CoreStatus {
    /// The view.
    pub view: View,
    /// Its leader.
    pub leader: ReplicaId,
    /// Whether the view has its base here.
    pub active: bool,
    /// The epoch.
    pub epoch: Epoch,
    /// Whether the replica only follows.
    pub learner: bool,
    /// Whether the replica is not, or no longer, one of the membership.
    pub retired: bool,
    /// Whether it has stopped for good.
    pub halted: bool,
    /// The last slot decided.
    pub decided: Slot,
    /// The chain digest there.
    pub digest: Digest,
    /// The last slot executed.
    pub executed: Slot,
    /// The last slot of the chain.
    pub head: Slot,
    /// The oldest slot kept for replicas that lag.
    pub oldest_kept: Slot,
    /// The slot of the last stable checkpoint known; 0 if there is none.
    pub checkpoint: Slot,
    /// Requests that wait to be decided.
    pub pending: usize,
    /// Open sessions.
    pub sessions: usize,
    /// The position of the last command delivered.
    pub position: u64,
    /// The version of the service that is in force.
    pub service_version: u32,
    /// What each replica last said of itself, by id.
    pub peers: Vec<Option<Status>>,
}
