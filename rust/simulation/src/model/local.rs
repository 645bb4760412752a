//! One node: a core, what it has sent, and what its disk has kept.

use std::fmt::{self, Write};
use std::hash::{DefaultHasher, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::time::Duration;

use pssmr_ordering::{Config, Core, Durability, Effect, Input, Now, Record};
use pssmr_types::{
    BatchLimits, ClientId, ClusterId, Digest, Lock, Membership, Operation, PeerMessage, Principal, ReplicaId, Request,
    SecretKey, Slot, StopData, Vote, Written,
};

use super::Setting;
use super::network::{EPOCH, Messages, Network};

const CLUSTER: ClusterId = ClusterId(*b"model of pssmr!!");
const TIMEOUT: Duration = Duration::from_millis(100);
/// Nothing that this often happens happens.
const NEVER: Duration = Duration::from_secs(1 << 32);
const WALL: u64 = 1_700_000_000_000_000_000;

/// What every node has in common.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) setting: Setting,
    config: Config,
    membership: Membership,
}

/// What a node does in one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Action {
    /// It takes these messages at once.
    Burst(Burst),
    /// It crashes in the middle of taking them, before its disk has kept anything of it, and comes back.
    CrashIn(Burst),
    /// Its time-out fires.
    Timeout,
    /// It crashes and comes back.
    Crash,
}

/// At most four messages.
pub(super) type Burst = [u16; 4];
/// No message.
pub(super) const NONE: u16 = u16::MAX;

/// The state of one node.
#[derive(Clone, Debug)]
pub(super) struct Local {
    pub(super) id: ReplicaId,
    pub(super) core: Core,
    pub(super) sent: Messages,
    /// The chain digests at the slots decided, ascending.
    pub(super) decided: Vec<Digest>,
    timeouts: u8,
    restarts: u8,
    log: Vec<Record>,
    at_start: usize,
    /// What must not be, and is.
    pub(super) wrong: Option<String>,
}

fn secrets() -> &'static [SecretKey] {
    static SECRETS: OnceLock<Vec<SecretKey>> = OnceLock::new();
    SECRETS.get_or_init(|| (1..=4).map(|number| SecretKey::from_seed([number; 32])).collect())
}

struct Fingerprint(DefaultHasher);

impl Write for Fingerprint {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

impl Common {
    pub(super) fn new(setting: Setting) -> Self {
        let keys = secrets()[..setting.replicas].iter().map(SecretKey::public).collect();
        let membership = Membership::new(CLUSTER, EPOCH, setting.model, keys).expect("at most four different keys");
        let config = Config {
            durability: if setting.restarts > 0 { Durability::Sync } else { Durability::Memory },
            window: 2,
            limits: BatchLimits { requests_max: 1, bytes_max: 1024 },
            pending_bytes_max: 1 << 20,
            pending_requests_max: 100,
            request_timeout: TIMEOUT,
            request_timeout_max: TIMEOUT,
            heartbeat_interval: NEVER,
            retransmit_interval: NEVER,
            ..Config::default()
        };
        Self { setting, config, membership }
    }

    fn core(&self, id: ReplicaId, clock: u64) -> Core {
        let now = Now { monotonic: clock, wall: WALL };
        let secret = secrets()[id.index()].clone();
        Core::new(self.config.clone(), self.membership.clone(), id, secret, now).expect("the settings are good")
    }

    fn request(number: u64) -> Request {
        let client = ClientId { principal: Principal(number), session: 0 };
        Request::new(client, number, 0, Operation::OpenSession, b"")
    }

    /// A node at the beginning, which has all that clients sent. `reversed`, if it got it in reversed order.
    pub(super) fn boot(&self, id: ReplicaId, reversed: bool, network: &mut Network) -> Local {
        let mut local = Local {
            id,
            core: self.core(id, 0),
            sent: Messages::default(),
            decided: Vec::new(),
            timeouts: 0,
            restarts: 0,
            log: Vec::new(),
            at_start: 0,
            wrong: None,
        };
        let inputs = self.requests(id, reversed);
        self.step(&mut local, inputs, network);
        local
    }

    /// The clients' requests, which each replica has from the client and from another replica: as much as it needs to
    /// suspect the leader.
    fn requests(&self, id: ReplicaId, reversed: bool) -> Vec<Input> {
        let mut requests: Vec<_> = (1..=self.setting.slots).map(Self::request).collect();
        if reversed {
            requests.reverse();
        }
        let from = ReplicaId((id.0 + 1) % self.setting.replicas as u16);
        let message = PeerMessage::Forward(requests.clone());
        let own = requests.into_iter().map(Input::Request);
        [Input::Message { from, epoch: EPOCH, message }].into_iter().chain(own).collect()
    }

    /// The node's next state; None if it can't do that.
    pub(super) fn act(&self, local: &Local, action: Action, network: &mut Network) -> Option<Local> {
        if local.wrong.is_some() {
            return None;
        }
        let inputs = |burst: Burst, network: &Network| -> Vec<Input> {
            let taken = burst.iter().filter(|number| **number != NONE);
            taken
                .map(|number| {
                    let sent = network.message(*number);
                    Input::Message { from: sent.from, epoch: EPOCH, message: sent.message.clone() }
                })
                .collect()
        };
        let mut next = local.clone();
        match action {
            Action::Burst(burst) => {
                let inputs = inputs(burst, network);
                self.step(&mut next, inputs, network);
            }
            Action::Timeout => {
                if next.core.view().0 + 1 >= self.setting.views {
                    return None;
                }
                next.timeouts += 1;
                self.step(&mut next, vec![Input::Tick], network);
            }
            Action::Crash | Action::CrashIn(_) if next.restarts == self.setting.restarts => return None,
            Action::Crash => self.come_back(&mut next, network),
            Action::CrashIn(burst) => {
                let inputs = inputs(burst, network);
                let now = Self::now(&next);
                let mut effects = Vec::new();
                if let Err(why) = step(&mut next.core, now, inputs, &mut effects) {
                    next.wrong = Some(why);
                    return Some(next);
                }
                for effect in &effects {
                    self.note_sent(&mut next, effect, network);
                }
                self.come_back(&mut next, network);
            }
        }
        Some(next)
    }

    fn now(local: &Local) -> Now {
        // Each time-out takes a little longer than it has to.
        let monotonic = u64::from(local.timeouts) * (TIMEOUT + TIMEOUT / 10).as_nanos() as u64;
        Now { monotonic, wall: WALL }
    }

    fn step(&self, local: &mut Local, inputs: Vec<Input>, network: &mut Network) {
        let now = Self::now(local);
        let mut inputs = inputs;
        while !inputs.is_empty() && local.wrong.is_none() {
            let mut effects = Vec::new();
            if let Err(why) = step(&mut local.core, now, std::mem::take(&mut inputs), &mut effects) {
                local.wrong = Some(why);
            }
            let before = local.log.len();
            let mut executed = None;
            for effect in effects {
                self.note_sent(local, &effect, network);
                match effect {
                    Effect::Persist(record) => local.log.push(record),
                    Effect::Deliver(delivery) => {
                        local.decided.push(delivery.digest);
                        executed = Some(delivery.slot);
                    }
                    Effect::Halt(why) => local.wrong = Some(format!("{} halts: {why}", local.id)),
                    _ => {}
                }
            }
            inputs.extend(executed.map(Input::Executed));
            if local.log.len() > before {
                inputs.push(Input::Durable((local.log.len() - local.at_start) as u64));
            }
        }
    }

    fn come_back(&self, local: &mut Local, network: &mut Network) {
        local.restarts += 1;
        local.at_start = local.log.len();
        let mut core = self.core(local.id, Self::now(local).monotonic);
        let mut effects = Vec::new();
        for record in &local.log {
            if let Err(error) = core.replay(record, &mut effects) {
                local.wrong = Some(format!("{} can't replay its log: {error}", local.id));
                return;
            }
        }
        let again: Vec<_> = effects
            .drain(..)
            .filter_map(|effect| if let Effect::Deliver(delivery) = effect { Some(delivery.digest) } else { None })
            .collect();
        if !local.decided.starts_with(&again) {
            local.wrong = Some(format!("{} comes back with other decisions", local.id));
        }
        let executed = Slot(again.len() as u64);
        local.decided = again;
        core.resume(&mut effects);
        local.core = core;
        for effect in &effects {
            self.note_sent(local, effect, network);
        }
        // Clients send again what they wait for.
        let mut inputs = vec![Input::Executed(executed)];
        inputs.extend(self.requests(local.id, false));
        self.step(local, inputs, network);
    }

    /// Puts what is sent onto the network, and what a Byzantine replica can make of it.
    fn note_sent(&self, local: &mut Local, effect: &Effect, network: &mut Network) {
        let (to, message) = match effect {
            Effect::Send { to, message } => (Some(*to), message),
            Effect::Broadcast(message) => (None, message),
            _ => return,
        };
        // Where others are is only a hint, and never needed; and requests everybody has.
        if matches!(message, PeerMessage::Status(_) | PeerMessage::Forward(_)) {
            return;
        }
        local.sent.insert(network.number(local.id, to, message));
        let Some(liar) = self.setting.byzantine.map(ReplicaId) else { return };
        if liar == local.id {
            return;
        }
        match message {
            PeerMessage::Write(vote) | PeerMessage::Accept(vote) => {
                let vote = Vote { base: Slot(0), ..*vote };
                local.sent.insert(network.number(liar, None, &PeerMessage::Write(vote)));
                local.sent.insert(network.number(liar, None, &PeerMessage::Accept(vote)));
            }
            PeerMessage::Stop(_) => local.sent.insert(network.number(liar, None, message)),
            PeerMessage::StopData(state) if to != Some(liar) => {
                for (lock, writeset) in [(None, Vec::new()), (state.lock, state.writeset.clone())] {
                    let lie = self.state(liar, state, lock, writeset);
                    local.sent.insert(network.number(liar, to, &lie));
                }
            }
            _ => {}
        }
    }

    fn state(&self, liar: ReplicaId, of: &StopData, lock: Option<Lock>, writeset: Vec<Written>) -> PeerMessage {
        let secret = &secrets()[liar.index()];
        PeerMessage::StopData(StopData::sign(self.membership.cluster(), EPOCH, of.view, liar, lock, writeset, secret))
    }
}

fn step(core: &mut Core, now: Now, inputs: Vec<Input>, effects: &mut Vec<Effect>) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| core.step(now, inputs, effects))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        format!("a core panics: {}", text.unwrap_or_default())
    })
}

impl Local {
    /// A number for all that the node's future depends on.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut fingerprint = Fingerprint(DefaultHasher::new());
        let Self { core, sent, timeouts, restarts, log, .. } = self;
        write!(fingerprint, "{core:?} {timeouts} {restarts} {}", log.len()).expect("a hash takes everything");
        sent.iter().for_each(|message| fingerprint.0.write_u16(message));
        fingerprint.0.finish()
    }

    /// Whether others could tell this state from `before`, now or when they hear what the node says next.
    pub(super) fn differs_visibly(&self, before: &Self) -> bool {
        self.sent != before.sent
            || self.decided != before.decided
            || self.core.view() != before.core.view()
            || self.core.is_active() != before.core.is_active()
            || self.wrong != before.wrong
    }
}
