//! The normal case, as a client and an operator see it.

mod cluster;

use cluster::{CLIENT, Cluster, bft, cft, command, command_with, opening};
use pssmr_ordering::{Config, Input};
use pssmr_types::{BatchLimits, ClientId, FaultModel, Outcome, PeerMessage, ReplicaId, Slot};

#[test]
fn every_replica_executes_every_request_in_one_order() {
    for mut cluster in [bft(1), bft(4), bft(7), cft(1), cft(3), cft(5)] {
        let session = cluster.open_session();
        for sequence in 1..=50 {
            cluster.send(&command(session, sequence));
        }
        cluster.settle();
        for replica in 0..cluster.n() {
            assert_eq!(cluster.executed(replica), (1..=50).collect::<Vec<_>>());
        }
        cluster.assert_agreement();
    }
}

/// How many message delays it takes from the client's request until this replica has decided it.
fn delays(mut cluster: Cluster, replica: usize) -> usize {
    cluster.send(&opening(1));
    let mut delays = 0;
    while cluster.delivered[replica].is_empty() {
        for _ in 0..cluster.network.len() {
            cluster.deliver_one();
        }
        delays += 1;
    }
    delays
}

#[test]
fn a_decision_takes_three_message_delays_in_bft_and_two_in_cft() {
    assert_eq!([delays(bft(4), 0), delays(bft(4), 3), delays(bft(7), 3)], [3, 3, 3]);
    assert_eq!([delays(cft(3), 0), delays(cft(5), 0), delays(cft(5), 3)], [2, 2, 2]);
    assert_eq!(delays(cft(3), 1), 1, "with the leader's ACCEPT, its own is a quorum");
}

#[test]
fn a_retry_is_executed_once() {
    let mut cluster = bft(4);
    let session = cluster.open_session();
    for _ in 0..3 {
        cluster.send(&command(session, 1));
        cluster.settle();
    }
    assert_eq!(cluster.executed(2), [1]);
}

#[test]
fn requests_that_come_while_the_window_is_full_share_a_batch() {
    let mut cluster = Cluster::new(FaultModel::Byzantine, 4, &Config { window: 1, ..Config::default() });
    let session = cluster.open_session();
    for sequence in 1..=30 {
        cluster.send(&command(session, sequence));
    }
    cluster.settle();
    let batches: Vec<_> = cluster.delivered[1].iter().map(|d| d.commands.len()).collect();
    assert_eq!(batches, [0, 1, 29]);
}

#[test]
fn no_batch_is_beyond_its_limits() {
    let limits = BatchLimits { requests_max: 4, bytes_max: 1024 };
    let mut cluster = Cluster::new(FaultModel::Byzantine, 4, &Config { window: 1, limits, ..Config::default() });
    let session = cluster.open_session();
    for sequence in 1..=9 {
        cluster.send(&command(session, sequence));
    }
    cluster.send(&command_with(session, 10, &[0; 2000]));
    cluster.settle();
    assert!(cluster.delivered[0].iter().all(|d| d.commands.len() <= 4));
    assert_eq!(cluster.executed(0), (1..=9).collect::<Vec<_>>());
    let client = ClientId { principal: CLIENT, session };
    assert_eq!(cluster.replies[0].last(), Some(&(client, 10, Outcome::Busy)));
}

#[test]
fn a_request_of_no_session_is_answered_and_not_executed() {
    let mut cluster = bft(4);
    cluster.open_session();
    cluster.send(&command(1, 1));
    cluster.settle();
    assert_eq!(cluster.executed(0), [1]);
    cluster.send(&command(2, 1));
    cluster.settle();
    let client = ClientId { principal: CLIENT, session: 2 };
    for replica in 0..4 {
        assert!(cluster.replies[replica].contains(&(client, 1, Outcome::SessionExpired)));
        assert_eq!(cluster.executed(replica), [1]);
    }
}

#[test]
fn a_leader_cannot_forge_a_request() {
    let mut cluster = bft(4);
    let session = cluster.open_session();
    // Only the leader claims to have it.
    cluster.step(0, Input::Request(command_with(session, 1, b"forged")));
    cluster.settle();
    assert!(cluster.delivered.iter().all(|delivered| delivered.len() == 1), "nothing but the session was decided");
}

#[test]
fn a_request_that_k_replicas_vouch_for_is_decided() {
    let mut cluster = bft(4);
    let session = cluster.open_session();
    cluster.step(0, Input::Request(command(session, 1)));
    cluster.step(2, Input::Request(command(session, 1)));
    cluster.settle();
    for replica in 0..4 {
        assert_eq!(cluster.executed(replica), [1]);
    }
}

#[test]
fn a_request_that_reached_the_leader_first_waits_for_the_client() {
    let mut cluster = bft(4);
    let session = cluster.open_session();
    cluster.step(0, Input::Request(command(session, 1)));
    cluster.settle();
    assert!(cluster.executed(1).is_empty());
    cluster.send(&command(session, 1));
    cluster.settle();
    for replica in 0..4 {
        assert_eq!(cluster.executed(replica), [1]);
    }
}

#[test]
fn lost_votes_are_sent_again() {
    let mut cluster = bft(4);
    let session = cluster.open_session();
    cluster.send(&command(session, 1));
    cluster.settle_without(|_, _, message| matches!(message, PeerMessage::Write(_) | PeerMessage::Accept(_)));
    assert!(cluster.executed(0).is_empty());
    cluster.pass(200);
    for replica in 0..4 {
        assert_eq!(cluster.executed(replica), [1]);
    }
    assert!(cluster.cores.iter().all(|core| core.view().0 == 0), "no view change was needed");
}

#[test]
fn a_replica_that_missed_a_proposal_gets_it_again() {
    let mut cluster = bft(4);
    let session = cluster.open_session();
    cluster.down[3] = true;
    cluster.send(&command(session, 1));
    cluster.settle_without(|_, to, message| to == ReplicaId(2) && matches!(message, PeerMessage::Propose(_)));
    assert!(cluster.executed(0).is_empty(), "a quorum needs replica 2");
    cluster.pass(200);
    assert_eq!(cluster.executed(2), [1]);
    assert_eq!(cluster.cores[0].view().0, 0);
}

#[test]
fn a_replica_that_was_cut_off_catches_up() {
    for mut cluster in [bft(4), cft(3)] {
        let session = cluster.open_session();
        let cut = ReplicaId(2);
        for sequence in 1..=300 {
            cluster.send(&command(session, sequence));
            cluster.settle_without(|from, to, _| from == cut || to == cut);
        }
        assert!(cluster.executed(2).is_empty());
        cluster.pass(2000);
        assert_eq!(cluster.executed(2), (1..=300).collect::<Vec<_>>());
        cluster.assert_agreement();
        assert_eq!(cluster.cores[0].view().0, 0, "nobody was disturbed");
    }
}

#[test]
fn a_replica_behind_what_others_keep_says_so_and_does_not_invent() {
    // Nobody has taken a checkpoint yet.
    let config = Config { retained_bytes_max: 250, checkpoint_bytes: 125, ..Config::default() };
    let mut cluster = Cluster::new(FaultModel::Byzantine, 4, &config);
    cluster.takes_no_snapshots = true;
    let session = cluster.open_session();
    let cut = ReplicaId(3);
    for sequence in 1..=100 {
        cluster.send(&command(session, sequence));
        cluster.settle_without(|from, to, _| from == cut || to == cut);
    }
    cluster.pass(2000);
    assert_eq!(cluster.cores[3].decided(), Slot(1));
    cluster.assert_agreement();
}

#[test]
fn a_slow_execution_slows_ordering_and_suspects_nobody() {
    let config = Config { unexecuted_slots_max: 4, ..Config::default() };
    let mut cluster = Cluster::new(FaultModel::Byzantine, 4, &config);
    let session = cluster.open_session();
    // Replica cores without anyone to execute: steps that are not followed by Executed.
    let mut effects = Vec::new();
    for sequence in 1..=100 {
        for replica in 0..4 {
            let now = cluster.now();
            cluster.cores[replica].step(now, [Input::Request(command(session, sequence))], &mut effects);
        }
    }
    let head = cluster.cores[0].head();
    assert!(head <= Slot(1 + 4), "{head}");
}

#[test]
fn timestamps_never_go_back_and_do_not_run_ahead() {
    let mut cluster = bft(4);
    let session = cluster.open_session();
    for sequence in 1..=10 {
        cluster.clock += 1_000_000;
        cluster.send(&command(session, sequence));
        cluster.settle();
    }
    let times: Vec<_> = cluster.delivered[3].iter().map(|d| d.timestamp).collect();
    assert!(times.is_sorted());
    assert!(*times.last().unwrap() <= cluster.now().wall);
}
