//! Whole clusters under faults that a seed draws. A failure prints its profile and seed, and
//! `cargo run -p pssmr-simulation --release -- run --profile P --seed N --trace` shows it.

use std::thread;

use pssmr_recording::{Ending, Playback};
use pssmr_simulation::cluster::{Counters, Profile, cpu_seconds, record, run};

/// How many seeds of a profile are run: most in the smallest cluster of each fault model. `make soak` has more.
fn seeds(profile: Profile) -> u64 {
    match profile.name {
        "bft4" | "cft3" => 450,
        "bft7" => 100,
        "cft5" => 225,
        _ => 200,
    }
}

fn run_all(profile: Profile, seeds: impl Iterator<Item = u64>) -> (Counters, Vec<String>) {
    let start = cpu_seconds();
    let mut counters = Counters::default();
    let mut failures = Vec::new();
    let (mut runs, mut events) = (0, 0);
    for seed in seeds {
        runs += 1;
        match run(profile, seed, false) {
            Ok(report) => {
                counters.add(&report.counters);
                events += report.events;
            }
            Err(failure) => failures.push(format!("{} seed {seed}: {failure}", profile.name)),
        }
    }
    let seconds = cpu_seconds() - start;
    let speed = events as f64 / seconds;
    println!("{}: {runs} runs, {events} events, {speed:.0} per CPU-second, {seconds:.1} CPU-seconds", profile.name);
    (counters, failures)
}

#[test]
fn clusters_keep_their_promises_whatever_goes_wrong_and_come_to_rest_when_it_ends() {
    let halves = Profile::ALL.into_iter().flat_map(|profile| [(profile, 0), (profile, 1)]);
    let workers: Vec<_> = halves
        .map(|(profile, half)| thread::spawn(move || run_all(profile, (half..seeds(profile)).step_by(2))))
        .collect();
    let mut counters = Counters::default();
    let mut failures = Vec::new();
    for worker in workers {
        let (more, failed) = worker.join().expect("a run catches its panics");
        counters.add(&more);
        failures.extend(failed);
    }
    println!("{counters}");
    assert!(failures.is_empty(), "{} runs failed, among them:\n{}", failures.len(), failures[0]);
    let never = counters.never();
    assert!(never.is_empty(), "these never happened, so nothing shows that they do no harm: {never:?}");
}

#[test]
fn a_run_is_a_function_of_its_profile_and_seed() {
    for profile in Profile::ALL {
        for seed in 10_000..10_005 {
            assert_eq!(run(profile, seed, false), run(profile, seed, false), "{} seed {seed}", profile.name);
        }
    }
}

/// A core knows nothing but what it is told, so the same calls, without its key, give the same effects. In these runs
/// replicas lead and follow, come back from logs and without, are given snapshots, and see memberships change.
#[test]
fn a_replica_that_is_played_back_does_the_same_again() {
    let start = cpu_seconds();
    let (mut recordings, mut calls) = (0, 0);
    for profile in Profile::ALL {
        for seed in 0..4 {
            for (number, (id, recording)) in record(profile, seed).expect("a good run").into_iter().enumerate() {
                let mut playback = Playback::open(recording.as_slice()).expect("a recording");
                while let Some(played) = playback.advance().expect("whole") {
                    assert_eq!(
                        played.difference, None,
                        "{} seed {seed}, start {number}, {id}: {played:#?}",
                        profile.name
                    );
                }
                assert_eq!(playback.ending(), Some(&Ending::Cut), "nobody says in a run that it is over");
                recordings += 1;
                calls += playback.played();
            }
        }
    }
    println!("{recordings} recordings, {calls} calls, {:.1} CPU-seconds", cpu_seconds() - start);
}
