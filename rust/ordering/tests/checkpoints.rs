//! Checkpoints: taken at agreed slots, stable by the word of f + 1, and what takes the place of a log.

mod cluster;

use std::cell::RefCell;

use cluster::{Cluster, command, secret};
use pssmr_ordering::{Config, Durability, Input, Record};
use pssmr_types::{
    Certificate, Checkpoint, CheckpointVote, ClusterId, Digest, FaultModel, PeerMessage, ReplicaId, Slot, View,
};

/// Checkpoints at every fifth slot, and not much more kept.
fn config(durability: Durability) -> Config {
    Config { durability, window: 4, checkpoint_slots: 5, retained_slots_max: 10, ..Config::default() }
}

fn with(model: FaultModel, n: usize, durability: Durability) -> Cluster {
    Cluster::new(model, n, &config(durability))
}

/// Orders one command after the other, each in a slot of its own.
fn order(cluster: &mut Cluster, session: u64, sequences: std::ops::RangeInclusive<u64>) {
    for sequence in sequences {
        cluster.send(&command(session, sequence));
        cluster.settle();
    }
}

fn stable(cluster: &Cluster, replica: usize) -> Slot {
    cluster.stable[replica].as_ref().map_or(Slot(0), |certificate| certificate.checkpoint.slot)
}

#[test]
fn at_agreed_slots_all_find_the_same_and_prove_it() {
    for (model, n) in [(FaultModel::Byzantine, 4), (FaultModel::Crash, 3), (FaultModel::Crash, 1)] {
        let mut cluster = with(model, n, Durability::Sync);
        let session = cluster.open_session();
        order(&mut cluster, session, 1..=11);
        for replica in 0..n {
            assert_eq!(stable(&cluster, replica), Slot(10));
            assert!(cluster.stable[replica].as_ref().unwrap().is_valid(&cluster::membership(model, n)));
            assert_eq!(cluster.cores[replica].status().checkpoint, Slot(10));
        }
        cluster.assert_agreement();
    }
}

/// Simulator, cft3 seed 3007561: what a replica said that executed far behind the other one was compared with nothing.
#[test]
fn the_word_of_one_that_is_far_behind_still_makes_a_checkpoint_stable() {
    let mut cluster = with(FaultModel::Crash, 3, Durability::Sync);
    let session = cluster.open_session();
    let late = RefCell::new(Vec::new());
    for sequence in 1..=60 {
        cluster.send(&command(session, sequence));
        cluster.settle_without(|from, to, message| match message {
            PeerMessage::Checkpoint(vote) => {
                if (from, to) == (ReplicaId(1), ReplicaId(0)) {
                    late.borrow_mut().push(*vote);
                }
                true
            }
            _ => false,
        });
    }
    assert_eq!(stable(&cluster, 0), Slot(0));
    let first = late.borrow()[0];
    let message = PeerMessage::Checkpoint(first);
    cluster.step(0, Input::Message { from: ReplicaId(1), epoch: cluster::EPOCH, message });
    assert_eq!(stable(&cluster, 0), Slot(5));
}

#[test]
fn a_checkpoint_is_also_taken_after_so_many_bytes() {
    let config = Config { checkpoint_bytes: 3000, checkpoint_slots: 50, ..config(Durability::Memory) };
    assert!(config.check().is_err(), "too far apart for what is kept");
    let config = Config { retained_slots_max: 100, ..config };
    let mut cluster = Cluster::new(FaultModel::Byzantine, 4, &config);
    let session = cluster.open_session();
    for sequence in 1..=4 {
        cluster.send(&cluster::command_with(session, sequence, &[7; 1000]));
        cluster.settle();
    }
    assert_eq!(stable(&cluster, 0), Slot(4));
}

#[test]
fn the_log_before_a_stable_checkpoint_goes_and_a_replica_comes_back_without_it() {
    for (model, n) in [(FaultModel::Byzantine, 4), (FaultModel::Crash, 3)] {
        let mut cluster = with(model, n, Durability::Sync);
        let session = cluster.open_session();
        order(&mut cluster, session, 1..=12);
        let expected = cluster.executed(2);
        assert!(matches!(&cluster.logs[2][0], Record::Image(image) if image.slot == Slot(10)));
        cluster.restart(2);
        assert_eq!(cluster.executed(2), expected);
        // It is one of a quorum, and remembers what clients have sent.
        cluster.down[1] = true;
        order(&mut cluster, session, 3..=3);
        order(&mut cluster, session, 13..=16);
        assert_eq!(cluster.executed(2), (1..=16).collect::<Vec<_>>());
        cluster.assert_agreement();
    }
}

#[test]
fn all_replicas_come_back_from_their_snapshots_in_the_view_they_were_in() {
    let mut cluster = with(FaultModel::Byzantine, 4, Durability::Sync);
    let session = cluster.open_session();
    order(&mut cluster, session, 1..=3);
    cluster.down[0] = true;
    cluster.send(&command(session, 4));
    cluster.pass(3000);
    cluster.down[0] = false;
    cluster.restart(0);
    cluster.pass(1000);
    order(&mut cluster, session, 5..=14);
    let view = cluster.cores[1].view();
    assert!(view > View(0));
    for replica in 0..4 {
        assert!(matches!(&cluster.logs[replica][0], Record::Image(_)), "the log of {replica} was cut");
        cluster.restart(replica);
        assert_eq!(cluster.cores[replica].view(), view);
    }
    cluster.pass(3000);
    order(&mut cluster, session, 15..=20);
    assert_eq!(cluster.executed(3), (1..=20).collect::<Vec<_>>());
    cluster.assert_agreement();
}

#[test]
fn votes_from_before_a_checkpoint_are_remembered_after_it() {
    let mut cluster = with(FaultModel::Byzantine, 4, Durability::Sync);
    let session = cluster.open_session();
    order(&mut cluster, session, 1..=3);
    // Slot 5 is decided and its checkpoint stable; slot 6 is locked and nobody knows that it is decided.
    order(&mut cluster, session, 4..=4);
    cluster.send(&command(session, 5));
    cluster.settle_without(|_, _, message| matches!(message, PeerMessage::Accept(_)));
    for replica in 0..4 {
        assert_eq!((stable(&cluster, replica), cluster.cores[replica].decided()), (Slot(5), Slot(5)));
        cluster.restart(replica);
        assert_eq!(cluster.cores[replica].head(), Slot(6));
    }
    // The next view has to keep it.
    cluster.pass(3000);
    assert_eq!(cluster.executed(1), [1, 2, 3, 4, 5]);
    cluster.assert_agreement();
}

#[test]
fn a_replica_with_another_state_stops_and_names_the_slot() {
    let mut cluster = with(FaultModel::Byzantine, 4, Durability::Sync);
    let session = cluster.open_session();
    order(&mut cluster, session, 1..=3);
    cluster.delivered[3][1].timestamp += 1;
    order(&mut cluster, session, 4..=6);
    assert!(cluster.halted[3].as_ref().is_some_and(|reason| reason.contains("s5") && reason.contains("diverged")));
    assert!(cluster.halted[..3].iter().all(Option::is_none));
    assert_eq!(stable(&cluster, 0), Slot(5));
}

#[test]
fn one_replica_cannot_make_a_checkpoint_stable_nor_forge_the_word_of_another() {
    let mut cluster = with(FaultModel::Byzantine, 4, Durability::Sync);
    let session = cluster.open_session();
    order(&mut cluster, session, 1..=2);
    let lie = Checkpoint { slot: Slot(3), digest: Digest([6; 32]), root: Digest([7; 32]) };
    let sign = |replica| CheckpointVote::sign(ClusterId([1; 16]), cluster::EPOCH, lie, &secret(replica));
    let own = sign(3);
    for from in [1, 2, 3] {
        // They say what they did not sign.
        let message = PeerMessage::Checkpoint(own);
        cluster.step(0, Input::Message { from: ReplicaId(from), epoch: cluster::EPOCH, message });
    }
    let signatures = [1, 2, 3].map(|r| (ReplicaId(r), own.signature)).to_vec();
    let forged = Certificate { checkpoint: lie, epoch: cluster::EPOCH, signatures };
    let message = PeerMessage::Certificate(forged);
    cluster.step(0, Input::Message { from: ReplicaId(3), epoch: cluster::EPOCH, message });
    assert_eq!(cluster.cores[0].status().checkpoint, Slot(0));
    order(&mut cluster, session, 3..=6);
    assert_eq!(stable(&cluster, 0), Slot(5));
}

#[test]
fn a_replica_that_lags_behind_what_is_kept_goes_on_from_a_snapshot_and_votes() {
    for (model, n, durability) in [
        (FaultModel::Byzantine, 4, Durability::Sync),
        (FaultModel::Byzantine, 4, Durability::Memory),
        (FaultModel::Crash, 3, Durability::Async),
    ] {
        let mut cluster = with(model, n, durability);
        let session = cluster.open_session();
        order(&mut cluster, session, 1..=2);
        cluster.down[2] = true;
        order(&mut cluster, session, 3..=31);
        cluster.down[2] = false;
        cluster.pass(1000);
        assert_eq!(cluster.wanted[2].as_ref().map(|wanted| wanted.checkpoint.slot), Some(Slot(30)));
        // While it is fetched, others go on.
        order(&mut cluster, session, 32..=33);
        cluster.give_snapshot(2);
        cluster.pass(1000);
        assert_eq!(cluster.executed(2), (1..=33).collect::<Vec<_>>());
        cluster.down[1] = true;
        order(&mut cluster, session, 34..=40);
        assert_eq!(cluster.executed(2), (1..=40).collect::<Vec<_>>(), "its votes count again in the same view");
        if durability != Durability::Memory {
            cluster.restart(2);
            assert_eq!(cluster.executed(2), (1..=40).collect::<Vec<_>>());
        }
        cluster.assert_agreement();
    }
}

#[test]
fn a_crash_right_after_a_snapshot_was_installed_is_no_loss() {
    let mut cluster = with(FaultModel::Byzantine, 4, Durability::Sync);
    let session = cluster.open_session();
    order(&mut cluster, session, 1..=2);
    cluster.down[2] = true;
    order(&mut cluster, session, 3..=31);
    cluster.down[2] = false;
    cluster.pass(1000);
    cluster.quick_disks = false;
    cluster.give_snapshot(2);
    let (log, kept, snapshots) = (cluster.logs[2].clone(), cluster.kept[2], cluster.snapshots[2].clone());
    // Whatever the disk had of it when the replica was killed.
    for keep in kept..=log.len() {
        cluster.logs[2].clone_from(&log);
        cluster.kept[2] = keep;
        cluster.snapshots[2].clone_from(&snapshots);
        cluster.restart(2);
        let is_installed = log[..keep].iter().any(|record| matches!(record, Record::Installed(_)));
        assert_eq!(cluster.cores[2].decided(), if is_installed { Slot(30) } else { Slot(3) });
    }
}

#[test]
fn a_transfer_that_failed_is_begun_again_with_what_is_there_now() {
    let mut cluster = with(FaultModel::Byzantine, 4, Durability::Memory);
    let session = cluster.open_session();
    cluster.down[2] = true;
    order(&mut cluster, session, 1..=20);
    cluster.down[2] = false;
    cluster.pass(1000);
    let first = cluster.wanted[2].take().unwrap().checkpoint.slot;
    cluster.down[2] = true;
    order(&mut cluster, session, 21..=40);
    cluster.down[2] = false;
    cluster.pass(1000);
    assert!(cluster.wanted[2].is_none(), "one is under way");
    cluster.step(2, Input::TransferFailed);
    cluster.pass(1000);
    assert!(cluster.wanted[2].as_ref().unwrap().checkpoint.slot > first);
    cluster.give_snapshot(2);
    cluster.pass(1000);
    assert_eq!(cluster.executed(2), (1..=40).collect::<Vec<_>>());
}

#[test]
fn a_replica_whose_log_lost_what_its_last_checkpoint_proves_is_given_the_snapshot_all_the_same() {
    let mut cluster = with(FaultModel::Byzantine, 4, Durability::Async);
    let session = cluster.open_session();
    order(&mut cluster, session, 1..=31);
    // The machine went down before anything of the log was synced; the proof of slot 30 was there already.
    (cluster.logs[2], cluster.kept[2]) = (Vec::new(), 0);
    assert_eq!(stable(&cluster, 2), Slot(30));
    cluster.restart(2);
    assert_eq!(cluster.cores[2].decided(), Slot(0));
    cluster.pass(1000);
    cluster.give_snapshot(2);
    cluster.pass(1000);
    assert_eq!(cluster.executed(2), (1..=31).collect::<Vec<_>>());
}
