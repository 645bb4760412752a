//! Very many small scenarios with Byzantine replicas that are two correct ones each. A failure prints its profile and
//! seed, and `cargo run -p pssmr-simulation --release -- run --profile P --seed N --trace` shows it.

use std::thread;

use pssmr_simulation::twins::{Size, Tally, run};

fn run_all(size: Size, seeds: impl Iterator<Item = u64>) -> (Tally, Vec<String>) {
    let (mut total, mut failures) = (Tally::default(), Vec::new());
    for seed in seeds {
        match run(size, seed, false) {
            Ok(tally) => total.add(&tally),
            Err(failure) => failures.push(format!("{} seed {seed}: {failure}", size.name())),
        }
    }
    (total, failures)
}

#[test]
fn replicas_agree_and_go_on_whatever_two_selves_of_one_say() {
    let halves = [(Size::Four, 20_000), (Size::Seven, 400)].map(|(size, seeds)| [(size, seeds, 0), (size, seeds, 1)]);
    let workers: Vec<_> = halves
        .into_iter()
        .flatten()
        .map(|(size, seeds, half)| thread::spawn(move || run_all(size, (half..seeds).step_by(2))))
        .collect();
    let (mut total, mut failures) = (Tally::default(), Vec::new());
    for worker in workers {
        let (tally, failed) = worker.join().expect("a scenario catches its panics");
        total.add(&tally);
        failures.extend(failed);
    }
    println!("{total}");
    assert!(failures.is_empty(), "{} scenarios failed, among them:\n{}", failures.len(), failures[0]);
    assert!(
        total.never().is_empty(),
        "these never happened, so nothing shows that they do no harm: {:?}",
        total.never()
    );
}

#[test]
fn a_scenario_is_a_function_of_its_size_and_seed() {
    for size in [Size::Four, Size::Seven] {
        for seed in 50_000..50_010 {
            assert_eq!(run(size, seed, false), run(size, seed, false), "{} seed {seed}", size.name());
        }
    }
}
