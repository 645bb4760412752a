//! How far a replica may vote, and what one does that has forgotten how it voted.
//!
//! Before a replica votes in a view or for a slot, it is durable that it may: a few bytes, written ahead for many slots. So a
//! replica that comes back without its votes (durability `memory`, a damaged log) knows a bound on them. It follows without
//! voting until a slot at or above the bound is decided by the others' votes, in a view at or above the one it was in. From
//! then on nothing that it may have voted for is undecided, and a lock on that slot says at a view change all that its
//! forgotten locks could say. (The idea of Viewstamped Replication's recovery, Liskov and Cowling 2012, section 4.3, without
//! its questions to others: the bound is the replica's own word.)

use pssmr_types::{Lock, PeerMessage, Slot, View};

use crate::core::{Core, nanos};
use crate::interface::{Effect, Event, Promise};
use crate::newborn::Newborn;
use crate::record::Record;

/// Slots that are promised ahead, at least and at most. A busy replica promises farther, to write less often.
const AHEAD_MIN: u64 = 128;
const AHEAD_MAX: u64 = 1 << 16;

/// A promise that lasted less long was too short.
const LASTS_MIN: u64 = 1_000_000_000;

/// Empty slots that a leader proposes in a time-out for a replica that waits to vote again.
const HELP_SLOTS: u64 = 32;

/// The replica's promises.
#[derive(Clone, Debug)]
pub(crate) struct Promises {
    /// What is durable. None: there is no host to ask, and no bound.
    durable: Option<Promise>,
    /// What was asked for last.
    asked: Promise,
    asked_at: u64,
    ahead: u64,
    /// The bound on what this replica has forgotten.
    pub(crate) forgotten: Option<Promise>,
    /// What others say to one that does not know whether it has forgotten anything.
    pub(crate) newborn: Option<Newborn>,
    /// It began without knowing.
    pub(crate) was_newborn: bool,
    /// As a leader: up to here slots are proposed even if nothing waits.
    help_until: Slot,
    helped_at: u64,
    /// When another replica last said that it waits, and since when one does.
    wanted_at: u64,
    wanted_since: u64,
}

impl Promises {
    pub(crate) fn new() -> Self {
        let none = Promise { view: View(0), slot_limit: Slot(0) };
        Self {
            durable: None,
            asked: none,
            asked_at: 0,
            ahead: AHEAD_MIN,
            forgotten: None,
            newborn: None,
            was_newborn: false,
            help_until: Slot(0),
            helped_at: 0,
            wanted_at: 0,
            wanted_since: 0,
        }
    }

    /// The highest slot that may be voted for.
    pub(crate) fn slot_limit(&self) -> Slot {
        self.durable.map_or(Slot(u64::MAX), |durable| durable.slot_limit)
    }

    /// The highest view in which something may have been said that binds.
    pub(crate) fn view(&self) -> View {
        self.durable.map_or(View(0), |durable| durable.view)
    }

    /// What was forgotten of views of epochs before this view's does not matter any more. Whether there was something.
    pub(crate) fn forget_before(&mut self, view: View) -> bool {
        self.forgotten.take_if(|bound| bound.view.epoch() < view.epoch()).is_some()
    }

    /// Whether the replica does not know whether it has a past.
    pub(crate) fn is_newborn(&self) -> bool {
        self.newborn.is_some()
    }

    /// Whether it would not know again if it came back: it has settled that there is nothing to remember, but has promised
    /// nothing yet that is durable.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.was_newborn && self.durable.is_some_and(|durable| durable.slot_limit == Slot(0))
    }

    /// Whether something may be said in this view that binds.
    pub(crate) fn allows(&self, view: View) -> bool {
        self.durable.is_none_or(|durable| durable.view >= view)
    }
}

impl Core {
    /// What this replica's promise is on disk; from now on it asks before it goes beyond.
    pub fn set_promise(&mut self, promise: Promise) {
        self.promises.durable = Some(promise);
        self.promises.asked = promise;
    }

    /// The replica may have voted as far as `bound` says, and does not remember: it is a learner until that is settled.
    pub fn set_forgotten(&mut self, bound: Promise) {
        self.learner = true;
        self.promises.forgotten = Some(bound);
    }

    /// A promise is durable.
    pub(crate) fn on_promised(&mut self, promise: Promise, effects: &mut Vec<Effect>) {
        let was_unsettled = self.promises.is_unsettled();
        self.promises.durable = Some(promise);
        if was_unsettled && !self.promises.is_unsettled() {
            // Those that wait for this replica need not any more.
            effects.push(Effect::Broadcast(PeerMessage::Status(self.own_status())));
        }
        self.release_held(effects);
    }

    /// Asks for a promise before it is needed.
    pub(crate) fn promise_ahead(&mut self, effects: &mut Vec<Effect>) {
        if self.promises.durable.is_none() || self.is_learner() {
            return;
        }
        let head = self.chain.head().0;
        let asked = self.promises.asked;
        if asked.view >= self.view && asked.slot_limit.0 >= head + self.promises.ahead / 2 {
            return;
        }
        if asked.slot_limit.0 < head + self.promises.ahead / 2 {
            let lasted = self.now.monotonic.saturating_sub(self.promises.asked_at);
            let ahead = self.promises.ahead;
            self.promises.ahead = if lasted < LASTS_MIN { ahead * 2 } else { ahead / 2 }.clamp(AHEAD_MIN, AHEAD_MAX);
            self.promises.asked_at = self.now.monotonic;
        }
        let slot_limit = Slot(asked.slot_limit.0.max(head + self.promises.ahead));
        self.promises.asked = Promise { view: self.view.max(asked.view), slot_limit };
        effects.push(Effect::Promise(self.promises.asked));
    }

    /// The slot that this replica waits for, to vote again; 0 if it does not wait.
    pub(crate) fn awaited(&self) -> Slot {
        let next = self.chain.decided().next();
        // Slots of a view that it has left for good are of no use to it.
        let bound = self.promises.forgotten.filter(|bound| self.is_learner() && self.view >= bound.view);
        bound.map_or(Slot(0), |bound| bound.slot_limit.max(next))
    }

    /// Votes of this replica's view have decided `slot`: what it forgot may be settled by that.
    pub(crate) fn try_rejoin(&mut self, slot: Slot, effects: &mut Vec<Effect>) {
        let Some(bound) = self.promises.forgotten else { return };
        if !self.is_learner() || self.view < bound.view || slot < bound.slot_limit || slot == Slot(0) {
            return;
        }
        // Votes for a slot that is no longer kept are followed by others.
        let Some(digest) = self.chain.digest_at(slot) else { return };
        self.promises.forgotten = None;
        self.learner = false;
        self.restarted_in = Some(self.view);
        self.raise_lock(Lock { view: self.view, slot, digest });
        self.persist(|| Record::Accepted { slot, digest }, effects);
        effects.push(Effect::Event(Event::Rejoined { slot }));
    }

    /// Another replica waits for slots to be decided. The leader gives it some of them, if there are none anyway, and
    /// not too often, whatever it says.
    pub(crate) fn help(&mut self, awaited: Slot) {
        let (now, heartbeat) = (self.now.monotonic, nanos(self.config.heartbeat_interval));
        if awaited <= self.chain.decided() {
            return;
        }
        if now > self.promises.wanted_at + 4 * heartbeat {
            self.promises.wanted_since = now;
        }
        self.promises.wanted_at = now;
        let pause = heartbeat.max(nanos(self.config.request_timeout));
        if self.may_lead() && now >= self.promises.helped_at + pause {
            self.promises.helped_at = now;
            self.promises.help_until = awaited.min(Slot(self.chain.decided().0 + HELP_SLOTS));
        }
    }

    /// Whether another replica waits for slots, and the leader gives it none.
    pub(crate) fn lacks_help(&self) -> bool {
        let (now, heartbeat) = (self.now.monotonic, nanos(self.config.heartbeat_interval));
        let since = self.promises.wanted_since.max(self.quiet_since());
        let is_wanted = self.promises.wanted_at > 0 && now <= self.promises.wanted_at + 4 * heartbeat;
        is_wanted && now >= since + 4 * (self.timeout() + heartbeat)
    }

    /// Whether the slot above the head is one that another replica waits for.
    pub(crate) fn helps(&self) -> bool {
        self.chain.head() < self.promises.help_until
    }
}
