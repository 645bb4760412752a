//! The client against scripted replicas, without sockets and with a clock of the test's own.

mod adoption;
mod reads;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pssmr_types::{
    ClientMessage, ClusterId, Digest, Epoch, FaultModel, Member, Membership, Operation, Outcome, ReplicaId, Reply,
    RequestTrace, SecretKey, TraceContext, result_digest,
};

use super::{FRAME_BYTES, Outgoing, Requester};
use crate::completion::{Completion, Response};
use crate::config::ClientConfig;
use crate::error::RequestError;
use crate::inbox::{Submission, Work};

const SESSION: u64 = 7;
const RETRY: Duration = Duration::from_millis(250);
const TIMEOUT: Duration = Duration::from_secs(10);

/// A request as a replica receives it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    replica: u16,
    session: u64,
    sequence: u64,
    acknowledged: u64,
    operation: Operation,
    full_replies: bool,
    body: Bytes,
}

struct Test {
    requester: Requester,
    now: Instant,
}

impl Test {
    fn new(model: FaultModel, replicas: u8) -> Self {
        Self::with(model, replicas, |_| {})
    }

    fn with(model: FaultModel, replicas: u8, change: impl FnOnce(&mut ClientConfig)) -> Self {
        let members = (0..replicas).map(|id| member(u16::from(id), id)).collect();
        let membership = Membership::of(ClusterId([1; 16]), Epoch(4), model, members).unwrap();
        let mut config = ClientConfig::new(membership, SecretKey::from_seed([99; 32]));
        change(&mut config);
        config.check().unwrap();
        let mut nonce = 100;
        let nonces = move || {
            nonce += 1;
            nonce
        };
        Self { requester: Requester::new(&config, Box::new(nonces)), now: Instant::now() }
    }

    /// A client whose links are all up and whose session is open.
    fn open(model: FaultModel, replicas: u8) -> Self {
        let mut test = Self::new(model, replicas);
        test.open_session(replicas);
        test
    }

    fn open_session(&mut self, replicas: u8) {
        for replica in 0..u16::from(replicas) {
            self.up(replica);
        }
        self.advance();
        for seen in self.seen() {
            self.reply(seen.replica, 0, seen.sequence, Outcome::SessionOpened(SESSION));
        }
        assert_eq!(self.requester.session(), Some(SESSION));
    }

    fn up(&mut self, replica: u16) {
        self.requester.link_up(ReplicaId(replica), self.now);
    }

    fn down(&mut self, replica: u16) {
        self.requester.link_down(ReplicaId(replica), self.now);
        self.advance();
    }

    fn leader_hint(&mut self, view: (Epoch, u64), leader: ReplicaId) {
        self.requester.leader_hint(view, leader, self.now);
        self.advance();
    }

    fn advance(&mut self) {
        self.requester.advance(self.now);
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.advance();
    }

    fn submit(&mut self, token: u64, payload: &'static [u8]) {
        let work = Work::Command(Bytes::from_static(payload));
        self.requester.submit(Submission { token, work, timeout: None, trace: None }, self.now);
        self.advance();
    }

    fn reply(&mut self, replica: u16, session: u64, sequence: u64, outcome: Outcome) {
        self.requester.replies(ReplicaId(replica), vec![Reply { session, sequence, outcome }], self.now);
        self.advance();
    }

    fn result(&mut self, replica: u16, sequence: u64, result: &'static [u8]) {
        self.reply(replica, SESSION, sequence, Outcome::Result(Bytes::from_static(result)));
    }

    /// The requests sent since the last call.
    fn seen(&mut self) -> Vec<Seen> {
        let mut seen = Vec::new();
        for outgoing in self.requester.outgoing.drain(..) {
            let ClientMessage::Requests { full_replies, requests } = outgoing.message else { continue };
            for replica in outgoing.to.iter() {
                seen.extend(requests.iter().map(|request| Seen {
                    replica: replica.0,
                    session: request.client.session,
                    sequence: request.sequence,
                    acknowledged: request.acknowledged,
                    operation: request.operation,
                    full_replies,
                    body: request.body().clone(),
                }));
            }
        }
        seen
    }

    /// Who was sent requests since the last call.
    fn receivers(&mut self) -> Vec<u16> {
        let mut receivers: Vec<_> = self.seen().into_iter().map(|seen| seen.replica).collect();
        receivers.dedup();
        receivers
    }

    fn completions(&mut self) -> Vec<Completion> {
        std::mem::take(&mut self.requester.completions)
    }
}

fn member(id: u16, seed: u8) -> Member {
    let key = SecretKey::from_seed([seed; 32]).public();
    let address = |port: u16| format!("replica-{id}.example.org:{port}");
    Member { id: ReplicaId(id), key, peer_address: address(7000), client_address: address(8000) }
}

fn done(token: u64, result: &'static [u8]) -> Completion {
    Completion { token, result: Ok(Response::Result(Bytes::from_static(result))) }
}

fn failed(token: u64, error: RequestError) -> Completion {
    Completion { token, result: Err(error) }
}

#[test]
fn a_session_is_open_when_enough_replicas_name_the_same_number() {
    let mut test = Test::new(FaultModel::Byzantine, 4);
    (0..4).for_each(|replica| test.up(replica));
    test.advance();
    let seen = test.seen();
    assert_eq!(seen.iter().map(|seen| seen.replica).collect::<Vec<_>>(), [0, 1, 2, 3]);
    let nonce = seen[0].sequence;
    test.reply(0, 0, nonce, Outcome::SessionOpened(5));
    test.reply(0, 0, nonce, Outcome::SessionOpened(5));
    test.reply(1, 0, nonce, Outcome::SessionOpened(6));
    test.reply(2, 0, nonce + 1, Outcome::SessionOpened(6));
    assert_eq!(test.requester.session(), None);
    test.reply(3, 0, nonce, Outcome::SessionOpened(6));
    assert_eq!(test.requester.session(), Some(6));
}

#[test]
fn in_bft_a_request_goes_to_all_and_ends_with_the_second_equal_reply() {
    let mut test = Test::open(FaultModel::Byzantine, 4);
    test.submit(1, b"payload");
    assert_eq!(test.receivers(), [0, 1, 2, 3]);
    test.result(3, 1, b"lie");
    test.result(0, 1, b"result");
    test.result(0, 1, b"result");
    assert_eq!(test.completions(), []);
    test.result(2, 1, b"result");
    assert_eq!(test.completions(), [done(1, b"result")]);
    test.result(1, 1, b"result");
    assert_eq!(test.completions(), [], "a late reply ends nothing");
}

#[test]
fn replicas_are_told_which_trace_a_request_belongs_to_before_they_get_it_and_only_once() {
    let mut test = Test::open(FaultModel::Byzantine, 4);
    let trace = Some(TraceContext { trace: [7; 16], span: [8; 8], flags: 1 });
    let traced = Submission { token: 1, work: Work::Command(Bytes::from_static(b"traced")), timeout: None, trace };
    test.requester.submit(traced, test.now);
    test.submit(2, b"not traced");
    let sent: Vec<_> = test.requester.outgoing.drain(..).map(|outgoing| outgoing.message).collect();
    let [ClientMessage::Traces(traces), ClientMessage::Requests { requests, .. }] = &sent[..] else {
        panic!("{sent:?}")
    };
    assert_eq!(requests.len(), 2);
    let [RequestTrace { session: SESSION, sequence: 1, context }] = traces[..] else { panic!("{traces:?}") };
    assert_eq!(Some(context), trace);
    test.pass(RETRY);
    let is_trace = |outgoing: &Outgoing| matches!(outgoing.message, ClientMessage::Traces(_));
    assert!(!test.requester.outgoing.iter().any(is_trace), "what is sent again was told before");
}

#[test]
fn in_cft_a_request_goes_to_the_leader_and_ends_with_its_reply() {
    let mut test = Test::open(FaultModel::Crash, 3);
    test.submit(1, b"payload");
    assert_eq!(test.receivers(), [0]);
    test.result(0, 1, b"result");
    assert_eq!(test.completions(), [done(1, b"result")]);
    test.leader_hint((Epoch(4), 2), ReplicaId(2));
    test.leader_hint((Epoch(4), 1), ReplicaId(1));
    test.leader_hint((Epoch(3), 9), ReplicaId(1));
    test.submit(2, b"payload");
    assert_eq!(test.receivers(), [2], "the hint of an older view changes nothing");
}

#[test]
fn in_cft_a_new_leader_is_sent_at_once_what_it_has_not_had() {
    let mut test = Test::open(FaultModel::Crash, 3);
    test.submit(1, b"payload");
    assert_eq!(test.receivers(), [0]);
    test.leader_hint((Epoch(4), 1), ReplicaId(1));
    assert_eq!(test.receivers(), [1]);
    test.leader_hint((Epoch(4), 1), ReplicaId(1));
    test.leader_hint((Epoch(4), 3), ReplicaId(0));
    assert!(test.receivers().is_empty(), "both have it");
    let mut bft = Test::open(FaultModel::Byzantine, 4);
    bft.submit(1, b"payload");
    bft.seen();
    bft.leader_hint((Epoch(4), 1), ReplicaId(1));
    assert!(bft.receivers().is_empty(), "all have it anyway");
}

#[test]
fn in_cft_a_new_link_is_sent_only_what_nobody_has() {
    let mut test = Test::open(FaultModel::Crash, 3);
    test.submit(1, b"payload");
    assert_eq!(test.receivers(), [0]);
    test.down(2);
    test.up(2);
    assert!(test.receivers().is_empty(), "the leader has it");
    for replica in 0..3 {
        test.down(replica);
    }
    test.seen();
    test.up(2);
    assert_eq!(test.receivers(), [2]);
}

#[test]
fn a_frame_has_no_more_requests_and_bytes_than_it_may() {
    let mut test = Test::open(FaultModel::Crash, 1);
    let frames = |test: &mut Test, requests: u64, payload: Bytes| -> Vec<usize> {
        for token in 0..requests {
            let submission = Submission { token, work: Work::Command(payload.clone()), timeout: None, trace: None };
            test.requester.submit(submission, test.now);
        }
        test.advance();
        let sent = test.requester.outgoing.drain(..).filter_map(|outgoing| match outgoing.message {
            ClientMessage::Requests { requests, .. } => Some(requests.len()),
            _ => None,
        });
        sent.collect()
    };
    assert_eq!(frames(&mut test, 3, Bytes::from(vec![7; FRAME_BYTES / 2])), [1, 1, 1]);
    assert_eq!(frames(&mut test, 3, Bytes::from(vec![7; FRAME_BYTES / 3])), [2, 1]);
}

#[test]
fn what_has_ended_gives_back_the_bytes_of_its_payload() {
    let mut test = Test::open(FaultModel::Byzantine, 4);
    test.submit(1, b"four");
    test.result(0, 1, b"result");
    test.result(1, 1, b"result");
    assert_eq!(test.requester.completed_bytes, 4);
    test.submit(2, b"seven..");
    for replica in 0..2 {
        test.reply(replica, SESSION, 2, Outcome::SessionExpired);
    }
    assert_eq!(test.requester.completed_bytes, 11);
    let mut alone = Test::new(FaultModel::Byzantine, 4);
    alone.submit(1, b"four");
    alone.pass(TIMEOUT);
    assert_eq!(alone.requester.completed_bytes, 4);
}

#[test]
fn a_result_that_is_complete_is_kept_no_longer() {
    let mut test = Test::open(FaultModel::Byzantine, 4);
    test.submit(1, b"payload");
    test.result(0, 1, b"result");
    assert_eq!(test.requester.kept_bytes, 6);
    test.result(0, 1, b"another");
    assert_eq!(test.requester.kept_bytes, 7, "a replica has one vote");
    test.result(1, 1, b"another");
    assert_eq!(test.requester.kept_bytes, 0);
}

#[test]
fn a_status_query_without_an_answer_ends_at_its_deadline() {
    let mut test = Test::open(FaultModel::Byzantine, 4);
    let work = Work::Status(ReplicaId(2));
    test.requester.submit(Submission { token: 1, work, timeout: None, trace: None }, test.now);
    test.pass(TIMEOUT / 2);
    assert_eq!(test.completions(), []);
    test.pass(TIMEOUT / 2);
    assert_eq!(test.completions(), [failed(1, RequestError::NoQuorum { reachable: 4, needed: 2 })]);
}

#[test]
fn a_burst_leaves_as_one_frame() {
    let mut test = Test::open(FaultModel::Byzantine, 4);
    for token in 1..=100 {
        let work = Work::Command(Bytes::from_static(b"payload"));
        test.requester.submit(Submission { token, work, timeout: None, trace: None }, test.now);
    }
    test.requester.outgoing.clear();
    test.advance();
    assert_eq!(test.requester.outgoing.len(), 1);
    assert_eq!(test.seen().len(), 400);
}

#[test]
fn what_has_no_answer_is_sent_again_to_all_byte_for_byte_and_asks_for_whole_results() {
    let mut test = Test::open(FaultModel::Crash, 3);
    test.submit(1, b"first");
    test.submit(2, b"second");
    let first = test.seen();
    assert!(first.iter().all(|seen| !seen.full_replies));
    test.result(0, 1, b"result");
    test.pass(RETRY);
    let again = test.seen();
    assert_eq!(again.iter().map(|seen| (seen.replica, seen.sequence)).collect::<Vec<_>>(), [(0, 2), (1, 2), (2, 2)]);
    for seen in &again {
        assert_eq!(seen.body, first[1].body);
        assert_eq!(seen.acknowledged, 1, "what was acknowledged when it was first sent");
        assert!(seen.full_replies);
    }
}

#[test]
fn attempts_become_rarer() {
    let mut test = Test::open(FaultModel::Byzantine, 4);
    test.submit(1, b"payload");
    test.seen();
    let mut attempts_at = Vec::new();
    for step in 1..=40 {
        test.pass(Duration::from_millis(100));
        if !test.seen().is_empty() {
            attempts_at.push(step);
        }
    }
    assert_eq!(attempts_at, [3, 8, 18, 38]);
}

#[test]
fn a_lost_leader_costs_no_waiting() {
    let mut test = Test::open(FaultModel::Crash, 3);
    test.submit(1, b"payload");
    assert_eq!(test.receivers(), [0]);
    test.down(0);
    assert_eq!(test.receivers(), [1, 2]);
    test.submit(2, b"payload");
    assert_eq!(test.receivers(), [1, 2]);
}

#[test]
fn a_replica_that_connects_is_sent_what_it_missed() {
    let mut test = Test::open(FaultModel::Byzantine, 4);
    test.down(3);
    test.submit(1, b"payload");
    assert_eq!(test.receivers(), [0, 1, 2]);
    test.up(3);
    assert_eq!(test.receivers(), [3]);
    test.down(1);
    test.up(1);
    assert_eq!(test.receivers(), [1], "what was on the old link may be lost");
}

#[test]
fn while_a_replica_is_missing_whole_results_are_asked_for_at_once() {
    let mut test = Test::open(FaultModel::Byzantine, 4);
    test.down(2);
    test.submit(1, b"payload");
    assert!(test.seen().iter().all(|seen| seen.full_replies));
}

#[test]
fn a_result_confirmed_by_digest_alone_is_asked_for_soon() {
    let mut test = Test::open(FaultModel::Byzantine, 4);
    test.submit(1, b"payload");
    test.seen();
    test.reply(0, SESSION, 1, Outcome::ResultDigest(result_digest(b"result")));
    test.reply(1, SESSION, 1, Outcome::ResultDigest(result_digest(b"result")));
    assert_eq!(test.seen(), []);
    test.pass(Duration::from_millis(25));
    assert!(test.seen().iter().any(|seen| seen.full_replies));
    test.result(0, 1, b"result");
    assert_eq!(test.completions(), [done(1, b"result")]);
}

#[test]
fn what_was_never_sent_is_certainly_not_executed() {
    let mut test = Test::new(FaultModel::Byzantine, 4);
    test.submit(1, b"payload");
    test.pass(TIMEOUT);
    assert_eq!(test.completions(), [failed(1, RequestError::NoQuorum { reachable: 0, needed: 2 })]);
}

#[test]
fn what_was_sent_without_an_answer_has_an_unknown_outcome() {
    let mut test = Test::open(FaultModel::Byzantine, 4);
    test.submit(1, b"payload");
    test.down(0);
    test.reply(1, SESSION, 1, Outcome::Busy);
    test.pass(TIMEOUT);
    assert_eq!(test.completions(), [failed(1, RequestError::OutcomeUnknown)]);
}

#[test]
fn what_all_refused_is_busy_and_what_one_may_have_taken_is_not() {
    for (taker, expected) in [(None, RequestError::Busy), (Some(2), RequestError::OutcomeUnknown)] {
        let mut test = Test::open(FaultModel::Byzantine, 4);
        test.submit(1, b"payload");
        for step in 0..1000 {
            for seen in test.seen() {
                if Some(seen.replica) != taker {
                    test.reply(seen.replica, SESSION, 1, Outcome::Busy);
                }
            }
            assert!(step < 999, "the request has a time-out");
            test.pass(Duration::from_millis(50));
            let completions = test.completions();
            if !completions.is_empty() {
                assert_eq!(completions, [failed(1, expected)]);
                break;
            }
        }
    }
}

#[test]
fn a_refusal_of_one_attempt_says_nothing_of_another() {
    let mut test = Test::open(FaultModel::Crash, 1);
    test.submit(1, b"payload");
    test.pass(RETRY);
    assert_eq!(test.seen().len(), 2);
    test.reply(0, SESSION, 1, Outcome::Busy);
    test.pass(TIMEOUT);
    assert_eq!(test.completions(), [failed(1, RequestError::OutcomeUnknown)]);
}

#[test]
fn a_busy_cluster_is_tried_again() {
    let mut test = Test::open(FaultModel::Crash, 1);
    test.submit(1, b"payload");
    test.reply(0, SESSION, 1, Outcome::Busy);
    test.seen();
    test.pass(RETRY);
    assert_eq!(test.receivers(), [0]);
    test.result(0, 1, b"result");
    assert_eq!(test.completions(), [done(1, b"result")]);
}

#[test]
fn an_expired_session_ends_what_is_in_flight_and_another_one_is_opened() {
    let mut test = Test::open(FaultModel::Byzantine, 4);
    test.submit(1, b"payload");
    test.submit(2, b"payload");
    test.seen();
    test.reply(0, SESSION, 1, Outcome::SessionExpired);
    assert_eq!(test.completions(), [], "one replica could lie");
    test.reply(1, SESSION, 1, Outcome::SessionExpired);
    assert_eq!(test.completions(), [failed(1, RequestError::SessionExpired), failed(2, RequestError::SessionExpired)]);
    let opening = test.seen();
    assert!(!opening.is_empty() && opening.iter().all(|seen| seen.operation == Operation::OpenSession));
    test.submit(3, b"payload");
    assert_eq!(test.seen(), [], "it waits for the session");
    for replica in 0..2 {
        test.reply(replica, 0, opening[0].sequence, Outcome::SessionOpened(20));
    }
    let sent = test.seen();
    assert_eq!((sent[0].session, sent[0].sequence), (20, 1));
    test.result(0, 1, b"old");
    test.result(1, 1, b"old");
    assert_eq!(test.completions(), [], "replies of the old session are not those of the new one");
}

#[test]
fn the_window_bounds_what_is_in_flight_and_the_rest_waits() {
    let mut test = Test::with(FaultModel::Crash, 1, |config| config.in_flight_max = 2);
    test.open_session(1);
    for token in 1..=3 {
        test.submit(token, b"payload");
    }
    assert_eq!(test.seen().iter().map(|seen| seen.sequence).collect::<Vec<_>>(), [1, 2]);
    test.result(0, 1, b"");
    let sent = test.seen();
    assert_eq!((sent[0].sequence, sent[0].acknowledged), (3, 2));
}

#[test]
fn a_request_that_is_given_up_no_longer_holds_the_window() {
    let mut test = Test::with(FaultModel::Crash, 1, |config| config.in_flight_max = 1);
    test.open_session(1);
    test.submit(1, b"payload");
    test.pass(TIMEOUT / 2);
    test.submit(2, b"payload");
    test.seen();
    test.pass(TIMEOUT / 2);
    assert_eq!(test.completions(), [failed(1, RequestError::OutcomeUnknown)]);
    let sent = test.seen();
    let next = sent.iter().find(|seen| seen.sequence == 2).expect("there is room now");
    assert_eq!(next.acknowledged, 2, "the first may not be executed any more");
}

#[test]
fn state_digests_are_collected_from_every_replica_that_is_up() {
    let digest = |byte| Digest([byte; 32]);
    let outcome = |byte| Outcome::Result(Bytes::from(vec![byte; 32]));
    let mut test = Test::open(FaultModel::Crash, 3);
    test.requester.submit(Submission { token: 1, work: Work::StateDigests, timeout: None, trace: None }, test.now);
    test.advance();
    assert_eq!(test.receivers(), [0, 1, 2]);
    test.reply(0, SESSION, 1, outcome(1));
    test.reply(2, SESSION, 1, outcome(9));
    assert_eq!(test.completions(), []);
    test.reply(1, SESSION, 1, outcome(1));
    let all = BTreeMap::from([(ReplicaId(0), digest(1)), (ReplicaId(1), digest(1)), (ReplicaId(2), digest(9))]);
    assert_eq!(test.completions(), [Completion { token: 1, result: Ok(Response::StateDigests(all)) }]);
}

#[test]
fn state_digests_that_came_in_time_are_given_even_if_others_did_not() {
    let mut test = Test::open(FaultModel::Crash, 3);
    test.requester.submit(Submission { token: 1, work: Work::StateDigests, timeout: None, trace: None }, test.now);
    test.advance();
    test.reply(2, SESSION, 1, Outcome::Result(Bytes::from(vec![4; 32])));
    test.pass(TIMEOUT);
    let one = BTreeMap::from([(ReplicaId(2), Digest([4; 32]))]);
    assert_eq!(test.completions(), [Completion { token: 1, result: Ok(Response::StateDigests(one)) }]);
}

#[test]
fn a_status_query_goes_to_one_replica_and_needs_no_session() {
    let mut test = Test::new(FaultModel::Byzantine, 4);
    test.requester
        .submit(Submission { token: 1, work: Work::Status(ReplicaId(2)), timeout: None, trace: None }, test.now);
    test.up(2);
    let asked = test.requester.outgoing.iter().filter(|outgoing| outgoing.message == ClientMessage::StatusQuery);
    assert_eq!(asked.count(), 1);
    let json = Bytes::from_static(b"{}");
    test.requester.status(ReplicaId(1), &json);
    assert_eq!(test.completions(), []);
    test.requester.status(ReplicaId(2), &json);
    assert_eq!(test.completions(), [Completion { token: 1, result: Ok(Response::Status(json)) }]);
}

#[test]
fn a_status_query_to_a_replica_that_cannot_be_reached_ends_when_that_is_known() {
    let mut test = Test::new(FaultModel::Byzantine, 4);
    test.requester
        .submit(Submission { token: 1, work: Work::Status(ReplicaId(2)), timeout: None, trace: None }, test.now);
    test.requester.dial_failed(ReplicaId(1));
    assert_eq!(test.completions(), []);
    test.requester.dial_failed(ReplicaId(2));
    let result = Err(RequestError::NoQuorum { reachable: 0, needed: 2 });
    assert_eq!(test.completions(), [Completion { token: 1, result }]);
}

#[test]
fn closing_ends_everything_once() {
    let mut test = Test::open(FaultModel::Byzantine, 4);
    test.submit(1, b"payload");
    test.requester
        .submit(Submission { token: 2, work: Work::Status(ReplicaId(0)), timeout: None, trace: None }, test.now);
    test.requester.close();
    let mut tokens: Vec<_> = test.completions().into_iter().map(|completion| completion.token).collect();
    tokens.sort_unstable();
    assert_eq!(tokens, [1, 2]);
    test.requester.close();
    assert_eq!(test.completions(), []);
}
