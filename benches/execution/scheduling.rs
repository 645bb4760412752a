//! What scheduling alone costs: a command is submitted and completed, in one thread, without being executed.

use std::collections::VecDeque;
use std::hint::black_box;
use std::time::Instant;

use pssmr::execution::scheduler::{Conflicts, GraphVariant, Handle, Ready, Scheduler, SchedulerConfig};
use pssmr::execution::services::KeyValue;
use pssmr::execution::{Claim, Footprint, FootprintBuilder, KeyHash, Mode, Service, TableId};

use super::hand_off::put;

const ROUNDS: usize = 15;

/// Commands with their footprints that a load goes through, again and again.
const FOOTPRINTS: usize = 1 << 16;

pub(crate) fn report() {
    println!("\nkeyed: submit + complete, ns for each command (least, median of {ROUNDS} rounds)");
    for (name, keys, keys_each) in [
        ("1 key of 64", 64, 1),
        ("1 key of 64k", 1 << 16, 1),
        ("1 key of 1M", 1 << 20, 1),
        ("2 keys of 64k", 1 << 16, 2),
        ("10 keys of 64k", 1 << 16, 10),
        ("1 hot key", 1, 1),
    ] {
        let footprints = footprints(FOOTPRINTS, keys, keys_each, 50);
        let load = |pending| Load::new(&SchedulerConfig::default(), footprints.clone(), pending);
        let [few, many] = in_turns([&|| schedule(load(128), 1 << 18), &|| schedule(load(1 << 16), 1 << 18)]);
        let ratio = many.0 / few.0;
        println!(
            "  {name:15} 128 pending {:6.1} {:6.1}   64k pending {:6.1} {:6.1}   ratio {ratio:.2}",
            few.0, few.1, many.0, many.1
        );
    }
    println!("\nkeyed beside graphs: 1 key of 1M, 10 % writes, ns for each command (least of {ROUNDS} rounds)");
    for pending in [16, 150, 1024] {
        let footprints = footprints(FOOTPRINTS, 1 << 20, 1, 10);
        let graph = |variant| {
            let config = SchedulerConfig::Graph { variant, window: pending, conflicts: Conflicts::default() };
            let load = Load::new(&config, footprints.clone(), pending);
            schedule(load, (1 << 22) / pending.max(64))
        };
        let keyed = || schedule(Load::new(&SchedulerConfig::default(), footprints.clone(), pending), 1 << 17);
        let [keyed, coarse, fine, lock_free] =
            in_turns([&keyed, &|| graph(GraphVariant::Coarse), &|| graph(GraphVariant::Fine), &|| {
                graph(GraphVariant::LockFree)
            }]);
        let best = coarse.0.min(fine.0).min(lock_free.0);
        println!(
            "  {pending:5} pending: keyed {:6.1}   coarse {:8.1}   fine {:8.1}   lock-free {:8.1}   best / keyed {:.1}",
            keyed.0,
            coarse.0,
            fine.0,
            lock_free.0,
            best / keyed.0
        );
    }
    let [extraction] = in_turns([&extract]);
    println!("\nfootprint of a put, from its bytes: {:.1} ns", extraction.0);
}

/// Runs N single-key commands of 64k keys, with 128 pending, and nothing else.
pub(crate) fn run_only(what: &str, commands: usize) {
    if what == "extract" {
        return extract_some(commands);
    }
    let scheduler: SchedulerConfig = what.parse().expect("a scheduler, or \"extract\"");
    let mut load = Load::new(&scheduler, footprints(FOOTPRINTS, 1 << 16, 1, 50), 128);
    schedule_some(&mut load, commands);
}

/// The least and the median of several rounds of each, measured in turns.
fn in_turns<const N: usize>(measured: [&dyn Fn() -> f64; N]) -> [(f64, f64); N] {
    let mut results = [const { Vec::new() }; N];
    for _ in 0..ROUNDS {
        for (results, measure) in results.iter_mut().zip(measured) {
            results.push(measure());
        }
    }
    results.map(|mut results: Vec<f64>| {
        results.sort_by(f64::total_cmp);
        (results[0], results[ROUNDS / 2])
    })
}

fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
    *state >> 33
}

/// Footprints of commands that read or write random keys; of `writes` in 100 they write.
fn footprints(count: usize, keys: u64, keys_each: usize, writes: u64) -> Vec<Footprint> {
    let mut state = 7;
    let mut builder = FootprintBuilder::new();
    (0..count)
        .map(|_| {
            for _ in 0..keys_each {
                let key = random(&mut state) % keys;
                let mode = if random(&mut state) % 100 < writes { Mode::Write } else { Mode::Read };
                builder.claim(Claim::key(TableId(0), KeyHash::of(TableId(0), &key.to_le_bytes()), mode));
            }
            builder.build()
        })
        .collect()
}

/// Commands that are completed, and submitted, one after the other: a worker's run.
const RUN: usize = 32;

/// Keeps `pending` commands pending, and completes them in the order in which they become ready.
struct Load {
    scheduler: Box<dyn Scheduler>,
    footprints: Vec<Footprint>,
    running: VecDeque<Handle>,
    ready: Ready,
    free: Vec<Handle>,
    next: usize,
}

impl Load {
    fn new(scheduler: &SchedulerConfig, footprints: Vec<Footprint>, pending: usize) -> Self {
        let mut load = Self {
            scheduler: scheduler.build(2, 0x9e37_79b9_7f4a_7c15),
            footprints,
            running: VecDeque::new(),
            ready: Ready::new(),
            free: (0..pending as Handle).rev().collect(),
            next: 0,
        };
        load.submit();
        load
    }

    /// Submits as many commands as there is room for.
    fn submit(&mut self) {
        let start = self.next % self.footprints.len();
        let end = (start + self.free.len()).min(self.footprints.len());
        let footprints = &self.footprints[start..end];
        self.scheduler.expect_submissions(&mut footprints.iter());
        for footprint in footprints {
            let handle = self.free.pop().expect("there is room");
            self.scheduler.submit(handle, footprint, &mut self.ready);
        }
        self.next += footprints.len();
        self.take_ready();
    }

    fn take_ready(&mut self) {
        for command in &self.ready {
            self.running.push_back(command.handle);
        }
        self.ready.clear();
    }

    /// Completes a run, or what is running; returns how many.
    fn complete(&mut self) -> usize {
        let start = self.free.len();
        self.free.extend(self.running.drain(..RUN.min(self.running.len())));
        let run = &self.free[start..];
        self.scheduler.expect_completions(run);
        for &handle in run {
            self.scheduler.complete(0, handle, &mut self.ready);
        }
        self.take_ready();
        self.free.len() - start
    }
}

/// Nanoseconds for each command.
fn schedule(mut load: Load, commands: usize) -> f64 {
    let start = Instant::now();
    schedule_some(&mut load, commands);
    start.elapsed().as_nanos() as f64 / commands as f64
}

fn schedule_some(load: &mut Load, commands: usize) {
    let mut done = 0;
    while done < commands {
        done += load.complete();
        load.submit();
    }
    black_box(load.scheduler.stats());
}

fn extract() -> f64 {
    const COMMANDS: usize = 1 << 17;
    let start = Instant::now();
    extract_some(COMMANDS);
    start.elapsed().as_nanos() as f64 / COMMANDS as f64
}

fn extract_some(commands: usize) {
    let service = KeyValue::new();
    let payloads: Vec<_> = (0..256).map(put).collect();
    let mut builder = FootprintBuilder::new();
    for command in 0..commands {
        let payload = &payloads[command % payloads.len()];
        service.footprint(payload, &mut builder).expect("a put is a command");
        black_box(builder.build());
    }
}
