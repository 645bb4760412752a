//! Changes of the membership: ordered, one at a time, at a slot that all agree on, and proven to whoever was away.

mod cluster;

use cluster::{CLIENT, Cluster, command, secret};
use pssmr_ordering::{Config, Durability, Input};
use pssmr_types::{
    Batch, Change, ClientId, Epoch, FaultModel, Member, Membership, Operation, Outcome, PeerMessage, Propose,
    Reconfiguration, ReplicaId, Request, SecretKey, Slot, View,
};

fn administrator() -> SecretKey {
    SecretKey::from_seed([77; 32])
}

fn config(durability: Durability) -> Config {
    let administrator = Some(administrator().public());
    Config { durability, window: 4, checkpoint_slots: 50, retained_slots_max: 100, administrator, ..Config::default() }
}

fn with(model: FaultModel, n: usize) -> Cluster {
    Cluster::new(model, n, &config(Durability::Sync))
}

fn member(id: u16) -> Member {
    let key = secret(usize::from(id)).public();
    Member { id: ReplicaId(id), key, peer_address: "peer:1".to_owned(), client_address: "client:1".to_owned() }
}

fn signed_by(secret: &SecretKey, session: u64, sequence: u64, epoch: u64, change: Change) -> Request {
    let cluster = cluster::membership(FaultModel::Crash, 1).cluster();
    let payload = Reconfiguration::sign(cluster, Epoch(epoch), change, secret).encode();
    let client = ClientId { principal: CLIENT, session };
    Request::new(client, sequence, 1, Operation::Reconfigure, &payload)
}

fn change(session: u64, sequence: u64, epoch: u64, change: Change) -> Request {
    signed_by(&administrator(), session, sequence, epoch, change)
}

/// A client sends it, and all that follows from it happens.
fn order(cluster: &mut Cluster, request: &Request) {
    cluster.send(request);
    cluster.settle();
    cluster.pass(500);
}

fn epoch(cluster: &Cluster, replica: usize) -> u64 {
    cluster.cores[replica].membership().epoch().0
}

fn ids(membership: &Membership) -> Vec<u16> {
    membership.replicas().map(|id| id.0).collect()
}

fn is_learner(cluster: &Cluster, replica: usize) -> bool {
    cluster.cores[replica].status().learner
}

#[test]
fn a_replica_is_added_is_given_the_state_and_votes() {
    for model in [FaultModel::Byzantine, FaultModel::Crash] {
        let mut cluster = with(model, 4);
        let session = cluster.open_session();
        order(&mut cluster, &command(session, 1));
        order(&mut cluster, &change(session, 2, 0, Change::Add(member(4))));
        assert!((0..4).all(|replica| epoch(&cluster, replica) == 1));
        let result = cluster.delivered[0].last().unwrap().commands[0].payload.clone();
        assert!(result.is_empty(), "{result:?}");
        cluster.join(cluster.cores[0].membership().clone());
        assert!(is_learner(&cluster, 4), "it has no state yet");
        cluster.pass(1000);
        cluster.give_snapshot(4);
        cluster.settle();
        assert!(!is_learner(&cluster, 4));
        // Without it there is no quorum.
        cluster.down[1] = true;
        if model == FaultModel::Crash {
            cluster.down[2] = true;
        }
        cluster.send(&command(session, 3));
        cluster.pass(5000);
        assert_eq!(cluster.executed(4), [1, 2, 3]);
        cluster.assert_agreement();
    }
}

#[test]
fn a_leader_that_is_removed_makes_way() {
    let mut cluster = with(FaultModel::Byzantine, 5);
    let session = cluster.open_session();
    order(&mut cluster, &change(session, 1, 0, Change::Remove(ReplicaId(0))));
    assert_eq!(ids(cluster.cores[1].membership()), [1, 2, 3, 4]);
    assert!(cluster.cores[0].status().retired && is_learner(&cluster, 0));
    assert_eq!(cluster.cores[2].leader(), ReplicaId(1));
    order(&mut cluster, &command(session, 2));
    for replica in 1..5 {
        assert_eq!(cluster.executed(replica), [1, 2]);
    }
    assert_eq!(cluster.executed(0), [1], "it is told nothing any more");
    assert!(cluster.halted.iter().all(Option::is_none));
}

#[test]
fn a_change_that_is_not_the_administrators_for_this_epoch_is_refused_with_the_reason() {
    let mut cluster = with(FaultModel::Byzantine, 4);
    let session = cluster.open_session();
    let last = |cluster: &Cluster| match cluster.replies[1].last() {
        Some((_, _, Outcome::Result(reason))) => String::from_utf8(reason.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    };
    let refused = [
        (signed_by(&secret(0), session, 1, 0, Change::Add(member(4))), "not signed by the cluster's administrator"),
        (change(session, 2, 0, Change::Remove(ReplicaId(9))), "there is no replica 9"),
        (change(session, 3, 0, Change::Add(member(3))), "replicas 3 and 3 have the same key"),
        (
            signed_by(&secret(0), session, 3, 9, Change::Remove(ReplicaId(0))),
            "not signed by the cluster's administrator",
        ),
    ];
    for (request, reason) in refused {
        cluster.send(&request);
        cluster.settle();
        assert!(last(&cluster).contains(reason), "{}", last(&cluster));
        assert_eq!(cluster.cores[0].head(), Slot(1), "whoever may not change anything holds up nobody");
    }
    // Of an epoch that is still to come: it waits, and is refused when it is decided.
    order(&mut cluster, &change(session, 4, 7, Change::Add(member(4))));
    let result = &cluster.delivered[0].last().unwrap().commands[0].payload;
    assert_eq!(result, "the change is one of epoch 7, which has not begun");
    assert!((0..4).all(|replica| epoch(&cluster, replica) == 0));
    order(&mut cluster, &command(session, 5));
    assert_eq!(cluster.executed(3), [4, 5], "ordering goes on");
}

#[test]
fn without_an_administrator_nothing_changes() {
    let mut cluster = Cluster::new(FaultModel::Byzantine, 4, &Config::default());
    let session = cluster.open_session();
    order(&mut cluster, &change(session, 1, 0, Change::Add(member(4))));
    let (_, _, outcome) = cluster.replies[0].last().unwrap();
    assert!(matches!(outcome, Outcome::Result(reason) if reason.starts_with(b"the cluster has no administrator key")));
}

#[test]
fn of_two_changes_at_once_one_is_made() {
    let mut cluster = with(FaultModel::Byzantine, 5);
    let session = cluster.open_session();
    cluster.send(&command(session, 1));
    cluster.send(&change(session, 2, 0, Change::Remove(ReplicaId(3))));
    order(&mut cluster, &change(session, 3, 0, Change::Remove(ReplicaId(4))));
    assert_eq!(ids(cluster.cores[0].membership()), [0, 1, 2, 4]);
    let results: Vec<_> = cluster.delivered[0].iter().flat_map(|delivery| &delivery.commands).collect();
    let of = |sequence| results.iter().find(|command| command.sequence == sequence);
    assert!(of(2).unwrap().payload.is_empty());
    // It is refused in the slot of the first one, or in the next epoch.
    assert!(of(3).is_none_or(|command| !command.payload.is_empty()));
}

#[test]
fn a_change_that_is_out_of_date_is_refused_in_the_same_words_by_whoever_refuses_it() {
    // In a slot of another change, and by a replica that does not have it ordered.
    let mut cluster = with(FaultModel::Crash, 4);
    let session = cluster.open_session();
    order(&mut cluster, &change(session, 1, 0, Change::Remove(ReplicaId(3))));
    let outdated = change(session, 2, 0, Change::Remove(ReplicaId(1)));
    let batch = Batch::new(cluster.now().wall, vec![change(session, 3, 1, Change::Add(member(3))), outdated.clone()]);
    let before = cluster.cores[1].status();
    let propose = Propose { view: before.view, slot: before.head.next(), parent: before.digest, batch };
    for replica in [1, 2] {
        let message = PeerMessage::Propose(propose.clone());
        cluster.step(replica, Input::Message { from: ReplicaId(0), epoch: Epoch(1), message });
    }
    cluster.step(0, Input::Request(outdated));
    let (_, _, outcome) = cluster.replies[0].last().unwrap().clone();
    cluster.pass(300);
    let decided = &cluster.delivered[1].last().unwrap().commands;
    assert!(decided[0].payload.is_empty(), "{:?}", decided[0].payload);
    assert_eq!(outcome, Outcome::Result(decided[1].payload.clone()));
    assert_eq!(decided[1].payload, "the change is one of epoch 0, which is over");
}

#[test]
fn nothing_goes_on_top_of_a_change_until_it_is_decided() {
    let mut cluster = with(FaultModel::Byzantine, 4);
    let session = cluster.open_session();
    let slot = cluster.cores[0].head().next();
    let no_accepts = |_, _, message: &PeerMessage| matches!(message, PeerMessage::Accept(_));
    cluster.send(&change(session, 1, 0, Change::Add(member(4))));
    cluster.settle_without(no_accepts);
    cluster.send(&command(session, 2));
    cluster.settle_without(no_accepts);
    assert!((0..4).all(|replica| cluster.cores[replica].head() == slot));
    cluster.pass(1000);
    assert!((0..4).all(|replica| epoch(&cluster, replica) == 1));
    assert!((0..4).all(|replica| cluster.executed(replica) == [1, 2]));
}

/// Simulator, changing4 seed 5001566: the client had been told that its change was out of date, so nobody said any more that it
/// was its client's, though a quorum had written it.
#[test]
fn a_change_that_a_view_votes_for_once_more_needs_no_other_proof() {
    let mut cluster = with(FaultModel::Byzantine, 4);
    let session = cluster.open_session();
    let decided = cluster.cores[0].decided();
    // Two have it from the client. The others believe the two, and all write it; then one of the two is gone.
    for replica in [0, 1] {
        cluster.step(replica, Input::Request(change(session, 1, 0, Change::Add(member(4)))));
    }
    let lost = |_: ReplicaId, _: ReplicaId, message: &PeerMessage| matches!(message, PeerMessage::Accept(vote) if vote.view == View(0));
    cluster.settle_without(lost);
    assert!(cluster.cores.iter().all(|core| core.head() == decided.next() && core.decided() == decided));
    cluster.down[0] = true;
    cluster.pass_without(20_000, lost);
    assert!((1..4).all(|replica| epoch(&cluster, replica) == 1));
}

#[test]
fn whoever_is_the_first_to_know_that_an_epoch_is_over_waits_for_the_others() {
    let mut cluster = with(FaultModel::Byzantine, 4);
    let session = cluster.open_session();
    cluster.down[3] = true;
    cluster.send(&change(session, 1, 0, Change::Remove(ReplicaId(3))));
    // Only replica 0 hears of the decision, and then the leader has to be changed to get it decided elsewhere.
    let hears = |_, to: ReplicaId, message: &PeerMessage| match message {
        PeerMessage::Accept(_) => to != ReplicaId(0),
        PeerMessage::DigestReply { .. } | PeerMessage::Status(_) => true,
        _ => false,
    };
    cluster.settle_without(hears);
    assert_eq!(cluster.executed(0), [1]);
    assert_eq!((epoch(&cluster, 0), epoch(&cluster, 1)), (0, 0), "its word alone proves nothing");
    assert_eq!(cluster.cores[0].read_floor(), None, "others may be in the next epoch, and decide there");
    cluster.pass_without(10_000, |_, _, message| matches!(message, PeerMessage::DigestReply { .. }));
    assert!((0..3).all(|replica| epoch(&cluster, replica) == 1));
    cluster.assert_agreement();
}

#[test]
fn whoever_was_away_learns_all_memberships_since_from_a_single_replica() {
    for lost in [false, true] {
        let mut cluster = with(FaultModel::Byzantine, 6);
        let session = cluster.open_session();
        cluster.down[4] = true;
        for (sequence, removed) in [(1, 5), (2, 3)] {
            let epoch = epoch(&cluster, 0);
            order(&mut cluster, &change(session, sequence, epoch, Change::Remove(ReplicaId(removed))));
        }
        order(&mut cluster, &command(session, 3));
        cluster.down[4] = false;
        if lost {
            cluster.logs[4].clear();
            cluster.kept[4] = 0;
        }
        cluster.restart(4);
        let is_cut_off = |from: ReplicaId, to: ReplicaId, _: &PeerMessage| {
            [from, to].contains(&ReplicaId(4)) && ![from, to].contains(&ReplicaId(2))
        };
        cluster.settle_without(is_cut_off);
        cluster.pass_without(3000, is_cut_off);
        assert_eq!(epoch(&cluster, 4), 2);
        assert_eq!(cluster.cores[4].membership(), cluster.cores[0].membership());
        cluster.pass(2000);
        assert_eq!(cluster.executed(4), [1, 2, 3]);
        cluster.assert_agreement();
    }
}

#[test]
fn a_replica_that_was_removed_while_it_was_away_learns_it() {
    let mut cluster = with(FaultModel::Byzantine, 5);
    let session = cluster.open_session();
    cluster.down[4] = true;
    order(&mut cluster, &change(session, 1, 0, Change::Remove(ReplicaId(4))));
    cluster.down[4] = false;
    let message = cluster.cores[2].handovers_since(Epoch(0)).next().unwrap();
    cluster.step(4, Input::Message { from: ReplicaId(2), epoch: Epoch(1), message });
    cluster.pass(2000);
    assert!(cluster.cores[4].status().retired);
}

#[test]
fn a_proof_needs_the_words_of_enough_replicas() {
    let mut cluster = with(FaultModel::Byzantine, 4);
    let session = cluster.open_session();
    cluster.down[3] = true;
    order(&mut cluster, &change(session, 1, 0, Change::Remove(ReplicaId(2))));
    let Some(PeerMessage::Handovers(mut handovers)) = cluster.cores[0].handovers_since(Epoch(0)).next() else {
        panic!("the others know it")
    };
    handovers[0].signatures.truncate(1);
    cluster.down[3] = false;
    cluster.step(3, Input::Message { from: ReplicaId(0), epoch: Epoch(1), message: PeerMessage::Handovers(handovers) });
    assert_eq!(cluster.cores[3].handovers_since(Epoch(0)).count(), 0);
    assert_eq!(epoch(&cluster, 3), 0);
}

#[test]
fn memberships_outlive_a_crash_of_all_replicas() {
    let mut cluster = with(FaultModel::Byzantine, 5);
    let session = cluster.open_session();
    order(&mut cluster, &change(session, 1, 0, Change::Remove(ReplicaId(0))));
    order(&mut cluster, &command(session, 2));
    for _ in 0..2 {
        for replica in 0..5 {
            cluster.restart(replica);
        }
        cluster.pass(3000);
        assert!((0..5).all(|replica| epoch(&cluster, replica) == 1));
        assert!(cluster.cores[0].status().retired);
        assert!((1..5).all(|replica| !is_learner(&cluster, replica) && cluster.executed(replica) == [1, 2]));
        assert_eq!(cluster.cores[1].handovers_since(Epoch(0)).count(), 1, "it can still prove it");
    }
    cluster.send(&command(session, 3));
    cluster.pass(3000);
    assert!((1..5).all(|replica| cluster.executed(replica) == [1, 2, 3]));
}

#[test]
fn a_crash_between_the_last_slot_and_the_next_epoch_is_safe() {
    let mut cluster = with(FaultModel::Byzantine, 4);
    let session = cluster.open_session();
    cluster.send(&change(session, 1, 0, Change::Add(member(4))));
    cluster.settle_without(|_, _, message| matches!(message, PeerMessage::Handover(_)));
    assert!((0..4).all(|replica| epoch(&cluster, replica) == 0 && cluster.executed(replica) == [1]));
    for replica in 0..4 {
        cluster.restart(replica);
    }
    cluster.pass(2000);
    assert!((0..4).all(|replica| epoch(&cluster, replica) == 1));
    let snapshot = cluster.snapshots[0].last_key_value().unwrap();
    assert_eq!(ids(&snapshot.1.0.membership), [0, 1, 2, 3, 4]);
    assert_eq!(*snapshot.0, Slot(2), "whoever joins needs the state at the end of the epoch");
}
