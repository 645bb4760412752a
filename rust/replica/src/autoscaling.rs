//! The thread that lets the number of workers follow the load.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use pssmr_execution::{Autoscaler, Executor, LoadMeter, WorkerBounds};

use crate::state::State;

/// How often the load is looked at.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(250);

/// Ends the thread.
#[derive(Debug, Default)]
pub(crate) struct AutoscalingEnd {
    ended: Mutex<bool>,
    changed: Condvar,
}

impl AutoscalingEnd {
    /// The thread ends soon.
    pub(crate) fn stop(&self) {
        *self.ended.lock() = true;
        self.changed.notify_all();
    }

    /// Waits for the next sample; whether there is one.
    fn wait(&self) -> bool {
        let deadline = Instant::now() + SAMPLE_INTERVAL;
        let mut ended = self.ended.lock();
        while !*ended && !self.changed.wait_until(&mut ended, deadline).timed_out() {}
        !*ended
    }
}

/// What the thread does.
pub(crate) fn run(bounds: WorkerBounds, executor: &Executor, state: &State, end: &Arc<AutoscalingEnd>) {
    let mut meter = LoadMeter::new(executor);
    let mut autoscaler = Autoscaler::new(bounds);
    while end.wait() {
        let sample = meter.sample(executor);
        let wanted = autoscaler.decide(sample);
        if wanted == sample.workers {
            continue;
        }
        if let Err(error) = executor.resize(wanted) {
            tracing::warn!(%error, wanted, "a worker could not be started");
        }
        state.workers_resized(executor.workers());
    }
}
