//! A cluster of cores, one step at a time: messages wait until the test delivers or drops them.

#![allow(dead_code, unreachable_pub)]

use std::collections::{BTreeMap, VecDeque};

use pssmr_ordering::{Config, Core, CoreSnapshot, Delivery, Effect, Input, Now, Promise, Record, StepDownRefusal};
use pssmr_types::{
    BatchLimits, Certificate, Checkpoint, ClientId, ClusterId, Digest, Epoch, FaultModel, Membership, Operation,
    Outcome, PeerMessage, Principal, ReplicaId, Request, SecretKey, Slot, View,
};

pub const CLIENT: Principal = Principal(7);
const MILLISECOND: u64 = 1_000_000;

/// The first epoch.
pub const EPOCH: Epoch = Epoch(0);

pub struct Cluster {
    pub cores: Vec<Core>,
    /// (from, to, message), in the order sent.
    pub network: VecDeque<(ReplicaId, ReplicaId, PeerMessage)>,
    /// What each replica has executed: its application's state.
    pub delivered: Vec<Vec<Delivery>>,
    /// By replica and slot: ordering's part of a snapshot, and the application's.
    pub snapshots: Vec<BTreeMap<Slot, (CoreSnapshot, Vec<Delivery>)>>,
    /// What each replica's last stable checkpoint of its own is.
    pub stable: Vec<Option<Certificate>>,
    /// What a replica wants to be given.
    pub wanted: Vec<Option<Certificate>>,
    pub replies: Vec<Vec<(ClientId, u64, Outcome)>>,
    pub halted: Vec<Option<String>>,
    /// What became of the last wish that a replica steps down.
    pub stepped_down: Option<Result<View, StepDownRefusal>>,
    pub down: Vec<bool>,
    /// What each replica has put into its log, and how much of it is kept.
    pub logs: Vec<Vec<Record>>,
    pub kept: Vec<usize>,
    /// How many records a log had when its replica last started.
    started_with: Vec<usize>,
    /// How many were removed since.
    removed: Vec<usize>,
    /// Logs keep what they are given at once.
    pub quick_disks: bool,
    /// Its applications can't take snapshots.
    pub takes_no_snapshots: bool,
    /// Promises are durable at once.
    pub quick_promises: bool,
    /// What each replica has promised.
    pub promises: Vec<Promise>,
    pub model: FaultModel,
    pub config: Config,
    pub clock: u64,
    /// The membership that each replica was configured with.
    roots: Vec<Membership>,
    /// Replicas that find nothing on their disks when they start.
    has_empty_disk: Vec<bool>,
}

pub fn secret(replica: usize) -> SecretKey {
    SecretKey::from_seed([replica as u8 + 1; 32])
}

pub fn membership(model: FaultModel, n: usize) -> Membership {
    let keys = (0..n).map(|i| secret(i).public()).collect();
    Membership::new(ClusterId([1; 16]), EPOCH, model, keys).unwrap()
}

pub fn bft(n: usize) -> Cluster {
    Cluster::new(FaultModel::Byzantine, n, &Config::default())
}

pub fn cft(n: usize) -> Cluster {
    Cluster::new(FaultModel::Crash, n, &Config::default())
}

pub fn command(session: u64, sequence: u64) -> Request {
    command_with(session, sequence, b"payload")
}

pub fn command_with(session: u64, sequence: u64, payload: &[u8]) -> Request {
    let client = ClientId { principal: CLIENT, session };
    Request::new(client, sequence, 1.min(sequence), Operation::Command, payload)
}

pub fn opening(nonce: u64) -> Request {
    let client = ClientId { principal: CLIENT, session: 0 };
    Request::new(client, nonce, 0, Operation::OpenSession, b"")
}

/// The root of a snapshot.
pub fn root_of(snapshot: &CoreSnapshot, state: &[Delivery]) -> Digest {
    Digest::of("test", &[snapshot.encode(), format!("{state:?}").into_bytes()].concat())
}

impl Cluster {
    pub fn new(model: FaultModel, n: usize, config: &Config) -> Self {
        let membership = membership(model, n);
        let core = |i: usize| {
            Core::new(config.clone(), membership.clone(), ReplicaId(i as u16), secret(i), Now::default()).unwrap()
        };
        Self {
            cores: (0..n).map(core).collect(),
            network: VecDeque::new(),
            delivered: vec![Vec::new(); n],
            snapshots: vec![BTreeMap::new(); n],
            stable: vec![None; n],
            wanted: vec![None; n],
            replies: vec![Vec::new(); n],
            halted: vec![None; n],
            stepped_down: None,
            down: vec![false; n],
            logs: vec![Vec::new(); n],
            kept: vec![0; n],
            started_with: vec![0; n],
            removed: vec![0; n],
            quick_disks: true,
            takes_no_snapshots: false,
            quick_promises: true,
            promises: vec![Promise { view: View(0), slot_limit: Slot(0) }; n],
            model,
            config: config.clone(),
            clock: 0,
            roots: vec![membership; n],
            has_empty_disk: vec![false; n],
        }
    }

    pub fn n(&self) -> usize {
        self.cores.len()
    }

    pub fn now(&self) -> Now {
        Now { monotonic: self.clock, wall: 1_000_000_000_000 + self.clock }
    }

    /// One step of one replica; what it sends waits in the network, what it delivers is executed at once.
    pub fn step(&mut self, replica: usize, input: Input) {
        if self.down[replica] {
            return;
        }
        let mut effects = Vec::new();
        let mut executed = None;
        let mut promised = None;
        let mut taken = Vec::new();
        let now = self.now();
        self.cores[replica].step(now, [input], &mut effects);
        let me = ReplicaId(replica as u16);
        for effect in effects {
            match effect {
                Effect::Send { to, message } => {
                    assert_ne!(to, me, "nobody sends to itself");
                    self.network.push_back((me, to, message));
                }
                Effect::Broadcast(message) => {
                    let n = self.n();
                    let members = self.cores[replica].membership().replicas();
                    for to in members.filter(|to| *to != me && to.index() < n) {
                        self.network.push_back((me, to, message.clone()));
                    }
                }
                Effect::Deliver(delivery) => {
                    executed = Some(delivery.slot);
                    self.delivered[replica].push(delivery);
                }
                Effect::Reply { client, sequence, outcome } => self.replies[replica].push((client, sequence, outcome)),
                Effect::Halt(reason) => self.halted[replica] = Some(reason),
                Effect::Persist(record) => self.logs[replica].push(record),
                Effect::Promise(promise) => promised = Some(promise),
                Effect::Checkpoint { .. } if self.takes_no_snapshots => {}
                Effect::Checkpoint { snapshot, .. } => {
                    let state = self.delivered[replica].clone();
                    let (slot, digest, root) = (snapshot.slot, snapshot.digest, root_of(&snapshot, &state));
                    self.snapshots[replica].insert(slot, ((*snapshot).clone(), state));
                    taken.push(Checkpoint { slot, digest, root });
                }
                Effect::Stable(certificate) => {
                    self.truncate_log(replica, certificate.checkpoint.slot);
                    self.stable[replica] = Some(certificate);
                }
                Effect::Transfer(certificate) => self.wanted[replica] = Some(certificate),
                Effect::Install(slot) => self.delivered[replica].clone_from(&self.snapshots[replica][&slot].1),
                Effect::SteppedDown(answer) => self.stepped_down = Some(answer),
                Effect::SessionEvicted(_) | Effect::Event(_) | Effect::Reconfigured(_) => {}
            }
        }
        for checkpoint in taken {
            self.step(replica, Input::CheckpointTaken(checkpoint));
        }
        if let Some(slot) = executed {
            self.step(replica, Input::Executed(slot));
        }
        if let Some(promise) = promised.filter(|_| self.quick_promises) {
            self.promises[replica] = promise;
            self.step(replica, Input::Promised(promise));
        }
        if self.quick_disks {
            self.sync(replica);
        }
    }

    /// What a stable checkpoint makes superfluous goes. As a disk would, it keeps what is not synced yet.
    fn truncate_log(&mut self, replica: usize, slot: Slot) {
        let is_image = |record: &Record| matches!(record, Record::Image(image) if image.slot == slot);
        let Some(index) = self.logs[replica].iter().position(is_image) else { return };
        if index < self.kept[replica] {
            self.logs[replica].drain(..index);
            self.kept[replica] -= index;
            self.removed[replica] += index;
            self.snapshots[replica].retain(|of, _| *of >= slot);
        }
    }

    /// Gives a replica the snapshot that it wants, from another one that has it.
    pub fn give_snapshot(&mut self, replica: usize) {
        let wanted = self.wanted[replica].take().expect("the replica wants a snapshot").checkpoint;
        let found = self.snapshots.iter().find_map(|of| of.get(&wanted.slot)).expect("somebody has it").clone();
        assert_eq!(root_of(&found.0, &found.1), wanted.root, "a snapshot is what its root says");
        self.snapshots[replica].insert(wanted.slot, found.clone());
        self.step(replica, Input::Transferred(Box::new(found.0)));
    }

    /// Asks a replica to step down: what it answers.
    pub fn step_down(&mut self, replica: usize) -> Result<View, StepDownRefusal> {
        self.step(replica, Input::StepDown);
        self.stepped_down.take().expect("it answers at once")
    }

    /// A replica's disk keeps all that it was given.
    pub fn sync(&mut self, replica: usize) {
        if self.logs[replica].len() > self.kept[replica] {
            self.kept[replica] = self.logs[replica].len();
            let kept = self.kept[replica] + self.removed[replica] - self.started_with[replica];
            self.step(replica, Input::Durable(kept as u64));
        }
    }

    /// A replica loses its disk, and starts with an empty one.
    pub fn lose_disk(&mut self, replica: usize) {
        self.logs[replica].clear();
        self.kept[replica] = 0;
        self.snapshots[replica].clear();
        self.stable[replica] = None;
        self.promises[replica] = Promise { view: View(0), slot_limit: Slot(0) };
        self.has_empty_disk[replica] = true;
        self.restart(replica);
    }

    /// All replicas start for the first time.
    pub fn begin(&mut self) {
        (0..self.n()).for_each(|replica| self.lose_disk(replica));
        self.settle();
    }

    /// A replica loses all but what its disk has kept, and starts again. What was under way to it or from it is lost.
    pub fn restart(&mut self, replica: usize) {
        let me = ReplicaId(replica as u16);
        self.network.retain(|(from, to, _)| *from != me && *to != me);
        let kept = self.kept[replica];
        self.logs[replica].truncate(kept);
        self.started_with[replica] = kept;
        self.removed[replica] = 0;
        self.delivered[replica].clear();
        let root = self.roots[replica].clone();
        let mut core = Core::new(self.config.clone(), root, me, secret(replica), self.now()).unwrap();
        let mut effects = Vec::new();
        for record in &self.logs[replica] {
            if let Some(slot) = core.snapshot_before(record) {
                let (snapshot, state) = &self.snapshots[replica][&slot];
                core.restore(snapshot);
                self.delivered[replica].clone_from(state);
            }
            core.replay(record, &mut effects).unwrap();
            for effect in effects.drain(..) {
                match effect {
                    Effect::Deliver(delivery) => self.delivered[replica].push(delivery),
                    Effect::Checkpoint { snapshot, .. } => {
                        let state = self.delivered[replica].clone();
                        self.snapshots[replica].insert(snapshot.slot, ((*snapshot).clone(), state));
                    }
                    _ => {}
                }
            }
        }
        if let Some(certificate) = self.stable[replica].clone().filter(|_| core.has_log()) {
            core.set_stable(certificate);
        }
        core.set_promise(self.promises[replica]);
        if std::mem::take(&mut self.has_empty_disk[replica]) {
            core.set_newborn();
        } else if !core.has_log() {
            core.set_forgotten(self.promises[replica]);
        }
        core.resume(&mut effects);
        self.cores[replica] = core;
        self.step(replica, Input::Executed(self.cores[replica].decided()));
        for other in (0..self.n()).filter(|other| *other != replica) {
            self.step(replica, Input::Connected(ReplicaId(other as u16)));
            self.step(other, Input::Connected(me));
        }
    }

    /// One more replica, which is configured with a membership that it is one of.
    pub fn join(&mut self, root: Membership) {
        let me = self.n();
        let id = ReplicaId(me as u16);
        self.cores.push(Core::new(self.config.clone(), root.clone(), id, secret(me), self.now()).unwrap());
        self.roots.push(root);
        self.has_empty_disk.push(false);
        self.delivered.push(Vec::new());
        self.snapshots.push(BTreeMap::new());
        self.stable.push(None);
        self.wanted.push(None);
        self.replies.push(Vec::new());
        self.halted.push(None);
        self.down.push(false);
        self.logs.push(Vec::new());
        self.kept.push(0);
        self.started_with.push(0);
        self.removed.push(0);
        self.promises.push(Promise { view: View(0), slot_limit: Slot(0) });
        for other in 0..me {
            self.step(me, Input::Connected(ReplicaId(other as u16)));
            self.step(other, Input::Connected(id));
        }
    }

    /// Delivers the oldest message, encoded and decoded on the way. False if there is none.
    pub fn deliver_one(&mut self) -> bool {
        let Some((from, to, message)) = self.network.pop_front() else { return false };
        let mut frame = Vec::new();
        message.encode(self.cores[from.index()].membership().epoch(), &mut frame);
        let (epoch, decoded) = PeerMessage::decode(frame.into(), &BatchLimits::default()).expect("own messages decode");
        assert_eq!(decoded, message, "a message survives the wire");
        self.step(to.index(), Input::Message { from, epoch, message: decoded });
        true
    }

    /// Delivers the oldest message between two replicas that `choice` picks, so that messages overtake each other as they
    /// do on links of their own. False if there is none.
    pub fn deliver_any(&mut self, choice: usize) -> bool {
        if self.network.is_empty() {
            return false;
        }
        let (from, to, _) = self.network[choice % self.network.len()];
        let oldest = self.network.iter().position(|(a, b, _)| (*a, *b) == (from, to)).expect("it is there");
        let message = self.network.remove(oldest).expect("it is there");
        self.network.push_front(message);
        self.deliver_one()
    }

    /// Delivers everything, and what that brings about.
    pub fn settle(&mut self) {
        let mut left = 200_000;
        while self.deliver_one() {
            left -= 1;
            assert!(left > 0, "the replicas talk for ever");
        }
    }

    /// Loses everything that `lost` says, for as long as the network is settled by this call.
    pub fn settle_without(&mut self, lost: impl Fn(ReplicaId, ReplicaId, &PeerMessage) -> bool) {
        let mut left = 200_000;
        loop {
            self.network.retain(|(from, to, message)| !lost(*from, *to, message));
            if !self.deliver_one() {
                return;
            }
            left -= 1;
            assert!(left > 0, "the replicas talk for ever");
        }
    }

    /// Lets time pass, in steps of 50 ms, settling at each.
    pub fn pass(&mut self, milliseconds: u64) {
        self.pass_without(milliseconds, |_, _, _| false);
    }

    pub fn pass_without(&mut self, milliseconds: u64, lost: impl Fn(ReplicaId, ReplicaId, &PeerMessage) -> bool) {
        for _ in 0..milliseconds / 50 {
            self.clock += 50 * MILLISECOND;
            for replica in 0..self.n() {
                self.step(replica, Input::Tick);
            }
            self.settle_without(&lost);
        }
    }

    /// A client sends to all replicas.
    pub fn send(&mut self, request: &Request) {
        for replica in 0..self.n() {
            self.step(replica, Input::Request(request.clone()));
        }
    }

    /// Opens a session, and gives its number.
    pub fn open_session(&mut self) -> u64 {
        self.send(&opening(11));
        self.settle();
        let live = self.down.iter().position(|down| !down).unwrap();
        let (_, _, outcome) = self.replies[live].last().expect("the session was opened");
        let Outcome::SessionOpened(session) = outcome else { panic!("{outcome:?}") };
        *session
    }

    /// The sequences that a replica executed, in order.
    pub fn executed(&self, replica: usize) -> Vec<u64> {
        self.delivered[replica].iter().flat_map(|d| d.commands.iter().map(|c| c.sequence)).collect()
    }

    /// All live replicas delivered the same.
    pub fn assert_agreement(&self) {
        assert!(self.halted.iter().all(Option::is_none), "{:?}", self.halted);
        let live: Vec<_> = (0..self.n()).filter(|i| !self.down[*i]).collect();
        for i in &live {
            for (a, b) in self.delivered[live[0]].iter().zip(&self.delivered[*i]) {
                assert_eq!(a, b);
            }
        }
    }
}
