//! One scenario: its rounds, and what follows when all can hear all.

use std::collections::HashMap;
use std::time::Duration;

use pssmr_ordering::{Config, Delivery, Event, Input, Now};
use pssmr_recording::describe;
use pssmr_types::{
    BatchLimits, ClientId, Digest, Membership, Operation, PeerMessage, Principal, ReplicaId, Request, View,
};

use super::Tally;
use super::node::{EPOCH, Node, Said, membership};
use crate::random::Random;

const MILLISECOND: u64 = 1_000_000;
const WALL_START: u64 = 1_700_000_000_000 * MILLISECOND;
const TIMEOUT: u64 = 100 * MILLISECOND;

/// More messages than this in one round, and the nodes talk for ever.
const MESSAGES_MAX: u64 = 20_000;

/// Steps of time in which everything has to be done once all can hear all.
const PATIENCE: u64 = 200;

/// The size of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Four replicas, one of them Byzantine.
    Four,
    /// Seven replicas, two of them Byzantine.
    Seven,
}

impl Size {
    /// Its name among the simulator's profiles.
    pub fn name(self) -> &'static str {
        match self {
            Self::Four => "twins4",
            Self::Seven => "twins7",
        }
    }

    fn replicas(self) -> usize {
        match self {
            Self::Four => 4,
            Self::Seven => 7,
        }
    }
}

pub(super) struct Scenario {
    membership: Membership,
    nodes: Vec<Node>,
    /// By node, its group.
    groups: Vec<usize>,
    /// Messages that arrive: by whom, at which node.
    network: Vec<(ReplicaId, usize, PeerMessage)>,
    clock: u64,
    requests: u64,
    /// Messages are taken in by all that have come, not one by one.
    bursts: bool,
    history: Vec<Delivery>,
    proposed: HashMap<(ReplicaId, View, u64), Digest>,
    tally: Tally,
    random: Random,
    traced: bool,
    said: Vec<Said>,
}

impl Scenario {
    pub(super) fn new(size: Size, seed: u64, traced: bool) -> Self {
        let mut random = Random::new(seed);
        let membership = membership(size.replicas());
        let quorums = membership.quorums();
        let config = Config {
            window: *random.pick(&[1, 2, 2, 4]),
            limits: BatchLimits { requests_max: *random.pick(&[1, 1, 3]), bytes_max: 4096 },
            request_timeout: Duration::from_nanos(TIMEOUT),
            request_timeout_max: Duration::from_nanos(8 * TIMEOUT),
            heartbeat_interval: Duration::from_nanos(TIMEOUT / 2),
            retransmit_interval: Duration::from_nanos(TIMEOUT / 4),
            checkpoint_slots: if random.chance(1, 8) { random.between(2, 5) } else { 50_000 },
            ..Config::default()
        };
        let mut liars: Vec<u16> = (0..size.replicas() as u16).collect();
        // Leaders of the first views are the more interesting ones.
        if random.chance(1, 4) {
            random.shuffle(&mut liars);
        } else {
            liars.rotate_left(random.index(3));
        }
        liars.truncate(quorums.faults());
        let now = Now { monotonic: 0, wall: WALL_START };
        let ids = (0..size.replicas() as u16).chain(liars.iter().copied()).map(ReplicaId);
        let nodes: Vec<_> = ids.map(|id| Node::new(id, !liars.contains(&id.0), &config, &membership, now)).collect();
        Self {
            groups: vec![0; nodes.len()],
            nodes,
            membership,
            network: Vec::new(),
            clock: 0,
            requests: 0,
            bursts: random.chance(1, 2),
            history: Vec::new(),
            proposed: HashMap::new(),
            tally: Tally { scenarios: 1, ..Tally::default() },
            random,
            traced,
            said: Vec::new(),
        }
    }

    pub(super) fn run(mut self) -> Result<Tally, String> {
        for _ in 0..self.random.between(2, 8) {
            self.regroup();
            for _ in 0..self.random.below(3) {
                self.ask();
            }
            for _ in 0..self.random.between(1, 3) {
                let pause = *self.random.pick(&[0, TIMEOUT / 4, TIMEOUT / 2 + 1, TIMEOUT / 2 + 1, TIMEOUT + 1]);
                self.pass(pause)?;
            }
        }
        self.tally.early = self.history.len() as u64;
        self.heal()?;
        Ok(self.tally)
    }

    fn note(&self, what: impl FnOnce() -> String) {
        if self.traced {
            println!("{:6} ms  {}", self.clock / MILLISECOND, what());
        }
    }

    fn name(&self, node: usize) -> String {
        let prime = if node < self.membership.quorums().replicas() { "" } else { "'" };
        format!("{}{prime}", self.nodes[node].id)
    }

    /// Divides the nodes into groups, mostly so that a quorum is in one of them.
    fn regroup(&mut self) {
        let groups = *self.random.pick(&[1, 1, 2, 2, 2, 3]);
        for group in &mut self.groups {
            *group = self.random.index(groups);
        }
        let n = self.membership.quorums().replicas();
        let apart = (n..self.nodes.len()).any(|twin| {
            let id = self.nodes[twin].id.index();
            self.groups[id] != self.groups[twin]
        });
        self.tally.apart += u64::from(apart);
        self.note(|| format!("groups {:?}", self.groups));
    }

    /// A client asks for something, of all that can hear it.
    fn ask(&mut self) {
        self.requests += 1;
        let client = ClientId { principal: Principal(self.requests), session: 0 };
        let request = Request::new(client, self.requests, 0, Operation::OpenSession, b"");
        let deaf = if self.random.chance(1, 3) { self.random.any() } else { 0 };
        for node in 0..self.nodes.len() {
            if deaf >> node & 1 == 0 {
                // Selves have asked each other for nothing: what they have came in different orders.
                let inbox = &mut self.nodes[node].inbox;
                let place = if self.random.chance(1, 2) { 0 } else { inbox.len() };
                inbox.insert(place, Input::Request(request.clone()));
            }
        }
    }

    /// Time passes, and all that is said within groups arrives.
    fn pass(&mut self, pause: u64) -> Result<(), String> {
        self.clock += pause;
        for node in 0..self.nodes.len() {
            self.nodes[node].inbox.push(Input::Tick);
            self.step(node)?;
        }
        let until = self.tally.messages + MESSAGES_MAX;
        while !self.network.is_empty() {
            if self.bursts {
                for (from, to, message) in std::mem::take(&mut self.network) {
                    self.arrive(from, to, message);
                }
                for node in 0..self.nodes.len() {
                    self.step(node)?;
                }
            } else {
                // Any message that was sent first on its link would do; any at all is harder.
                let next = self.random.index(self.network.len());
                let (from, to, message) = self.network.swap_remove(next);
                self.arrive(from, to, message);
                self.step(to)?;
            }
            if self.tally.messages > until {
                return Err("the nodes talk for ever".into());
            }
        }
        Ok(())
    }

    fn arrive(&mut self, from: ReplicaId, to: usize, message: PeerMessage) {
        self.tally.messages += 1;
        self.note(|| format!("{} <- {from} {}", self.name(to), describe::message(&message)));
        self.nodes[to].inbox.push(Input::Message { from, epoch: EPOCH, message });
    }

    fn step(&mut self, node: usize) -> Result<(), String> {
        if self.nodes[node].inbox.is_empty() {
            return Ok(());
        }
        let now = Now { monotonic: self.clock, wall: WALL_START + self.clock };
        let mut said = std::mem::take(&mut self.said);
        self.nodes[node].step(now, &mut said);
        let is_correct = self.nodes[node].is_correct;
        for said in said.drain(..) {
            match said {
                Said::Send(to, message) => self.send(node, to, &message),
                Said::Deliver(delivery) if is_correct => self.on_delivered(node, delivery)?,
                Said::Event(event) if is_correct => self.on_event(node, &event)?,
                Said::Stable => self.tally.checkpoints += 1,
                Said::Halt(why) if is_correct => return Err(format!("{} halts: {why}", self.name(node))),
                Said::Deliver(_) | Said::Event(_) | Said::Halt(_) => {}
            }
        }
        self.said = said;
        Ok(())
    }

    fn send(&mut self, node: usize, to: Option<ReplicaId>, message: &PeerMessage) {
        let from = self.nodes[node].id;
        if let PeerMessage::Propose(propose) = message
            && !self.nodes[node].is_correct
        {
            let digest = propose.batch.digest();
            let first = *self.proposed.entry((from, propose.view, propose.slot.0)).or_insert(digest);
            self.tally.equivocations += u64::from(first != digest);
        }
        for receiver in 0..self.nodes.len() {
            let id = self.nodes[receiver].id;
            let is_meant = id != from && to.is_none_or(|to| to == id);
            if is_meant && self.groups[receiver] == self.groups[node] {
                self.network.push((from, receiver, message.clone()));
            }
        }
    }

    fn on_delivered(&mut self, node: usize, delivery: Delivery) -> Result<(), String> {
        let slot = delivery.slot;
        self.note(|| format!("{} decides {slot} {}", self.name(node), delivery.digest));
        if slot != self.nodes[node].delivered.next() {
            return Err(format!("{} delivers {slot} after {}", self.name(node), self.nodes[node].delivered));
        }
        self.nodes[node].delivered = slot;
        match self.history.get(slot.0 as usize - 1) {
            None => {
                self.tally.slots += 1;
                self.history.push(delivery);
                Ok(())
            }
            Some(agreed) if *agreed == delivery => Ok(()),
            Some(agreed) => Err(format!("{} delivers {delivery:?}, another one {agreed:?}", self.name(node))),
        }
    }

    fn on_event(&mut self, node: usize, event: &Event) -> Result<(), String> {
        self.note(|| format!("{} {event:?}", self.name(node)));
        match event {
            Event::ViewActive { leader, base, .. } => {
                self.tally.views += 1;
                self.tally.twins_lead += u64::from(!self.nodes[leader.index()].is_correct);
                self.tally.chains += u64::from(base.0 > 0);
            }
            Event::Misbehaviour { replica, what } => {
                self.tally.seen += 1;
                if self.nodes[replica.index()].is_correct {
                    return Err(format!("{} accuses {replica}, which is correct, of {what}", self.name(node)));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// All hear all, or the Byzantine ones fall silent; and what clients asked for is done.
    fn heal(&mut self) -> Result<(), String> {
        let silent = self.random.chance(1, 2);
        for (group, node) in self.groups.iter_mut().zip(&self.nodes) {
            *group = usize::from(silent && !node.is_correct);
        }
        self.note(|| format!("groups {:?} for good", self.groups));
        // One more, of all: so there is something to do, and what is asked of a few is not all.
        self.requests += 1;
        let last = ClientId { principal: Principal(self.requests), session: 0 };
        for number in 1..=self.requests {
            let client = ClientId { principal: Principal(number), ..last };
            let request = Request::new(client, number, 0, Operation::OpenSession, b"");
            for node in &mut self.nodes {
                node.inbox.push(Input::Request(request.clone()));
            }
        }
        for step in 1..=PATIENCE {
            self.pass(TIMEOUT / 4 * step.div_ceil(20))?;
            let is_done = |node: &Node| {
                node.done as u64 >= self.requests
                    && node.delivered.0 == self.history.len() as u64
                    && node.core.is_active()
            };
            if self.nodes.iter().filter(|node| node.is_correct).all(is_done) {
                return Ok(());
            }
        }
        let places: Vec<_> = (0..self.nodes.len())
            .map(|node| {
                let Node { core, done, delivered, .. } = &self.nodes[node];
                let active = if core.is_active() { "" } else { " no base" };
                format!("{} {}{active} decided {delivered} done {done}", self.name(node), core.view())
            })
            .collect();
        Err(format!("no progress: of {} requests, {places:?}", self.requests))
    }
}
