//! Workers that follow the load, on real threads.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pssmr_execution::{
    Autoscaler, Command, CommandKind, Completion, CompletionSink, Executor, ExecutorConfig, Extraction, Fatal,
    FootprintBuilder, LoadMeter, Refusal, Service, Task, Watermark, WorkerBounds, WorkerId,
};
use pssmr_types::{Digest, Slot};

/// Commands that take a millisecond and conflict with none.
struct Sleeper;

impl Service for Sleeper {
    fn footprint(&self, _: &[u8], _: &mut FootprintBuilder) -> Result<Extraction, Refusal> {
        Ok(Extraction::default())
    }

    fn execute(&self, _: WorkerId, run: &mut [Task]) {
        std::thread::sleep(Duration::from_millis(1) * run.len() as u32);
    }

    fn state_digest(&self) -> Digest {
        Digest::default()
    }
}

struct Nobody;

impl CompletionSink for Nobody {
    fn completed(&self, completions: &mut Vec<Completion>) {
        completions.clear();
    }

    fn executed(&self, _: Watermark) {}

    fn failed(&self, fatal: Fatal) {
        panic!("{fatal}");
    }
}

fn submit(executor: &Executor, first: u64, count: u64) {
    let commands =
        (first..first + count).map(|position| Command::alone(position, CommandKind::Application, Bytes::new()));
    executor.submit(commands, Slot(first + count - 1));
}

/// Ends when the number of workers is `until`. Neither load ever makes it go the other way.
fn follow(executor: &Executor, autoscaler: &mut Autoscaler, until: usize, mut load: impl FnMut()) {
    let mut meter = LoadMeter::new(executor);
    while executor.workers() != until {
        load();
        std::thread::sleep(Duration::from_millis(2));
        let sample = meter.sample(executor);
        let wanted = autoscaler.decide(sample);
        assert!(wanted == sample.workers || (wanted < sample.workers) == (until < sample.workers), "{sample:?}");
        executor.resize(wanted).unwrap();
    }
}

#[test]
fn a_loaded_executor_gets_workers_and_an_idle_one_loses_them() {
    let config = ExecutorConfig { workers: 2, ..ExecutorConfig::default() };
    let executor = Executor::start(Arc::new(Sleeper), &config, Arc::new(Nobody)).unwrap();
    let mut autoscaler = Autoscaler::new(WorkerBounds { min: 1, max: 6 });
    let mut first = 1;
    follow(&executor, &mut autoscaler, 6, || {
        while executor.pending() < 50 {
            submit(&executor, first, 50);
            first += 50;
        }
    });
    while executor.pending() > 0 {
        std::thread::yield_now();
    }
    follow(&executor, &mut autoscaler, 1, || {});
}
