//! What the ordering core costs, without sockets: a vote's way through `step`, and a request's through a whole cluster
//! of four.

use std::collections::VecDeque;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use pssmr::ordering::{Config, Core, Effect, Input, Now};
use pssmr::types::{
    ClientId, ClusterId, Epoch, FaultModel, Membership, Operation, Outcome, PeerMessage, Principal, ReplicaId, Request,
    SecretKey, Slot, View, Vote,
};

const NOW: Now = Now { monotonic: 1, wall: 1_000_000_000 };

fn secret(replica: usize) -> SecretKey {
    SecretKey::from_seed([replica as u8 + 1; 32])
}

fn cores() -> Vec<Core> {
    let keys = (0..4).map(|i| secret(i).public()).collect();
    let membership = Membership::new(ClusterId([1; 16]), Epoch(0), FaultModel::Byzantine, keys).expect("four keys");
    (0..4)
        .map(|i| {
            Core::new(Config::default(), membership.clone(), ReplicaId(i as u16), secret(i), NOW).expect("the defaults")
        })
        .collect()
}

/// Four cores that pass messages directly, and the session of one client.
struct Cluster {
    cores: Vec<Core>,
    inboxes: Vec<VecDeque<Input>>,
    effects: Vec<Effect>,
    session: u64,
    sequence: u64,
}

impl Cluster {
    fn new() -> Self {
        let inboxes = (0..4).map(|_| VecDeque::new()).collect();
        let mut cluster = Self { cores: cores(), inboxes, effects: Vec::new(), session: 0, sequence: 0 };
        let client = ClientId { principal: Principal(1), session: 0 };
        cluster.order(&[Request::new(client, 5, 0, Operation::OpenSession, b"")]);
        cluster
    }

    fn requests(&mut self, count: u64) -> Vec<Request> {
        let client = ClientId { principal: Principal(1), session: self.session };
        let first = self.sequence + 1;
        self.sequence += count;
        (first..=self.sequence).map(|s| Request::new(client, s, first, Operation::Command, b"")).collect()
    }

    fn order(&mut self, requests: &[Request]) {
        for inbox in &mut self.inboxes {
            inbox.extend(requests.iter().cloned().map(Input::Request));
        }
        while self.inboxes.iter().any(|inbox| !inbox.is_empty()) {
            for i in 0..4 {
                let inputs = std::mem::take(&mut self.inboxes[i]);
                self.cores[i].step(NOW, inputs, &mut self.effects);
                let from = ReplicaId(i as u16);
                for effect in self.effects.drain(..) {
                    match effect {
                        Effect::Broadcast(message) => {
                            for to in (0..4).filter(|to| *to != i) {
                                let message = message.clone();
                                self.inboxes[to].push_back(Input::Message { from, epoch: Epoch(0), message });
                            }
                        }
                        Effect::Send { to, message } => {
                            self.inboxes[to.index()].push_back(Input::Message { from, epoch: Epoch(0), message });
                        }
                        Effect::Deliver(delivery) => self.inboxes[i].push_back(Input::Executed(delivery.slot)),
                        Effect::Reply { outcome: Outcome::SessionOpened(session), .. } => self.session = session,
                        _ => {}
                    }
                }
            }
        }
    }
}

fn vote(c: &mut Criterion) {
    let mut group = c.benchmark_group("ordering");
    group.throughput(Throughput::Elements(1));
    // A follower's WRITE for a slot that is on the leader's chain already.
    let mut cluster = Cluster::new();
    cluster.order(&[]);
    let digest = cluster.cores[0].status().digest;
    let message = PeerMessage::Write(Vote { view: View(0), base: Slot(0), slot: Slot(1), digest });
    let mut effects = Vec::new();
    group.bench_function("a vote through step", |b| {
        b.iter(|| {
            let input = Input::Message { from: ReplicaId(1), epoch: Epoch(0), message: message.clone() };
            cluster.cores[0].step(NOW, [input], &mut effects);
            effects.clear();
        });
    });
    let mut frame = Vec::new();
    message.encode(Epoch(0), &mut frame);
    let frame = bytes::Bytes::from(frame);
    group.bench_function("a vote decoded", |b| {
        b.iter(|| PeerMessage::decode(frame.clone(), &Config::default().limits));
    });
    group.finish();
}

fn requests(c: &mut Criterion) {
    let mut group = c.benchmark_group("ordering by four cores");
    for burst in [1u64, 64, 1024] {
        group.throughput(Throughput::Elements(burst));
        let mut cluster = Cluster::new();
        group.bench_function(format!("{burst} requests of 0 bytes"), |b| {
            // Requests are made outside of the measurement: clients make them.
            let cluster = std::cell::RefCell::new(&mut cluster);
            b.iter_batched(
                || cluster.borrow_mut().requests(burst),
                |requests| cluster.borrow_mut().order(&requests),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(std::time::Duration::from_secs(3)).sample_size(30);
    targets = vote, requests
}
criterion_main!(benches);
