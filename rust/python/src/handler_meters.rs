//! How long the handlers of a Python service take, and how long workers wait for the interpreter.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use pssmr_execution::{HandlerReading, Histogram, ServiceReading};

/// Counts for the handlers of one service, by their index.
#[derive(Debug)]
pub(crate) struct HandlerMeters {
    durations: Vec<Histogram>,
    interpreter_wait_ns: AtomicU64,
}

impl HandlerMeters {
    pub(crate) fn new(handlers: usize) -> Self {
        let durations = std::iter::repeat_with(Histogram::default).take(handlers).collect();
        Self { durations, interpreter_wait_ns: AtomicU64::new(0) }
    }

    /// A stopwatch for the commands of a run: the clock is read once a command.
    pub(crate) fn stopwatch(&self) -> Stopwatch<'_> {
        Stopwatch { meters: self, last: Instant::now() }
    }

    /// A worker has waited for the interpreter since then.
    pub(crate) fn interpreter_acquired(&self, since: Instant) {
        self.interpreter_wait_ns.fetch_add(since.elapsed().as_nanos() as u64, Relaxed);
    }

    /// What was counted; `names` are those of the handlers.
    pub(crate) fn reading(&self, names: impl Iterator<Item = Arc<str>>) -> ServiceReading {
        let handlers = names.zip(&self.durations);
        ServiceReading {
            handlers: handlers.map(|(name, durations)| HandlerReading { name, durations: durations.read() }).collect(),
            interpreter_wait: Duration::from_nanos(self.interpreter_wait_ns.load(Relaxed)),
        }
    }
}

/// Times the commands of one run, one after the other.
pub(crate) struct Stopwatch<'a> {
    meters: &'a HandlerMeters,
    last: Instant,
}

impl Stopwatch<'_> {
    /// So many commands of this handler have ended, which were executed together; the next one begins.
    pub(crate) fn executed_together(&mut self, handler: u32, count: usize) {
        let now = Instant::now();
        self.meters.durations[handler as usize].add_durations((now - self.last) / count as u32, count as u64);
        self.last = now;
    }

    /// A command of this handler has ended; the next one begins.
    pub(crate) fn executed(&mut self, handler: u32) {
        let now = Instant::now();
        self.meters.durations[handler as usize].add_duration(now - self.last);
        self.last = now;
    }
}
