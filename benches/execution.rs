//! Parallel execution: what a command costs in the scheduler, and in the executor with workers.
//!
//! `cargo bench --bench execution` prints nanoseconds for each command: the least and the median of several rounds, for
//! the machine may be busy with other things. With `-- instructions scheduler N` it runs N single-key commands and
//! nothing else, with `extract` it only finds their footprints: the difference of two such runs under
//! `valgrind --tool=callgrind` is the number of instructions for each command.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use pssmr::execution::scheduler::{Handle, Keyed, Ready, Scheduler, SchedulerConfig};
use pssmr::execution::services::{KeyValue, Null};
use pssmr::execution::{
    Claim, Command, CommandKind, Completion, CompletionSink, Executor, ExecutorConfig, Fatal, Footprint,
    FootprintBuilder, KeyHash, Mode, Pending, Service, TableId, Watermark, payload,
};
use pssmr::types::{ClientId, Slot};

const ROUNDS: usize = 15;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(place) = arguments.iter().position(|argument| argument == "instructions") {
        let commands = arguments[place + 2].parse().expect("a number of commands");
        match arguments[place + 1].as_str() {
            "scheduler" => schedule_some(&mut Load::new(1 << 16, 1, 128), commands),
            "extract" => extract_some(commands),
            other => panic!("instructions of what? not {other:?}"),
        }
        return;
    }
    if arguments.iter().any(|argument| argument == "--test" || argument == "--list") {
        return;
    }
    println!("cores: {}", std::thread::available_parallelism().map_or(0, std::num::NonZero::get));
    println!("\nkeyed scheduler: submit + complete, ns for each command (least, median of {ROUNDS} rounds)");
    for (name, keys, keys_each) in [
        ("1 key of 64", 64, 1),
        ("1 key of 64k", 1 << 16, 1),
        ("1 key of 1M", 1 << 20, 1),
        ("2 keys of 64k", 1 << 16, 2),
        ("10 keys of 64k", 1 << 16, 10),
        ("1 hot key", 1, 1),
    ] {
        let few = rounds(|| schedule(keys, keys_each, 128));
        let many = rounds(|| schedule(keys, keys_each, 1 << 16));
        let ratio = many.0 / few.0;
        println!(
            "  {name:15} 128 pending {:6.1} {:6.1}   64k pending {:6.1} {:6.1}   ratio {ratio:.2}",
            few.0, few.1, many.0, many.1
        );
    }
    println!("\nfootprint of a put, from its bytes: {:.1} ns", rounds(extract).0);
    println!("\nexecutor: commands a second, submitted in slots of 256 with at most 8192 pending (best of {ROUNDS})");
    for workers in [1, 2] {
        report("null", workers, &SchedulerConfig::default(), || Arc::new(Null::new(0)), |_| Bytes::new());
        report("key-value put, 64k keys", workers, &SchedulerConfig::default(), key_value, |n| put(n % (1 << 16)));
        report("key-value put, 1 hot key", workers, &SchedulerConfig::default(), key_value, |_| put(0));
    }
    report("key-value put, sequential", 1, &SchedulerConfig::Sequential, key_value, |n| put(n % (1 << 16)));
}

/// The least and the median of several rounds.
fn rounds(mut round: impl FnMut() -> f64) -> (f64, f64) {
    let mut results: Vec<f64> = (0..ROUNDS).map(|_| round()).collect();
    results.sort_by(f64::total_cmp);
    (results[0], results[ROUNDS / 2])
}

fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
    *state >> 33
}

/// Footprints of commands that read or write, half and half, random keys.
fn footprints(count: usize, keys: u64, keys_each: usize) -> Vec<Footprint> {
    let mut state = 7;
    let mut builder = FootprintBuilder::new();
    (0..count)
        .map(|_| {
            for _ in 0..keys_each {
                let key = random(&mut state) % keys;
                let mode = if random(&mut state).is_multiple_of(2) { Mode::Read } else { Mode::Write };
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
    scheduler: Keyed,
    footprints: Vec<Footprint>,
    running: VecDeque<Handle>,
    ready: Ready,
    free: Vec<Handle>,
    next: usize,
}

impl Load {
    fn new(keys: u64, keys_each: usize, pending: usize) -> Self {
        let mut load = Self {
            scheduler: Keyed::new(1 << 18, 2, 0x9e37_79b9_7f4a_7c15),
            footprints: footprints(1 << 16, keys, keys_each),
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

fn schedule(keys: u64, keys_each: usize, pending: usize) -> f64 {
    const COMMANDS: usize = 1 << 18;
    let mut load = Load::new(keys, keys_each, pending);
    let start = Instant::now();
    schedule_some(&mut load, COMMANDS);
    start.elapsed().as_nanos() as f64 / COMMANDS as f64
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

fn key_value() -> Arc<KeyValue> {
    Arc::new(KeyValue::new())
}

fn put(key: u64) -> Bytes {
    let mut argument = Vec::new();
    pssmr::execution::messagepack::write_str(&mut argument, &format!("key-{key}"));
    payload("put", &[&argument, &[0x2a]])
}

/// Counts what is executed.
#[derive(Default)]
struct Count {
    executed: AtomicU64,
}

impl CompletionSink for Count {
    fn completed(&self, completions: &mut Vec<Completion>) {
        completions.clear();
    }

    fn executed(&self, watermark: Watermark) {
        self.executed.fetch_max(watermark.position, Ordering::Release);
    }

    fn failed(&self, fatal: Fatal) {
        panic!("{fatal}");
    }
}

fn report<S: Service>(
    name: &str,
    workers: usize,
    scheduler: &SchedulerConfig,
    service: impl Fn() -> Arc<S>,
    payload_of: impl Fn(u64) -> Bytes,
) {
    const COMMANDS: u64 = 1 << 17;
    let payloads: Vec<_> = (0..COMMANDS).map(payload_of).collect();
    let mut best = 0.0;
    let mut run_length = 0.0;
    for _ in 0..ROUNDS {
        let sink = Arc::new(Count::default());
        let config = ExecutorConfig { scheduler: scheduler.clone(), workers, ..ExecutorConfig::default() };
        let executor = Executor::start(service(), &config, sink.clone()).expect("threads can be started");
        let elapsed = execute(&executor, &sink, &payloads);
        let rate = COMMANDS as f64 / elapsed.as_secs_f64();
        if rate > best {
            best = rate;
            run_length = COMMANDS as f64 / executor.stats().runs as f64;
        }
        executor.shutdown(Pending::Execute);
    }
    println!("  {name:27} {workers} workers {best:10.0}/s, {run_length:5.1} commands a run");
}

fn execute(executor: &Executor, sink: &Count, payloads: &[Bytes]) -> Duration {
    const SLOT: usize = 256;
    const PENDING_MAX: u64 = 8192;
    let start = Instant::now();
    let mut position = 0;
    for (slot, payloads) in payloads.chunks(SLOT).enumerate() {
        let slot = Slot(slot as u64 + 1);
        while position - sink.executed.load(Ordering::Acquire) > PENDING_MAX - SLOT as u64 {
            std::thread::yield_now();
        }
        let first = position + 1;
        position += payloads.len() as u64;
        let commands = (first..).zip(payloads).map(|(position, payload)| Command {
            position,
            slot,
            client: ClientId::default(),
            sequence: position,
            timestamp: 0,
            seed: [0; 32],
            kind: CommandKind::Application,
            payload: payload.clone(),
        });
        executor.submit(commands, slot);
    }
    while sink.executed.load(Ordering::Acquire) < position {
        std::thread::yield_now();
    }
    start.elapsed()
}
