//! The three correct replicas, the links between them, and what must hold of them.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use pssmr_ordering::{Config, Core, CoreSnapshot, Delivery, Durability, Effect, Input, Now, Promise, Record};
use pssmr_types::{
    BatchLimits, Certificate, Checkpoint, Digest, FaultModel, Membership, PeerMessage, ReplicaId, Request, SecretKey,
    Slot, View, chain_digest, genesis,
};

use super::request;
use crate::choices::Choices;
use crate::four::{CLUSTER, EPOCH, REPLICAS, membership, secret};

const MILLISECOND: u64 = 1_000_000;
const WALL_START: u64 = 1_700_000_000_000_000_000;

/// What one correct replica is.
struct Host {
    core: Core,
    log: Vec<Record>,
    /// How many records there were at the last start.
    at_start: usize,
    promise: Promise,
    delivered: Vec<Delivery>,
    /// Its snapshots, with what was delivered until then.
    snapshots: BTreeMap<Slot, (CoreSnapshot, Vec<Delivery>)>,
    stable: Option<Certificate>,
}

pub(super) struct Cluster {
    config: Config,
    membership: Membership,
    /// The Byzantine one.
    pub(super) liar: ReplicaId,
    /// By id; none of the liar.
    hosts: Vec<Option<Host>>,
    /// What is under way between correct replicas.
    links: VecDeque<(ReplicaId, ReplicaId, PeerMessage)>,
    clock: u64,
    /// Digests of chains that the liar has heard of, or made.
    pub(super) known: Vec<Digest>,
    /// What the liar has heard.
    heard: VecDeque<PeerMessage>,
    sent: HashSet<(u64, u64, u64, Vec<u8>)>,
}

const LINKS_MAX: usize = 400;
const KNOWN_MAX: usize = 64;
const HEARD_MAX: usize = 64;

impl Cluster {
    pub(super) fn new(choices: &mut Choices<'_>) -> Self {
        let membership = membership(FaultModel::Byzantine);
        let kind = choices.byte();
        let window = [1, 2, 4, 16][usize::from(kind >> 3 & 3)];
        let config = Config {
            durability: if kind & 4 == 0 { Durability::Memory } else { Durability::Sync },
            window,
            limits: BatchLimits { requests_max: 1 + usize::from(kind >> 5 & 3), bytes_max: 4096 },
            pending_bytes_max: 8192,
            request_timeout: Duration::from_millis(100),
            heartbeat_interval: Duration::from_millis(40),
            retransmit_interval: Duration::from_millis(20),
            checkpoint_slots: 2,
            retained_slots_max: (2 * window).max(4),
            sessions_per_client_max: if kind & 0x80 == 0 { 4 } else { 1 },
            ..Config::default()
        };
        let liar = ReplicaId(u16::from(kind & 3));
        let mut cluster = Self {
            config,
            membership,
            liar,
            hosts: Vec::new(),
            links: VecDeque::new(),
            clock: 0,
            known: vec![genesis(CLUSTER)],
            heard: VecDeque::new(),
            sent: HashSet::new(),
        };
        for replica in 0..REPLICAS {
            let id = ReplicaId(replica as u16);
            let promise = Promise { view: View(0), slot_limit: Slot(0) };
            let host = (id != liar).then(|| {
                let mut core = cluster.new_core(id);
                core.set_promise(promise);
                Host {
                    core,
                    log: Vec::new(),
                    at_start: 0,
                    promise,
                    delivered: Vec::new(),
                    snapshots: BTreeMap::new(),
                    stable: None,
                }
            });
            cluster.hosts.push(host);
        }
        cluster.tick();
        cluster
    }

    fn new_core(&self, id: ReplicaId) -> Core {
        Core::new(self.config.clone(), self.membership.clone(), id, secret(id.index()), self.now())
            .expect("good settings")
    }

    pub(super) fn secret(&self) -> SecretKey {
        secret(self.liar.index())
    }

    fn now(&self) -> Now {
        Now { monotonic: self.clock, wall: WALL_START + self.clock }
    }

    pub(super) fn wall(&self) -> u64 {
        self.now().wall
    }

    pub(super) fn correct(&self) -> Vec<ReplicaId> {
        self.membership.replicas().filter(|id| *id != self.liar).collect()
    }

    /// One of the correct replicas.
    pub(super) fn any_correct(&self, choices: &mut Choices<'_>) -> ReplicaId {
        *self.correct().get(choices.below(REPLICAS - 1)).expect("there are three")
    }

    /// Where a correct replica is: its view, what it has decided, and the last slot of its chain.
    pub(super) fn place(&self, id: ReplicaId) -> (View, Slot, Slot) {
        let core = &self.hosts[id.index()].as_ref().expect("it is correct").core;
        (core.view(), core.decided(), core.head())
    }

    fn step(&mut self, id: ReplicaId, inputs: Vec<Input>) {
        let now = self.now();
        let mut inputs = inputs;
        // What the host answers at once makes the core go on.
        while !inputs.is_empty() {
            let host = self.hosts[id.index()].as_mut().expect("it is correct");
            let mut effects = Vec::new();
            host.core.step(now, std::mem::take(&mut inputs), &mut effects);
            let (mut to_persist, mut last, mut wanted) = (false, None, None);
            for effect in effects {
                match effect {
                    Effect::Promise(promise) => {
                        host.promise = promise;
                        inputs.push(Input::Promised(promise));
                    }
                    Effect::Persist(record) => {
                        host.log.push(record);
                        to_persist = true;
                    }
                    Effect::Send { to, message } => send(&mut self.links, &mut self.heard, self.liar, id, to, message),
                    Effect::Broadcast(message) => {
                        for to in self.membership.replicas().filter(|to| *to != id) {
                            send(&mut self.links, &mut self.heard, self.liar, id, to, message.clone());
                        }
                    }
                    Effect::Deliver(delivery) => {
                        last = Some(delivery.slot);
                        host.delivered.push(delivery);
                    }
                    Effect::Checkpoint { snapshot, .. } => {
                        let (slot, digest, root) =
                            (snapshot.slot, snapshot.digest, root_of(&snapshot, &host.delivered));
                        host.snapshots.insert(slot, ((*snapshot).clone(), host.delivered.clone()));
                        inputs.push(Input::CheckpointTaken(Checkpoint { slot, digest, root }));
                    }
                    Effect::Stable(certificate) => host.stable = Some(certificate),
                    Effect::Transfer(certificate) => wanted = Some(certificate.checkpoint),
                    Effect::Install(slot) => host.delivered.clone_from(&host.snapshots[&slot].1),
                    Effect::Halt(why) => panic!("{id} halts: {why}"),
                    Effect::Reconfigured(_) => panic!("there is no administrator"),
                    Effect::SteppedDown(_) => unreachable!("nobody asks for it"),
                    Effect::Reply { .. } | Effect::SessionEvicted(_) | Effect::Event(_) => {}
                }
            }
            inputs.extend(last.map(Input::Executed));
            inputs.extend(wanted.map(|wanted| self.give_snapshot(id, wanted)));
            if to_persist {
                let host = self.hosts[id.index()].as_ref().expect("it is correct");
                inputs.push(Input::Durable((host.log.len() - host.at_start) as u64));
            }
        }
        self.learn();
    }

    /// A replica wants a snapshot: a correct one has it, since more than one replica signed for it.
    fn give_snapshot(&mut self, id: ReplicaId, wanted: Checkpoint) -> Input {
        let mut found = None;
        for (snapshot, delivered) in self.hosts.iter().flatten().filter_map(|host| host.snapshots.get(&wanted.slot)) {
            if root_of(snapshot, delivered) == wanted.root {
                found = Some((snapshot.clone(), delivered.clone()));
            }
        }
        let (snapshot, delivered) = found.expect("a stable checkpoint is a correct replica's");
        let host = self.hosts[id.index()].as_mut().expect("it is correct");
        host.snapshots.insert(wanted.slot, (snapshot.clone(), delivered));
        Input::Transferred(Box::new(snapshot))
    }

    /// The liar notes the digests of what it heard.
    fn learn(&mut self) {
        if let Some(message) = self.heard.back() {
            let digest = match message {
                PeerMessage::Propose(propose) => {
                    chain_digest(CLUSTER, EPOCH, propose.slot, propose.parent, propose.batch.digest())
                }
                PeerMessage::Write(vote) | PeerMessage::Accept(vote) => vote.digest,
                PeerMessage::Status(status) => status.digest,
                _ => return,
            };
            self.note(digest);
        }
    }

    pub(super) fn heard(&self) -> impl Iterator<Item = &PeerMessage> {
        self.heard.iter()
    }

    pub(super) fn note(&mut self, digest: Digest) {
        if self.known.len() < KNOWN_MAX && !self.known.contains(&digest) {
            self.known.push(digest);
        }
    }

    fn tick(&mut self) {
        for id in self.correct() {
            self.step(id, vec![Input::Tick]);
        }
    }

    /// The liar says something to a correct replica. It goes over the wire, as all it says.
    pub(super) fn tell(&mut self, to: ReplicaId, message: &PeerMessage) {
        let mut bytes = Vec::new();
        message.encode(EPOCH, &mut bytes);
        self.tell_bytes(to, &bytes);
    }

    fn tell_bytes(&mut self, to: ReplicaId, bytes: &[u8]) {
        if let Ok((epoch, message)) = PeerMessage::decode(Bytes::copy_from_slice(bytes), &self.config.limits) {
            self.step(to, vec![Input::Message { from: self.liar, epoch, message }]);
        }
    }

    /// Some messages arrive, from anywhere in what is under way.
    pub(super) fn deliver_some(&mut self, choices: &mut Choices<'_>) {
        for _ in 0..=choices.below(8) {
            if self.links.is_empty() {
                return;
            }
            let place = choices.below(self.links.len().min(256));
            if let Some((from, to, message)) = self.links.remove(place) {
                self.step(to, vec![Input::Message { from, epoch: EPOCH, message }]);
            }
        }
    }

    pub(super) fn deliver_all(&mut self) {
        for _ in 0..LINKS_MAX {
            let Some((from, to, message)) = self.links.pop_front() else { return };
            self.step(to, vec![Input::Message { from, epoch: EPOCH, message }]);
        }
    }

    /// A client sends something to some replicas, perhaps not the same to all.
    pub(super) fn clients_send(&mut self, choices: &mut Choices<'_>) {
        let whom = choices.byte();
        let one = request(choices);
        let other = if whom & 0x10 == 0 { one.clone() } else { request(choices) };
        for id in self.correct() {
            if whom >> id.index() & 1 == 1 {
                let request = if id.index() & 1 == 0 { &one } else { &other };
                self.sent.insert(content(request));
                self.step(id, vec![Input::Request(request.clone())]);
            }
        }
    }

    pub(super) fn pass_time(&mut self, choices: &mut Choices<'_>) {
        self.clock += [5, 25, 60, 120, 250, 600, 1500, 20_000][choices.below(8)] * MILLISECOND;
        self.tick();
    }

    /// A correct replica with a log is killed and comes back.
    pub(super) fn restart(&mut self, choices: &mut Choices<'_>) {
        let id = self.any_correct(choices);
        if self.config.durability == Durability::Memory {
            return;
        }
        let mut core = self.new_core(id);
        let host = self.hosts[id.index()].as_mut().expect("it is correct");
        let mut effects = Vec::new();
        let mut delivered = Vec::new();
        for record in &host.log {
            if let Some(slot) = core.snapshot_before(record) {
                let (snapshot, until) = &host.snapshots[&slot];
                core.restore(snapshot);
                delivered.clone_from(until);
            }
            core.replay(record, &mut effects).expect("a replica's own log can be replayed");
            for effect in effects.drain(..) {
                if let Effect::Deliver(delivery) = effect {
                    delivered.push(delivery);
                }
            }
        }
        assert_eq!(delivered, host.delivered, "a replay delivers what was delivered");
        if let Some(certificate) = host.stable.clone() {
            core.set_stable(certificate);
        }
        core.set_promise(host.promise);
        core.resume(&mut effects);
        host.core = core;
        host.at_start = host.log.len();
        let executed = Slot(host.delivered.len() as u64);
        self.links.retain(|(from, to, _)| *from != id && *to != id);
        self.step(id, vec![Input::Executed(executed)]);
    }

    pub(super) fn connect(&mut self, choices: &mut Choices<'_>) {
        let (id, other) = (self.any_correct(choices), ReplicaId(choices.below(REPLICAS) as u16));
        let is_lost = choices.flag();
        self.step(id, vec![if is_lost { Input::Disconnected(other) } else { Input::Connected(other) }]);
    }

    /// The liar says again what somebody said to it, as its own.
    pub(super) fn repeat_old(&mut self, choices: &mut Choices<'_>) {
        if self.heard.is_empty() {
            return;
        }
        let mut message = self.heard[choices.below(self.heard.len())].clone();
        let to = self.any_correct(choices);
        if choices.flag() {
            let (view, ..) = self.place(to);
            match &mut message {
                PeerMessage::Propose(propose) => propose.view = view,
                PeerMessage::Write(vote) | PeerMessage::Accept(vote) => vote.view = view,
                _ => {}
            }
        }
        self.tell(to, &message);
    }

    /// The liar sends bytes as they are.
    pub(super) fn send_bytes(&mut self, choices: &mut Choices<'_>) {
        let to = self.any_correct(choices);
        let length = choices.below(256);
        let bytes = choices.bytes(length);
        self.tell_bytes(to, bytes);
    }

    /// What must hold at the end.
    pub(super) fn check(&self) {
        let hosts: Vec<_> = self.hosts.iter().flatten().collect();
        for host in &hosts {
            for other in &hosts {
                let agreed = host.delivered.iter().zip(&other.delivered).all(|(one, two)| one == two);
                assert!(agreed, "two correct replicas deliver different slots");
            }
            let mut executed = HashSet::new();
            for command in host.delivered.iter().flat_map(|delivery| &delivery.commands) {
                let (principal, session) = (command.client.principal.0, command.client.session);
                assert!(executed.insert((principal, session, command.sequence)), "a request is executed twice");
                let said = (principal, session, command.sequence, command.payload.to_vec());
                assert!(self.sent.contains(&said), "no client has sent {command:?}");
            }
        }
    }
}

/// The root of a snapshot, and of all that was executed until then.
fn root_of(snapshot: &CoreSnapshot, delivered: &[Delivery]) -> Digest {
    let digests: Vec<u8> = delivered.iter().flat_map(|delivery| delivery.digest.0).collect();
    Digest::of("pssmr fuzz 1", &[snapshot.encode(), digests].concat())
}

fn content(request: &Request) -> (u64, u64, u64, Vec<u8>) {
    let client = request.client;
    (client.principal.0, client.session, request.sequence, request.payload().to_vec())
}

fn send(
    links: &mut VecDeque<(ReplicaId, ReplicaId, PeerMessage)>,
    heard: &mut VecDeque<PeerMessage>,
    liar: ReplicaId,
    from: ReplicaId,
    to: ReplicaId,
    message: PeerMessage,
) {
    if to == liar {
        if heard.len() == HEARD_MAX {
            heard.pop_front();
        }
        heard.push_back(message);
    } else {
        if links.len() == LINKS_MAX {
            links.pop_front();
        }
        links.push_back((from, to, message));
    }
}
