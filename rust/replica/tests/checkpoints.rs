//! Checkpoints of real replicas: logs that are cut off, restarts from snapshots, and snapshots handed to replicas that lag.

#[allow(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pssmr_execution::services::KeyValue;
use pssmr_ordering::Durability;
use pssmr_replica::{Role, Silent};
use pssmr_types::{Digest, FaultModel, ReplicaId};
use tempfile::TempDir;

use support::{Cluster, TestClient, add, eventually, get, number_of, put};

/// A cluster that takes checkpoints often and keeps little beside them.
fn cluster(model: FaultModel, n: u16, durability: Durability) -> (Cluster, TempDir) {
    let root = tempfile::tempdir().expect("there is a place for temporary files");
    let path = root.path().to_owned();
    let cluster = Cluster::start_with(model, n, KeyValue::new, move |config| {
        config.ordering.durability = durability;
        config.ordering.limits.requests_max = 10;
        config.ordering.checkpoint_slots = 20;
        config.ordering.retained_slots_max = 40;
        config.data_directory = Some(path.join(config.me.to_string()));
    });
    (cluster, root)
}

fn directory(root: &TempDir, replica: u16) -> PathBuf {
    root.path().join(ReplicaId(replica).to_string())
}

fn files(path: &Path, suffix: &str) -> Vec<String> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<_> = names.filter(|name| name.ends_with(suffix)).collect();
    names.sort();
    names
}

/// The state that all of `n` replicas have, as soon as all can tell it.
fn common_state(client: &TestClient, n: usize) -> Digest {
    let mut states = BTreeSet::new();
    eventually("all replicas tell their state", || {
        let digests = client.state_digests();
        states = digests.values().copied().collect();
        digests.len() == n
    });
    assert_eq!(states.len(), 1, "{states:?}");
    states.pop_first().expect("there is one")
}

fn work(client: &TestClient, commands: usize) {
    assert!(client.call_all(vec![add("sum", 1); commands]).iter().all(Result::is_ok));
}

#[test]
fn logs_are_cut_off_at_checkpoints_and_replicas_come_back_from_them() {
    for (model, n) in [(FaultModel::Byzantine, 4), (FaultModel::Crash, 3)] {
        let (mut cluster, root) = cluster(model, n, Durability::Sync);
        let client = cluster.client(0);
        work(&client, 2000);
        client.checkpoint();
        eventually("old snapshots are gone", || {
            (0..n).all(|id| {
                let snapshots = directory(&root, id).join("snapshots");
                let (kept, proven) = (files(&snapshots, ".snapshot"), files(&snapshots, ".certificate"));
                !proven.is_empty() && kept.len() <= 2 && !kept[0].starts_with("00000000000000000020.")
            })
        });
        eventually("all know a checkpoint", || (0..n).all(|id| cluster.status(id).checkpoint > 20));
        let before = common_state(&client, usize::from(n));
        for _ in 0..2 {
            (0..n).for_each(|id| cluster.stop_replica(id));
            (0..n).for_each(|id| cluster.start_replica(id, Arc::new(Silent)));
            assert_eq!(common_state(&client, usize::from(n)), before);
            eventually("all vote", || {
                (0..n).all(|id| cluster.status(id).role != Role::Learner && cluster.status(id).checkpoint > 20)
            });
        }
        work(&client, 500);
        assert_eq!(number_of(client.call(get("sum"))), 2500);
        eventually("checkpoints go on", || (0..n).all(|id| cluster.status(id).snapshots.written > 0));
        common_state(&client, usize::from(n));
    }
}

/// The files that a checkpoint has made superfluous go one by one; here the replica was killed before the last one went.
#[test]
fn what_a_crash_left_of_a_log_that_was_being_cut_off_is_passed_over() {
    let (mut cluster, root) = cluster(FaultModel::Crash, 3, Durability::Sync);
    let client = cluster.client(0);
    work(&client, 200);
    cluster.stop_replica(0);
    cluster.start_replica(0, Arc::new(Silent));
    work(&client, 20);
    common_state(&client, 3);
    let (log, aside) = (directory(&root, 0).join("log"), root.path().join("aside"));
    fs::create_dir(&aside).unwrap();
    let old = files(&log, ".log");
    for name in &old {
        fs::hard_link(log.join(name), aside.join(name)).unwrap();
    }
    assert!(old.len() > 1, "{old:?}");
    eventually("the log is cut off", || {
        client.checkpoint();
        work(&client, 20);
        old.iter().all(|name| !log.join(name).exists())
    });
    let before = common_state(&client, 3);
    cluster.stop_replica(0);
    let last = old.last().unwrap();
    let next = files(&log, ".log").remove(0);
    assert_eq!(number_in(&next), number_in(last) + 1, "nothing is missing between them");
    fs::rename(aside.join(last), log.join(last)).unwrap();
    cluster.start_replica(0, Arc::new(Silent));
    eventually("it votes", || cluster.status(0).role != Role::Learner && cluster.status(0).decided > 20);
    assert_eq!(common_state(&client, 3), before);
}

fn number_in(file: &str) -> u64 {
    file.split('.').next().unwrap().parse().unwrap()
}

#[test]
fn a_replica_that_lags_too_far_is_given_a_snapshot_while_the_others_go_on() {
    for durability in [Durability::Sync, Durability::Memory] {
        let (mut cluster, _root) = cluster(FaultModel::Byzantine, 4, durability);
        let client = cluster.client(0);
        work(&client, 200);
        cluster.stop_replica(3);
        work(&client, 1500);
        // More than one chunk.
        let large = "x".repeat(100_000);
        for key in 0..8 {
            assert!(client.call(put(&format!("large {key}"), &large)).is_ok());
        }
        work(&client, 500);
        cluster.start_replica(3, Arc::new(Silent));
        work(&client, 500);
        common_state(&client, 4);
        client.checkpoint();
        eventually("it has the proof", || cluster.status(3).checkpoint > 100);
        eventually("it votes", || cluster.status(3).role != Role::Learner);
        // It is one of the quorum.
        cluster.stop_replica(1);
        work(&client, 300);
        common_state(&client, 3);
        assert_eq!(number_of(client.call(get("sum"))), 3000);
    }
}

#[test]
fn a_snapshot_that_a_replica_needs_and_can_not_read_comes_from_the_others() {
    let (mut cluster, root) = cluster(FaultModel::Byzantine, 4, Durability::Sync);
    let client = cluster.client(0);
    work(&client, 1000);
    client.checkpoint();
    eventually("it has a checkpoint", || cluster.status(2).checkpoint > 20);
    let before = common_state(&client, 4);
    cluster.stop_replica(2);
    let snapshots = directory(&root, 2).join("snapshots");
    for name in files(&snapshots, ".snapshot") {
        let path = snapshots.join(name);
        let mut bytes = fs::read(&path).expect("a snapshot");
        // In its first chunk.
        bytes[4096 + 50] ^= 1;
        fs::write(&path, bytes).expect("it can be written");
    }
    cluster.start_replica(2, Arc::new(Silent));
    assert_eq!(common_state(&client, 4), before);
    work(&client, 500);
    common_state(&client, 4);
    eventually("it votes", || cluster.status(2).role != Role::Learner);
    // And once more, from what it was given.
    cluster.stop_replica(2);
    cluster.start_replica(2, Arc::new(Silent));
    work(&client, 100);
    common_state(&client, 4);
    eventually("it votes still", || cluster.status(2).role != Role::Learner);
}

#[test]
fn a_replica_with_an_empty_disk_gets_all_of_the_state() {
    let (mut cluster, root) = cluster(FaultModel::Byzantine, 4, Durability::Sync);
    let client = cluster.client(0);
    work(&client, 1500);
    cluster.stop_replica(2);
    fs::remove_dir_all(directory(&root, 2)).expect("it is there");
    cluster.start_replica(2, Arc::new(Silent));
    work(&client, 100);
    common_state(&client, 4);
}

#[test]
fn a_replica_that_lost_its_disk_and_is_told_so_follows_without_a_vote() {
    let (mut cluster, root) = cluster(FaultModel::Crash, 3, Durability::Sync);
    let client = cluster.client(0);
    work(&client, 1500);
    cluster.stop_replica(2);
    fs::remove_dir_all(directory(&root, 2)).expect("it is there");
    fs::create_dir(directory(&root, 2)).expect("it can be made");
    fs::write(directory(&root, 2).join("voted"), b"").expect("it can be written");
    cluster.start_replica(2, Arc::new(Silent));
    work(&client, 100);
    common_state(&client, 3);
    eventually("it says so", || cluster.status(2).decided > 100);
    assert_eq!(cluster.status(2).role, Role::Learner);
}

#[test]
fn a_replica_without_its_log_and_snapshots_knows_how_far_it_may_have_voted() {
    let (mut cluster, root) = cluster(FaultModel::Byzantine, 4, Durability::Sync);
    let client = cluster.client(0);
    work(&client, 1000);
    cluster.stop_replica(2);
    for part in ["log", "snapshots"] {
        fs::remove_dir_all(directory(&root, 2).join(part)).expect("it is there");
    }
    cluster.start_replica(2, Arc::new(Silent));
    work(&client, 1000);
    common_state(&client, 4);
    eventually("it votes", || cluster.status(2).role == Role::Follower);
}
