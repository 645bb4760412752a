//! View changes, as a client and an operator see them.

mod cluster;

use cluster::{bft, cft, command, secret};
use pssmr_ordering::{Core, Effect, Input};
use pssmr_types::{ClusterId, Epoch, PeerMessage, ReplicaId, Slot, StopData, Sync, View};

#[test]
fn a_dead_leader_is_replaced_and_nothing_is_lost() {
    for mut cluster in [bft(4), bft(7), cft(3), cft(5)] {
        let session = cluster.open_session();
        cluster.send(&command(session, 1));
        cluster.settle();
        cluster.down[0] = true;
        cluster.send(&command(session, 2));
        cluster.pass(1500);
        for replica in 1..cluster.n() {
            assert_eq!(cluster.executed(replica), [1, 2]);
            assert_eq!(cluster.cores[replica].view(), View(1));
        }
        cluster.assert_agreement();
    }
}

#[test]
fn two_dead_leaders_in_a_row_are_replaced() {
    for mut cluster in [bft(7), cft(5)] {
        let session = cluster.open_session();
        cluster.down[0] = true;
        cluster.down[1] = true;
        cluster.send(&command(session, 1));
        cluster.pass(5000);
        for replica in 2..cluster.n() {
            assert_eq!(cluster.executed(replica), [1]);
            assert_eq!(cluster.cores[replica].view(), View(2));
        }
    }
}

#[test]
fn an_idle_cluster_keeps_its_leader() {
    let mut cluster = bft(4);
    cluster.pass(10_000);
    assert!(cluster.cores.iter().all(|core| core.view() == View(0)));
}

#[test]
fn what_was_decided_before_the_leader_fell_stays_decided() {
    // The leader and replica 1 learn of the decision, nobody else does; then the leader falls.
    let mut cluster = bft(4);
    let session = cluster.open_session();
    cluster.send(&command(session, 1));
    cluster.settle_without(|_, to, message| {
        matches!(message, PeerMessage::Accept(_)) && to != ReplicaId(0) && to != ReplicaId(1)
    });
    assert_eq!(cluster.executed(1), [1]);
    assert!(cluster.executed(2).is_empty() && cluster.executed(3).is_empty());
    cluster.down[0] = true;
    cluster.send(&command(session, 2));
    cluster.pass(2000);
    for replica in 1..4 {
        assert_eq!(cluster.executed(replica), [1, 2]);
    }
    cluster.assert_agreement();
}

#[test]
fn a_batch_that_one_replica_lacks_is_fetched() {
    // Replica 3 never saw the proposal that the others locked.
    let mut cluster = bft(4);
    let session = cluster.open_session();
    cluster.send(&command(session, 1));
    cluster.settle_without(|_, to, message| {
        matches!(message, PeerMessage::Accept(_)) || (to == ReplicaId(3) && matches!(message, PeerMessage::Propose(_)))
    });
    assert!((0..4).all(|replica| cluster.executed(replica).is_empty()));
    cluster.down[0] = true;
    cluster.pass(2000);
    for replica in 1..4 {
        assert_eq!(cluster.executed(replica), [1]);
    }
    cluster.assert_agreement();
}

#[test]
fn a_leader_that_comes_back_follows_the_new_one() {
    for mut cluster in [bft(4), cft(3)] {
        let session = cluster.open_session();
        cluster.down[0] = true;
        cluster.send(&command(session, 1));
        cluster.pass(1500);
        cluster.down[0] = false;
        cluster.pass(1500);
        cluster.send(&command(session, 2));
        cluster.pass(500);
        assert_eq!(cluster.executed(0), [1, 2]);
        assert!(cluster.cores.iter().all(|core| core.view() == View(1)), "its return disturbed nobody");
        cluster.assert_agreement();
    }
}

#[test]
fn a_replica_that_cannot_hear_the_leader_does_not_disturb_the_others() {
    for mut cluster in [bft(4), cft(3)] {
        let session = cluster.open_session();
        let deaf = ReplicaId(2);
        for sequence in 1..=40 {
            cluster.send(&command(session, sequence));
            cluster.pass_without(100, |from, to, _| from == ReplicaId(0) && to == deaf);
        }
        assert_eq!(cluster.executed(1), (1..=40).collect::<Vec<_>>());
        assert_eq!(cluster.cores[1].view(), View(0));
        cluster.pass(2000);
        assert_eq!(cluster.executed(2).len(), 40, "it learns what was decided from the others");
    }
}

#[test]
fn a_leader_that_passes_over_a_client_is_replaced() {
    // The leader hears of everything but sequence 1, and decides thousands of other requests.
    let mut cluster = bft(4);
    let config = pssmr_ordering::Config {
        pending_requests_max: 16,
        limits: pssmr_types::BatchLimits { requests_max: 4, ..Default::default() },
        ..Default::default()
    };
    cluster = cluster::Cluster::new(pssmr_types::FaultModel::Byzantine, cluster.n(), &config);
    let session = cluster.open_session();
    for replica in 1..4 {
        cluster.step(replica, Input::Request(command(session, 1)));
    }
    for sequence in 2..=200 {
        cluster.send(&command(session, sequence));
        cluster.pass_without(50, |_, to, m| to == ReplicaId(0) && matches!(m, PeerMessage::Forward(_)));
    }
    assert!(cluster.executed(1).contains(&1));
    assert!(cluster.cores[1].view() > View(0));
    cluster.assert_agreement();
}

#[test]
fn one_replica_alone_cannot_depose_a_leader() {
    let mut cluster = bft(4);
    for view in 1..=5 {
        for to in 0..3 {
            let message = PeerMessage::Stop(View(view));
            cluster.step(to, Input::Message { from: ReplicaId(3), epoch: Epoch(0), message });
        }
        cluster.settle();
    }
    assert!(cluster.cores[..3].iter().all(|core| core.view() == View(0)));
}

#[test]
fn no_vote_of_an_earlier_view_counts_after_leaving_it() {
    // Replica 3 leaves view 0 with two ACCEPTs for slot 1 seen, and gets the third one afterwards.
    let mut cluster = bft(4);
    cluster.send(&cluster::opening(1));
    let mut late = Vec::new();
    loop {
        let accepts = |m: &(ReplicaId, ReplicaId, PeerMessage)| matches!(m.2, PeerMessage::Accept(_));
        late.extend(cluster.network.iter().filter(|m| m.1 == ReplicaId(3) && accepts(m)).cloned());
        cluster.network.retain(|m| m.1 != ReplicaId(3) || !accepts(m));
        if !cluster.deliver_one() {
            break;
        }
    }
    for from in [0, 1, 2] {
        let message = PeerMessage::Stop(View(1));
        cluster.step(3, Input::Message { from: ReplicaId(from), epoch: Epoch(0), message });
    }
    assert_eq!(cluster.cores[3].view(), View(1));
    for (from, _, message) in late {
        cluster.step(3, Input::Message { from, epoch: Epoch(0), message });
    }
    assert_eq!(cluster.cores[3].decided(), Slot(0));
}

fn state(replica: usize, view: u64) -> StopData {
    StopData::sign(ClusterId([1; 16]), Epoch(0), View(view), ReplicaId(replica as u16), None, vec![], &secret(replica))
}

fn offer(core: &mut Core, sync: &Sync) -> Vec<Effect> {
    let mut effects = Vec::new();
    let input = Input::Message { from: ReplicaId(3), epoch: Epoch(0), message: PeerMessage::Sync(sync.clone()) };
    core.step(cluster::bft(4).now(), [input], &mut effects);
    effects
}

#[test]
fn a_sync_must_prove_its_base() {
    let cluster_id = ClusterId([1; 16]);
    let view = View(1);
    let good = |states| Sync::sign(cluster_id, view, states, &secret(1));
    let refused = |sync: Sync| {
        let mut cluster = bft(4);
        offer(&mut cluster.cores[2], &sync);
        cluster.cores[2].view() == View(0)
    };
    assert!(!refused(good(vec![state(0, 1), state(1, 1), state(3, 1)])), "a proper one is taken");
    assert!(refused(good(vec![state(0, 1), state(1, 1)])), "too few");
    assert!(refused(good(vec![state(0, 1), state(1, 1), state(1, 1)])), "one sender twice");
    assert!(refused(good(vec![state(0, 1), state(1, 1), state(3, 5)])), "a state for another view");
    assert!(
        refused(Sync::sign(cluster_id, view, vec![state(0, 1), state(1, 1), state(3, 1)], &secret(3))),
        "not the leader"
    );
    let mut forged = state(3, 1);
    forged.replica = ReplicaId(2);
    assert!(refused(good(vec![state(0, 1), state(1, 1), forged])), "a state signed by another");
    assert!(
        refused(Sync::sign(ClusterId([2; 16]), view, vec![state(0, 1), state(1, 1), state(3, 1)], &secret(1))),
        "another cluster's"
    );
}

#[test]
fn a_replica_wants_to_be_woken_when_the_leader_has_to_be_judged() {
    // No heartbeat or retransmission is due anywhere near.
    let long = std::time::Duration::from_secs(3600);
    let config = pssmr_ordering::Config { heartbeat_interval: long, retransmit_interval: long, ..Default::default() };
    let mut cluster = cluster::Cluster::new(pssmr_types::FaultModel::Byzantine, 4, &config);
    cluster.down[0] = true;
    cluster.send(&cluster::opening(1));
    let (half, whole) = (250_000_000, 500_000_000);
    assert_eq!(cluster.cores[1].deadline(), Some(half));
    cluster.clock = half;
    cluster.step(1, Input::Tick);
    assert_eq!(cluster.cores[1].deadline(), Some(whole));
}
