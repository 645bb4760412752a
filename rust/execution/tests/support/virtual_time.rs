//! A driver without threads: any number of workers, any delays, each run repeatable from its seed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use pssmr_execution::Footprint;
use pssmr_execution::scheduler::{Handle, Ready, Scheduler};

use super::model::{Begun, State};

/// What happened.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) state: State,
    pub(crate) replies: Vec<u64>,
    /// When each command began and ended, in steps of the whole run. No two events have the same step.
    pub(crate) spans: Vec<(u64, u64)>,
}

/// How a run goes, beside its commands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conditions {
    pub(crate) workers: usize,
    /// The most commands that a worker takes at once.
    pub(crate) run_length_max: usize,
    /// The most commands that are submitted and not complete.
    pub(crate) window: usize,
    /// The longest that a command takes, in units of time.
    pub(crate) duration_max: u64,
    pub(crate) seed: u64,
}

/// Random numbers that are the same everywhere (`SplitMix64`).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

#[derive(Default)]
struct Worker {
    /// Commands still to run, and the one that runs.
    run: VecDeque<Handle>,
    running: Option<(Handle, Begun)>,
    /// Commands that ended and are not yet reported.
    ended: Vec<Handle>,
}

struct Simulation<'a> {
    conditions: Conditions,
    footprints: &'a [Footprint],
    scheduler: &'a mut dyn Scheduler,
    random: Random,
    workers: Vec<Worker>,
    ready: VecDeque<Handle>,
    /// The command that each handle in use names.
    commands: BTreeMap<Handle, usize>,
    /// Commands that are pending and were not given to the driver.
    waiting: Vec<usize>,
    /// What ends when: `(time, worker)`.
    events: BTreeSet<(u64, usize)>,
    time: u64,
    step: u64,
    submitted: usize,
    outcome: Outcome,
    /// Checks after every step, given the commands that wait and those that are pending.
    inspect: &'a mut dyn FnMut(&[usize], &[usize]),
}

/// Runs all commands under `scheduler`. Panics if the scheduler loses one, or gives one out twice.
pub(crate) fn run(
    footprints: &[Footprint],
    scheduler: &mut dyn Scheduler,
    conditions: Conditions,
    inspect: &mut dyn FnMut(&[usize], &[usize]),
) -> Outcome {
    let count = footprints.len();
    let mut simulation = Simulation {
        conditions,
        footprints,
        scheduler,
        random: Random(conditions.seed),
        workers: (0..conditions.workers).map(|_| Worker::default()).collect(),
        ready: VecDeque::new(),
        commands: BTreeMap::new(),
        waiting: Vec::new(),
        events: BTreeSet::new(),
        time: 0,
        step: 0,
        submitted: 0,
        outcome: Outcome { state: State::default(), replies: vec![0; count], spans: vec![(u64::MAX, u64::MAX); count] },
        inspect,
    };
    simulation.run();
    simulation.outcome
}

impl Simulation<'_> {
    fn run(&mut self) {
        loop {
            self.submit_some();
            self.give_to_idle_workers();
            let pending: Vec<_> = self.commands.values().copied().collect();
            (self.inspect)(&self.waiting, &pending);
            let Some((time, worker)) = self.events.pop_first() else {
                if self.submitted < self.footprints.len() && self.commands.len() < self.conditions.window {
                    continue;
                }
                break;
            };
            self.time = time;
            self.command_ends(worker);
        }
        assert!(self.commands.is_empty(), "commands {:?} never ran", self.waiting);
        assert_eq!(self.scheduler.stats().pending(), 0);
    }

    fn submit_some(&mut self) {
        let room = self.conditions.window - self.commands.len();
        let left = self.footprints.len() - self.submitted;
        let burst = self.random.below(room.min(left) as u64 + 1) as usize;
        for _ in 0..burst {
            let handle = (0..=u32::MAX).find(|handle| !self.commands.contains_key(handle)).unwrap();
            self.commands.insert(handle, self.submitted);
            self.waiting.push(self.submitted);
            let mut ready = Ready::new();
            self.scheduler.submit(handle, &self.footprints[self.submitted], &mut ready);
            self.submitted += 1;
            self.take_ready(ready);
        }
    }

    fn take_ready(&mut self, ready: Ready) {
        for command in ready {
            assert!(command.worker.is_none_or(|worker| worker < self.conditions.workers));
            self.given(command.handle);
            // A wish is a wish: this driver does as it likes.
            if self.random.below(2) == 0 {
                self.ready.push_front(command.handle);
            } else {
                self.ready.push_back(command.handle);
            }
        }
    }

    fn given(&mut self, handle: Handle) {
        let command = self.commands[&handle];
        let place = self.waiting.iter().position(|waiting| *waiting == command);
        self.waiting.remove(place.expect("a command is given out once"));
    }

    fn give_to_idle_workers(&mut self) {
        let mut idle: Vec<_> = (0..self.workers.len()).filter(|w| self.workers[*w].running.is_none()).collect();
        while !idle.is_empty() && !self.ready.is_empty() {
            let worker = idle.swap_remove(self.random.below(idle.len() as u64) as usize);
            let length = 1 + self.random.below(self.conditions.run_length_max as u64) as usize;
            let mut run: VecDeque<_> = self.ready.drain(..length.min(self.ready.len())).collect();
            while run.len() < length
                && self.random.below(4) > 0
                && let Some(next) = self.scheduler.follow(run[run.len() - 1])
            {
                self.given(next);
                run.push_back(next);
            }
            self.workers[worker].run = run;
            self.command_begins(worker);
        }
    }

    fn command_begins(&mut self, worker: usize) {
        let Some(handle) = self.workers[worker].run.pop_front() else { return };
        let command = self.commands[&handle];
        self.step += 1;
        self.outcome.spans[command].0 = self.step;
        let begun = self.outcome.state.begin(command as u64, &self.footprints[command]);
        self.workers[worker].running = Some((handle, begun));
        let duration = self.random.below(self.conditions.duration_max + 1);
        self.events.insert((self.time + duration, worker));
    }

    fn command_ends(&mut self, worker: usize) {
        let (handle, begun) = self.workers[worker].running.take().expect("the worker runs something");
        let command = self.commands[&handle];
        self.step += 1;
        assert_eq!(self.outcome.spans[command].1, u64::MAX, "a command runs once");
        self.outcome.spans[command].1 = self.step;
        self.outcome.replies[command] = self.outcome.state.end(begun, &self.footprints[command]);
        self.workers[worker].ended.push(handle);
        self.command_begins(worker);
        if self.workers[worker].running.is_some() {
            return;
        }
        for handle in std::mem::take(&mut self.workers[worker].ended) {
            let mut ready = Ready::new();
            self.scheduler.complete(worker, handle, &mut ready);
            self.commands.remove(&handle);
            self.take_ready(ready);
        }
    }
}
