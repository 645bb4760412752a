//! Virtual time: the schedulers of the executor with workers that are only counted, so that any number of them can be
//! looked at on any machine. Nothing is executed, and scheduling costs nothing: what shows is how much of the
//! parallelism that is in the commands a scheduler leaves to the workers.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

use crate::footprint::{Claim, Footprint, FootprintBuilder, KeyHash, Mode, Scope, TableId};
use crate::scheduler::{Handle, Scheduler};
use crate::service::WorkerId;

/// A random load. All commands are of one table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// The number of commands: at least 1.
    pub commands: usize,
    /// The number of keys: at least 1.
    pub keys: usize,
    /// How many keys a command draws: at least 1.
    pub keys_each: usize,
    /// The exponent of the Zipf distribution of keys; 0 draws each key equally often.
    pub skew: f64,
    /// The share of commands that write their keys; others read them. From 0 to 1.
    pub writes: f64,
    /// The share of commands that also write one key that all these have in common. From 0 to 1.
    pub conflicts: f64,
    /// The share of commands that touch the whole table: they write it, in the share of `writes`, or read it. From 0 to 1.
    pub wide: f64,
    /// For the random numbers.
    pub seed: u64,
}

/// Commands and how long each one takes.
#[derive(Clone, Debug)]
pub struct Trace {
    footprints: Vec<Footprint>,
    durations: Vec<u64>,
}

/// Least and greatest duration of a command, in units of virtual time; the mean is 1000.
const DURATIONS: std::ops::RangeInclusive<u64> = 500..=1500;

/// What a run came to, in the mean duration of a command.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Commands completed in the mean time of one: how many workers were busy, so to say.
    pub speed_up: f64,
    /// What no scheduler exceeds: all workers busy all the time, or the longest chain of commands that conflict.
    pub bound: f64,
}

/// Random numbers that are the same everywhere (`SplitMix64`).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to below 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

impl Trace {
    /// The commands of a load.
    ///
    /// # Panics
    /// If the load has no keys, or its commands draw none.
    pub fn of(load: &Load) -> Self {
        assert!(load.keys > 0 && load.keys_each > 0, "commands have keys");
        let weights = (1..=load.keys).map(|rank| (rank as f64).powf(-load.skew));
        let ranks: Vec<f64> = weights
            .scan(0.0, |sum, weight| {
                *sum += weight;
                Some(*sum)
            })
            .collect();
        let total = ranks[ranks.len() - 1];
        let (mut random, mut builder) = (Random(load.seed), FootprintBuilder::new());
        let hash = |key: usize| KeyHash::of(TableId(0), &key.to_le_bytes());
        let footprints = (0..load.commands)
            .map(|_| {
                let mode = if random.share() < load.writes { Mode::Write } else { Mode::Read };
                if random.share() < load.wide {
                    builder.table(TableId(0), mode);
                    return builder.build();
                }
                if random.share() < load.conflicts {
                    builder.claim(Claim::key(TableId(0), hash(load.keys), Mode::Write));
                }
                for _ in 0..load.keys_each {
                    let drawn = random.share() * total;
                    let key = ranks.partition_point(|sum| *sum <= drawn).min(load.keys - 1);
                    builder.claim(Claim::key(TableId(0), hash(key), mode));
                }
                builder.build()
            })
            .collect();
        let span = DURATIONS.end() - DURATIONS.start() + 1;
        let durations = (0..load.commands).map(|_| DURATIONS.start() + random.next() % span).collect();
        Self { footprints, durations }
    }

    /// Lets `workers` workers execute the commands, of which at most `window` are submitted and not complete, and none is
    /// submitted while there is a ready one for each worker. An idle worker takes what its last command has made ready, if
    /// it is wished to, or else what is ready for longest.
    ///
    /// # Panics
    /// If there are no workers, no window, or no commands; or the scheduler loses one.
    pub fn run(&self, scheduler: &mut dyn Scheduler, workers: usize, window: usize) -> Outcome {
        assert!(workers > 0 && window > 0 && !self.footprints.is_empty(), "something to run, and somebody who does");
        let mut run =
            Run { trace: self, commands: HashMap::new(), free: Vec::new(), ready: VecDeque::new(), submitted: 0 };
        let mut idle: Vec<WorkerId> = (0..workers).rev().collect();
        let mut running: BinaryHeap<Reverse<(u64, WorkerId, Handle)>> = BinaryHeap::new();
        let mut now = 0;
        loop {
            run.submit(scheduler, window, workers);
            while let (Some(handle), false) = (run.ready.front().copied(), idle.is_empty()) {
                run.ready.pop_front();
                let worker = idle.pop().expect("one is idle");
                let ends = now + self.durations[run.commands[&handle]];
                running.push(Reverse((ends, worker, handle)));
            }
            let Some(Reverse((ends, worker, handle))) = running.pop() else { break };
            now = ends;
            idle.push(worker);
            run.complete(scheduler, worker, handle);
        }
        assert_eq!((run.submitted, run.commands.len()), (self.footprints.len(), 0), "all commands are executed");
        let work: u64 = self.durations.iter().sum();
        let least = self.longest_chain().max(work.div_ceil(workers as u64));
        Outcome { speed_up: work as f64 / now as f64, bound: work as f64 / least as f64 }
    }

    /// How long commands that conflict take one after the other, wherever they have to.
    fn longest_chain(&self) -> u64 {
        let mut ends = Ends::default();
        let chain = self.footprints.iter().zip(&self.durations).map(|(footprint, duration)| {
            let end = ends.before(footprint) + duration;
            ends.put(footprint, end);
            end
        });
        chain.max().unwrap_or(0)
    }
}

struct Run<'a> {
    trace: &'a Trace,
    commands: HashMap<Handle, usize>,
    /// Handles that were used and are not now.
    free: Vec<Handle>,
    ready: VecDeque<Handle>,
    submitted: usize,
}

impl Run<'_> {
    /// As the executor does: what is ready before a command that others wait for makes all of them wait.
    fn submit(&mut self, scheduler: &mut dyn Scheduler, window: usize, enough: usize) {
        let mut fresh = Vec::new();
        while self.ready.len() < enough
            && self.commands.len() < window
            && scheduler.room() > 0
            && self.submitted < self.trace.footprints.len()
        {
            // The lowest numbers: a scheduler may have records of as many as it has room for.
            let handle = self.free.pop().unwrap_or(self.commands.len() as Handle);
            self.commands.insert(handle, self.submitted);
            scheduler.submit(handle, &self.trace.footprints[self.submitted], &mut fresh);
            self.submitted += 1;
            self.ready.extend(fresh.drain(..).map(|command| command.handle));
        }
    }

    fn complete(&mut self, scheduler: &mut dyn Scheduler, worker: WorkerId, handle: Handle) {
        let mut fresh = Vec::new();
        scheduler.complete(worker, handle, &mut fresh);
        self.commands.remove(&handle);
        self.free.push(handle);
        // As the executor does: a worker goes on with what it has made ready and is wished to run.
        for command in fresh {
            if command.worker == Some(worker) {
                self.ready.push_front(command.handle);
            } else {
                self.ready.push_back(command.handle);
            }
        }
    }
}

/// When, at the earliest, what has touched something ends, by the mode in which it has.
#[derive(Clone, Copy, Debug, Default)]
struct ByMode([u64; 3]);

impl ByMode {
    fn put(&mut self, mode: Mode, end: u64) {
        let held = &mut self.0[mode as usize];
        *held = end.max(*held);
    }

    /// The end of all that conflicts with this mode.
    fn before(&self, mode: Mode) -> u64 {
        let conflicting = [Mode::Read, Mode::Commute, Mode::Write].into_iter().filter(|held| held.conflicts(mode));
        conflicting.map(|held| self.0[held as usize]).max().unwrap_or(0)
    }
}

/// The ends of commands, as [`Footprint::conflicts`] needs them.
#[derive(Debug, Default)]
struct Ends {
    keys: HashMap<(TableId, KeyHash), ByMode>,
    /// Of commands that claim whole tables.
    tables: HashMap<TableId, ByMode>,
    /// Of all that touch some key of a table.
    within: HashMap<TableId, ByMode>,
    /// Of those that read everything.
    read_all: u64,
    /// Of all that have changed anything.
    changes: u64,
    /// Of exclusive commands.
    exclusive: u64,
    all: u64,
}

impl Ends {
    fn before(&self, footprint: &Footprint) -> u64 {
        let claims = footprint.claims().iter().map(|claim| self.before_claim(claim)).max().unwrap_or(0);
        let scope = match footprint.scope() {
            Scope::Exclusive => self.all,
            Scope::ReadAll => self.changes,
            Scope::Claims => 0,
        };
        let changes = footprint.claims().iter().any(|claim| claim.mode() != Mode::Read);
        claims.max(scope).max(self.exclusive).max(if changes { self.read_all } else { 0 })
    }

    fn before_claim(&self, claim: &Claim) -> u64 {
        let at = |ends: Option<&ByMode>| ends.map_or(0, |ends| ends.before(claim.mode()));
        let table = at(self.tables.get(&claim.table_id()));
        table.max(match claim.key_hash() {
            Some(hash) => at(self.keys.get(&(claim.table_id(), hash))),
            None => at(self.within.get(&claim.table_id())),
        })
    }

    fn put(&mut self, footprint: &Footprint, end: u64) {
        for claim in footprint.claims() {
            let (table, mode) = (claim.table_id(), claim.mode());
            match claim.key_hash() {
                Some(hash) => {
                    self.keys.entry((table, hash)).or_default().put(mode, end);
                    self.within.entry(table).or_default().put(mode, end);
                }
                None => self.tables.entry(table).or_default().put(mode, end),
            }
            if mode != Mode::Read {
                self.changes = self.changes.max(end);
            }
        }
        match footprint.scope() {
            Scope::Exclusive => {
                self.exclusive = self.exclusive.max(end);
                self.changes = self.changes.max(end);
            }
            Scope::ReadAll => self.read_all = self.read_all.max(end),
            Scope::Claims => {}
        }
        self.all = self.all.max(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The chain, by its definition: each command ends after all older ones that it conflicts with.
    #[test]
    fn the_longest_chain_is_that_of_pairwise_conflicts() {
        let load =
            Load { commands: 300, keys: 20, keys_each: 2, skew: 0.0, writes: 0.4, conflicts: 0.1, wide: 0.1, seed: 3 };
        let mut trace = Trace::of(&load);
        trace.footprints[100] = Footprint::exclusive();
        trace.footprints[150] = Footprint::read_all();
        trace.footprints[200] = Footprint::nothing();
        let mut ends: Vec<u64> = Vec::new();
        for (at, footprint) in trace.footprints.iter().enumerate() {
            let older = (0..at).filter(|older| trace.footprints[*older].conflicts(footprint));
            ends.push(older.map(|older| ends[older]).max().unwrap_or(0) + trace.durations[at]);
        }
        assert_eq!(Some(&trace.longest_chain()), ends.iter().max());
    }
}
