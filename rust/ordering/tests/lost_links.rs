//! Leaders whose links are lost: suspected after a tenth of the time-out, which is 50 ms in these tests.

mod cluster;

use cluster::{Cluster, bft, cft, command};
use pssmr_ordering::Input;
use pssmr_types::{PeerMessage, ReplicaId, View};

/// The process of a replica ends: nothing comes from it any more, and its links are lost.
fn kill(cluster: &mut Cluster, replica: usize) {
    cluster.down[replica] = true;
    for other in (0..cluster.n()).filter(|other| *other != replica) {
        lose_link(cluster, other, replica);
    }
}

fn lose_link(cluster: &mut Cluster, of: usize, to: usize) {
    cluster.step(of, Input::Disconnected(ReplicaId(to as u16)));
}

fn views(cluster: &Cluster) -> Vec<View> {
    cluster.cores.iter().zip(&cluster.down).filter(|(_, down)| !**down).map(|(core, _)| core.view()).collect()
}

#[test]
fn a_leader_that_is_killed_is_replaced_in_a_tenth_of_a_time_out() {
    for mut cluster in [bft(4), bft(7), cft(3), cft(5)] {
        let session = cluster.open_session();
        cluster.pass(1000);
        cluster.send(&command(session, 1));
        cluster.settle();
        kill(&mut cluster, 0);
        cluster.send(&command(session, 2));
        cluster.pass(100);
        for replica in 1..cluster.n() {
            assert_eq!(cluster.executed(replica), [1, 2]);
            assert_eq!(cluster.cores[replica].view(), View(1));
        }
        cluster.assert_agreement();
    }
}

#[test]
fn nobody_has_to_wait_for_anything() {
    let mut cluster = bft(4);
    cluster.pass(1000);
    kill(&mut cluster, 0);
    cluster.pass(100);
    assert_eq!(views(&cluster), [View(1); 3]);
    assert!(cluster.cores[1].is_active());
}

#[test]
fn a_next_leader_that_is_gone_too_costs_another_tenth() {
    for mut cluster in [bft(7), cft(5)] {
        let session = cluster.open_session();
        cluster.pass(1000);
        kill(&mut cluster, 1);
        kill(&mut cluster, 0);
        cluster.send(&command(session, 1));
        cluster.pass(200);
        assert!((2..cluster.n()).all(|replica| cluster.executed(replica) == [1]));
        assert!(views(&cluster).iter().all(|view| *view == View(2)));
    }
}

#[test]
fn a_follower_that_is_gone_changes_nothing() {
    let mut cluster = bft(4);
    let session = cluster.open_session();
    kill(&mut cluster, 2);
    cluster.pass(5000);
    cluster.send(&command(session, 1));
    cluster.settle();
    assert_eq!(cluster.executed(0), [1]);
    assert_eq!(views(&cluster), [View(0); 3]);
}

#[test]
fn a_link_that_is_back_in_time_changes_nothing() {
    let mut cluster = cft(3);
    cluster.pass(1000);
    for _ in 0..10 {
        for follower in [1, 2] {
            lose_link(&mut cluster, follower, 0);
            cluster.step(follower, Input::Connected(ReplicaId(0)));
        }
        cluster.pass(100);
    }
    assert_eq!(views(&cluster), [View(0); 3]);
}

#[test]
fn a_replica_that_alone_has_lost_its_link_wishes_in_vain() {
    let mut cluster = bft(4);
    let session = cluster.open_session();
    cluster.pass(1000);
    lose_link(&mut cluster, 3, 0);
    for sequence in 1..=20 {
        cluster.send(&command(session, sequence));
        cluster.pass(100);
    }
    assert_eq!(views(&cluster), [View(0); 4]);
    assert_eq!(cluster.executed(3).len(), 20);
}

#[test]
fn links_that_break_all_the_time_cannot_keep_views_short_for_ever() {
    let mut cluster = bft(4);
    cluster.pass(1000);
    // A minute in which nobody is reached by whoever leads.
    for _ in 0..1200 {
        for replica in 0..4 {
            let leader = cluster.cores[replica].leader().index();
            if leader != replica {
                lose_link(&mut cluster, replica, leader);
            }
        }
        cluster.pass_without(50, |_, _, message| matches!(message, PeerMessage::Sync(_) | PeerMessage::Propose(_)));
    }
    let last = views(&cluster).into_iter().max().unwrap();
    assert!(last > View(2) && last < View(40), "{last}");
}
