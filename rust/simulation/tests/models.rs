//! Every order of events in very small clusters of the real core, and deep ways through somewhat larger ones.
//! `cargo run -p pssmr-simulation --release -- check-model` does longer searches.

use pssmr_simulation::model::{Order, Setting, check};
use pssmr_types::FaultModel;

fn named(name: &str) -> Setting {
    Setting::named(name).expect("it is among the settings")
}

#[test]
fn in_no_state_of_a_small_cluster_do_replicas_disagree() {
    let summary =
        check(named("cft3-small"), Order::Breadth, u64::MAX).unwrap_or_else(|violation| panic!("{violation}"));
    println!("{summary}");
    assert!(summary.is_complete && summary.states > 1_000_000, "{summary}");
    assert!(summary.decided > 0 && summary.views[1] > 0, "what decides nothing, or changes no view, shows nothing");
}

#[test]
fn no_deep_way_through_three_views_ends_in_a_disagreement() {
    for name in ["cft3", "cft3-restarts", "bft4-silent", "bft4-leader", "bft4-next-leader"] {
        let summary = check(named(name), Order::Walks { seed: 0 }, 6_000);
        let summary = summary.unwrap_or_else(|violation| panic!("{name}: {violation}"));
        println!("{name}: {summary}");
        assert!(summary.decided > 0 && summary.depth > 20 && summary.views[1] > 0, "{name}: {summary}");
    }
}

#[test]
fn a_leader_who_equivocates_where_only_crashes_are_survived_is_found_out() {
    let setting =
        Setting { model: FaultModel::Crash, replicas: 3, byzantine: Some(0), slots: 2, views: 1, restarts: 0 };
    let violation = check(setting, Order::Breadth, 100_000).expect_err("two replicas decide two things");
    assert!(violation.what.contains("something else"), "{violation}");
    assert!(violation.trace.len() <= 6, "one of the shortest ways: {violation}");
}
