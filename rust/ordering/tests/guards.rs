//! Guards of the protocol, each by itself: what a replica must not do though everything else would let it.

mod cluster;

use std::time::Duration;

use cluster::{Cluster, bft, command, membership, opening, secret};
use pssmr_ordering::{Config, Core, Durability, Effect, Event, Input, Now, Promise};
use pssmr_types::{
    Batch, BatchLimits, Digest, FaultModel, Lock, PeerMessage, Propose, ReplicaId, Slot, StopData, Sync, View, Vote,
    chain_digest, genesis,
};

fn core(replica: usize, config: Config) -> Core {
    let membership = membership(FaultModel::Byzantine, 4);
    Core::new(config, membership, ReplicaId(replica as u16), secret(replica), Now::default()).unwrap()
}

fn broadcasts(effects: &[Effect]) -> impl Iterator<Item = &PeerMessage> {
    effects.iter().filter_map(|effect| if let Effect::Broadcast(message) = effect { Some(message) } else { None })
}

/// Empty batches of the first view's leader, one on top of the other.
fn proposals(slots: u64) -> Vec<Propose> {
    let membership = membership(FaultModel::Byzantine, 4);
    let (cluster, epoch) = (membership.cluster(), membership.epoch());
    let mut parent = genesis(cluster);
    (1..=slots)
        .map(|slot| {
            let batch = Batch::new(0, vec![]);
            let propose = Propose { view: View(0), slot: Slot(slot), parent, batch };
            parent = chain_digest(cluster, epoch, propose.slot, parent, propose.batch.digest());
            propose
        })
        .collect()
}

fn digest_of(propose: &Propose) -> Digest {
    let membership = membership(FaultModel::Byzantine, 4);
    chain_digest(membership.cluster(), membership.epoch(), propose.slot, propose.parent, propose.batch.digest())
}

fn from(replica: u16, message: PeerMessage) -> Input {
    Input::Message { from: ReplicaId(replica), epoch: membership(FaultModel::Byzantine, 4).epoch(), message }
}

#[test]
fn a_leader_proposes_no_slot_beyond_its_promise() {
    let config = Config { limits: BatchLimits { requests_max: 1, bytes_max: 4096 }, ..Config::default() };
    let mut leader = core(0, config);
    leader.set_promise(Promise { view: View(0), slot_limit: Slot(2) });
    let mut effects = Vec::new();
    leader.step(Now::default(), (1..=5).map(|nonce| Input::Request(opening(nonce))), &mut effects);
    let proposed = |effects: &[Effect]| broadcasts(effects).filter(|m| matches!(m, PeerMessage::Propose(_))).count();
    assert_eq!(proposed(&effects), 2);
    leader.step(Now::default(), [Input::Promised(Promise { view: View(0), slot_limit: Slot(9) })], &mut effects);
    assert_eq!(proposed(&effects), 5);
}

#[test]
fn a_replica_votes_for_no_slot_beyond_its_promise() {
    let mut follower = core(1, Config::default());
    follower.set_promise(Promise { view: View(0), slot_limit: Slot(2) });
    let mut effects = Vec::new();
    let inputs = proposals(5).into_iter().map(|propose| from(0, PeerMessage::Propose(propose)));
    follower.step(Now::default(), inputs, &mut effects);
    let voted = |effects: &[Effect]| {
        let votes =
            broadcasts(effects).filter_map(|m| if let PeerMessage::Write(vote) = m { Some(vote.slot) } else { None });
        votes.max()
    };
    assert_eq!((follower.head(), voted(&effects)), (Slot(5), Some(Slot(2))));
    follower.step(Now::default(), [Input::Promised(Promise { view: View(0), slot_limit: Slot(9) })], &mut effects);
    assert_eq!(voted(&effects), Some(Slot(5)));
}

#[test]
fn a_proposal_has_to_be_on_top_of_the_chain() {
    let mut follower = core(1, Config::default());
    let mut effects = Vec::new();
    let mut astray = proposals(1).remove(0);
    astray.parent = Digest([7; 32]);
    follower.step(Now::default(), [from(0, PeerMessage::Propose(astray))], &mut effects);
    assert_eq!(follower.head(), Slot(0));
    assert!(!broadcasts(&effects).any(|message| matches!(message, PeerMessage::Write(_))));
    let accuses = |effect: &Effect| matches!(effect, Effect::Event(Event::Misbehaviour { replica: ReplicaId(0), .. }));
    assert!(effects.iter().any(accuses));
}

/// Brings a cluster into view 1, its first replica dead, with a slot that the others have and nobody has voted for.
fn in_view_one() -> (Cluster, Slot, Digest) {
    let mut cluster = bft(4);
    cluster.down[0] = true;
    cluster.send(&opening(11));
    cluster.pass(3000);
    assert!((1..4).all(|replica| cluster.cores[replica].view() == View(1) && cluster.cores[replica].is_active()));
    cluster.send(&opening(12));
    cluster.settle_without(|_, _, message| matches!(message, PeerMessage::Write(_) | PeerMessage::Accept(_)));
    let (slot, decided) = (cluster.cores[3].head(), cluster.cores[3].decided());
    assert_eq!(slot, decided.next(), "the slot is on the chain and open");
    // The digest is what the replica votes for.
    cluster.step(3, Input::Connected(ReplicaId(2)));
    let votes = cluster.network.iter().filter_map(|(by, _, message)| match message {
        PeerMessage::Write(vote) if *by == ReplicaId(3) && vote.slot == slot => Some(vote.digest),
        _ => None,
    });
    let digest = votes.last().expect("it repeats its vote");
    cluster.network.clear();
    (cluster, slot, digest)
}

fn cast(cluster: &mut Cluster, view: u64, slot: Slot, digest: Digest, kind: fn(Vote) -> PeerMessage) {
    for voter in 0..3 {
        let vote = Vote { view: View(view), base: Slot(0), slot, digest };
        let (epoch, message) = (cluster::EPOCH, kind(vote));
        cluster.step(3, Input::Message { from: ReplicaId(voter), epoch, message });
    }
}

#[test]
fn accepts_of_an_earlier_view_decide_nothing_in_this_one() {
    let (mut cluster, slot, digest) = in_view_one();
    cast(&mut cluster, 0, slot, digest, PeerMessage::Accept);
    assert!(cluster.cores[3].decided() < slot);
    cast(&mut cluster, 1, slot, digest, PeerMessage::Accept);
    assert_eq!(cluster.cores[3].decided(), slot, "those of its own view do");
}

#[test]
fn writes_of_an_earlier_view_lock_nothing_in_this_one() {
    let (mut cluster, slot, digest) = in_view_one();
    let accepts = |cluster: &Cluster| {
        cluster
            .network
            .iter()
            .any(|(by, _, m)| *by == ReplicaId(3) && matches!(m, PeerMessage::Accept(vote) if vote.slot == slot))
    };
    cast(&mut cluster, 0, slot, digest, PeerMessage::Write);
    assert!(!accepts(&cluster));
    cast(&mut cluster, 1, slot, digest, PeerMessage::Write);
    assert!(accepts(&cluster), "those of its own view do");
}

#[test]
fn votes_that_came_before_their_proposal_are_forgotten_with_their_view() {
    let membership = membership(FaultModel::Byzantine, 4);
    let (cluster, epoch) = (membership.cluster(), membership.epoch());
    for kind in [PeerMessage::Write, PeerMessage::Accept] {
        let mut replica = core(3, Config::default());
        let mut propose = proposals(1).remove(0);
        let digest = digest_of(&propose);
        let vote = |view| kind(Vote { view: View(view), base: Slot(0), slot: Slot(1), digest });
        let mut effects = Vec::new();
        // Two votes of view 0 for a slot that the replica does not have, and then view 1, with the same batch there.
        replica.step(Now::default(), [0, 2].map(|voter| from(voter, vote(0))), &mut effects);
        let state =
            |of: u16| StopData::sign(cluster, epoch, View(1), ReplicaId(of), None, vec![], &secret(usize::from(of)));
        let sync = Sync::sign(cluster, View(1), [0, 1, 2].map(state).to_vec(), &secret(1));
        propose.view = View(1);
        let inputs = [PeerMessage::Sync(sync), PeerMessage::Propose(propose), vote(1)];
        replica.step(Now::default(), inputs.map(|message| from(1, message)), &mut effects);
        assert_eq!((replica.view(), replica.head()), (View(1), Slot(1)));
        let goes_on = |effects: &[Effect]| {
            let accepts = broadcasts(effects).any(|message| matches!(message, PeerMessage::Accept(_)));
            accepts || effects.iter().any(|effect| matches!(effect, Effect::Deliver(_)))
        };
        assert!(!goes_on(&effects), "one vote of view 1 is too few");
        replica.step(Now::default(), [0, 2].map(|voter| from(voter, vote(1))), &mut effects);
        assert!(goes_on(&effects));
    }
}

#[test]
fn time_outs_grow_while_views_pass_without_a_decision() {
    let config = Config { request_timeout: Duration::from_millis(500), ..Config::default() };
    let mut cluster = Cluster::new(FaultModel::Byzantine, 4, &config);
    cluster.send(&opening(11));
    // No leader gets its base across.
    cluster.pass_without(20_000, |_, _, m| matches!(m, PeerMessage::Sync(_) | PeerMessage::Propose(_)));
    let view = cluster.cores[1].view();
    assert!((View(4)..=View(8)).contains(&view), "{view}: 20 s are 40 time-outs of the first view");
}

#[test]
fn what_a_replica_learned_from_others_it_has_decided_after_a_restart() {
    let mut cluster =
        Cluster::new(FaultModel::Byzantine, 4, &Config { durability: Durability::Sync, ..Config::default() });
    let session = cluster.open_session();
    cluster.down[3] = true;
    for sequence in 1..=5 {
        cluster.send(&command(session, sequence));
        cluster.settle();
    }
    cluster.down[3] = false;
    cluster.pass_without(2000, |_, to, message| {
        to == ReplicaId(3) && matches!(message, PeerMessage::Accept(_) | PeerMessage::Propose(_))
    });
    assert_eq!(cluster.executed(3), [1, 2, 3, 4, 5]);
    let decided = cluster.cores[3].decided();
    cluster.down[..3].fill(true);
    cluster.restart(3);
    assert_eq!(cluster.cores[3].decided(), decided);
    assert_eq!(cluster.executed(3), [1, 2, 3, 4, 5]);
}

/// Others' word took it further than its promise, which was on its way to the disk.
#[test]
fn a_replica_that_has_learned_of_slots_beyond_its_promise_votes_for_none_below_them() {
    let mut cluster =
        Cluster::new(FaultModel::Byzantine, 4, &Config { durability: Durability::Sync, ..Config::default() });
    let session = cluster.open_session();
    let promise = Promise { view: View(0), slot_limit: cluster.cores[3].head().next() };
    cluster.cores[3].set_promise(promise);
    cluster.promises[3] = promise;
    cluster.quick_promises = false;
    cluster.down[3] = true;
    for sequence in 1..=5 {
        cluster.send(&command(session, sequence));
        cluster.settle();
    }
    cluster.down[3] = false;
    cluster.pass_without(2000, |_, to, message| {
        to == ReplicaId(3) && matches!(message, PeerMessage::Accept(_) | PeerMessage::Propose(_))
    });
    assert_eq!(cluster.executed(3), [1, 2, 3, 4, 5]);
    // Its log can be replayed.
    cluster.down[..3].fill(true);
    cluster.restart(3);
    assert_eq!(cluster.executed(3), [1, 2, 3, 4, 5]);
}

#[test]
fn a_replica_that_forgot_locks_the_slot_with_which_it_votes_again() {
    let mut replica = core(2, Config::default());
    replica.set_forgotten(Promise { view: View(0), slot_limit: Slot(3) });
    let proposals = proposals(4);
    let vote = Vote { view: View(0), base: Slot(0), slot: Slot(4), digest: digest_of(&proposals[3]) };
    let decides = proposals.into_iter().map(|propose| from(0, PeerMessage::Propose(propose)));
    let mut effects = Vec::new();
    replica.step(Now::default(), decides, &mut effects);
    replica.step(Now::default(), [0, 1, 3].map(|voter| from(voter, PeerMessage::Accept(vote))), &mut effects);
    assert!(effects.contains(&Effect::Event(Event::Rejoined { slot: Slot(4) })));
    // It has voted for nothing since, and has to say what it knows.
    replica.step(Now::default(), [0, 1, 3].map(|voter| from(voter, PeerMessage::Stop(View(1)))), &mut effects);
    let state = effects.iter().find_map(|effect| match effect {
        Effect::Send { to: ReplicaId(1), message: PeerMessage::StopData(state) } => Some(state.lock),
        _ => None,
    });
    assert_eq!(state, Some(Some(Lock { view: View(0), slot: Slot(4), digest: vote.digest })));
}

/// Found by `pssmr-simulation run --profile bft4 --seed 1064`.
#[test]
fn a_leader_whose_chain_has_the_slot_of_a_snapshot_keeps_what_it_proposed_above() {
    let config = Config { checkpoint_slots: 4, ..Config::default() };
    let mut cluster = Cluster::new(FaultModel::Byzantine, 4, &config);
    let session = cluster.open_session();
    let leader = ReplicaId(2);
    cluster.down[2] = true;
    for sequence in 1..=12 {
        cluster.send(&command(session, sequence));
        cluster.settle();
    }
    // The leader to be lags, looks for what it lacks, and hears that it is not kept any more.
    cluster.down[2] = false;
    cluster.pass_without(1000, |_, to, m| to == leader && !matches!(m, PeerMessage::Status(_) | PeerMessage::Stop(_)));
    let stable = cluster.stable[0].clone().expect("there is a stable checkpoint");
    let slot = stable.checkpoint.slot;
    for message in [PeerMessage::Certificate(stable), PeerMessage::Truncated { oldest: slot }] {
        let epoch = cluster::EPOCH;
        cluster.step(2, Input::Message { from: ReplicaId(0), epoch, message });
    }
    assert!(cluster.wanted[2].is_some(), "it wants a snapshot");
    // Before the snapshot is there, its view comes: it fetches the base after all, and proposes on top of it.
    for replica in 0..4 {
        for voter in (0..4).filter(|voter| usize::from(*voter) != replica) {
            let epoch = cluster::EPOCH;
            cluster
                .step(replica, Input::Message { from: ReplicaId(voter), epoch, message: PeerMessage::Stop(View(2)) });
        }
    }
    let decides =
        |m: &PeerMessage| matches!(m, PeerMessage::Write(_) | PeerMessage::Accept(_) | PeerMessage::DigestReply { .. });
    cluster.settle_without(|_, to, message| to == leader && decides(message));
    let core = &cluster.cores[2];
    let head = core.head();
    assert!(core.is_active() && core.view() == View(2) && core.decided() < slot && slot < head);

    cluster.give_snapshot(2);
    cluster.send(&command(session, 13));
    assert!(cluster.cores[2].decided() >= slot, "the checkpoint proves that it is decided");
    let again = cluster.network.iter().find(|(by, _, message)| {
        *by == leader && matches!(message, PeerMessage::Propose(propose) if propose.slot <= head)
    });
    assert_eq!(again, None, "no slot is proposed twice in a view");
    cluster.settle();
    assert!((0..4).all(|replica| cluster.executed(replica).last() == Some(&13)));
}

/// Found by `pssmr-simulation run --profile cft3 --seed 1002189`.
#[test]
fn a_leader_whose_log_lost_its_view_does_not_lead_that_view_again() {
    let config = Config { durability: Durability::Sync, ..Config::default() };
    let mut cluster = Cluster::new(FaultModel::Crash, 3, &config);
    for (core, promise) in cluster.cores.iter_mut().zip(&cluster.promises) {
        core.set_promise(*promise);
    }
    cluster.pass(50);
    cluster.open_session();
    // The others leave for the view that the last one leads, whose disk hangs: it leads, and its log does not say so.
    cluster.quick_disks = false;
    for replica in 0..2 {
        for voter in [1 - replica, 2] {
            let (epoch, message) = (cluster::EPOCH, PeerMessage::Stop(View(2)));
            cluster.step(replica, Input::Message { from: ReplicaId(voter as u16), epoch, message });
        }
        cluster.sync(replica);
    }
    let leads = |cluster: &Cluster| {
        let proposes = |m: &PeerMessage| matches!(m, PeerMessage::Propose(p) if p.view == View(2));
        cluster
            .network
            .iter()
            .any(|(by, _, m)| *by == ReplicaId(2) && (proposes(m) || matches!(m, PeerMessage::Sync(_))))
    };
    while !leads(&cluster) {
        assert!(cluster.deliver_one(), "it leads in the end");
    }
    cluster.restart(2);
    assert!(cluster.cores[2].view() < View(2), "its log does not say that it was there");
    cluster.quick_disks = true;
    cluster.send(&opening(12));
    cluster.pass(3000);
    // What it proposed before it may have forgotten, so the view goes to the next one.
    let is_beyond = |core: &Core| core.is_active() && core.view() > View(2);
    assert!(cluster.cores.iter().all(is_beyond));
}
