//! A client on real links, while the membership changes.

mod support;

use std::net::TcpListener;

use bytes::Bytes;
use pssmr_client::{Client, ClientConfig, ConnectError, RequestError, Response, Submission, SubmitError, Work};
use pssmr_types::{Change, Epoch, FaultModel, Member, Membership, Operation, ReplicaId, ReplicaMessage};

use support::{CLUSTER, FakeReplica, TestClient, client_secret, eventually, handover, membership_of, replicas, result};

/// A change that puts `new` in the place of `old`.
fn replace(old: u16, new: &FakeReplica) -> Change {
    Change::Replace { old: ReplicaId(old), new: new.member() }
}

#[test]
fn a_client_with_an_old_configuration_is_told_of_all_changes_when_it_connects() {
    let old = replicas(4);
    let (fifth, sixth) = (FakeReplica::start(7, 50), FakeReplica::start(9, 51));
    let first = membership_of(&old);
    let one = handover(&first, &replace(0, &fifth), &[&old[1], &old[2]]);
    let two = handover(&one.next, &replace(1, &sixth), &[&old[3], &fifth]);
    old[3].knows(&[one, two.clone()]);
    for replica in [&fifth, &sixth] {
        replica.answers(b"result");
    }
    let client = TestClient::connect(&first);
    assert_eq!(client.call(), Ok(result(b"result")), "the two that it was not configured with are enough");
    assert_eq!(*client.client.membership(), two.next);
    assert_eq!(sixth.greetings(), [Epoch(2)], "it says what it knows now");
    let links = client.client.status().links;
    assert_eq!(links.keys().map(|id| id.0).collect::<Vec<_>>(), [2, 3, 7, 9]);
    eventually("the links to those that have left are closed", || old[0].links() + old[1].links() == 0);
}

#[test]
fn a_request_in_flight_is_answered_after_all_replicas_were_replaced_one_after_the_other() {
    let mut replicas = replicas(4);
    let mut membership = membership_of(&replicas);
    let client = TestClient::connect(&membership);
    client.submit(Work::Command(Bytes::from_static(b"command")));
    eventually("all replicas have it", || replicas.iter().all(FakeReplica::is_waited_for));
    for epoch in 1..=4 {
        let new = FakeReplica::start(10 + epoch, 50 + epoch as u8);
        let handover = handover(&membership, &replace(replicas[0].id.0, &new), &[&replicas[2], &replicas[3]]);
        replicas[3].hands_over(std::slice::from_ref(&handover));
        client.knows(u64::from(epoch));
        membership = handover.next;
        eventually("the new one has the request", || new.is_waited_for());
        replicas.remove(0);
        replicas.push(new);
    }
    replicas[0].answers(b"result");
    replicas[3].answers(b"result");
    assert_eq!(client.wait(), Ok(result(b"result")));
}

#[test]
fn a_forged_handover_costs_its_bearer_the_link_and_changes_nothing() {
    let replicas = replicas(4);
    let first = membership_of(&replicas);
    let stranger = FakeReplica::start(5, 50);
    let client = TestClient::connect(&first);
    eventually("all are up", || (0..4).all(|replica| client.is_up(replica)));
    let change = Change::Add(stranger.member());
    for signers in [&[&replicas[1]][..], &[&replicas[1], &stranger]] {
        let greetings = replicas[1].greetings().len();
        replicas[1].hands_over(&[handover(&first, &change, signers)]);
        eventually("its link was closed and made anew", || replicas[1].greetings().len() > greetings);
        eventually("it is up", || client.is_up(1));
    }
    assert_eq!(*client.client.membership(), first);
    assert_eq!(stranger.greetings(), []);
    replicas[0].answers(b"result");
    replicas[2].answers(b"result");
    assert_eq!(client.call(), Ok(result(b"result")));
}

#[test]
fn handovers_that_are_known_or_cannot_be_judged_are_no_offence() {
    let replicas = replicas(4);
    let first = membership_of(&replicas);
    let signers = [&replicas[0], &replicas[1]];
    let one = handover(&first, &Change::Remove(ReplicaId(3)), &signers);
    let two = handover(&one.next, &Change::Remove(ReplicaId(2)), &signers);
    let three = handover(&two.next, &Change::Remove(ReplicaId(1)), &signers);
    let client = TestClient::connect(&first);
    eventually("it is up", || client.is_up(0));
    replicas[0].hands_over(std::slice::from_ref(&one));
    client.knows(1);
    replicas[0].hands_over(std::slice::from_ref(&one));
    replicas[0].hands_over(&[three]);
    replicas[0].hands_over(&[one, two.clone()]);
    client.knows(2);
    assert_eq!(*client.client.membership(), two.next);
    assert_eq!(replicas[0].greetings(), [Epoch(0)], "its link was never lost");
}

#[test]
fn what_comes_after_the_handover_that_removes_its_bearer_counts_for_nothing() {
    let replicas = replicas(4);
    let first = membership_of(&replicas);
    let new = FakeReplica::start(1, 50);
    let one = handover(&first, &replace(1, &new), &[&replicas[0], &replicas[1]]);
    let forged = handover(&one.next, &Change::Remove(ReplicaId(0)), &[&replicas[1]]);
    let client = TestClient::connect(&first);
    eventually("it is up", || client.is_up(1));
    replicas[1].hands_over(&[one.clone(), forged]);
    client.knows(1);
    eventually("the new one is up", || client.is_up(1));
    assert_eq!(new.greetings(), [Epoch(1)]);
    assert_eq!(*client.client.membership(), one.next);
}

#[test]
fn an_id_with_a_new_key_is_another_replica() {
    let replicas = replicas(4);
    let first = membership_of(&replicas);
    let new = FakeReplica::start(0, 50);
    let client = TestClient::connect(&first);
    client.submit(Work::Command(Bytes::from_static(b"command")));
    eventually("all replicas have it", || replicas.iter().all(FakeReplica::is_waited_for));
    replicas[1].answers(b"lie");
    let replaced = handover(&first, &replace(0, &new), &[&replicas[2], &replicas[3]]);
    replicas[2].hands_over(&[replaced]);
    client.knows(1);
    replicas[0].answers(b"lie");
    eventually("the old replica 0 is not listened to", || replicas[0].links() == 0);
    new.answers(b"result");
    replicas[3].answers(b"result");
    assert_eq!(client.wait(), Ok(result(b"result")));
}

#[test]
fn a_replica_is_asked_how_it_is_by_its_id_while_it_is_a_member() {
    let replicas = replicas(4);
    let first = membership_of(&replicas);
    let late = FakeReplica::start(40, 50);
    let client = TestClient::connect(&first);
    let ask = |replica| {
        let work = Work::Status(ReplicaId(replica));
        client.client.submit_many(&mut vec![Submission { token: 1, work, timeout: None, trace: None }])
    };
    assert_eq!(ask(40), Err(SubmitError::NoSuchReplica));
    let added = handover(&first, &Change::Add(late.member()), &[&replicas[0], &replicas[1]]);
    let removed = handover(&added.next, &Change::Remove(ReplicaId(1)), &[&replicas[0], &replicas[1]]);
    eventually("it is up", || client.is_up(0));
    replicas[0].hands_over(&[added]);
    client.knows(1);
    assert_eq!(ask(40), Ok(()));
    assert_eq!(client.wait(), Ok(Response::Status(Bytes::from_static(b"{}"))));
    replicas[0].hands_over(&[removed]);
    client.knows(2);
    assert_eq!(ask(1), Err(SubmitError::NoSuchReplica));
}

#[test]
fn a_question_to_a_replica_that_is_removed_does_not_wait_for_its_time_out() {
    let replicas = replicas(4);
    let mut members: Vec<Member> = replicas.iter().map(FakeReplica::member).collect();
    // Whoever listens there never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    members[3].client_address = silent.local_addr().unwrap().to_string();
    let first = Membership::of(CLUSTER, Epoch(0), FaultModel::Byzantine, members).unwrap();
    let client = TestClient::connect(&first);
    client.submit(Work::Status(ReplicaId(3)));
    let removed = handover(&first, &Change::Remove(ReplicaId(3)), &[&replicas[0], &replicas[1]]);
    eventually("it is up", || client.is_up(0));
    replicas[0].hands_over(&[removed]);
    assert_eq!(client.wait(), Err(RequestError::ReplicaGone));
}

#[test]
fn a_replica_that_is_not_reached_is_dialed_where_the_membership_says_and_one_that_is_stays_where_it_is() {
    let replicas = replicas(4);
    let agreed = membership_of(&replicas);
    let elsewhere = |replica: usize, membership: &Membership| {
        let mut members = membership.members().to_vec();
        members[replica].client_address = "127.0.0.1:1".to_owned();
        Membership::of(CLUSTER, Epoch(0), FaultModel::Byzantine, members).unwrap()
    };
    let client = TestClient::connect(&elsewhere(2, &agreed));
    eventually("three are up", || [0, 1, 3].into_iter().all(|replica| client.is_up(replica)));
    assert!(!client.is_up(2));
    let signers = [&replicas[0], &replicas[1]];
    let removed = handover(&elsewhere(0, &agreed), &Change::Remove(ReplicaId(3)), &signers);
    replicas[0].hands_over(&[removed]);
    eventually("the one that was not reached is", || client.is_up(2));
    assert!(client.is_up(0));
    assert_eq!(replicas[0].greetings(), [Epoch(0)], "its link was never lost");
}

#[test]
fn a_reconfiguration_reaches_the_replicas_as_such() {
    let replicas = replicas(4);
    let client = TestClient::connect(&membership_of(&replicas));
    for replica in &replicas {
        replica.answers(b"there is no replica 9");
    }
    client.submit(Work::Reconfigure(Bytes::from_static(b"signed")));
    assert_eq!(client.wait(), Ok(result(b"there is no replica 9")));
    let reached = replicas.iter().filter(|replica| replica.operations().contains(&Operation::Reconfigure));
    assert!(reached.count() >= 2);
}

#[test]
fn a_status_of_any_epoch_names_the_leader() {
    let replicas = replicas(4);
    let client = TestClient::connect(&membership_of(&replicas));
    eventually("it is up", || client.is_up(1));
    let leads = |json: &'static str, leader: u16| {
        replicas[1].says(ReplicaMessage::Status(Bytes::from_static(json.as_bytes())));
        eventually("the client takes it", || client.client.status().leader == ReplicaId(leader));
    };
    leads(r#"{"view": 2, "leader": 2}"#, 2);
    leads(r#"{"epoch": 1, "view": 0, "leader": 3}"#, 3);
    replicas[1].says(ReplicaMessage::Status(Bytes::from_static(br#"{"epoch": 0, "view": 9, "leader": 0}"#)));
    client.submit(Work::Status(ReplicaId(1)));
    assert!(client.wait().is_ok());
    assert_eq!(client.client.status().leader, ReplicaId(3), "the other one is of an epoch that has ended");
    leads(r#"{"epoch": 1, "view": 1, "leader": 1}"#, 1);
}

#[test]
fn a_membership_that_clients_cannot_use_is_refused() {
    let refusal = |membership: Membership| {
        let (sink, _completions) = std::sync::mpsc::channel();
        match Client::connect(&ClientConfig::new(membership, client_secret()), sink) {
            Err(ConnectError::Config(error)) => error.to_string(),
            other => panic!("{other:?}"),
        }
    };
    let member = replicas(1)[0].member();
    let of = |epoch, member| Membership::of(CLUSTER, Epoch(epoch), FaultModel::Crash, vec![member]).unwrap();
    let unreachable = refusal(of(0, Member { client_address: String::new(), ..member.clone() }));
    assert!(unreachable.contains("address for clients"), "{unreachable}");
    let beyond = refusal(of(1 << 32, member));
    assert!(beyond.contains("epoch below 2^32"), "{beyond}");
}
