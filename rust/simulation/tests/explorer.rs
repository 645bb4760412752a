//! The choice of a view's base, explored at random. `cargo run -p pssmr-simulation --release -- explore` does longer runs.

use pssmr_ordering::choice::Mutation;
use pssmr_simulation::explorer::{Behaviour, Chains, Setting, Summary, explore};
use pssmr_types::FaultModel;

const SEEDS: u64 = 20_000;

/// Mutants die within a few thousand runs, most within a hundred.
const SEEDS_PER_MUTANT: u64 = 40_000;

#[test]
fn no_choice_of_a_base_cuts_off_what_is_decided() {
    for setting in Setting::all() {
        let mut chains = Chains::default();
        let mut total = Summary::default();
        for seed in 0..SEEDS {
            match explore(&setting, seed, &mut chains) {
                Ok(summary) => total.add(&summary),
                Err(violation) => panic!("{setting}, seed {seed}: {violation:?}"),
            }
        }
        println!("{setting}: {SEEDS} runs, {total:?}");
        assert!(total.decided > SEEDS / 3, "runs that decide nothing show nothing: {total:?}");
        assert!(total.complete > SEEDS / 20 && total.caught_up > SEEDS / 4 && total.views > SEEDS / 2, "{total:?}");
    }
}

#[test]
fn every_seeded_fault_is_found() {
    let mut chains = Chains::default();
    for setting in Setting::mutants() {
        let found = (0..SEEDS_PER_MUTANT).find(|seed| explore(&setting, *seed, &mut chains).is_err());
        println!("{setting}: found by seed {found:?}");
        assert!(found.is_some(), "{setting} survives {SEEDS_PER_MUTANT} runs");
    }
}

#[test]
fn a_run_is_a_function_of_its_seed() {
    let setting = Setting { mutation: Mutation::NoCertification, ..Setting::new(FaultModel::Byzantine, 4) };
    let runs = |chains: &mut Chains| (0..200).map(|seed| explore(&setting, seed, chains)).collect::<Vec<_>>();
    let mut warm = Chains::default();
    explore(&Setting { behaviour: Behaviour::AcceptsAfterLeaving, ..setting }, 7, &mut warm).ok();
    assert_eq!(runs(&mut warm), runs(&mut Chains::default()));
}
