//! What it costs to hand a command to a worker and its reply back, beside an empty hand-off.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use bytes::Bytes;
use pssmr::execution::scheduler::SchedulerConfig;
use pssmr::execution::services::{KeyValue, Null};
use pssmr::execution::{
    Command, CommandKind, Completion, CompletionSink, Executor, ExecutorConfig, Fatal, Pending, Service, Watermark,
    payload,
};
use pssmr::types::Slot;

const ROUNDS: usize = 15;
/// Commands of a slot.
const SLOT: usize = 256;
const PENDING_MAX: u64 = 8192;
/// No-op commands of a round.
const COMMANDS: u64 = 1 << 19;

pub(crate) fn report() {
    println!("\nhand-off: no-op commands a second through two workers, in slots of {SLOT} (best of {ROUNDS})");
    let nothing: Vec<_> = (0..COMMANDS).map(|_| Bytes::new()).collect();
    let (mut rings, mut executor) = (0.0f64, 0.0f64);
    for _ in 0..ROUNDS {
        rings = rings.max(rate(COMMANDS, through_rings(&nothing, 2)));
        let null = Arc::new(Null::new(0));
        executor = executor.max(rate(COMMANDS, Load::new(null, &SchedulerConfig::default(), 2).execute(&nothing).0));
    }
    println!("  rings, without scheduling {rings:10.0}/s   executor {executor:10.0}/s   share {:.2}", executor / rings);

    println!("\nexecutor: commands a second, with at most {PENDING_MAX} pending (best of {ROUNDS}, in turns)");
    let keyed = SchedulerConfig::default();
    let puts = |keys: u64| (0..1 << 17).map(|n| put(n % keys)).collect::<Vec<_>>();
    let (cold, hot) = (puts(1 << 16), puts(1));
    let mut lines = [
        ("key-value put, 64k keys", &keyed, 1, &cold, (0.0, 0.0)),
        ("key-value put, 64k keys", &keyed, 2, &cold, (0.0, 0.0)),
        ("the same, sequential", &SchedulerConfig::Sequential, 1, &cold, (0.0, 0.0)),
        ("key-value put, 1 hot key", &keyed, 1, &hot, (0.0, 0.0)),
        ("key-value put, 1 hot key", &keyed, 2, &hot, (0.0, 0.0)),
    ];
    for _ in 0..ROUNDS {
        for (_, scheduler, workers, payloads, best) in &mut lines {
            let (elapsed, run_length) = Load::new(Arc::new(KeyValue::new()), scheduler, *workers).execute(payloads);
            let rate = rate(payloads.len() as u64, elapsed);
            if rate > best.0 {
                *best = (rate, run_length);
            }
        }
    }
    for (name, _, workers, _, (rate, run_length)) in lines {
        println!("  {name:27} {workers} workers {rate:10.0}/s, {run_length:5.1} commands a run");
    }
}

fn rate(commands: u64, elapsed: Duration) -> f64 {
    commands as f64 / elapsed.as_secs_f64()
}

pub(crate) fn put(key: u64) -> Bytes {
    let mut argument = Vec::new();
    pssmr::execution::messagepack::write_str(&mut argument, &format!("key-{key}"));
    payload("put", &[&argument, &[0x2a]])
}

/// Counts what is executed, and wakes the one who waits for it.
pub(crate) struct Count {
    executed: AtomicU64,
    awaited: AtomicU64,
    waiter: Thread,
}

impl Count {
    /// The calling thread will wait.
    pub(crate) fn new() -> Arc<Self> {
        let (executed, awaited) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
        Arc::new(Self { executed, awaited, waiter: thread::current() })
    }

    fn add(&self, executed: impl FnOnce(&AtomicU64) -> u64) {
        if executed(&self.executed) >= self.awaited.load(Ordering::SeqCst) {
            self.waiter.unpark();
        }
    }

    fn wait(&self, executed: u64) {
        self.awaited.store(executed, Ordering::SeqCst);
        while self.executed.load(Ordering::SeqCst) < executed {
            thread::park();
        }
        self.awaited.store(u64::MAX, Ordering::SeqCst);
    }

    /// Waits while there are as many pending as there may be; then until half of them are executed.
    fn make_room(&self, submitted: u64, pending_max: u64) {
        if submitted - self.executed.load(Ordering::SeqCst) >= pending_max {
            self.wait(submitted - pending_max / 2);
        }
    }
}

impl CompletionSink for Count {
    fn completed(&self, completions: &mut Vec<Completion>) {
        completions.clear();
    }

    fn executed(&self, watermark: Watermark) {
        let position = watermark.position;
        self.add(|executed| executed.fetch_max(position, Ordering::SeqCst).max(position));
    }

    fn failed(&self, fatal: Fatal) {
        panic!("{fatal}");
    }
}

fn commands(first: u64, slot: Slot, payloads: &[Bytes]) -> impl Iterator<Item = Command> {
    (first..).zip(payloads).map(move |(position, payload)| Command {
        slot,
        ..Command::alone(position, CommandKind::Application, payload.clone())
    })
}

/// An executor, fed by the calling thread.
pub(crate) struct Load {
    executor: Executor,
    count: Arc<Count>,
    pub(crate) slot: usize,
    pub(crate) pending_max: u64,
}

impl Load {
    pub(crate) fn new(service: Arc<dyn Service>, scheduler: &SchedulerConfig, workers: usize) -> Self {
        let count = Count::new();
        let config = ExecutorConfig { scheduler: scheduler.clone(), workers, ..ExecutorConfig::default() };
        let executor = Executor::start(service, &config, count.clone()).expect("threads can be started");
        Self { executor, count, slot: SLOT, pending_max: PENDING_MAX }
    }

    /// How long it takes to execute all, and how many commands there are in a run.
    pub(crate) fn execute(self, payloads: &[Bytes]) -> (Duration, f64) {
        let start = Instant::now();
        let mut position = 0;
        for (slot, payloads) in (1..).map(Slot).zip(payloads.chunks(self.slot)) {
            self.count.make_room(position + payloads.len() as u64, self.pending_max);
            self.executor.submit(commands(position + 1, slot, payloads), slot);
            position += payloads.len() as u64;
        }
        self.count.wait(position);
        let elapsed = start.elapsed();
        let runs = self.executor.stats().runs;
        self.executor.shutdown(Pending::Execute);
        (elapsed, position as f64 / runs as f64)
    }
}

/// The same commands and replies by one ring for each worker, in turn, and nothing else.
fn through_rings(payloads: &[Bytes], workers: usize) -> Duration {
    let count = Count::new();
    let work = |ring: Receiver<Vec<Command>>, count: Arc<Count>| {
        let reply = Bytes::from_static(&[0, 0xc0]);
        let mut completions = Vec::new();
        for batch in ring {
            completions.extend(batch.into_iter().map(|command| {
                let Command { position, slot, client, sequence, kind, .. } = command;
                Completion { position, slot, client, sequence, kind, reply: reply.clone() }
            }));
            let executed = completions.len() as u64;
            count.completed(&mut completions);
            count.add(|all| all.fetch_add(executed, Ordering::SeqCst) + executed);
        }
    };
    let (rings, threads): (Vec<_>, Vec<_>) = (0..workers)
        .map(|_| {
            let (sender, receiver) = sync_channel(PENDING_MAX as usize / SLOT);
            let count = Arc::clone(&count);
            (sender, thread::spawn(move || work(receiver, count)))
        })
        .unzip();
    let start = Instant::now();
    let mut position = 0;
    for ((slot, payloads), ring) in (1..).map(Slot).zip(payloads.chunks(SLOT)).zip(rings.iter().cycle()) {
        count.make_room(position + payloads.len() as u64, PENDING_MAX);
        ring.send(commands(position + 1, slot, payloads).collect()).expect("the worker takes what comes");
        position += payloads.len() as u64;
    }
    count.wait(position);
    let elapsed = start.elapsed();
    drop(rings);
    for thread in threads {
        thread.join().expect("the worker does not panic");
    }
    elapsed
}
