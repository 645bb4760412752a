//! Queries that are not ordered: clients that ask all replicas, replicas that answer when they may, and what clients make of
//! the answers. Drawn from a source of chance of its own, so that a seed's other events stay what they are.

use std::collections::BTreeMap;

use pssmr_types::{Epoch, FaultModel, Membership, ReplicaId, Slot};

use super::counters::Sometimes;
use super::host::{Host, Work};
use super::profile::MILLISECOND;
use super::queue::Event;
use super::service::KEYS;
use super::world::World;
use crate::random::Random;

/// A query that a client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) client: usize,
    pub(super) number: u64,
    pub(super) key: u8,
}

/// What a replica answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answered {
    pub(super) query: Query,
    pub(super) epoch: Epoch,
    pub(super) slot: Slot,
    /// 0 for a key that was never written.
    pub(super) value: u64,
}

/// A client's query under way.
#[derive(Debug)]
struct Open {
    query: Query,
    /// The membership that the client knows.
    membership: Membership,
    answers: BTreeMap<ReplicaId, Option<(Slot, u64)>>,
    /// The highest position that had completed anywhere when it was sent.
    after: u64,
}

/// The queries of all clients: one at a time each.
#[derive(Debug)]
pub(super) struct Reads {
    open: Vec<Option<Open>>,
    known: Vec<Membership>,
    numbers: u64,
    random: Random,
}

impl Reads {
    pub(super) fn new(clients: usize, membership: &Membership, random: Random) -> Self {
        let open = (0..clients).map(|_| None).collect();
        Self { open, known: vec![membership.clone(); clients], numbers: 0, random }
    }
}

impl Open {
    /// What the answers come to: a quorum's equal value, or the newest of a quorum's.
    fn result(&self) -> Option<u64> {
        let quorum = self.membership.quorums().quorum();
        let answers = || self.answers.values().flatten();
        match self.membership.quorums().model() {
            FaultModel::Byzantine => {
                let agreeing = |value: u64| answers().filter(|(_, other)| *other == value).count();
                answers().map(|(_, value)| *value).find(|value| agreeing(*value) >= quorum)
            }
            FaultModel::Crash if answers().count() >= quorum => answers().max().map(|(_, value)| *value),
            FaultModel::Crash => None,
        }
    }
}

impl World {
    pub(super) fn schedule_reads(&mut self) {
        for client in 0..self.clients.len() {
            let at = self.reads.random.below(400 * MILLISECOND);
            self.queue.schedule(at, Event::Read { client });
        }
    }

    /// A client asks something, if it has still something to do. What it has asked before and got no answer to, it forgets.
    pub(super) fn on_read(&mut self, client: usize) {
        if self.clients[client].is_done() {
            return;
        }
        let random = &mut self.reads.random;
        let next = self.now + random.magnitude(2 * MILLISECOND, 500 * MILLISECOND);
        if random.chance(1, 2) {
            self.reads.known[client] = self.newest.clone();
        }
        self.reads.numbers += 1;
        let query = Query { client, number: self.reads.numbers, key: random.below(u64::from(KEYS)) as u8 };
        let membership = self.reads.known[client].clone();
        let after = self.checker.completed;
        let open = Open { query, membership, answers: BTreeMap::new(), after };
        if self.reads.open[client].replace(open).is_some() {
            self.counters.count(Sometimes::ReadGivenUp);
        }
        for host in 0..self.hosts.len() {
            if let Some(at) = self.read_arrives() {
                self.queue.schedule(at, Event::Query { host, query });
            }
        }
        self.queue.schedule(next, Event::Read { client });
    }

    /// When something between a client and a replica arrives; never, if it is lost.
    fn read_arrives(&mut self) -> Option<u64> {
        let (random, weather) = (&mut self.reads.random, &self.draw.weather);
        let (low, high) = if self.healed { weather.healed } else { (weather.delay_min, weather.delay_max) };
        let lost = !self.healed && random.parts_per_million(weather.loss);
        (!lost).then(|| self.now + random.between(low, high.max(low)))
    }

    pub(super) fn on_query(&mut self, host: usize, query: Query) {
        if !self.hosts[host].is_up(self.now) {
            return;
        }
        if self.is_byzantine(self.hosts[host].id) {
            return self.answer_at_will(host, query);
        }
        let target = &mut self.hosts[host];
        if let Some(floor) = target.core.read_floor() {
            target.awaited_reads.push_back((floor, query));
            self.release_reads(host);
        } else {
            self.counters.count(Sometimes::ReadRefused);
        }
    }

    /// A Byzantine replica waits for nothing, and says the truth only if it feels like it.
    fn answer_at_will(&mut self, host: usize, query: Query) {
        let target = &self.hosts[host];
        let (epoch, slot) = (target.core.membership().epoch(), target.core.decided());
        let mut answer = Answered { query, epoch, slot, value: target.service.value(query.key) };
        let random = &mut self.reads.random;
        if random.chance(1, 3) {
            self.counters.count(Sometimes::LiedToClient);
            answer.value = if random.chance(1, 2) { random.any() } else { 0 };
        }
        self.answer(host, answer);
    }

    /// What may be executed goes behind what was delivered.
    pub(super) fn release_reads(&mut self, host: usize) {
        let target = &mut self.hosts[host];
        let (decided, epoch, head) =
            (target.core.decided(), target.core.membership().epoch(), target.core.read_floor());
        while let Some((floor, query)) = target.awaited_reads.front().copied() {
            let is_hopeless = head.is_none_or(|head| floor > head);
            if floor > decided && !is_hopeless {
                break;
            }
            target.awaited_reads.pop_front();
            if !is_hopeless {
                target.work.push_back(Work::Read(Answered { query, epoch, slot: decided, value: 0 }));
            }
        }
        self.answer_reads(host);
    }

    /// Answers all reads that nothing has to be executed before.
    pub(super) fn answer_reads(&mut self, host: usize) {
        for answered in self.hosts[host].read() {
            self.answer(host, answered);
        }
    }

    fn answer(&mut self, host: usize, answered: Answered) {
        let from = self.hosts[host].id;
        if let Some(at) = self.read_arrives() {
            self.queue.schedule(at, Event::Answered { from, answered });
        }
    }

    pub(super) fn on_answered(&mut self, from: ReplicaId, answered: Answered) {
        let slot_of = &mut self.reads.open[answered.query.client];
        let Some(open) = slot_of.as_mut().filter(|open| open.query == answered.query) else { return };
        if !open.membership.contains(from) {
            return;
        }
        let counts = answered.epoch == open.membership.epoch();
        open.answers.entry(from).or_insert(counts.then_some((answered.slot, answered.value)));
        let (result, after) = (open.result(), open.after);
        if let Some(value) = result {
            *slot_of = None;
            self.counters.count(Sometimes::ReadCompleted);
            let Query { client, number, key } = answered.query;
            self.note(|| "read", |_| format!("client {client} query {number}: key {key} is {value:016x}"));
            self.checker.on_read(key, value, after);
        }
    }
}

impl Host {
    /// The values of the reads at the front of what waits for execution.
    fn read(&mut self) -> Vec<Answered> {
        let mut answered = std::mem::take(&mut self.answered_reads);
        while let Some(Work::Read(_)) = self.work.front()
            && let Some(Work::Read(mut read)) = self.work.pop_front()
        {
            read.value = self.service.value(read.query.key);
            answered.push(read);
        }
        answered
    }
}
