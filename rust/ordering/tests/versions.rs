//! Versions of the service: one is in force at each place in the total order, and only the administrator brings in another.

mod cluster;

use cluster::{CLIENT, Cluster, command, secret};
use pssmr_ordering::{Config, CoreSnapshot, Durability, Record};
use pssmr_types::{
    ClientId, Digest, FaultModel, Operation, Outcome, Request, SecretKey, ServiceVersion, Slot, Upgrade,
};

fn administrator() -> SecretKey {
    SecretKey::from_seed([77; 32])
}

fn four(first_service_version: u32) -> Cluster {
    let config = Config {
        durability: Durability::Sync,
        checkpoint_slots: 2,
        first_service_version,
        administrator: Some(administrator().public()),
        ..Config::default()
    };
    Cluster::new(FaultModel::Byzantine, 4, &config)
}

fn version(number: u32, schema: u8) -> ServiceVersion {
    ServiceVersion { number, schema: Digest([schema; 32]) }
}

fn signed_by(secret: &SecretKey, session: u64, sequence: u64, to: ServiceVersion) -> Request {
    let cluster = cluster::membership(FaultModel::Crash, 1).cluster();
    let client = ClientId { principal: CLIENT, session };
    Request::new(client, sequence, 1, Operation::Upgrade, &Upgrade::sign(cluster, to, secret).encode())
}

fn upgrade(session: u64, sequence: u64, to: ServiceVersion) -> Request {
    signed_by(&administrator(), session, sequence, to)
}

fn order(cluster: &mut Cluster, request: &Request) {
    cluster.send(request);
    cluster.settle();
}

/// What each command that was delivered to a replica is executed as: its sequence, and the version in force.
fn executed(cluster: &Cluster, replica: usize) -> Vec<(u64, u32)> {
    let commands = cluster.delivered[replica].iter().flat_map(|delivery| &delivery.commands);
    commands.map(|command| (command.sequence, command.version)).collect()
}

#[test]
fn a_version_is_in_force_from_its_place_in_the_order_on_at_every_replica() {
    let mut cluster = four(1);
    let session = cluster.open_session();
    for request in [
        command(session, 1),
        upgrade(session, 2, version(2, 2)),
        command(session, 3),
        upgrade(session, 4, version(5, 5)),
        command(session, 5),
    ] {
        order(&mut cluster, &request);
    }
    for replica in 0..4 {
        assert_eq!(executed(&cluster, replica), [(1, 1), (2, 2), (3, 2), (4, 5), (5, 5)]);
        assert_eq!(cluster.cores[replica].status().service_version, 5);
    }
}

#[test]
fn only_the_administrator_brings_a_later_version_into_force_and_there_is_no_way_back() {
    let mut cluster = four(3);
    let session = cluster.open_session();
    let last = |cluster: &Cluster| match cluster.replies[1].last() {
        Some((_, _, Outcome::Result(reason))) => String::from_utf8(reason.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    };
    for (request, reason) in [
        (signed_by(&secret(0), session, 1, version(4, 4)), "not signed by the cluster's administrator"),
        (upgrade(session, 1, version(2, 2)), "version 3 of the service is in force: there is no way back to 2"),
        (upgrade(session, 1, version(3, 3)), "version 3 of the service is in force from the beginning"),
    ] {
        order(&mut cluster, &request);
        assert!(last(&cluster).contains(reason), "{}", last(&cluster));
    }
    order(&mut cluster, &upgrade(session, 1, version(4, 4)));
    // Again, as after an answer that was lost.
    order(&mut cluster, &upgrade(session, 2, version(4, 4)));
    let results = cluster.delivered[0].iter().flat_map(|delivery| &delivery.commands).map(|c| c.payload.clone());
    assert_eq!(results.collect::<Vec<_>>(), ["", ""]);
    order(&mut cluster, &upgrade(session, 3, version(4, 9)));
    assert!(last(&cluster).contains("another version 4"), "{}", last(&cluster));
    assert_eq!(cluster.cores[0].upgraded(), Some(version(4, 4)));
}

/// A leader that is faulty proposes what others would not even take from a client.
#[test]
fn an_upgrade_that_is_ordered_all_the_same_is_refused_where_it_is_ordered() {
    let mut cluster = four(1);
    let session = cluster.open_session();
    // Both are taken while the first is not decided, and the second comes second.
    cluster.send(&upgrade(session, 1, version(3, 3)));
    cluster.send(&upgrade(session, 2, version(2, 2)));
    cluster.settle();
    for replica in 0..4 {
        let commands = cluster.delivered[replica].iter().flat_map(|delivery| &delivery.commands);
        let second = commands.last().unwrap();
        assert_eq!((second.sequence, second.version), (2, 3));
        assert!(String::from_utf8_lossy(&second.payload).contains("no way back"), "{second:?}");
    }
}

#[test]
fn a_version_is_in_snapshots_and_comes_back_with_them_and_with_the_log() {
    let mut cluster = four(1);
    let session = cluster.open_session();
    order(&mut cluster, &command(session, 1));
    let before = cluster.snapshots[0].last_key_value().expect("a checkpoint was taken").1.0.clone();
    assert_eq!(before.upgraded, None);
    order(&mut cluster, &upgrade(session, 2, version(2, 2)));
    order(&mut cluster, &command(session, 3));
    let after = cluster.snapshots[0].last_key_value().expect("a checkpoint was taken").1.0.clone();
    assert!(after.slot > Slot(2) && after.upgraded == Some(version(2, 2)), "{after:?}");
    for snapshot in [before, after] {
        assert_eq!(CoreSnapshot::decode(snapshot.encode().into()), Ok(snapshot));
    }
    // From the log, and then from a snapshot that the log before it has gone for.
    order(&mut cluster, &upgrade(session, 4, version(3, 3)));
    cluster.restart(0);
    assert_eq!(cluster.cores[0].upgraded(), Some(version(3, 3)));
    for sequence in 5..10 {
        order(&mut cluster, &command(session, sequence));
    }
    assert!(!cluster.logs[1].iter().any(|record| matches!(record, Record::Slot { slot, .. } if *slot < Slot(6))));
    cluster.restart(1);
    assert_eq!(cluster.cores[1].upgraded(), Some(version(3, 3)));
}
