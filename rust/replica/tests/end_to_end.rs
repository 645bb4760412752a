//! Whole clusters over TLS on the loopback, with the native key-value store.

#[allow(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::time::Duration;

use pssmr_client::{RequestError, Response, Work};
use pssmr_execution::services::{KeyValue, Null};
use pssmr_replica::{StepDownError, StepDownRefusal, SteppedDown};
use pssmr_types::{FaultModel, ReplicaId};

use support::{Cluster, TestClient, add, eventually, get, number_of, put, value_of};

/// Pipelines additions to a few counters, and checks that each was executed once, everywhere.
fn executes_each_command_once_everywhere(model: FaultModel, n: u16) {
    let cluster = Cluster::start(model, n, KeyValue::new);
    let client = cluster.client(0);
    let additions = (0..5000).map(|i| add(["ann", "bob", "cid"][i % 3], 1)).collect();
    assert!(client.call_all(additions).iter().all(Result::is_ok));
    let sum: i64 = ["ann", "bob", "cid"].iter().map(|key| number_of(client.call(get(key)))).sum();
    assert_eq!(sum, 5000);
    let digests = client.state_digests();
    assert_eq!(digests.len(), usize::from(n));
    assert!(digests.values().all(|digest| *digest == digests[&ReplicaId(0)]), "{digests:?}");
}

#[test]
fn four_byzantine_replicas_execute_each_command_once_everywhere() {
    executes_each_command_once_everywhere(FaultModel::Byzantine, 4);
}

#[test]
fn three_crash_replicas_execute_each_command_once_everywhere() {
    executes_each_command_once_everywhere(FaultModel::Crash, 3);
}

#[test]
fn a_single_replica_is_a_cluster() {
    executes_each_command_once_everywhere(FaultModel::Crash, 1);
}

#[test]
fn a_client_that_starts_again_opens_another_session_and_finds_its_data() {
    let cluster = Cluster::start(FaultModel::Byzantine, 4, KeyValue::new);
    let first = cluster.client(0);
    first.call(put("name", "Ann")).unwrap();
    let session = first.client.status().session;
    first.client.close();
    let second = cluster.client(0);
    assert_eq!(&value_of(second.call(get("name")))[1..], b"Ann");
    assert_ne!(second.client.status().session, session);
}

#[test]
fn several_clients_also_with_one_key_get_their_own_replies() {
    let cluster = Cluster::start(FaultModel::Byzantine, 4, KeyValue::new);
    let clients: Vec<TestClient> = [0, 0, 1, 2].into_iter().map(|name| cluster.client(name)).collect();
    let mut waiting = Vec::new();
    for (i, client) in (0..).zip(&clients) {
        let writes = (0..200).map(|_| Work::Command(add(&format!("key {i}"), 1 + i)));
        waiting.push(client.submit(writes.collect()));
    }
    for (client, tokens) in clients.iter().zip(waiting) {
        assert!(client.wait_for(tokens).iter().all(Result::is_ok));
    }
    for (i, client) in (0..).zip(&clients) {
        assert_eq!(number_of(client.call(get(&format!("key {i}")))), 200 * (1 + i));
    }
}

#[test]
fn a_stopped_leader_is_replaced_and_no_command_is_lost_or_doubled() {
    for (model, n) in [(FaultModel::Byzantine, 4), (FaultModel::Crash, 3)] {
        let mut cluster = Cluster::start(model, n, KeyValue::new);
        let client = cluster.client(0);
        client.call(add("sum", 1)).unwrap();
        let mut waiting = Vec::new();
        for burst in 0..20 {
            if burst == 10 {
                cluster.stop_replica(0);
            }
            waiting.push(client.submit((0..100).map(|_| Work::Command(add("sum", 1))).collect()));
        }
        let tokens = waiting[0].start..waiting[19].end;
        assert!(client.wait_for(tokens).iter().all(Result::is_ok));
        assert_eq!(number_of(client.call(get("sum"))), 2001);
        // What a replica shows of itself is some milliseconds old.
        eventually("the view change shows", || cluster.status(1).view >= 1);
        let digests = client.state_digests();
        assert_eq!(digests.len(), usize::from(n) - 1);
        assert!(digests.values().all(|digest| *digest == digests[&ReplicaId(1)]), "{digests:?}");
    }
}

#[test]
fn a_leader_steps_down_under_load_without_any_time_out_and_no_command_is_lost_or_doubled() {
    for (model, n) in [(FaultModel::Byzantine, 4), (FaultModel::Crash, 3)] {
        // Whoever waited for a time-out would wait for longer than the test does.
        let cluster = Cluster::start_with(model, n, KeyValue::new, |config| {
            config.ordering.request_timeout = Duration::from_secs(600);
            config.ordering.request_timeout_max = Duration::from_secs(600);
        });
        let client = cluster.client(0);
        client.call(add("sum", 1)).unwrap();
        let mut waiting = Vec::new();
        for burst in 0..20 {
            if burst % 5 == 2 {
                let view = burst / 5 + 1;
                let (old, new) = ((view - 1) as u16 % n, view as u16 % n);
                eventually("it leads", || cluster.status(old).view == view - 1 && cluster.status(old).active);
                assert_eq!(cluster.replica(old).step_down(), Ok(SteppedDown { view, leader: new }));
            }
            waiting.push(client.submit((0..100).map(|_| Work::Command(add("sum", 1))).collect()));
        }
        let tokens = waiting[0].start..waiting[19].end;
        assert!(client.wait_for(tokens).iter().all(Result::is_ok));
        assert_eq!(number_of(client.call(get("sum"))), 2001);
        eventually("the view change shows", || (0..n).all(|id| cluster.status(id).view == 4));
        let digests = client.state_digests();
        assert_eq!(digests.len(), usize::from(n));
        assert!(digests.values().all(|digest| *digest == digests[&ReplicaId(0)]), "{digests:?}");
    }
}

#[test]
fn with_crash_faults_an_idle_client_is_told_who_leads_now() {
    let cluster = Cluster::start(FaultModel::Crash, 3, KeyValue::new);
    let client = cluster.client(0);
    client.call(add("sum", 1)).unwrap();
    eventually("it knows the leader", || client.client.status().leader == ReplicaId(0));
    cluster.replica(0).step_down().unwrap();
    eventually("it knows the next one, without having asked", || client.client.status().leader == ReplicaId(1));
}

#[test]
fn only_the_leader_steps_down_and_only_while_it_runs() {
    let mut cluster = Cluster::start(FaultModel::Crash, 3, KeyValue::new);
    let refusal = StepDownRefusal::NotLeading { leader: ReplicaId(0) };
    assert_eq!(cluster.replica(2).step_down(), Err(StepDownError::Refused(refusal)));
    let stopped = cluster.replicas[0].take().expect("it runs");
    stopped.stop();
    assert_eq!(stopped.step_down(), Err(StepDownError::Stopped));
}

#[test]
fn long_results_arrive_whole_though_one_replica_sends_them_and_it_may_be_gone() {
    let mut cluster = Cluster::start(FaultModel::Byzantine, 4, || Null::new(100_000));
    let client = cluster.client(0);
    let lengths = |client: &TestClient| -> Vec<usize> {
        let results = client.call_all(vec![b"".as_slice().into(); 20]);
        results.into_iter().map(|result| value_of(result).len()).collect()
    };
    assert_eq!(lengths(&client), [100_005; 20]);
    cluster.stop_replica(3);
    assert_eq!(lengths(&client), [100_005; 20]);
}

#[test]
fn a_result_beyond_the_limit_is_a_failure_that_all_replicas_agree_on() {
    let cluster = Cluster::start_with(
        FaultModel::Byzantine,
        4,
        || Null::new(2000),
        |config| config.limits.result_bytes_max = 1000,
    );
    let result = cluster.client(0).call(b"".as_slice().into());
    let Ok(Response::Result(reply)) = result else { panic!("{result:?}") };
    assert_eq!(reply, pssmr_execution::reply::handler_failed("ResultTooLarge"));
}

#[test]
fn a_replica_with_too_much_to_do_says_so() {
    let mut cluster = Cluster::start_with(FaultModel::Byzantine, 4, KeyValue::new, |config| {
        config.ordering.pending_requests_max = 1;
    });
    let mut config = cluster.client_config(0);
    config.request_timeout = Duration::from_secs(3);
    let client = TestClient::connect(&config);
    client.call(put("a", "1")).unwrap();
    // Nothing is decided any more.
    (2..4).for_each(|id| cluster.stop_replica(id));
    let results = client.call_all((0..5).map(|i| put("b", &i.to_string())).collect());
    let count = |error| results.iter().filter(|result| **result == Err(error)).count();
    assert_eq!((count(RequestError::Busy), count(RequestError::OutcomeUnknown)), (4, 1), "{results:?}");
}

#[test]
fn a_client_that_no_replica_knows_is_told_so() {
    let cluster = Cluster::start(FaultModel::Crash, 1, KeyValue::new);
    let mut config = cluster.client_config(0);
    config.secret = support::client_secret(50);
    config.request_timeout = Duration::from_secs(1);
    let client = TestClient::connect(&config);
    assert_eq!(client.call(get("a")), Err(RequestError::NoQuorum { reachable: 0, needed: 1 }));
    let why = client.client.status().links[&ReplicaId(0)].last_error.clone().unwrap();
    assert!(why.contains("does not accept our key"), "{why}");
}

#[test]
fn a_replica_tells_a_client_how_it_is() {
    let cluster = Cluster::start(FaultModel::Byzantine, 4, KeyValue::new);
    let client = cluster.client(0);
    client.call(put("a", "1")).unwrap();
    eventually("all are decided", || cluster.status(2).decided >= 2);
    let result = client.do_all(vec![Work::Status(ReplicaId(2))]).remove(0);
    let Ok(Response::Status(json)) = result else { panic!("{result:?}") };
    let status: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!((&status["id"], &status["role"], &status["leader"]), (&2.into(), &"follower".into(), &0.into()));
    assert_eq!(status["sessions"], 1);
    assert_eq!(status["peers"].as_array().unwrap().len(), 3);
    assert!(status["peers"].as_array().unwrap().iter().all(|peer| peer["up"] == true), "{status}");
}

#[test]
fn a_session_that_made_place_for_others_has_expired_and_the_client_opens_another() {
    let cluster = Cluster::start_with(FaultModel::Byzantine, 4, KeyValue::new, |config| {
        config.ordering.sessions_per_client_max = 1;
    });
    let first = cluster.client(0);
    first.call(add("sum", 1)).unwrap();
    let second = cluster.client(0);
    second.call(add("sum", 1)).unwrap();
    assert_eq!(first.call(add("sum", 1)), Err(RequestError::SessionExpired));
    assert_eq!(number_of(first.call(get("sum"))), 2);
    eventually("one session is left", || cluster.status(0).sessions == 1);
}

#[test]
fn replicas_that_execute_slowly_slow_the_cluster_down_and_lose_nothing() {
    let cluster = Cluster::start_with(FaultModel::Byzantine, 4, KeyValue::new, |config| {
        config.ordering.unexecuted_slots_max = 1;
        config.ordering.limits.requests_max = 10;
    });
    let client = cluster.client(0);
    assert!(client.call_all(vec![add("sum", 1); 1000]).iter().all(Result::is_ok));
    assert_eq!(number_of(client.call(get("sum"))), 1000);
}
