//! The house: which crate may know which.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

/// The crates of this workspace that each crate may use, and the only outside crates that are reserved to some.
const MAY_USE: [(&str, &[&str]); 12] = [
    ("pssmr-types", &[]),
    ("pssmr-ordering", &["pssmr-types"]),
    ("pssmr-recording", &["pssmr-types", "pssmr-ordering"]),
    ("pssmr-execution", &["pssmr-types"]),
    ("pssmr-storage", &["pssmr-types"]),
    ("pssmr-transport", &["pssmr-types"]),
    ("pssmr-client", &["pssmr-types", "pssmr-transport"]),
    (
        "pssmr-replica",
        &["pssmr-types", "pssmr-ordering", "pssmr-recording", "pssmr-execution", "pssmr-storage", "pssmr-transport"],
    ),
    ("pssmr-simulation", &["pssmr-types", "pssmr-ordering", "pssmr-recording"]),
    ("pssmr-fuzz", &["pssmr-types", "pssmr-ordering", "pssmr-storage", "pssmr-transport"]),
    (
        "pssmr-python",
        &[
            "pssmr-types",
            "pssmr-ordering",
            "pssmr-recording",
            "pssmr-execution",
            "pssmr-transport",
            "pssmr-replica",
            "pssmr-client",
        ],
    ),
    ("pssmr", &["pssmr-types", "pssmr-ordering", "pssmr-execution"]),
];

/// Outside crates that only these crates may use: sockets, files' locks, interpreters, randomness.
const RESERVED: [(&str, &[&str]); 4] = [
    ("pyo3", &["pssmr-python"]),
    ("mio", &["pssmr-transport"]),
    ("rustls", &["pssmr-transport"]),
    ("getrandom", &["pssmr-client", "pssmr-storage", "pssmr-transport", "pssmr-python"]),
];

fn dependencies() -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let text = |value: &Value| value.as_str().expect("a name").to_owned();
    let of = |package: &Value| {
        let all = package["dependencies"].as_array().expect("a list");
        all.iter().filter(|d| d["kind"].is_null()).map(|d| text(&d["name"])).collect()
    };
    let packages = metadata["packages"].as_array().expect("a list");
    packages.iter().map(|package| (text(&package["name"]), of(package))).collect()
}

#[test]
fn crates_use_only_what_is_below_them() {
    let found = dependencies();
    let known: Vec<_> = MAY_USE.iter().map(|(name, _)| *name).collect();
    for (name, uses) in &found {
        let Some((_, allowed)) = MAY_USE.iter().find(|(known, _)| known == name) else {
            panic!("{name} is new: say here what it may use");
        };
        for used in uses.iter().filter(|used| known.contains(&used.as_str())) {
            assert!(allowed.contains(&used.as_str()), "{name} may not use {used}");
        }
    }
    assert_eq!(found.len(), MAY_USE.len(), "a crate is gone: take it off the list");
}

#[test]
fn sockets_and_the_interpreter_have_one_door_each() {
    for (name, uses) in dependencies() {
        for (reserved, allowed) in RESERVED {
            let is_used = uses.iter().any(|used| used == reserved);
            assert!(!is_used || allowed.contains(&name.as_str()), "{name} may not use {reserved}");
        }
    }
}
