//! The inputs that the fuzzer found worth keeping, each once more.

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use pssmr_fuzz::TARGETS;

#[test]
fn what_the_fuzzer_found_breaks_no_promise() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (name, target) in TARGETS {
        let mut files: Vec<_> = fs::read_dir(corpus.join(name))
            .unwrap_or_else(|error| panic!("{name} has no corpus: {error}"))
            .map(|entry| entry.expect("the folder can be read").path())
            .collect();
        files.sort();
        assert!(files.len() >= 10, "{} inputs of {name} show little", files.len());
        for file in files {
            let input = fs::read(&file).expect("the file can be read");
            let kept = catch_unwind(AssertUnwindSafe(|| target(&input)));
            assert!(kept.is_ok(), "{name} breaks a promise with {}", file.display());
        }
    }
}

#[test]
fn every_corpus_has_its_target() {
    let names: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let folders = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")).expect("there are corpora");
    let found: BTreeSet<_> = folders
        .map(|entry| entry.expect("the folder can be read").file_name().into_string().expect("a name"))
        .collect();
    assert_eq!(found, names);
}
