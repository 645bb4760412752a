//! What a process has after its clusters have stopped: what it had before. Alone in its process, to count.

#[allow(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::fs;

use pssmr_execution::services::KeyValue;
use pssmr_types::FaultModel;

use support::{Cluster, add, eventually};

fn entries(directory: &str) -> usize {
    fs::read_dir(directory).unwrap().count()
}

#[test]
fn stopped_replicas_and_clients_leave_no_threads_and_no_descriptors() {
    let round = || {
        let mut cluster = Cluster::start(FaultModel::Byzantine, 4, KeyValue::new);
        let client = cluster.client(0);
        assert!(client.call_all(vec![add("sum", 1); 100]).iter().all(Result::is_ok));
        client.client.close();
        client.client.close();
        let replica = cluster.replicas[0].take().unwrap();
        replica.stop();
        replica.stop();
        assert_eq!(replica.wait(), None);
    };
    // The first round makes what a process makes once.
    round();
    let (threads, descriptors) = (entries("/proc/self/task"), entries("/proc/self/fd"));
    round();
    // Names are resolved on threads of their own, which end when the system's answer is there.
    eventually("all threads are gone", || entries("/proc/self/task") <= threads);
    assert_eq!(entries("/proc/self/fd"), descriptors);
}
