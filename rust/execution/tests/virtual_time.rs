//! What virtual time shows of the schedulers.

use pssmr_execution::SchedulerConfig;
use pssmr_execution::virtual_time::{Load, Outcome, Trace};

const LOAD: Load =
    Load { commands: 2000, keys: 1000, keys_each: 1, skew: 0.0, writes: 1.0, conflicts: 0.0, wide: 0.0, seed: 3 };

fn outcome(scheduler: &str, load: &Load, workers: usize) -> Outcome {
    let config: SchedulerConfig = scheduler.parse().unwrap();
    Trace::of(load).run(&mut *config.build(workers, 5), workers, 256)
}

#[test]
fn one_after_the_other_is_no_faster_than_one() {
    let alone = outcome("sequential", &LOAD, 8);
    assert!((alone.speed_up - 1.0).abs() < 1e-9);
    assert!(alone.bound > 7.9);
}

#[test]
fn nothing_exceeds_the_bound_and_what_is_all_conflicts_is_at_it() {
    for load in [
        LOAD,
        Load { writes: 0.3, skew: 1.2, ..LOAD },
        Load { keys_each: 3, wide: 0.05, writes: 0.5, ..LOAD },
        Load { conflicts: 0.5, ..LOAD },
    ] {
        for scheduler in SchedulerConfig::NAMES {
            for workers in [1, 4, 32] {
                let outcome = outcome(scheduler, &load, workers);
                assert!(outcome.speed_up <= outcome.bound + 1e-9, "{scheduler} {workers} {load:?}: {outcome:?}");
            }
        }
    }
    let serial = outcome("keyed", &Load { keys: 1, ..LOAD }, 8);
    assert!((serial.speed_up - 1.0).abs() < 1e-9 && (serial.bound - 1.0).abs() < 1e-9, "{serial:?}");
}

/// A chain that is nearly as long as all work divided by the workers, among commands that nobody waits for.
#[test]
fn a_chain_does_not_wait_behind_what_is_ready_already() {
    let load = Load { commands: 20_000, keys: 100_000, conflicts: 0.1, ..LOAD };
    let config: SchedulerConfig = "keyed".parse().unwrap();
    let outcome = Trace::of(&load).run(&mut *config.build(8, 5), 8, 1024);
    assert!(outcome.speed_up > 0.97 * outcome.bound, "{outcome:?}");
}

#[test]
fn what_is_independent_scales_with_the_workers() {
    let load = Load { keys: 1_000_000, ..LOAD };
    for (scheduler, least) in [("keyed", 0.97), ("graph-coarse", 0.97), ("static", 0.5), ("early", 0.5)] {
        let outcome = outcome(scheduler, &load, 16);
        assert!(outcome.speed_up > least * outcome.bound, "{scheduler}: {outcome:?}");
    }
}
