//! What replicas remember when they are stopped and started again, by durability.

#[allow(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use pssmr_execution::services::KeyValue;
use pssmr_ordering::Durability;
use pssmr_replica::{Replica, ReplicaEvent, Role, Silent};
use pssmr_types::{Digest, FaultModel, ReplicaId};
use tempfile::TempDir;

use support::{Cluster, TestClient, add, configs, eventually, get, number_of, put, value_of};

/// A cluster whose replicas have a data directory each below the one returned.
fn cluster(model: FaultModel, n: u16, durability: Durability) -> (Cluster, TempDir) {
    let root = tempfile::tempdir().expect("there is a place for temporary files");
    let path = root.path().to_owned();
    let cluster = Cluster::start_with(model, n, KeyValue::new, move |config| {
        config.ordering.durability = durability;
        // Many slots for few commands.
        config.ordering.limits.requests_max = 10;
        config.data_directory = Some(path.join(config.me.to_string()));
    });
    (cluster, root)
}

fn restart(cluster: &mut Cluster, replicas: impl Iterator<Item = u16> + Clone) {
    replicas.clone().for_each(|id| cluster.stop_replica(id));
    replicas.for_each(|id| cluster.start_replica(id, Arc::new(Silent)));
}

/// The state that all `n` replicas have, as soon as all can tell it.
fn common_state(client: &TestClient, n: u16) -> Digest {
    let mut states = BTreeSet::new();
    eventually("all replicas tell their state", || {
        let digests = client.state_digests();
        states = digests.values().copied().collect();
        digests.len() == usize::from(n)
    });
    assert_eq!(states.len(), 1, "{states:?}");
    states.pop_first().expect("there is one")
}

fn all_vote(cluster: &Cluster, n: u16) -> bool {
    (0..n).all(|id| matches!(cluster.status(id).role, Role::Leader | Role::Follower))
}

fn a_restart_of_all_keeps_the_state_and_the_votes(model: FaultModel, n: u16, durability: Durability) {
    let (mut cluster, _root) = cluster(model, n, durability);
    let client = cluster.client(0);
    let mut state = None;
    for total in [300, 600] {
        assert!(client.call_all(vec![add("sum", 1); 300]).iter().all(Result::is_ok));
        let before = common_state(&client, n);
        assert_ne!(Some(before), state, "the state shows what was done");
        restart(&mut cluster, 0..n);
        eventually("all are back", || (0..n).all(|id| cluster.status(id).decided > 0));
        assert!(all_vote(&cluster, n), "nobody forgot");
        // The client, which was connected all the time, goes on with the session it had.
        assert_eq!(common_state(&client, n), before);
        assert_eq!(number_of(client.call(get("sum"))), total);
        assert!((0..n).all(|id| cluster.status(id).log_error.is_none()));
        state = Some(before);
    }
}

#[test]
fn four_synced_replicas_come_back_as_they_were() {
    a_restart_of_all_keeps_the_state_and_the_votes(FaultModel::Byzantine, 4, Durability::Sync);
}

#[test]
fn three_replicas_that_do_not_wait_for_the_disk_come_back_as_they_were() {
    a_restart_of_all_keeps_the_state_and_the_votes(FaultModel::Crash, 3, Durability::Async);
}

#[test]
fn a_single_replica_replays_thousands_of_slots() {
    let (mut cluster, _root) = cluster(FaultModel::Crash, 1, Durability::Sync);
    let client = cluster.client(0);
    let additions: Vec<_> = (0..30_000).map(|i| add(&format!("key {}", i % 100), 1)).collect();
    assert!(client.call_all(additions).iter().all(Result::is_ok));
    let before = common_state(&client, 1);
    restart(&mut cluster, 0..1);
    eventually("what was decided is decided: ten commands a slot", || cluster.status(0).decided >= 3000);
    assert_eq!(common_state(&client, 1), before);
    let sum: i64 = (0..100).map(|key| number_of(client.call(get(&format!("key {key}"))))).sum();
    assert_eq!(sum, 30_000);
}

#[test]
fn a_replica_that_missed_slots_while_it_was_down_gets_them_from_the_others_and_votes() {
    let (mut cluster, _root) = cluster(FaultModel::Byzantine, 4, Durability::Sync);
    let client = cluster.client(0);
    assert!(client.call_all(vec![add("sum", 1); 200]).iter().all(Result::is_ok));
    cluster.stop_replica(3);
    assert!(client.call_all(vec![add("sum", 1); 200]).iter().all(Result::is_ok));
    cluster.start_replica(3, Arc::new(Silent));
    cluster.stop_replica(2);
    assert!(client.call_all(vec![add("sum", 1); 200]).iter().all(Result::is_ok), "the quorum needs replica 3");
    cluster.start_replica(2, Arc::new(Silent));
    assert_eq!(number_of(client.call(get("sum"))), 600);
    common_state(&client, 4);
}

#[test]
fn a_replica_that_forgot_learns_and_votes_again_though_nobody_asks_for_anything() {
    for (model, n) in [(FaultModel::Byzantine, 4), (FaultModel::Crash, 3)] {
        let (mut cluster, _root) = cluster(model, n, Durability::Memory);
        let client = cluster.client(0);
        assert!(client.call_all(vec![add("sum", 1); 300]).iter().all(Result::is_ok));
        for forgetful in [n - 1, 0] {
            eventually("it has voted", || cluster.status(forgetful).decided > 0);
            restart(&mut cluster, forgetful..=forgetful);
            // What it says of itself before it has decided anything does not count.
            eventually("it votes again", || cluster.status(forgetful).decided > 0 && all_vote(&cluster, n));
        }
        cluster.stop_replica(1);
        client.call(add("sum", 1)).expect("the quorum needs those that forgot");
        assert_eq!(number_of(client.call(get("sum"))), 301);
        cluster.start_replica(1, Arc::new(Silent));
        common_state(&client, n);
    }
}

#[test]
fn a_cluster_of_which_too_many_forgot_contradicts_nothing_and_goes_no_further() {
    let (mut cluster, _root) = cluster(FaultModel::Byzantine, 4, Durability::Memory);
    let client = cluster.client(0);
    client.call(put("a", "1")).expect("all run");
    (0..4).for_each(|id| eventually("it has voted", || cluster.status(id).decided > 0));
    restart(&mut cluster, 2..4);
    let learn = || [2, 3].map(|id| cluster.status(id).role) == [Role::Learner; 2];
    eventually("both know that they forgot", learn);
    let mut impatient = cluster.client_config(1);
    impatient.request_timeout = Duration::from_secs(2);
    let result = TestClient::connect(&impatient).call(put("a", "2"));
    assert!(result.is_err(), "two that remember are no quorum: {result:?}");
    assert!(learn());
}

#[test]
fn a_result_that_a_client_did_not_get_is_not_computed_again_after_a_restart() {
    let (mut cluster, _root) = cluster(FaultModel::Byzantine, 4, Durability::Sync);
    let client = cluster.client(0);
    client.call(put("name", "Ann")).expect("all run");
    for _ in 0..3 {
        let waiting = client.submit((0..500).map(|_| pssmr_client::Work::Command(add("sum", 1))).collect());
        restart(&mut cluster, 0..4);
        assert!(client.wait_for(waiting).iter().all(Result::is_ok));
    }
    assert_eq!(number_of(client.call(get("sum"))), 1500);
    assert_eq!(&value_of(client.call(get("name")))[1..], b"Ann");
    common_state(&client, 4);
}

#[test]
fn durability_without_a_place_for_it_is_refused() {
    for (durability, name) in [(Durability::Sync, "sync"), (Durability::Async, "async")] {
        let mut config = configs(FaultModel::Crash, 1).remove(0);
        config.ordering.durability = durability;
        config.data_directory = None;
        let refused = Replica::start(&config, Arc::new(KeyValue::new()), Arc::new(Silent)).map(drop);
        let text = refused.expect_err("it can't keep its word").to_string();
        assert!(text.contains(name) && text.contains("data directory"), "{text}");
    }
}

/// A linear congruential generator: the same draws on each run.
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

/// Does to a file what a failing disk may: flips a bit, cuts it short, or leaves zeros or anything in some sectors.
fn damage(file: &Path, draw: &mut Draw) {
    let mut bytes = std::fs::read(file).expect("the file is there");
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let start = draw.below(used);
    let end = (start + draw.below(2000)).min(used);
    match draw.below(4) {
        0 => bytes[start] ^= 1 << draw.below(8),
        1 => bytes.truncate(start),
        2 => bytes[start..end].fill(0),
        _ => bytes[start..end].iter_mut().for_each(|byte| *byte = draw.below(256) as u8),
    }
    std::fs::write(file, bytes).expect("the file can be written");
}

/// The files of a replica's log.
fn segments(root: &Path, id: u16) -> Vec<PathBuf> {
    let log = root.join(ReplicaId(id).to_string()).join("log");
    let files = std::fs::read_dir(log).expect("there is a log").map(|entry| entry.expect("it can be read").path());
    let mut segments: Vec<_> = files.filter(|file| file.extension().is_some_and(|end| end == "log")).collect();
    segments.sort();
    segments
}

#[test]
fn a_replica_whose_log_was_damaged_gets_what_it_lost_from_the_others_and_votes_again() {
    let mut draw = Draw(7);
    let (mut cluster, root) = cluster(FaultModel::Byzantine, 4, Durability::Sync);
    let client = cluster.client(0);
    for (total, victim) in (1..).zip([3, 1, 3, 2]) {
        assert!(client.call_all(vec![add("sum", 1); 100]).iter().all(Result::is_ok));
        let before = common_state(&client, 4);
        cluster.stop_replica(victim);
        let segments = segments(root.path(), victim);
        damage(&segments[draw.below(segments.len())], &mut draw);
        cluster.start_replica(victim, Arc::new(Silent));
        eventually("it votes", || cluster.status(victim).decided > 0 && all_vote(&cluster, 4));
        assert_eq!(common_state(&client, 4), before);
        assert_eq!(number_of(client.call(get("sum"))), 100 * total);
    }
    // What was made good is good: no replica has to learn again, or three of them could not go on.
    client.call(add("sum", 1)).expect("all run");
    let before = common_state(&client, 4);
    restart(&mut cluster, 0..4);
    eventually("all vote", || (0..4).all(|id| cluster.status(id).decided > 0) && all_vote(&cluster, 4));
    assert_eq!(common_state(&client, 4), before);
}

#[test]
fn a_replica_whose_promise_was_removed_does_not_vote_by_its_log_alone() {
    let (mut cluster, root) = cluster(FaultModel::Byzantine, 4, Durability::Sync);
    let client = cluster.client(0);
    assert!(client.call_all(vec![add("sum", 1); 100]).iter().all(Result::is_ok));
    common_state(&client, 4);
    cluster.stop_replica(3);
    for name in ["promise-a", "promise-b"] {
        std::fs::remove_file(root.path().join("r3").join(name)).expect("the replica has promised");
    }
    cluster.start_replica(3, Arc::new(Silent));
    // Nothing bounds what it may have said, so it follows for good.
    assert!(client.call_all(vec![add("sum", 1); 1000]).iter().all(Result::is_ok));
    common_state(&client, 4);
    eventually("the role shows", || cluster.status(3).decided > 0);
    assert_eq!(cluster.status(3).role, Role::Learner);
}

#[test]
fn the_status_adds_up() {
    const COMMANDS: u64 = 300;
    let (cluster, _root) = cluster(FaultModel::Crash, 1, Durability::Sync);
    let client = cluster.client(0);
    assert!(client.call_all(vec![add("sum", 1); COMMANDS as usize]).iter().all(Result::is_ok));
    // What the threads show is some milliseconds old.
    eventually("the status shows all commands", || cluster.status(0).counters.commands == COMMANDS);
    eventually("all is written", || cluster.status(0).log.queued_bytes == 0);
    let status = cluster.status(0);
    assert_eq!(status.slot_commands.sum, COMMANDS);
    assert_eq!(status.slot_commands.count, status.counters.slots);
    assert_eq!((status.execution.submitted, status.execution.completed), (COMMANDS, COMMANDS));
    assert_eq!((status.execution.pending, status.lag), (0, 0));
    assert_eq!((status.execution.workers, status.execution.worker.len()), (2, 2));
    assert!(status.execution.worker.iter().any(|worker| worker.busy_ns > 0));
    assert!(status.request_ns.count >= 1 && status.request_ns.sum > 0, "{:?}", status.request_ns);
    assert!(status.request_ns.count <= COMMANDS);
    assert!(status.log.records >= status.counters.slots && status.log.bytes > 0, "{:?}", status.log);
    assert_eq!(status.log.group_records.sum, status.log.records);
    assert!((1..=status.log.group_records.count).contains(&status.log.sync_ns.count), "{:?}", status.log);
    assert!(status.client_links.frames_received > 0 && status.client_links.links_up == 1, "{:?}", status.client_links);
}

#[test]
fn workers_can_be_added_and_removed_under_way() {
    let (cluster, _root) = cluster(FaultModel::Crash, 1, Durability::Memory);
    let client = cluster.client(0);
    for workers in [5, 1, 3] {
        cluster.replica(0).resize_workers(workers).expect("there is memory for some threads");
        assert_eq!(cluster.status(0).execution.workers, workers);
        assert!(client.call_all(vec![add("sum", 1); 100]).iter().all(Result::is_ok));
    }
}

#[test]
fn a_replica_whose_directory_was_emptied_learns_it_and_follows_until_it_may_vote() {
    let (mut cluster, root) = cluster(FaultModel::Crash, 3, Durability::Sync);
    let client = cluster.client(0);
    assert!(client.call_all(vec![add("sum", 1); 100]).iter().all(Result::is_ok));
    cluster.stop_replica(1);
    std::fs::remove_dir_all(root.path().join(ReplicaId(1).to_string())).expect("it is there");
    let (told, events) = channel();
    cluster.start_replica(1, Arc::new(move |event: &ReplicaEvent| drop(told.send(event.clone()))));
    eventually("the others have told it", || {
        events.try_iter().any(|event| matches!(event, ReplicaEvent::Forgotten { .. }))
    });
    assert!(client.call_all(vec![add("sum", 1); 100]).iter().all(Result::is_ok));
    eventually("all vote", || all_vote(&cluster, 3));
    cluster.stop_replica(0);
    assert!(client.call_all(vec![add("sum", 1); 100]).iter().all(Result::is_ok));
    assert_eq!(number_of(client.call(get("sum"))), 300);
}
