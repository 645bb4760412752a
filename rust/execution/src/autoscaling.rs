//! How many workers there should be, by their load. The number changes no result: each replica may decide for itself.

use std::time::{Duration, Instant};

use crate::executor::Executor;

/// How much the latest sample counts in the smoothed share of time that workers are busy.
const WEIGHT: f64 = 0.25;

/// Workers are busy from this share of their time on. There are more of them when they have been for
/// [`PRESSED_SAMPLES`], and more commands were pending than there are workers.
const BUSY: f64 = 0.8;

/// There is one fewer when the others would be busy for less than this share of their time, for [`IDLE_SAMPLES`]. Far below
/// [`BUSY`], so that the number does not go to and fro.
const IDLE: f64 = 0.6;

const PRESSED_SAMPLES: u32 = 3;
const IDLE_SAMPLES: u32 = 8;

/// Between how many and how many workers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerBounds {
    /// The least: at least 1.
    pub min: usize,
    /// The most: not below `min`.
    pub max: usize,
}

/// What workers have done since the last sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoadSample {
    /// The number of workers.
    pub workers: usize,
    /// The share of their time in which they have executed commands, 0 to about 1.
    pub busy: f64,
    /// Commands that are submitted and not executed.
    pub pending: usize,
}

/// Decides how many workers there should be.
#[derive(Clone, Debug)]
pub struct Autoscaler {
    bounds: WorkerBounds,
    busy: f64,
    pressed: u32,
    idle: u32,
}

impl Autoscaler {
    /// Keeps the number within `bounds`.
    ///
    /// # Panics
    /// If there are none.
    pub fn new(bounds: WorkerBounds) -> Self {
        assert!(0 < bounds.min && bounds.min <= bounds.max, "some workers");
        Self { bounds, busy: 0.0, pressed: 0, idle: 0 }
    }

    /// How many workers there should be from now on. Depends on nothing but the samples.
    ///
    /// More of them, by a half, when all are busy and commands wait; one fewer, when one fewer would do. Commands that have
    /// to wait for each other keep few workers busy, so they are no reason for more.
    pub fn decide(&mut self, sample: LoadSample) -> usize {
        let LoadSample { workers, busy, pending } = sample;
        self.busy += WEIGHT * (busy - self.busy);
        let without_one = self.busy * workers as f64 / (workers as f64 - 1.0);
        let pressed = self.busy >= BUSY && pending > workers;
        // A command that takes long is seen when it ends: while one is pending for each worker, all may be at work.
        let idle = workers > 1 && without_one < IDLE && pending < workers;
        self.pressed = if pressed { self.pressed + 1 } else { 0 };
        self.idle = if idle { self.idle + 1 } else { 0 };
        let wanted = if self.pressed >= PRESSED_SAMPLES {
            workers + (workers / 2).max(1)
        } else if self.idle >= IDLE_SAMPLES {
            workers - 1
        } else {
            workers
        };
        let wanted = wanted.clamp(self.bounds.min, self.bounds.max);
        if wanted != workers {
            // The same work, by so many.
            self.busy *= workers as f64 / wanted as f64;
            (self.pressed, self.idle) = (0, 0);
        }
        wanted
    }
}

/// Samples what the workers of one executor do.
#[derive(Debug)]
pub struct LoadMeter {
    at: Instant,
    busy: Duration,
}

impl LoadMeter {
    /// Samples from now on.
    pub fn new(executor: &Executor) -> Self {
        Self { at: Instant::now(), busy: executor.stats().busy.iter().sum() }
    }

    /// What has been done since the last sample.
    pub fn sample(&mut self, executor: &Executor) -> LoadSample {
        let (stats, at) = (executor.stats(), Instant::now());
        let busy: Duration = stats.busy.iter().sum();
        let available = (at - self.at).mul_f64(stats.workers as f64);
        let share = busy.saturating_sub(self.busy).as_secs_f64() / available.as_secs_f64().max(f64::MIN_POSITIVE);
        (self.at, self.busy) = (at, busy);
        LoadSample { workers: stats.workers, busy: share, pending: executor.pending() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of workers after so many samples of a load that would keep `load` workers busy.
    fn after(samples: usize, autoscaler: &mut Autoscaler, workers: usize, load: f64, pending: usize) -> usize {
        (0..samples).fold(workers, |workers, _| {
            let busy = (load / workers as f64).min(1.0);
            autoscaler.decide(LoadSample { workers, busy, pending })
        })
    }

    fn autoscaler(min: usize, max: usize) -> Autoscaler {
        Autoscaler::new(WorkerBounds { min, max })
    }

    #[test]
    fn busy_workers_get_help_up_to_the_bound() {
        assert_eq!(after(200, &mut autoscaler(1, 12), 2, 100.0, 1000), 12);
    }

    #[test]
    fn idle_workers_go_down_to_the_bound() {
        assert_eq!(after(200, &mut autoscaler(2, 12), 12, 0.0, 0), 2);
    }

    #[test]
    fn as_many_stay_as_a_steady_load_needs() {
        for load in [1.5, 3.0, 5.0, 9.0] {
            for from in [1, 4, 16] {
                let mut autoscaler = autoscaler(1, 16);
                let workers = after(400, &mut autoscaler, from, load, 0);
                let more = after(400, &mut autoscaler, workers, load, 1000);
                assert!(load < more as f64, "{more} workers for a load of {load}");
                assert_eq!(after(400, &mut autoscaler, more, load, 1000), more, "the number stays");
                assert!(from == 1 || workers as f64 <= (load / IDLE).ceil() + 1.0, "{workers} for {load}");
            }
        }
    }

    #[test]
    fn a_short_burst_and_a_short_pause_change_nothing() {
        let mut scaler = autoscaler(1, 16);
        for _ in 0..20 {
            assert_eq!(after(PRESSED_SAMPLES as usize - 1, &mut scaler, 4, 100.0, 1000), 4);
            assert_eq!(after(IDLE_SAMPLES as usize - 1, &mut scaler, 4, 0.0, 0), 4);
        }
    }

    #[test]
    fn commands_that_wait_for_each_other_are_no_reason_for_more_workers() {
        assert_eq!(after(200, &mut autoscaler(1, 16), 4, 1.0, 1000), 4);
    }

    #[test]
    fn nobody_goes_while_a_command_is_pending_for_each() {
        assert_eq!(after(200, &mut autoscaler(1, 16), 4, 0.0, 4), 4);
        assert_eq!(after(200, &mut autoscaler(1, 16), 4, 0.0, 3), 3);
    }

    #[test]
    fn a_number_beyond_the_bounds_comes_back_at_once() {
        let sample = |workers| LoadSample { workers, busy: 0.7, pending: 0 };
        assert_eq!(autoscaler(2, 4).decide(sample(9)), 4);
        assert_eq!(autoscaler(2, 4).decide(sample(1)), 2);
    }
}
