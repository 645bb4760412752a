//! What a replica must have executed before it answers a query that is not ordered.

mod cluster;

use cluster::{bft, cft, command};
use pssmr_types::{PeerMessage, Slot};

#[test]
fn at_rest_a_replica_answers_from_what_it_has_decided() {
    for mut cluster in [bft(4), cft(3)] {
        let session = cluster.open_session();
        cluster.send(&command(session, 1));
        cluster.settle();
        for core in &cluster.cores {
            assert_eq!(core.read_floor(), Some(core.decided()));
            assert!(core.decided() > Slot(0));
        }
    }
}

#[test]
fn what_a_replica_has_voted_for_may_be_decided_elsewhere_and_has_to_be_waited_for() {
    for mut cluster in [bft(4), cft(3)] {
        let session = cluster.open_session();
        let before = cluster.cores[2].decided();
        cluster.send(&command(session, 1));
        // Replica 2 helps to decide, and hears of nobody's ACCEPT.
        cluster.settle_without(|_, to, message| matches!(message, PeerMessage::Accept(_)) && to.0 == 2);
        assert_eq!(cluster.cores[0].decided(), before.next());
        assert_eq!(cluster.cores[2].decided(), before);
        assert_eq!(cluster.cores[2].read_floor(), Some(before.next()));
    }
}

#[test]
fn a_replica_between_two_views_does_not_answer() {
    let mut cluster = bft(4);
    let session = cluster.open_session();
    cluster.down[0] = true;
    cluster.send(&command(session, 1));
    // They leave the view, and the next one's leader is not heard.
    cluster.pass_without(1500, |_, _, message| matches!(message, PeerMessage::Sync(_)));
    assert_eq!(cluster.cores[3].read_floor(), None, "no view has its base there");
    cluster.pass(3000);
    assert!(cluster.cores[1..].iter().all(|core| core.read_floor().is_some()));
}

#[test]
fn a_replica_that_may_have_forgotten_how_it_voted_does_not_answer() {
    let mut cluster = cft(3);
    cluster.open_session();
    cluster.cores[1].set_learner(true);
    assert_eq!(cluster.cores[1].read_floor(), None);
    cluster.cores[1].set_learner(false);
    assert!(cluster.cores[1].read_floor().is_some());
}
