//! A new membership, while things are under way.

use std::sync::Arc;

use pssmr_types::Change;

use super::*;

/// The digest of a state, as a replica answers with it.
fn state(byte: u8) -> Outcome {
    Outcome::Result(Bytes::from(vec![byte; 32]))
}

impl Test {
    fn change(&mut self, change: &Change) {
        let next = self.requester.membership().changed(change).unwrap();
        self.requester.adopt(Arc::new(next), self.now);
        self.advance();
    }

    fn remove(&mut self, replica: u16) {
        self.change(&Change::Remove(ReplicaId(replica)));
    }

    fn add(&mut self, replica: u16) {
        self.change(&Change::Add(member(replica, replica as u8)));
    }

    /// Another replica, with another key, in the place of one.
    fn replace(&mut self, old: u16, new: u16) {
        self.change(&Change::Replace { old: ReplicaId(old), new: member(new, 50 + new as u8) });
    }

    fn status(&mut self, token: u64, replica: u16) {
        let work = Work::Status(ReplicaId(replica));
        self.requester.submit(Submission { token, work, timeout: None, trace: None }, self.now);
    }

    fn state_digests(&mut self, token: u64) {
        self.requester.submit(Submission { token, work: Work::StateDigests, timeout: None, trace: None }, self.now);
        self.advance();
    }
}

#[test]
fn a_replica_that_has_left_is_not_believed_together_with_one_that_has_come() {
    let mut test = Test::open(FaultModel::Byzantine, 4);
    test.submit(1, b"payload");
    test.result(0, 1, b"lie");
    test.replace(0, 4);
    test.up(4);
    test.result(4, 1, b"lie");
    assert_eq!(test.completions(), []);
    test.result(1, 1, b"result");
    test.result(2, 1, b"result");
    assert_eq!(test.completions(), [done(1, b"result")]);
}

#[test]
fn a_vote_belongs_to_a_key_and_not_to_an_id() {
    let mut test = Test::open(FaultModel::Byzantine, 4);
    test.submit(1, b"payload");
    test.result(0, 1, b"lie");
    test.replace(0, 0);
    test.result(1, 1, b"lie");
    assert_eq!(test.completions(), [], "the one that was replica 0 has no vote any more");
    test.up(0);
    assert_eq!(test.receivers().last(), Some(&0), "the one that is replica 0 now gets the request");
    test.result(0, 1, b"result");
    test.result(2, 1, b"result");
    assert_eq!(test.completions(), [done(1, b"result")]);
}

#[test]
fn whoever_stays_keeps_its_vote() {
    let mut test = Test::open(FaultModel::Byzantine, 4);
    test.submit(1, b"payload");
    test.result(0, 1, b"result");
    test.replace(1, 4);
    test.result(2, 1, b"result");
    assert_eq!(test.completions(), [done(1, b"result")]);
}

#[test]
fn whoever_leaves_and_comes_back_votes_anew() {
    let mut test = Test::open(FaultModel::Byzantine, 5);
    test.submit(1, b"payload");
    test.result(0, 1, b"lie");
    test.remove(0);
    test.add(0);
    test.result(1, 1, b"lie");
    assert_eq!(test.completions(), []);
}

#[test]
fn when_fewer_must_agree_the_votes_that_are_there_can_be_enough() {
    let mut test = Test::open(FaultModel::Byzantine, 4);
    test.submit(1, b"whole");
    test.submit(2, b"only its digest");
    test.submit(3, b"voted for by the one that leaves");
    test.seen();
    test.result(0, 1, b"result");
    test.reply(1, SESSION, 2, Outcome::ResultDigest(result_digest(b"result")));
    test.result(3, 3, b"result");
    assert_eq!(test.completions(), []);
    test.remove(3);
    assert_eq!(test.completions(), [done(1, b"result")]);
    test.pass(Duration::from_millis(25));
    assert!(test.seen().iter().any(|seen| seen.sequence == 2 && seen.full_replies));
    test.result(0, 2, b"result");
    test.result(0, 3, b"result");
    assert_eq!(test.completions(), [done(2, b"result"), done(3, b"result")]);
}

#[test]
fn when_more_must_agree_one_is_not_believed_and_all_are_asked() {
    let mut test = Test::open(FaultModel::Byzantine, 3);
    test.submit(1, b"payload");
    assert_eq!(test.receivers(), [0], "one is enough");
    test.add(3);
    assert_eq!(test.receivers(), [0, 1, 2]);
    test.up(3);
    assert_eq!(test.receivers(), [3]);
    test.result(0, 1, b"lie");
    assert_eq!(test.completions(), []);
    test.result(2, 1, b"result");
    test.result(3, 1, b"result");
    assert_eq!(test.completions(), [done(1, b"result")]);
}

#[test]
fn a_session_is_opened_by_replicas_of_one_membership() {
    let mut test = Test::new(FaultModel::Byzantine, 4);
    (0..4).for_each(|replica| test.up(replica));
    test.advance();
    let nonce = test.seen()[0].sequence;
    test.reply(0, 0, nonce, Outcome::SessionOpened(5));
    test.replace(0, 4);
    test.up(4);
    assert_eq!(test.receivers(), [4], "it is asked for the session too");
    test.reply(4, 0, nonce, Outcome::SessionOpened(5));
    assert_eq!(test.requester.session(), None);
    test.reply(1, 0, nonce, Outcome::SessionOpened(6));
    test.remove(4);
    assert_eq!(test.requester.session(), Some(6), "one is enough now");
}

#[test]
fn a_request_outlives_all_replicas_that_it_was_first_sent_to() {
    for (model, replicas) in [(FaultModel::Byzantine, 4), (FaultModel::Crash, 3)] {
        let mut test = Test::open(model, replicas);
        let replicas = u16::from(replicas);
        test.submit(1, b"payload");
        let body = test.seen()[0].body.clone();
        for old in 0..replicas {
            let new = old + replicas;
            test.replace(old, new);
            test.up(new);
            test.advance();
        }
        let last = test.seen().pop().expect("it is sent again");
        assert_eq!((last.body, last.sequence), (body, 1));
        for new in replicas..2 * replicas {
            test.result(new, 1, b"result");
        }
        assert_eq!(test.completions(), [done(1, b"result")]);
    }
}

#[test]
fn a_leader_that_has_left_costs_no_waiting() {
    let mut test = Test::open(FaultModel::Crash, 3);
    test.leader_hint((Epoch(4), 1), ReplicaId(1));
    test.submit(1, b"first");
    assert_eq!(test.receivers(), [1]);
    test.remove(1);
    assert_eq!(test.receivers(), [0, 2]);
    test.submit(2, b"second");
    assert_eq!(test.receivers(), [0], "the first leader of the new epoch");
    test.leader_hint((Epoch(4), 7), ReplicaId(2));
    test.leader_hint((Epoch(5), 1), ReplicaId(1));
    assert_eq!(test.requester.leader(), ReplicaId(0), "views of the old epoch, and leaders that are none, say nothing");
    test.leader_hint((Epoch(5), 0), ReplicaId(2));
    assert_eq!(test.requester.leader(), ReplicaId(2));
}

#[test]
fn a_leader_of_the_next_epoch_that_was_named_before_its_proof_stays() {
    let mut test = Test::open(FaultModel::Crash, 3);
    test.leader_hint((Epoch(5), 2), ReplicaId(2));
    test.remove(1);
    assert_eq!(test.requester.leader(), ReplicaId(2));
}

#[test]
fn what_a_replica_that_has_left_may_have_passed_on_is_not_certainly_refused() {
    for (leaves, expected) in [(false, RequestError::Busy), (true, RequestError::OutcomeUnknown)] {
        let mut test = Test::open(FaultModel::Byzantine, 5);
        test.submit(1, b"payload");
        test.seen();
        (0..4).for_each(|replica| test.reply(replica, SESSION, 1, Outcome::Busy));
        if leaves {
            test.replace(4, 4);
            test.up(4);
        }
        test.reply(4, SESSION, 1, Outcome::Busy);
        for _ in 0..200 {
            test.pass(Duration::from_millis(50));
            for seen in test.seen() {
                test.reply(seen.replica, SESSION, 1, Outcome::Busy);
            }
        }
        assert_eq!(test.completions(), [failed(1, expected)]);
    }
}

#[test]
fn a_question_for_a_replica_that_leaves_ends_at_once_and_one_for_an_id_that_stays_goes_on() {
    let mut test = Test::open(FaultModel::Crash, 3);
    test.status(1, 1);
    test.status(2, 2);
    test.remove(1);
    assert_eq!(test.completions(), [failed(1, RequestError::ReplicaGone)]);
    test.status(3, 1);
    assert_eq!(test.completions(), [failed(3, RequestError::ReplicaGone)], "it left after it was submitted");
    test.replace(2, 2);
    test.requester.outgoing.clear();
    test.up(2);
    assert!(test.requester.outgoing.iter().any(|outgoing| outgoing.message == ClientMessage::StatusQuery));
    let json = Bytes::from_static(b"{}");
    test.requester.status(ReplicaId(2), &json);
    assert_eq!(test.completions(), [Completion { token: 2, result: Ok(Response::Status(json)) }]);
}

#[test]
fn state_digests_are_those_of_members() {
    let mut test = Test::open(FaultModel::Crash, 3);
    test.state_digests(1);
    test.reply(0, SESSION, 1, state(1));
    test.reply(1, SESSION, 1, state(9));
    test.replace(1, 1);
    assert_eq!(test.completions(), [], "replica 2 has not answered");
    test.up(1);
    test.reply(2, SESSION, 1, state(1));
    assert_eq!(test.completions(), [], "the one that is replica 1 now has not answered");
    test.reply(1, SESSION, 1, state(1));
    let all = (0..3).map(|replica| (ReplicaId(replica), Digest([1; 32]))).collect();
    assert_eq!(test.completions(), [Completion { token: 1, result: Ok(Response::StateDigests(all)) }]);
}

#[test]
fn nobody_waits_for_the_state_digest_of_a_replica_that_has_left() {
    let mut test = Test::open(FaultModel::Crash, 3);
    test.state_digests(1);
    test.reply(0, SESSION, 1, state(1));
    test.reply(2, SESSION, 1, state(1));
    test.remove(1);
    let two = [0, 2].map(|replica| (ReplicaId(replica), Digest([1; 32])));
    assert_eq!(test.completions(), [Completion { token: 1, result: Ok(Response::StateDigests(BTreeMap::from(two))) }]);
}

#[test]
fn state_digests_of_nobody_are_no_answer() {
    let mut test = Test::open(FaultModel::Crash, 3);
    test.state_digests(1);
    test.down(0);
    test.down(2);
    test.remove(1);
    assert_eq!(test.completions(), []);
    test.up(0);
    test.reply(0, SESSION, 1, state(1));
    let one = BTreeMap::from([(ReplicaId(0), Digest([1; 32]))]);
    assert_eq!(test.completions(), [Completion { token: 1, result: Ok(Response::StateDigests(one)) }]);
}

#[test]
fn a_reconfiguration_is_ordered_and_believed_like_a_command() {
    let mut test = Test::open(FaultModel::Byzantine, 4);
    let work = Work::Reconfigure(Bytes::from_static(b"signed"));
    test.requester.submit(Submission { token: 1, work, timeout: None, trace: None }, test.now);
    test.advance();
    assert!(test.seen().iter().all(|seen| seen.operation == Operation::Reconfigure && seen.sequence == 1));
    test.result(0, 1, b"");
    assert_eq!(test.completions(), []);
    test.result(1, 1, b"");
    assert_eq!(test.completions(), [done(1, b"")]);
}

#[test]
fn results_of_replicas_that_have_left_are_not_kept() {
    let mut test = Test::open(FaultModel::Byzantine, 4);
    test.submit(1, b"payload");
    test.result(0, 1, b"result");
    assert_eq!(test.requester.kept_bytes, 6);
    test.replace(0, 4);
    assert_eq!(test.requester.kept_bytes, 0);
}
