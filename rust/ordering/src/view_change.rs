//! The view change: Stop, `StopData`, Sync. Mod-SMaRt's synchronization phase (EDCC'12, section III-C), with the base of
//! the new view chosen by [`choose`](crate::choice::choose).

use pssmr_types::peer::FORWARD_MAX;
use pssmr_types::{PeerMessage, ReplicaId, Status, StopData, Sync, View};

use crate::choice::{Base, choose};
use crate::core::{Core, Phase, nanos};
use crate::gate::Held;
use crate::interface::{Effect, Event};
use crate::record::Record;

/// Most doublings of the time-out, before its limit is looked at.
const DOUBLINGS_MAX: u32 = 20;

/// A view that a replica wants, and when it last said so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Wish {
    view: View,
    at: u64,
}

impl Wish {
    fn is_for(&self, view: View, alive_since: u64) -> bool {
        self.view >= view && self.at >= alive_since
    }
}

/// What the replica knows of view changes.
#[derive(Clone, Debug)]
pub(crate) struct ViewChange {
    /// By replica. A wish that is not repeated for some time-outs is over.
    wishes: Vec<Wish>,
    /// As a coming leader: the latest state of each replica.
    states: Vec<Option<StopData>>,
    /// The state with which this replica came into its view.
    own_state: Option<StopData>,
    /// The proof of this view's base.
    pub(crate) sync: Option<Sync>,
    /// When the view was entered.
    pub(crate) entered: u64,
    /// Views in a row without a decision.
    failed: u32,
    /// As a leader: the view has its base, and its first proposal is due even if nothing waits.
    pub(crate) must_open: bool,
    /// When the leader has to be looked at again, if it goes on like this.
    pub(crate) look_at: Option<u64>,
    /// The view that this replica, its leader, has given up, until the next one has its base.
    pub(crate) given_up: Option<View>,
}

impl ViewChange {
    pub(crate) fn new(replicas: usize, now: u64) -> Self {
        Self {
            wishes: vec![Wish::default(); replicas],
            states: vec![None; replicas],
            own_state: None,
            sync: None,
            entered: now,
            failed: 0,
            must_open: false,
            look_at: None,
            given_up: None,
        }
    }

    /// Something was decided by votes of this view: its leader does its work.
    pub(crate) fn progressed(&mut self, me: ReplicaId, view: View) {
        self.failed = 0;
        self.caught_up(me, view);
    }

    /// Others have decided something meanwhile: what this replica missed is no reason any more to wish for another view.
    pub(crate) fn caught_up(&mut self, me: ReplicaId, view: View) {
        if !self.is_given_up(view) {
            self.wishes[me.index()].view = view;
        }
    }

    /// Whether this replica leads the view no more, since its operator wants another leader.
    pub(crate) fn is_given_up(&self, view: View) -> bool {
        self.given_up == Some(view)
    }

    /// This replica's state for its view.
    pub(crate) fn declared(&mut self, me: ReplicaId, leader: ReplicaId, state: StopData) {
        if leader == me {
            self.states[me.index()] = Some(state.clone());
        }
        self.own_state = Some(state);
    }

    /// The highest view that `count` replicas wish for or are in.
    fn wished_by(&self, count: usize, alive_since: u64) -> View {
        let mut views: Vec<View> =
            self.wishes.iter().map(|wish| if wish.at >= alive_since { wish.view } else { View(0) }).collect();
        views.sort_unstable_by(|a, b| b.cmp(a));
        views[count - 1]
    }
}

impl Core {
    /// How long this view has, in nanoseconds: it doubles with each view in which nothing was decided.
    pub(crate) fn timeout(&self) -> u64 {
        let doublings = self.change.failed.saturating_sub(1).min(DOUBLINGS_MAX);
        (nanos(self.config.request_timeout) << doublings).min(nanos(self.config.request_timeout_max))
    }

    /// The two stages of suspicion. While something waits and nothing is decided, the requests go to everybody after
    /// half a time-out, and after a whole one the replica asks for the next leader. The same if a leader decides much
    /// but passes over a request. A view that does not get its base in time is given up.
    pub(crate) fn watch_leader(&mut self, effects: &mut Vec<Effect>) {
        self.change.look_at = None;
        // What a replica lacks that has to be given a snapshot is not the leader's fault.
        if self.is_learner() || self.checkpoints.is_transferring() || self.waits_for_newborn() {
            return;
        }
        if self.leader() == self.me && !self.may_lead() {
            self.suspect(effects);
        }
        let (now, timeout) = (self.now.monotonic, self.timeout());
        if let Some(end) = self.leader_awaited_until() {
            self.suspect_at(end, effects);
        }
        if self.phase != Phase::Active {
            self.suspect_at(self.quiet_since() + timeout, effects);
            return;
        }
        // What waits for the next epoch is not the leader's fault.
        if !self.keeps_up() || self.is_closing() {
            return;
        }
        // Slots that stay open are decided in another view, also if nobody waits for them any more.
        if self.chain.head() > self.chain.decided() {
            self.suspect_at(self.quiet_since().max(self.opened) + timeout, effects);
        }
        if self.lacks_help() {
            self.suspect(effects);
        }
        let Some(oldest) = self.pool.oldest() else { return };
        // A fair leader proposes by arrival: what waited before the request, and the differences between replicas.
        let fair = (4 * self.config.limits.requests_max + self.config.pending_requests_max) as u64;
        let quiet_since = if oldest.delivered_since > fair {
            oldest.arrived.max(self.change.entered)
        } else {
            oldest.arrived.max(self.quiet_since())
        };
        if now >= quiet_since + timeout / 2 {
            let bytes_max = self.config.limits.bytes_max;
            let requests = self.pool.take_to_forward(now - timeout / 2, FORWARD_MAX, bytes_max);
            if !requests.is_empty() {
                effects.push(Effect::Broadcast(PeerMessage::Forward(requests)));
            }
        }
        for stage in [quiet_since + timeout / 2, quiet_since + timeout].into_iter().filter(|at| *at > now) {
            self.look_again_at(stage);
        }
        if now >= quiet_since + timeout && self.pool.has_vouched(now - timeout / 2) {
            self.suspect(effects);
        }
    }

    /// The leader is suspected at this instant, unless something happens before.
    fn suspect_at(&mut self, at: u64, effects: &mut Vec<Effect>) {
        if self.now.monotonic >= at {
            self.suspect(effects);
        } else {
            self.look_again_at(at);
        }
    }

    fn look_again_at(&mut self, at: u64) {
        self.change.look_at = Some(self.change.look_at.map_or(at, |known| known.min(at)));
    }

    /// The leader does not do its work.
    fn suspect(&mut self, effects: &mut Vec<Effect>) {
        let (view, is_lost) = (self.view.next(), self.has_lost(self.leader()));
        self.wish_for(view, Event::LeaderSuspected { view, is_lost }, effects);
    }

    /// Asks the others to leave for `view`, unless it has done so.
    pub(crate) fn wish_for(&mut self, view: View, event: Event, effects: &mut Vec<Effect>) {
        let now = self.now.monotonic;
        let wish = &mut self.change.wishes[self.me.index()];
        if view > wish.view {
            *wish = Wish { view, at: now };
            effects.push(Effect::Event(event));
            effects.push(Effect::Broadcast(PeerMessage::Stop(view)));
        }
        self.weigh_wishes(effects);
    }

    /// Another replica wants to leave for `view`.
    pub(crate) fn on_stop(&mut self, from: ReplicaId, view: View, effects: &mut Vec<Effect>) {
        let wish = &mut self.change.wishes[from.index()];
        if view >= wish.view {
            *wish = Wish { view, at: self.now.monotonic };
        }
        if view < self.view || (view == self.view && self.phase != Phase::AwaitingSync) {
            self.pass_on_sync(from, effects);
        }
        self.weigh_wishes(effects);
    }

    /// k wishes for a view above ours make this replica join, unless it sees the leader at work; a quorum's install it.
    fn weigh_wishes(&mut self, effects: &mut Vec<Effect>) {
        let now = self.now.monotonic;
        let timeout = self.timeout();
        let alive_since = now.saturating_sub(4 * timeout);
        // Its own wish lasts until it is fulfilled or the leader is at work again.
        self.change.wishes[self.me.index()].at = now;
        let own = self.change.wishes[self.me.index()].view;
        let joined = self.change.wished_by(self.quorums.weak(), alive_since);
        // A leader may always stop leading: one that comes back from a restart does not go on with its view.
        let leader = self.leader();
        let steps_down = leader != self.me && self.change.wishes[leader.index()].is_for(self.view.next(), alive_since);
        let joined = if steps_down { joined.max(self.view.next()) } else { joined };
        let sees_progress = self.phase == Phase::Active && now < self.quiet_since() + timeout / 2;
        if joined > self.view.max(own) && (steps_down || !sees_progress) && !self.is_learner() {
            self.change.wishes[self.me.index()].view = joined;
            effects.push(Effect::Broadcast(PeerMessage::Stop(joined)));
        }
        let installed = self.change.wished_by(self.quorums.quorum(), alive_since);
        if installed > self.view {
            self.install(installed, effects);
        }
    }

    /// Leaves for `view`: a promise to process no vote of an earlier one ever again.
    fn install(&mut self, view: View, effects: &mut Vec<Effect>) {
        self.leave_for(view);
        self.persist(|| Record::View(view), effects);
        let leader = self.leader();
        effects.push(Effect::Event(Event::ViewEntered { view, leader }));
        if self.is_learner() {
            return;
        }
        let own_wish = &mut self.change.wishes[self.me.index()];
        if own_wish.view < view {
            *own_wish = Wish { view, at: self.now.monotonic };
        }
        effects.push(Effect::Broadcast(PeerMessage::Stop(view)));
        self.when_durable(Held::State(view), effects);
    }

    /// Ends the replica's part in its view, and begins that in the new one.
    pub(crate) fn leave_for(&mut self, view: View) {
        assert!(view > self.view, "views only go up");
        self.view = view;
        self.phase = Phase::AwaitingSync;
        self.gate.forget_held();
        self.early.clear();
        self.writes.clear();
        self.accepts.clear();
        self.wrote = None;
        self.accepted = None;
        self.catch_up.stop_fetching_base();
        self.change.entered = self.now.monotonic;
        self.change.failed += 1;
        self.change.own_state = None;
        self.change.sync = None;
        self.change.must_open = false;
        self.pool.forward_again();
    }

    /// A replica's state, for the view that we are to lead.
    pub(crate) fn on_stop_data(&mut self, from: ReplicaId, state: StopData, effects: &mut Vec<Effect>) {
        let known = self.change.states[from.index()].as_ref().map(|known| known.view);
        if state.replica != from
            || state.view < self.view
            || self.membership.leader(state.view) != self.me
            || known.is_some_and(|known| known >= state.view)
        {
            return;
        }
        if !self.is_genuine(&state) {
            Self::misbehaviour(from, "a state with a wrong signature or epoch", effects);
            return;
        }
        let view = state.view;
        self.change.states[from.index()] = Some(state);
        // States are proof that their senders have left: a quorum of them is as good as a quorum of Stops.
        if view > self.view && self.states_for(view).len() >= self.quorums.quorum() {
            self.install(view, effects);
        }
        self.try_sync(effects);
    }

    fn is_genuine(&self, state: &StopData) -> bool {
        state.epoch == self.membership.epoch()
            && self.membership.key(state.replica).is_some_and(|key| state.is_signed_by(self.membership.cluster(), key))
    }

    fn states_for(&self, view: View) -> Vec<StopData> {
        self.change.states.iter().flatten().filter(|state| state.view == view).cloned().collect()
    }

    /// As the leader: begins the view as soon as the states determine its base.
    pub(crate) fn try_sync(&mut self, effects: &mut Vec<Effect>) {
        if self.phase != Phase::AwaitingSync || !self.may_lead() {
            return;
        }
        let states = self.states_for(self.view);
        let Some(base) = choose(&self.quorums, &states) else { return };
        let sync = Sync::sign(self.membership.cluster(), self.view, states, &mut self.signer);
        effects.push(Effect::Broadcast(PeerMessage::Sync(sync.clone())));
        self.adopt(sync, base, effects);
    }

    /// The base of a view, from its leader or passed on by another replica: the leader's signature is what counts.
    pub(crate) fn on_sync(&mut self, from: ReplicaId, sync: Sync, effects: &mut Vec<Effect>) {
        if sync.view < self.view
            || (sync.view == self.view && self.phase != Phase::AwaitingSync)
            || sync.view.is_first()
        {
            return;
        }
        let Some(base) = self.verify_sync(&sync) else {
            Self::misbehaviour(from, "a SYNC that proves no base", effects);
            return;
        };
        if sync.view > self.view {
            self.install(sync.view, effects);
        }
        // Installing may have made this replica the leader and begun the view, with the very same effect.
        if self.phase == Phase::AwaitingSync {
            self.adopt(sync, base, effects);
        }
    }

    fn verify_sync(&self, sync: &Sync) -> Option<Base> {
        let leader = self.membership.key(self.membership.leader(sync.view))?;
        if !sync.is_signed_by(self.membership.cluster(), leader) {
            return None;
        }
        let mut seen = vec![false; self.membership.table_len()];
        for state in &sync.states {
            let is_new = !std::mem::replace(seen.get_mut(state.replica.index())?, true);
            if !is_new || state.view != sync.view || !self.is_genuine(state) {
                return None;
            }
        }
        choose(&self.quorums, &sync.states)
    }

    /// Goes on from the view's base.
    fn adopt(&mut self, sync: Sync, base: Base, effects: &mut Vec<Effect>) {
        self.change.sync = Some(sync);
        let (slot, digest) = match base {
            Base::Genesis => self.epochs.start,
            Base::Chain { slot, digest } => (slot, digest),
        };
        self.base = slot;
        match self.chain.digest_at(slot) {
            Some(ours) if ours == digest => {
                self.cut_back(slot.max(self.chain.decided()), effects);
                self.activate(effects);
            }
            Some(_) if slot <= self.chain.decided() => self.halt(
                format!("agreement is broken: {} begins at {slot} with {digest}, decided here otherwise", self.view),
                effects,
            ),
            // Too old to compare. What is decided here was decided after it.
            None if slot <= self.chain.decided() => {
                self.cut_back(self.chain.decided(), effects);
                self.activate(effects);
            }
            _ => {
                self.cut_back(self.chain.decided(), effects);
                self.phase = Phase::FetchingBase { slot, digest };
                self.fetch_base(effects);
            }
        }
    }

    /// The view's base is on the chain.
    pub(crate) fn activate(&mut self, effects: &mut Vec<Effect>) {
        self.phase = Phase::Active;
        // Nothing can go on top of a slot that may end the epoch to get it decided, so this view votes for it once more.
        if self.may_end_epoch(self.base) {
            // What came to be a base, a correct replica has written, knowing that its requests are their clients'. By now nobody
            // may know any more: one that asks for a change that is out of date is refused, and not kept.
            self.unproven.forget(self.base, &mut self.chain);
            self.base = pssmr_types::Slot(self.base.0 - 1);
        }
        let (slot, sync) = (self.base, self.change.sync.clone());
        self.persist(|| Record::Base { slot, sync }, effects);
        self.change.entered = self.now.monotonic;
        let leader = self.leader();
        effects.push(Effect::Event(Event::ViewActive { view: self.view, leader, base: self.base }));
        if leader == self.me {
            self.change.must_open = true;
            self.repeat_proposals(None, effects);
            self.requeue();
        }
        self.pass_on_pending(effects);
    }

    /// As the leader: all that is pending waits to be proposed, but for what is on the chain above what is decided.
    pub(crate) fn requeue(&mut self) {
        let mut on_chain = crate::hash::HashSet::default();
        for number in self.chain.decided().0 + 1..=self.chain.head().0 {
            let link = self.chain.get(pssmr_types::Slot(number)).expect("undecided slots are kept");
            on_chain.extend(link.batch.requests().iter().map(crate::pool::key));
        }
        self.pool.propose_all_but(&|key| on_chain.contains(key));
    }

    /// A replica says where it is.
    pub(crate) fn on_status(&mut self, from: ReplicaId, status: Status, effects: &mut Vec<Effect>) {
        self.peers[from.index()] = Some(status);
        self.on_word(from, &status, effects);
        self.help(status.awaited);
        self.help_to_join(from, &status, effects);
        if status.view < self.view || (status.view == self.view && !status.synced) {
            self.pass_on_sync(from, effects);
        }
        if status.view == self.view && status.synced && self.phase == Phase::Active {
            if status.decided < self.chain.decided() {
                self.repeat_votes(Some(from), effects);
            }
            if status.head < self.chain.head() && self.decided_at_retransmit == self.chain.decided() {
                self.repeat_proposals(Some(from), effects);
            }
        }
    }

    /// Brings a replica of an earlier view into ours.
    fn pass_on_sync(&self, to: ReplicaId, effects: &mut Vec<Effect>) {
        if let Some(sync) = &self.change.sync {
            effects.push(Effect::Send { to, message: PeerMessage::Sync(sync.clone()) });
        } else if !self.view.is_first() && !self.is_learner() {
            effects.push(Effect::Send { to, message: PeerMessage::Stop(self.view) });
        }
    }

    /// Says again what a view change waits for.
    pub(crate) fn repeat_view_change(&self, to: Option<ReplicaId>, effects: &mut Vec<Effect>) {
        if self.is_learner() {
            return;
        }
        let wish = self.change.wishes[self.me.index()].view;
        if wish > self.view || (wish == self.view && self.phase == Phase::AwaitingSync) {
            Self::send(to, PeerMessage::Stop(wish), effects);
        }
        let leader = self.leader();
        if self.phase == Phase::AwaitingSync
            && leader != self.me
            && to.is_none_or(|to| to == leader)
            && let Some(state) = &self.change.own_state
        {
            effects.push(Effect::Send { to: leader, message: PeerMessage::StopData(state.clone()) });
        }
        if self.phase != Phase::AwaitingSync
            && leader == self.me
            && let Some(to) = to
            && !self.view.is_first()
        {
            self.pass_on_sync(to, effects);
        }
    }
}
