//! A leader that is asked to give up its view. No time passes in these tests unless they say so: nobody waits for a time-out.

mod cluster;

use cluster::{bft, cft, command};
use pssmr_ordering::{Input, StepDownRefusal};
use pssmr_types::{Epoch, Outcome, PeerMessage, ReplicaId, View};

#[test]
fn the_next_replica_leads_at_once_and_nothing_is_lost() {
    for mut cluster in [bft(4), bft(7), cft(3), cft(5)] {
        let session = cluster.open_session();
        cluster.send(&command(session, 1));
        assert_eq!(cluster.step_down(0), Ok(View(1)));
        cluster.send(&command(session, 2));
        cluster.settle();
        cluster.send(&command(session, 3));
        cluster.settle();
        for replica in 0..cluster.n() {
            assert_eq!(cluster.executed(replica), [1, 2, 3]);
            assert_eq!(cluster.cores[replica].view(), View(1));
            assert!(cluster.cores[replica].is_active());
        }
        cluster.assert_agreement();
    }
}

#[test]
fn a_quorum_is_enough_also_while_its_slots_are_being_decided() {
    for (mut cluster, dead) in [(bft(4), 3), (cft(3), 2)] {
        let session = cluster.open_session();
        cluster.down[dead] = true;
        for sequence in 1..=6 {
            cluster.send(&command(session, sequence));
            // Some of what is open is decided on the way out.
            (0..4).for_each(|_| assert!(cluster.deliver_one()));
        }
        assert_eq!(cluster.step_down(0), Ok(View(1)));
        cluster.settle();
        for replica in 0..dead {
            assert_eq!(cluster.executed(replica), [1, 2, 3, 4, 5, 6]);
            assert_eq!(cluster.cores[replica].view(), View(1));
        }
    }
}

#[test]
fn every_replica_leads_by_turns_and_views_do_not_get_longer_time_outs() {
    let mut cluster = bft(4);
    let session = cluster.open_session();
    for turn in 0..12 {
        assert_eq!(cluster.step_down(turn % 4), Ok(View(turn as u64 + 1)));
        cluster.send(&command(session, turn as u64 + 1));
        cluster.settle();
    }
    assert_eq!(cluster.executed(0).len(), 12);
    // A dead leader is replaced after one time-out, as if nobody had ever stepped down.
    cluster.down[0] = true;
    cluster.send(&command(session, 13));
    cluster.pass(1000);
    assert_eq!(cluster.executed(1).len(), 13);
    assert_eq!(cluster.cores[1].view(), View(13));
}

#[test]
fn what_only_the_old_leader_was_sent_it_passes_on_to_the_new_one() {
    let mut cluster = cft(3);
    let session = cluster.open_session();
    assert_eq!(cluster.step_down(0), Ok(View(1)));
    for sequence in 1..=5 {
        cluster.step(0, Input::Request(command(session, sequence)));
    }
    cluster.settle();
    assert!((0..3).all(|replica| cluster.executed(replica) == [1, 2, 3, 4, 5]));
}

#[test]
fn only_the_leader_obeys_and_others_say_who_leads() {
    let mut cluster = bft(4);
    for replica in 1..4 {
        assert_eq!(cluster.step_down(replica), Err(StepDownRefusal::NotLeading { leader: ReplicaId(0) }));
    }
    cluster.cores[0].set_learner(true);
    assert_eq!(cluster.step_down(0), Err(StepDownRefusal::NotNow), "it leads nobody");
    cluster.settle();
    assert!(cluster.cores.iter().all(|core| core.view() == View(0)));
}

#[test]
fn a_view_is_given_up_once() {
    let mut cluster = bft(4);
    assert_eq!(cluster.step_down(0), Ok(View(1)));
    assert_eq!(cluster.step_down(0), Err(StepDownRefusal::NotNow));
    cluster.settle();
    assert_eq!(cluster.step_down(0), Err(StepDownRefusal::NotLeading { leader: ReplicaId(1) }));
    assert_eq!(cluster.cores[0].view(), View(1));
}

#[test]
fn the_only_replica_has_nobody_to_step_down_for() {
    let mut cluster = cft(1);
    assert_eq!(cluster.step_down(0), Err(StepDownRefusal::Alone));
}

#[test]
fn a_leader_that_stepped_down_proposes_nothing_more_though_nobody_heard_it() {
    let mut cluster = bft(4);
    let session = cluster.open_session();
    assert_eq!(cluster.step_down(0), Ok(View(1)));
    cluster.network.clear();
    cluster.send(&command(session, 1));
    let proposes = cluster.network.iter().any(|(_, _, message)| matches!(message, PeerMessage::Propose(_)));
    assert!(!proposes, "it has given the view up");
    // It says so again, and then they leave.
    cluster.pass(200);
    assert_eq!(cluster.executed(3), [1]);
    assert_eq!(cluster.cores[3].view(), View(1));
}

#[test]
fn a_leader_that_lies_burns_its_own_view_and_no_other() {
    // It asks for a view far ahead, as often as it likes: that is one step down, and no wish of anybody else.
    let mut cluster = bft(4);
    for view in [9, 5, 9, 2] {
        for to in 1..4 {
            let message = PeerMessage::Stop(View(view));
            cluster.step(to, Input::Message { from: ReplicaId(0), epoch: Epoch(0), message });
        }
    }
    cluster.settle();
    assert!(cluster.cores.iter().all(|core| core.view() == View(1)), "one view later, and no further");
}

#[test]
fn an_opening_that_came_late_to_the_next_leader_does_not_hold_it_up() {
    let mut cluster = bft(4);
    for replica in 0..3 {
        cluster.step(replica, Input::Request(cluster::opening(11)));
    }
    cluster.settle();
    // The others have opened the session before replica 3 hears of it from the client.
    let session = cluster.replies[0].last().map(|(_, _, outcome)| outcome.clone());
    let Some(Outcome::SessionOpened(session)) = session else { panic!("{session:?}") };
    cluster.replies[3].clear();
    cluster.step(3, Input::Request(cluster::opening(11)));
    assert!(matches!(cluster.replies[3][..], [(_, 11, Outcome::SessionOpened(same))] if same == session));
    for turn in 0..3 {
        assert_eq!(cluster.step_down(turn), Ok(View(turn as u64 + 1)));
        cluster.settle();
    }
    cluster.send(&command(session, 1));
    cluster.settle();
    assert!((0..4).all(|replica| cluster.executed(replica) == [1]));
    assert_eq!(cluster.cores[0].view(), View(3));
}

/// Numbers that look random, the same each time.
fn numbers(seed: u64) -> impl FnMut() -> usize {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize
    }
}

#[test]
fn whatever_overtakes_what_nobody_needs_a_time_out() {
    for seed in 1..=40 {
        for mut cluster in [bft(4), cft(3)] {
            let mut next = numbers(seed);
            let session = cluster.open_session();
            let mut sequence = 0;
            let mut unsent: Vec<(usize, u64)> = Vec::new();
            for turn in 0..3 {
                let leader = (turn as usize) % cluster.n();
                let steps_down_at = next() % 200;
                for step in 0..400 {
                    if step == steps_down_at {
                        assert_eq!(cluster.step_down(leader), Ok(View(turn + 1)));
                    }
                    // One request at a time, which reaches the replicas at different times.
                    if unsent.is_empty() && cluster.network.is_empty() && sequence < 40 * (turn + 1) {
                        sequence += 1;
                        unsent = (0..cluster.n()).map(|replica| (replica, sequence)).collect();
                    }
                    if !unsent.is_empty() && next().is_multiple_of(4) {
                        let (replica, sequence) = unsent.swap_remove(next() % unsent.len());
                        cluster.step(replica, Input::Request(command(session, sequence)));
                    }
                    cluster.deliver_any(next());
                }
                for (replica, sequence) in unsent.drain(..) {
                    cluster.step(replica, Input::Request(command(session, sequence)));
                }
                while cluster.deliver_any(next()) {}
                for replica in 0..cluster.n() {
                    let executed = cluster.executed(replica);
                    assert_eq!(executed, (1..=sequence).collect::<Vec<_>>(), "seed {seed}, replica {replica}");
                    assert_eq!(cluster.cores[replica].view(), View(turn + 1), "seed {seed}");
                }
            }
            cluster.assert_agreement();
        }
    }
}
