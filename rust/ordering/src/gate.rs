//! What waits until the log keeps it: votes and the state for a new view leave only when a crash can't make the replica
//! forget them. (The rule of every write-ahead log; for BFT votes see Bessani et al., *On the Efficiency of Durable State
//! Machine Replication*, ATC'13.)

use std::collections::VecDeque;

use pssmr_types::{PeerMessage, StopData, View, Vote};

use crate::core::{Core, Phase};
use crate::interface::{Durability, Effect};
use crate::record::Record;

/// A promise that waits for the log.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Held {
    Write(Vote),
    Accept(Vote),
    /// The state with which the replica came into this view.
    State(View),
}

impl Held {
    fn view(&self) -> View {
        match self {
            Self::Write(vote) | Self::Accept(vote) => vote.view,
            Self::State(view) => *view,
        }
    }
}

/// The log's progress, and what waits for it. At most two votes wait for each open slot, and one state.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    durability: Durability,
    /// Records handed out since the start.
    appended: u64,
    /// How many of them are kept for sure.
    durable: u64,
    held: VecDeque<(u64, Held)>,
    /// More waits to be kept than the host has room for.
    pub(crate) is_behind: bool,
    /// What happens comes out of the log.
    pub(crate) is_replaying: bool,
    /// Records that were replayed.
    pub(crate) replayed: u64,
    /// They are those of the image that the log begins with.
    pub(crate) takes_image: bool,
}

impl Gate {
    pub(crate) fn new(durability: Durability) -> Self {
        Self {
            durability,
            appended: 0,
            durable: 0,
            held: VecDeque::new(),
            is_behind: false,
            is_replaying: false,
            replayed: 0,
            takes_image: false,
        }
    }

    /// Whether the replica has a log.
    pub(crate) fn has_log(&self) -> bool {
        self.durability != Durability::Memory
    }

    /// A view is left: what would have been said in it must not leave any more.
    pub(crate) fn forget_held(&mut self) {
        self.held.clear();
    }

    /// Whether nothing waits.
    pub(crate) fn is_open(&self) -> bool {
        self.held.is_empty()
    }
}

impl Core {
    /// Puts a record into the log.
    pub(crate) fn persist(&mut self, record: impl FnOnce() -> Record, effects: &mut Vec<Effect>) {
        if self.gate.has_log() && !self.gate.is_replaying {
            self.gate.appended += 1;
            effects.push(Effect::Persist(record()));
        }
    }

    /// Does what was promised as soon as all records up to now are kept.
    pub(crate) fn when_durable(&mut self, held: Held, effects: &mut Vec<Effect>) {
        self.gate.held.push_back((self.gate.appended, held));
        self.release_held(effects);
    }

    /// So many records are kept for sure.
    pub(crate) fn on_durable(&mut self, records: u64, effects: &mut Vec<Effect>) {
        assert!(records <= self.gate.appended, "only what was handed out is kept");
        self.gate.durable = self.gate.durable.max(records);
        self.release_held(effects);
    }

    /// Lets out what waits for nothing any more, in order.
    pub(crate) fn release_held(&mut self, effects: &mut Vec<Effect>) {
        while let Some((needed, held)) = self.gate.held.front().copied()
            && needed <= self.gate.durable
            && self.promises.allows(held.view())
        {
            self.gate.held.pop_front();
            self.release(held, effects);
        }
    }

    fn release(&mut self, held: Held, effects: &mut Vec<Effect>) {
        assert_eq!(held.view(), self.view, "what waits is forgotten when its view is left");
        match held {
            Held::Write(vote) => {
                self.writes.record(self.me, &vote, self.own_digest_for(&vote));
                if !self.proposes_for_write() {
                    effects.push(Effect::Broadcast(PeerMessage::Write(vote)));
                }
            }
            Held::Accept(vote) => {
                self.accepts.record(self.me, &vote, self.own_digest_for(&vote));
                effects.push(Effect::Broadcast(PeerMessage::Accept(vote)));
            }
            Held::State(_) if self.phase == Phase::AwaitingSync => self.declare_state(effects),
            // The view has its base already.
            Held::State(_) => {}
        }
    }

    /// Whether this replica is its view's leader, and its PROPOSE counts as its WRITE. With a log it does not: the
    /// proposal leaves before it is kept, so that the others' disks work at the same time as the leader's.
    pub(crate) fn proposes_for_write(&self) -> bool {
        self.leader() == self.me && !self.gate.has_log()
    }

    fn declare_state(&mut self, effects: &mut Vec<Effect>) {
        let state = StopData::sign(
            self.membership.cluster(),
            self.membership.epoch(),
            self.view,
            self.me,
            self.lock,
            self.writeset.entries().to_vec(),
            &mut self.signer,
        );
        let leader = self.leader();
        if leader != self.me {
            effects.push(Effect::Send { to: leader, message: PeerMessage::StopData(state.clone()) });
        }
        self.change.declared(self.me, leader, state);
        self.try_sync(effects);
    }
}
