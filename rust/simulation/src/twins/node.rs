//! One node: a correct replica, or one self of a Byzantine one.

use std::sync::OnceLock;

use pssmr_ordering::{Config, Core, Delivery, Effect, Event, Input, Now};
use pssmr_types::{
    Checkpoint, ClientId, ClusterId, Digest, Epoch, FaultModel, Membership, PeerMessage, ReplicaId, SecretKey, Slot,
};

pub(super) const EPOCH: Epoch = Epoch(0);
const CLUSTER: ClusterId = ClusterId(*b"twins of pssmr!!");
pub(super) const REPLICAS_MAX: usize = 7;

#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: ReplicaId,
    pub(super) is_correct: bool,
    pub(super) core: Core,
    /// What arrived and was not taken in yet.
    pub(super) inbox: Vec<Input>,
    /// The last slot delivered.
    pub(super) delivered: Slot,
    /// How many different requests it has delivered.
    pub(super) done: usize,
    known: Vec<(ClientId, u64)>,
}

/// What a node says to the scenario in a step.
#[derive(Debug)]
pub(super) enum Said {
    /// It sends a message, to all if to none.
    Send(Option<ReplicaId>, PeerMessage),
    Deliver(Delivery),
    Event(Event),
    /// A checkpoint of its own is stable.
    Stable,
    Halt(String),
}

fn secrets() -> &'static [SecretKey] {
    static SECRETS: OnceLock<Vec<SecretKey>> = OnceLock::new();
    SECRETS.get_or_init(|| (1..=REPLICAS_MAX as u8).map(|number| SecretKey::from_seed([number; 32])).collect())
}

/// The membership of a cluster of this size.
pub(super) fn membership(replicas: usize) -> Membership {
    static MEMBERSHIPS: OnceLock<Vec<Membership>> = OnceLock::new();
    let made = |replicas: usize| {
        let keys = secrets()[..replicas].iter().map(SecretKey::public).collect();
        Membership::new(CLUSTER, EPOCH, FaultModel::Byzantine, keys).expect("different keys")
    };
    let all = MEMBERSHIPS.get_or_init(|| (1..=REPLICAS_MAX).map(made).collect());
    all[replicas - 1].clone()
}

impl Node {
    pub(super) fn new(id: ReplicaId, is_correct: bool, config: &Config, membership: &Membership, now: Now) -> Self {
        let secret = secrets()[id.index()].clone();
        let core = Core::new(config.clone(), membership.clone(), id, secret, now).expect("the settings are good");
        Self { id, is_correct, core, inbox: Vec::new(), delivered: Slot(0), done: 0, known: Vec::new() }
    }

    /// Takes in what has arrived. Whatever is delivered is executed at once.
    pub(super) fn step(&mut self, now: Now, said: &mut Vec<Said>) {
        let mut inputs = std::mem::take(&mut self.inbox);
        let mut effects = Vec::new();
        loop {
            self.core.step(now, inputs.drain(..), &mut effects);
            for effect in effects.drain(..) {
                match effect {
                    Effect::Send { to, message } => said.push(Said::Send(Some(to), message)),
                    Effect::Broadcast(message) => said.push(Said::Send(None, message)),
                    Effect::Deliver(delivery) => {
                        inputs.push(Input::Executed(delivery.slot));
                        said.push(Said::Deliver(delivery));
                    }
                    Effect::Checkpoint { snapshot, .. } => {
                        let root = Digest::of("pssmr simulation 1", &snapshot.encode());
                        let checkpoint = Checkpoint { slot: snapshot.slot, digest: snapshot.digest, root };
                        inputs.push(Input::CheckpointTaken(checkpoint));
                    }
                    Effect::Stable(_) => said.push(Said::Stable),
                    // Openings of sessions are all that clients ask for here, and this is what tells of one.
                    Effect::Reply { client, sequence, .. } => {
                        if !self.known.contains(&(client, sequence)) {
                            self.known.push((client, sequence));
                            self.done += 1;
                        }
                    }
                    Effect::Event(event) => said.push(Said::Event(event)),
                    Effect::Halt(why) => said.push(Said::Halt(why)),
                    Effect::SessionEvicted(_) => {}
                    Effect::Reconfigured(_) | Effect::SteppedDown(_) => unreachable!("nobody asks for it"),
                    Effect::Promise(_) | Effect::Persist(_) => unreachable!("nothing is kept"),
                    Effect::Transfer(_) | Effect::Install(_) => unreachable!("nothing is forgotten"),
                }
            }
            if inputs.is_empty() {
                break;
            }
        }
        self.inbox = inputs;
    }
}
