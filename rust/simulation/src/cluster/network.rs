//! The links between replicas.

use pssmr_types::ReplicaId;

use super::counters::{Counters, Sometimes};
use crate::random::Random;

/// How links are in a run, until all is healed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    /// In order and without loss, but for what is under way when a connection breaks. If not, each message on its own.
    pub(super) streams: bool,
    pub(super) delay_min: u64,
    pub(super) delay_max: u64,
    /// How often, in parts per million, a message takes up to `spike_max` instead.
    pub(super) spikes: u32,
    pub(super) spike_max: u64,
    pub(super) loss: u32,
    pub(super) duplicates: u32,
    /// Kinds of messages, by bit, that are lost as often as `kinds_lost` says.
    pub(super) unlucky_kinds: u32,
    pub(super) kinds_lost: u32,
    /// The shortest and the longest delay when all is healed.
    pub(super) healed: (u64, u64),
}

impl Weather {
    /// No faults.
    fn fair(self) -> Self {
        let (delay_min, delay_max) = self.healed;
        Self { delay_min, delay_max, spikes: 0, loss: 0, duplicates: 0, kinds_lost: 0, ..self }
    }
}

#[derive(Clone, Debug, Default)]
struct Link {
    blocked: bool,
    /// Counts connections: what was sent on an earlier one does not arrive.
    generation: u32,
    /// When the last message arrives.
    last_arrival: u64,
}

/// All links, each direction by itself.
#[derive(Debug)]
pub(super) struct Network {
    replicas: usize,
    links: Vec<Link>,
    weather: Weather,
    /// Messages on one link keep their order.
    ordered: bool,
    random: Random,
}

impl Network {
    pub(super) fn new(replicas: usize, weather: Weather, random: Random) -> Self {
        Self { replicas, links: vec![Link::default(); replicas * replicas], weather, ordered: weather.streams, random }
    }

    fn link(&mut self, from: ReplicaId, to: ReplicaId) -> &mut Link {
        &mut self.links[from.index() * self.replicas + to.index()]
    }

    /// Whether messages keep their order, and connections break.
    pub(super) fn has_streams(&self) -> bool {
        self.weather.streams
    }

    fn delay(&mut self) -> u64 {
        let weather = self.weather;
        let max = if self.random.parts_per_million(weather.spikes) { weather.spike_max } else { weather.delay_max };
        self.random.between(weather.delay_min, max.max(weather.delay_min))
    }

    /// When copies of a message that is sent now arrive, and on which connection.
    pub(super) fn send(
        &mut self,
        now: u64,
        from: ReplicaId,
        to: ReplicaId,
        kind: u32,
        counters: &mut Counters,
    ) -> impl Iterator<Item = (u64, u32)> + use<> {
        let weather = self.weather;
        let rate = if weather.unlucky_kinds >> kind & 1 == 1 { weather.kinds_lost } else { weather.loss };
        let lost = !weather.streams && self.random.parts_per_million(rate);
        if self.link(from, to).blocked || lost {
            counters.count(Sometimes::MessageLost);
            return [None, None].into_iter().flatten();
        }
        let mut at = now + self.delay();
        let twice = !weather.streams && self.random.parts_per_million(weather.duplicates);
        let again = if twice { Some(now + self.delay()) } else { None };
        let ordered = self.ordered;
        let link = self.link(from, to);
        if ordered {
            at = at.max(link.last_arrival);
        } else if at < link.last_arrival {
            counters.count(Sometimes::MessageReordered);
        }
        link.last_arrival = at.max(link.last_arrival);
        let generation = link.generation;
        if twice {
            counters.count(Sometimes::MessageDuplicated);
        }
        [Some((at, generation)), again.map(|at| (at, generation))].into_iter().flatten()
    }

    /// Whether a message that arrives now was sent on the connection that still is.
    pub(super) fn is_current(&mut self, from: ReplicaId, to: ReplicaId, generation: u32) -> bool {
        self.link(from, to).generation == generation
    }

    /// When a message between a client and a replica arrives; never, if it is lost.
    pub(super) fn send_to_or_from_client(&mut self, now: u64, counters: &mut Counters) -> Option<u64> {
        if self.random.parts_per_million(self.weather.loss) {
            counters.count(Sometimes::MessageLost);
            return None;
        }
        Some(now + self.delay())
    }

    /// Breaks the connection of two replicas: what is under way is lost.
    pub(super) fn reset(&mut self, one: ReplicaId, other: ReplicaId) {
        for (from, to) in [(one, other), (other, one)] {
            let link = self.link(from, to);
            link.generation += 1;
            link.last_arrival = 0;
        }
    }

    /// Blocks one direction, or opens it.
    pub(super) fn block(&mut self, from: ReplicaId, to: ReplicaId, blocked: bool) {
        self.link(from, to).blocked = blocked;
    }

    /// The pairs of which at least one direction is blocked.
    pub(super) fn blocked_pairs(&mut self) -> Vec<(ReplicaId, ReplicaId)> {
        let ids = || (0..self.replicas as u16).map(ReplicaId);
        let pairs: Vec<_> = ids().flat_map(|one| ids().map(move |other| (one, other))).filter(|(a, b)| a < b).collect();
        pairs.into_iter().filter(|(a, b)| self.link(*a, *b).blocked || self.link(*b, *a).blocked).collect()
    }

    /// Ends all faults. From now on messages keep their order, as they do on real links.
    pub(super) fn heal(&mut self) {
        self.ordered = true;
        self.weather = self.weather.fair();
        for link in &mut self.links {
            link.blocked = false;
        }
    }
}
