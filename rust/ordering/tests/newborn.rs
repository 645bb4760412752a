//! Replicas that remember nothing: new ones, and such as have lost their disk.

mod cluster;

use cluster::{Cluster, command, opening};
use pssmr_ordering::{Config, Durability, Input, Promise};
use pssmr_types::{FaultModel, ReplicaId, Slot, View};

fn cft(n: usize) -> Cluster {
    Cluster::new(FaultModel::Crash, n, &Config { durability: Durability::Sync, ..Config::default() })
}

fn learners(cluster: &Cluster) -> Vec<bool> {
    cluster.cores.iter().map(|core| core.status().learner).collect()
}

#[test]
fn a_cluster_begins_when_its_replicas_have_heard_that_nothing_has_begun() {
    let mut cluster = cft(3);
    cluster.down[2] = true;
    cluster.begin();
    cluster.pass(2000);
    assert_eq!(learners(&cluster)[..2], [true, true], "the third could know of something");
    cluster.down[2] = false;
    cluster.restart(2);
    cluster.settle();
    assert_eq!(learners(&cluster), [false; 3]);
    let session = cluster.open_session();
    cluster.send(&command(session, 1));
    cluster.settle();
    assert!((0..3).all(|replica| cluster.executed(replica) == [1]));
}

/// Simulator, cft3 seed 3007967: it had taken the others at their word, and led a slot that they did not remember of.
#[test]
fn a_cluster_begins_only_when_a_quorum_will_remember_that_it_has() {
    let mut cluster = cft(3);
    cluster.quick_promises = false;
    cluster.begin();
    assert_eq!(learners(&cluster), [false; 3]);
    // Only the leader's promise gets to its disk before the others lose power.
    cluster.promises[0] = Promise { view: View(0), slot_limit: Slot(128) };
    cluster.step(0, Input::Promised(cluster.promises[0]));
    cluster.send(&opening(7));
    cluster.settle();
    assert_eq!(cluster.cores[0].head(), Slot(0));
    cluster.quick_promises = true;
    cluster.lose_disk(1);
    cluster.lose_disk(2);
    cluster.settle();
    assert_eq!(learners(&cluster), [false; 3], "there is nothing that they could have forgotten");
    let session = cluster.open_session();
    cluster.send(&command(session, 1));
    cluster.settle();
    assert!((0..3).all(|replica| cluster.executed(replica) == [1]));
}

#[test]
fn with_more_replicas_not_all_of_them_have_to_be_there() {
    let mut cluster = cft(5);
    cluster.down[4] = true;
    cluster.begin();
    assert_eq!(learners(&cluster)[..4], [false; 4], "three of four others have spoken");
    cluster.down[3] = true;
    cluster.lose_disk(0);
    cluster.settle();
    assert!(learners(&cluster)[0], "two of four are not enough");
}

#[test]
fn what_was_decided_is_not_lost_with_a_disk() {
    let mut cluster = cft(3);
    cluster.begin();
    let session = cluster.open_session();
    cluster.send(&command(session, 1));
    cluster.settle_without(|_, to, _| to == ReplicaId(2));
    assert_eq!((cluster.executed(0), cluster.executed(1)), (vec![1], vec![1]));
    let before = cluster.cores[2].decided();
    // One of the two that know is gone, the other one forgets.
    cluster.down[0] = true;
    cluster.lose_disk(1);
    cluster.send(&command(session, 2));
    cluster.pass(20_000);
    assert_eq!(cluster.cores[2].decided(), before, "nothing is decided without the one that knows");
    assert!(learners(&cluster)[1]);
    cluster.down[0] = false;
    cluster.restart(0);
    // Its client tries again.
    cluster.send(&command(session, 2));
    cluster.pass(20_000);
    assert!((0..3).all(|replica| cluster.executed(replica) == [1, 2]));
    cluster.assert_agreement();
    assert_eq!(learners(&cluster), [false; 3], "it votes again");
}

#[test]
fn one_that_was_started_late_votes_soon() {
    let mut cluster = cft(5);
    cluster.down[4] = true;
    cluster.begin();
    let session = cluster.open_session();
    cluster.send(&command(session, 1));
    cluster.settle();
    cluster.down[4] = false;
    cluster.lose_disk(4);
    cluster.settle();
    assert!(learners(&cluster)[4]);
    cluster.pass(5_000);
    assert_eq!(learners(&cluster), [false; 5]);
    assert_eq!(cluster.executed(4), [1]);
}

#[test]
fn where_replicas_may_do_anything_one_that_forgets_does_not_ask() {
    let mut cluster =
        Cluster::new(FaultModel::Byzantine, 4, &Config { durability: Durability::Sync, ..Config::default() });
    cluster.down[3] = true;
    cluster.begin();
    assert_eq!(learners(&cluster)[..3], [false; 3]);
    let session = cluster.open_session();
    cluster.send(&command(session, 1));
    cluster.settle();
    assert!((0..3).all(|replica| cluster.executed(replica) == [1]));
}
