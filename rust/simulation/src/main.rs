//! The simulator and the explorer, for runs longer than tests may take.

use std::process::ExitCode;
use std::time::Instant;

use pssmr_simulation::explorer::{Chains, Setting, Summary, explore};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str| -> Option<u64> {
        let place = arguments.iter().position(|argument| argument == name)?;
        arguments.get(place + 1)?.parse().ok()
    };
    let (runs, from) = (number("--runs").unwrap_or(10000), number("--from").unwrap_or(0));
    for setting in Setting::all().into_iter().chain(Setting::mutants()) {
        let start = Instant::now();
        let mut chains = Chains::default();
        let (mut total, mut violations, mut first) = (Summary::default(), 0, String::new());
        for seed in from..from + runs {
            match explore(&setting, seed, &mut chains) {
                Ok(summary) => total.add(&summary),
                Err(violation) => {
                    if violations == 0 {
                        first = format!("seed {seed} {violation:?}");
                    }
                    violations += 1;
                }
            }
        }
        first.truncate(3000);
        println!("{setting}: {runs} runs {:?} violations {violations} {total:?} {first}", start.elapsed());
    }
    ExitCode::SUCCESS
}
