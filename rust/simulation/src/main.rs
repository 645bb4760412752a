//! The simulator and the explorer, for runs longer than tests may take.
//!
//! ```text
//! pssmr-simulation --seeds 1000 [--profile bft4] [--from 0] [--failures 5]
//! pssmr-simulation run --profile bft4 --seed 17 [--trace]
//! pssmr-simulation explore --runs 100000 [--from 0]
//! pssmr-simulation check-model bft4-leader [--states 2000000] [--walks 17]
//! ```

use std::process::ExitCode;

use pssmr_simulation::cluster::{Counters, Profile, cpu_seconds, run};
use pssmr_simulation::explorer::{Chains, Setting, Summary, explore};
use pssmr_simulation::model;
use pssmr_simulation::twins::{self, Size, Tally};

const USAGE: &str = "Looks for runs of a cluster in which something that was promised does not hold.

usage:
  pssmr-simulation [search] --seeds N [--profile P] [--from N] [--failures N]
      one run for each seed, with all faults that it draws; exits with 1 if one fails
      P: bft4, bft7, cft3, cft5, one, changing4, changing3 (the membership changes), all; twins4, twins7 (scenarios of twins)
  pssmr-simulation run --profile P --seed N [--trace]
      one run; with --trace, all that happens in it
  pssmr-simulation explore --runs N [--from N]
      the choice of what a view begins with, under random histories of votes
  pssmr-simulation check-model M [--states N] [--walks SEED]
      all states that a small cluster can come to, or the first N, or random walks through them
      M: all, cft3-small, cft3, cft3-restarts, bft4-silent, bft4-leader, bft4-next-leader";

/// In so many runs everything that can happen has to happen.
const MANY: u64 = 1000;

struct Arguments(Vec<String>);

impl Arguments {
    fn value(&self, name: &str) -> Option<&str> {
        let place = self.0.iter().position(|argument| argument == name)?;
        self.0.get(place + 1).map(String::as_str)
    }

    fn number(&self, name: &str) -> Result<Option<u64>, String> {
        let parse = |text: &str| text.parse().map_err(|_| format!("{name} {text}: not a number"));
        self.value(name).map(parse).transpose()
    }

    fn needed(&self, name: &str) -> Result<u64, String> {
        self.number(name)?.ok_or_else(|| format!("{name} is missing"))
    }

    fn twins(&self) -> Option<Size> {
        [Size::Four, Size::Seven].into_iter().find(|size| self.value("--profile") == Some(size.name()))
    }

    fn profiles(&self) -> Result<Vec<Profile>, String> {
        match self.value("--profile") {
            None | Some("all") => Ok(Profile::ALL.to_vec()),
            Some(name) => {
                Ok(vec![Profile::named(name).ok_or_else(|| format!("--profile {name}: there is none of this name"))?])
            }
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments(std::env::args().skip(1).collect());
    let outcome = match arguments.0.first().map(String::as_str) {
        Some("run") => run_one(&arguments),
        Some(first) if first == "search" || first.starts_with("--seeds") || first.starts_with("--profile") => {
            search(&arguments)
        }
        Some("explore") => explore_all(&arguments),
        Some("check-model") => check_models(&arguments),
        Some("help" | "--help" | "-h") => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => Err("what to do?".into()),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("{problem}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn run_one(arguments: &Arguments) -> Result<bool, String> {
    let seed = arguments.needed("--seed")?;
    let traced = arguments.0.iter().any(|argument| argument == "--trace");
    let mut clean = true;
    if let Some(size) = arguments.twins() {
        return match twins::run(size, seed, traced) {
            Ok(tally) => {
                println!("{} seed {seed}:\n{tally}", size.name());
                Ok(true)
            }
            Err(failure) => {
                println!("FAILED {} seed {seed}: {failure}", size.name());
                Ok(false)
            }
        };
    }
    for profile in arguments.profiles()? {
        match run(profile, seed, traced) {
            Ok(report) => println!("{} seed {seed}: {report:#?}", profile.name),
            Err(failure) => {
                println!("FAILED {} seed {seed}: {failure}", profile.name);
                clean = false;
            }
        }
    }
    Ok(clean)
}

fn search(arguments: &Arguments) -> Result<bool, String> {
    let (seeds, from) = (arguments.needed("--seeds")?, arguments.number("--from")?.unwrap_or(0));
    let most = arguments.number("--failures")?.unwrap_or(5);
    if let Some(size) = arguments.twins() {
        return Ok(search_twins(size, from..from + seeds, most));
    }
    let mut clean = true;
    let mut all = Counters::default();
    for profile in arguments.profiles()? {
        let start = cpu_seconds();
        let (mut events, mut virtual_time, mut failures) = (0, 0, 0);
        let mut counters = Counters::default();
        for seed in from..from + seeds {
            match run(profile, seed, false) {
                Ok(report) => {
                    events += report.events;
                    virtual_time += report.nanoseconds;
                    counters.add(&report.counters);
                }
                Err(failure) => {
                    println!("FAILED {} seed {seed}: {failure}", profile.name);
                    failures += 1;
                    if failures >= most {
                        break;
                    }
                }
            }
        }
        clean &= failures == 0;
        all.add(&counters);
        let seconds = cpu_seconds() - start;
        println!(
            "{}: seeds {from}.. {failures} failures, {events} events, {:.0} events per CPU-second, {:.0} times real time, \
             {seconds:.1} CPU-seconds\n{counters}",
            profile.name,
            events as f64 / seconds,
            virtual_time as f64 / 1e9 / seconds,
        );
    }
    let never = all.never();
    if seeds >= MANY && matches!(arguments.value("--profile"), None | Some("all")) && !never.is_empty() {
        println!("FAILED these never happened, so nothing shows that they do no harm: {never:?}");
        clean = false;
    }
    Ok(clean)
}

fn search_twins(size: Size, seeds: std::ops::Range<u64>, most: u64) -> bool {
    let start = cpu_seconds();
    let (mut total, mut failures) = (Tally::default(), 0);
    for seed in seeds {
        match twins::run(size, seed, false) {
            Ok(tally) => total.add(&tally),
            Err(failure) => {
                println!("FAILED {} seed {seed}: {failure}", size.name());
                failures += 1;
                if failures >= most {
                    break;
                }
            }
        }
    }
    let seconds = cpu_seconds() - start;
    let speed = total.messages as f64 / seconds;
    println!(
        "{}: {failures} failures, {speed:.0} messages per CPU-second, {seconds:.1} CPU-seconds\n{total}",
        size.name()
    );
    if total.scenarios >= MANY && !total.never().is_empty() {
        println!("FAILED these never happened, so nothing shows that they do no harm: {:?}", total.never());
        return false;
    }
    failures == 0
}

fn explore_all(arguments: &Arguments) -> Result<bool, String> {
    let (runs, from) = (arguments.needed("--runs")?, arguments.number("--from")?.unwrap_or(0));
    let mut as_expected = true;
    let mutants = Setting::mutants();
    for (setting, is_mutant) in Setting::all()
        .into_iter()
        .map(|setting| (setting, false))
        .chain(mutants.into_iter().map(|setting| (setting, true)))
    {
        let mut chains = Chains::default();
        let (mut total, mut violations, mut first) = (Summary::default(), 0, None);
        for seed in from..from + runs {
            match explore(&setting, seed, &mut chains) {
                Ok(summary) => total.add(&summary),
                Err(violation) => {
                    violations += 1;
                    first.get_or_insert((seed, violation));
                }
            }
        }
        as_expected &= (violations > 0) == is_mutant;
        println!("{setting}: {runs} runs, {violations} violations, {total:?}");
        if let Some((seed, violation)) = first {
            println!("  first: seed {seed}, {violation:?}");
        }
    }
    Ok(as_expected)
}

fn check_models(arguments: &Arguments) -> Result<bool, String> {
    let name = arguments.0.get(1).ok_or("which model?")?;
    let states = arguments.number("--states")?.unwrap_or(u64::MAX);
    let order = match arguments.number("--walks")? {
        Some(seed) => model::Order::Walks { seed },
        None => model::Order::Breadth,
    };
    let chosen: Vec<_> =
        model::Setting::NAMED.into_iter().filter(|(known, _)| name == known || name == "all").collect();
    if chosen.is_empty() {
        return Err(format!("{name}: there is no model of this name"));
    }
    let mut clean = true;
    for (name, setting) in chosen {
        let start = cpu_seconds();
        match model::check(setting, order, states) {
            Ok(summary) => println!("{name}: {summary}, {:.1} CPU-seconds", cpu_seconds() - start),
            Err(violation) => {
                println!("FAILED {name}: {violation}");
                clean = false;
            }
        }
    }
    Ok(clean)
}
