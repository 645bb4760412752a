//! Whom a replica accuses: only one that broke the protocol.

mod cluster;

use cluster::{bft, opening};
use pssmr_ordering::{Effect, Event, Input};
use pssmr_types::{PeerMessage, ReplicaId, Slot, View, Vote, chain_digest};

/// Found by `pssmr-simulation run --profile twins7 --seed 288`.
#[test]
fn a_leader_is_not_accused_by_one_that_learned_what_a_later_view_decided() {
    let mut cluster = bft(4);
    let late = ReplicaId(3);
    cluster.send(&opening(11));
    // What the first leader proposes reaches nobody in time, and no view change reaches the last replica.
    let proposals: Vec<_> = cluster
        .network
        .iter()
        .filter(|(_, to, message)| *to == late && matches!(message, PeerMessage::Propose(_)))
        .cloned()
        .collect();
    cluster.pass_without(3000, |from, to, message| {
        let is_proposal = from == ReplicaId(0) && matches!(message, PeerMessage::Propose(_));
        let is_of_a_view = matches!(message, PeerMessage::Stop(_) | PeerMessage::Sync(_) | PeerMessage::StopData(_));
        is_proposal || (to == late && is_of_a_view)
    });
    let core = &cluster.cores[late.index()];
    assert!(
        core.decided() >= Slot(1) && core.view() == View(0),
        "it learned a decision of a view that it never entered"
    );
    let (_, _, PeerMessage::Propose(first)) = proposals[0].clone() else { panic!("{proposals:?}") };
    let digest = chain_digest(cluster_id(&cluster), cluster::EPOCH, first.slot, first.parent, first.batch.digest());
    assert_ne!(core.status().digest, digest, "and it is not what the first leader proposed");

    let vote = Vote { view: View(0), base: Slot(0), slot: first.slot, digest };
    let mut next = first.clone();
    (next.slot, next.parent) = (core.head().next(), digest);
    for message in [PeerMessage::Propose(first), PeerMessage::Write(vote), PeerMessage::Propose(next)] {
        let (now, epoch) = (cluster.now(), cluster::EPOCH);
        let mut effects = Vec::new();
        cluster.cores[late.index()].step(now, [Input::Message { from: ReplicaId(0), epoch, message }], &mut effects);
        let accuses = |effect: &Effect| matches!(effect, Effect::Event(Event::Misbehaviour { .. }));
        assert!(!effects.iter().any(accuses), "{effects:?}");
    }
}

fn cluster_id(cluster: &cluster::Cluster) -> pssmr_types::ClusterId {
    cluster::membership(cluster.model, cluster.n()).cluster()
}
