//! What survives a restart, and what a replica does that has forgotten.

mod cluster;

use cluster::{Cluster, command, membership, secret};
use pssmr_ordering::{Config, Core, Durability, Input, Now, Promise, Record};
use pssmr_types::{Batch, BatchLimits, FaultModel, PeerMessage, ReplicaId, Slot, View};

fn with(model: FaultModel, n: usize, durability: Durability) -> Cluster {
    let mut cluster = Cluster::new(model, n, &Config { durability, ..Config::default() });
    for (core, promise) in cluster.cores.iter_mut().zip(&cluster.promises) {
        core.set_promise(*promise);
    }
    cluster.pass(50);
    cluster
}

fn logged() -> [Cluster; 5] {
    [
        with(FaultModel::Byzantine, 4, Durability::Sync),
        with(FaultModel::Byzantine, 1, Durability::Sync),
        with(FaultModel::Crash, 3, Durability::Async),
        with(FaultModel::Crash, 5, Durability::Sync),
        with(FaultModel::Byzantine, 7, Durability::Async),
    ]
}

fn is_vote(message: &PeerMessage) -> bool {
    matches!(message, PeerMessage::Write(_) | PeerMessage::Accept(_) | PeerMessage::StopData(_))
}

#[test]
fn no_vote_leaves_before_the_log_keeps_it_but_proposals_do() {
    for model in [FaultModel::Byzantine, FaultModel::Crash] {
        let mut cluster = with(model, 4, Durability::Sync);
        let session = cluster.open_session();
        cluster.quick_disks = false;
        cluster.send(&command(session, 1));
        let mut proposed = false;
        for _ in 0..50 {
            assert!(!cluster.network.iter().any(|(_, _, message)| is_vote(message)));
            proposed |= cluster.network.iter().any(|(_, _, message)| matches!(message, PeerMessage::Propose(_)));
            cluster.deliver_one();
        }
        assert!(proposed, "disks work at the same time");
        assert!((0..4).all(|replica| cluster.executed(replica).is_empty()));
        cluster.quick_disks = true;
        (0..4).for_each(|replica| cluster.sync(replica));
        cluster.settle();
        assert!((0..4).all(|replica| cluster.executed(replica) == [1]));
    }
}

/// A lock is justified at a view change by the writesets of those whose WRITEs it counted: they must still know.
#[test]
fn a_leader_that_has_proposed_and_kept_nothing_counts_for_no_lock() {
    let mut cluster = with(FaultModel::Byzantine, 4, Durability::Sync);
    let session = cluster.open_session();
    cluster.down[3] = true;
    cluster.quick_disks = false;
    cluster.send(&command(session, 1));
    // The leader's disk hangs, those of 1 and 2 do not.
    for _ in 0..50 {
        assert!(!cluster.network.iter().any(|(_, _, message)| matches!(message, PeerMessage::Accept(_))));
        cluster.deliver_one();
        (1..3).for_each(|replica| cluster.sync(replica));
    }
    cluster.quick_disks = true;
    cluster.sync(0);
    cluster.settle();
    assert!((0..3).all(|replica| cluster.executed(replica) == [1]));
}

#[test]
fn no_state_for_a_new_view_leaves_before_the_log_keeps_the_departure() {
    let mut cluster = with(FaultModel::Byzantine, 4, Durability::Sync);
    let session = cluster.open_session();
    cluster.down[0] = true;
    cluster.quick_disks = false;
    cluster.send(&command(session, 1));
    cluster.pass(900);
    assert!((1..4).all(|replica| cluster.cores[replica].view() == View(1) && !cluster.cores[replica].is_active()));
    cluster.quick_disks = true;
    cluster.pass(300);
    assert!((1..4).all(|replica| cluster.executed(replica) == [1]));
}

#[test]
fn a_vote_that_waited_for_the_log_does_not_leave_after_its_view() {
    let mut cluster = with(FaultModel::Byzantine, 4, Durability::Sync);
    let session = cluster.open_session();
    // The disks of 0 and 1 are quick, those of 2 and 3 hang: 2 and 3 have written and not said so when the view ends.
    cluster.quick_disks = false;
    cluster.send(&command(session, 1));
    for _ in 0..30 {
        cluster.pass(50);
        (0..2).for_each(|replica| cluster.sync(replica));
    }
    assert!((0..4).all(|replica| cluster.cores[replica].view() > View(0)));
    for replica in 2..4 {
        cluster.network.clear();
        cluster.sync(replica);
        let votes_of_the_past = cluster.network.iter().filter(|(_, _, message)| match message {
            PeerMessage::Write(vote) | PeerMessage::Accept(vote) => vote.view < cluster.cores[replica].view(),
            _ => false,
        });
        assert_eq!(votes_of_the_past.count(), 0);
    }
    cluster.quick_disks = true;
    cluster.pass(5000);
    assert!((0..4).all(|replica| cluster.executed(replica) == [1]));
}

#[test]
fn no_state_for_a_new_view_leaves_before_the_promise_for_it_is_kept() {
    // With durability `memory`, too: a replica that forgets must know in which views it may have voted.
    let mut cluster = with(FaultModel::Byzantine, 4, Durability::Memory);
    let session = cluster.open_session();
    cluster.down[0] = true;
    cluster.quick_promises = false;
    cluster.send(&command(session, 1));
    cluster.pass(900);
    assert!((1..4).all(|replica| cluster.cores[replica].view() == View(1) && !cluster.cores[replica].is_active()));
    cluster.quick_promises = true;
    for replica in 1..4 {
        let promise = Promise { view: View(1), ..cluster.promises[replica] };
        cluster.step(replica, Input::Promised(promise));
    }
    cluster.pass(300);
    assert!((1..4).all(|replica| cluster.executed(replica) == [1]));
}

#[test]
fn all_replicas_come_back_with_all_that_was_decided_and_go_on() {
    for mut cluster in logged() {
        let session = cluster.open_session();
        for sequence in 1..=20 {
            cluster.send(&command(session, sequence));
        }
        cluster.settle();
        (0..cluster.n()).for_each(|replica| cluster.restart(replica));
        cluster.send(&command(session, 20));
        cluster.send(&command(session, 21));
        cluster.pass(2000);
        for replica in 0..cluster.n() {
            assert_eq!(cluster.executed(replica), (1..=21).collect::<Vec<_>>(), "each once, in the old order");
            assert!(!cluster.cores[replica].status().learner);
        }
        cluster.assert_agreement();
    }
}

#[test]
fn what_some_replica_decided_survives_the_restart_of_all() {
    // Only one replica learns of the decision and answers the client; then all lose what is not on their disks.
    for mut cluster in [with(FaultModel::Byzantine, 4, Durability::Sync), with(FaultModel::Crash, 3, Durability::Sync)]
    {
        let session = cluster.open_session();
        cluster.send(&command(session, 1));
        cluster.settle_without(|_, to, message| matches!(message, PeerMessage::Accept(_)) && to != ReplicaId(1));
        let decided = cluster.delivered[1].clone();
        assert_eq!(cluster.executed(1), [1]);
        assert!(cluster.executed(2).is_empty());
        (0..cluster.n()).for_each(|replica| cluster.restart(replica));
        cluster.pass(3000);
        for replica in 0..cluster.n() {
            assert_eq!(cluster.delivered[replica][..decided.len()], decided);
        }
    }
}

#[test]
fn a_restarted_leader_hands_its_view_on_without_a_time_out() {
    for mut cluster in logged() {
        let session = cluster.open_session();
        cluster.send(&command(session, 1));
        cluster.settle();
        cluster.restart(0);
        cluster.pass(100);
        assert!(cluster.cores.iter().all(|core| core.view() == View(1) && core.is_active()));
        cluster.send(&command(session, 2));
        cluster.settle();
        assert!((0..cluster.n()).all(|replica| cluster.executed(replica) == [1, 2]));
    }
}

#[test]
fn a_replica_repeats_after_a_restart_what_it_said_before() {
    let mut cluster = with(FaultModel::Byzantine, 4, Durability::Sync);
    let session = cluster.open_session();
    cluster.send(&command(session, 1));
    // Nobody sees a quorum of WRITEs but its own: the slot stays open.
    cluster.settle_without(|_, _, message| matches!(message, PeerMessage::Write(_) | PeerMessage::Accept(_)));
    let before: Vec<Record> =
        cluster.logs[2].iter().filter(|record| matches!(record, Record::Wrote(_))).cloned().collect();
    cluster.restart(2);
    let votes = cluster.network.iter().filter(|(from, to, _)| (*from, *to) == (ReplicaId(2), ReplicaId(1)));
    let mut written =
        votes.filter_map(|(_, _, message)| if let PeerMessage::Write(vote) = message { Some(vote) } else { None });
    let Some(Record::Wrote(slot)) = before.last() else { panic!("replica 2 wrote the slot") };
    assert!(written.next_back().is_some_and(|vote| vote.slot == *slot && vote.view == View(0)));
    cluster.pass(1000);
    assert!((0..4).all(|replica| cluster.executed(replica) == [1]));
}

#[test]
fn a_replica_that_forgot_does_not_vote_until_nothing_it_may_have_voted_for_is_open() {
    for mut cluster in
        [with(FaultModel::Byzantine, 4, Durability::Memory), with(FaultModel::Crash, 3, Durability::Memory)]
    {
        let session = cluster.open_session();
        cluster.send(&command(session, 1));
        cluster.settle();
        let bound = cluster.promises[2];
        assert!(bound.slot_limit >= Slot(2), "it promised before it voted: {bound:?}");
        cluster.restart(2);
        for sequence in 2..=4 {
            cluster.send(&command(session, sequence));
            cluster.network.retain(|(from, _, message)| {
                assert!(*from != ReplicaId(2) || !is_vote(message), "it can't know what it said of this slot");
                true
            });
            cluster.settle();
        }
        assert!(cluster.cores[2].status().learner);
        // The leader makes slots for it, though no client asks for anything.
        cluster.pass(4000);
        assert!(!cluster.cores[2].status().learner);
        assert!(cluster.cores[2].decided() >= bound.slot_limit);
        assert_eq!(cluster.executed(2), [1, 2, 3, 4]);
        // Now its vote counts again.
        cluster.down[1] = true;
        cluster.send(&command(session, 5));
        cluster.pass(1000);
        assert_eq!(cluster.executed(2), [1, 2, 3, 4, 5]);
        cluster.assert_agreement();
    }
}

#[test]
fn a_replica_that_forgot_does_not_vote_in_a_view_that_it_may_have_left() {
    let mut cluster = with(FaultModel::Byzantine, 4, Durability::Memory);
    let session = cluster.open_session();
    cluster.promises[2].view = View(1);
    cluster.promises[2].slot_limit = Slot(3);
    cluster.restart(2);
    for sequence in 1..=10 {
        cluster.send(&command(session, sequence));
        cluster.settle();
    }
    cluster.pass(1000);
    cluster.send(&command(session, 11));
    cluster.settle();
    assert!(cluster.cores[2].decided() > Slot(3));
    assert!(cluster.cores[2].status().learner, "it may have said that it votes in view 0 no more");
    let decided = cluster.cores[0].decided();
    cluster.pass(3000);
    assert_eq!(cluster.cores[0].decided(), decided, "slots of view 0 would not help it");
}

/// Simulator, bft7 seed 7000292: a Byzantine leader kept its proposals from a replica that waits to vote again. It had all slots
/// from the others, and then their votes for them.
#[test]
fn a_replica_that_forgot_votes_again_though_it_learns_of_each_slot_before_it_has_the_votes() {
    let mut cluster = with(FaultModel::Byzantine, 4, Durability::Sync);
    let session = cluster.open_session();
    let decided = cluster.cores[3].decided();
    cluster.cores[3].set_forgotten(Promise { view: View(0), slot_limit: decided.next() });
    cluster.send(&command(session, 1));
    let from_the_leader = |from: ReplicaId, to: ReplicaId, message: &PeerMessage| {
        from.0 == 0 && to.0 == 3 && matches!(message, PeerMessage::Propose(_) | PeerMessage::Accept(_))
    };
    cluster.pass_without(2000, from_the_leader);
    assert!(cluster.cores[3].decided() > decided.next(), "it follows");
    assert!(cluster.cores[3].status().learner, "one vote is missing");
    cluster.pass_without(2000, |from, to, message| {
        from_the_leader(from, to, message) && matches!(message, PeerMessage::Propose(_))
    });
    assert!(!cluster.cores[3].status().learner);
}

#[test]
fn replicas_that_all_forgot_do_not_pretend() {
    let mut cluster = with(FaultModel::Byzantine, 4, Durability::Memory);
    let session = cluster.open_session();
    cluster.send(&command(session, 1));
    cluster.settle();
    (0..4).for_each(|replica| cluster.restart(replica));
    cluster.send(&cluster::opening(12));
    cluster.pass(10_000);
    assert!(cluster.delivered.iter().all(Vec::is_empty));
}

#[test]
fn a_replica_does_not_vote_beyond_its_promise() {
    let mut core =
        Core::new(Config::default(), membership(FaultModel::Byzantine, 1), ReplicaId(0), secret(0), Now::default())
            .unwrap();
    core.set_promise(Promise { view: View(0), slot_limit: Slot(0) });
    let mut effects = Vec::new();
    core.step(Now::default(), [Input::Request(cluster::opening(1))], &mut effects);
    assert_eq!(core.decided(), Slot(0));
    core.step(Now::default(), [Input::Promised(Promise { view: View(0), slot_limit: Slot(9) })], &mut effects);
    assert_eq!(core.decided(), Slot(1));
}

#[test]
fn what_was_decided_under_wider_limits_is_replayed_and_handed_on() {
    let mut cluster = with(FaultModel::Byzantine, 4, Durability::Sync);
    let session = cluster.open_session();
    cluster.send(&cluster::command_with(session, 1, &[7; 5000]));
    cluster.settle();
    cluster.config.limits = BatchLimits { requests_max: 1, bytes_max: 1024 };
    cluster.restart(2);
    assert_eq!(cluster.executed(2), [1]);
    cluster.network.clear();
    let (slot, digest) = (cluster.delivered[2][1].slot, cluster.delivered[2][1].digest);
    let message = PeerMessage::Fetch { slot, digest, floor: Slot(slot.0 - 1) };
    cluster.step(2, Input::Message { from: ReplicaId(1), epoch: cluster::EPOCH, message });
    assert!(cluster.network.iter().any(|(_, _, message)| matches!(message, PeerMessage::Entry(_))));
    cluster.settle();
}

#[test]
fn a_log_that_does_not_fit_together_is_refused() {
    let batch = Batch::new(0, vec![]);
    let slot = |slot| Record::Slot { slot: Slot(slot), proposed: true, batch: batch.clone() };
    for (good, bad) in [
        (vec![], slot(2)),
        (vec![], Record::Decided { slot: Slot(1), in_view: true }),
        (vec![], Record::Wrote(Slot(1))),
        (vec![slot(1), Record::Decided { slot: Slot(1), in_view: true }], Record::Cut(Slot(0))),
        (vec![Record::View(View(2))], Record::View(View(2))),
        (vec![Record::View(View(2)), slot(1)], Record::Wrote(Slot(1))),
        (vec![], Record::Base { slot: Slot(3), sync: None }),
    ] {
        let membership = membership(FaultModel::Byzantine, 4);
        let mut core = Core::new(Config::default(), membership, ReplicaId(1), secret(1), Now::default()).unwrap();
        let mut effects = Vec::new();
        for record in &good {
            core.replay(record, &mut effects).unwrap();
        }
        assert!(core.replay(&bad, &mut effects).is_err(), "{bad:?} after {good:?}");
    }
}
