//! Queries that are not ordered, and what becomes of those that replicas don't answer alike.

use pssmr_types::{Read, ReadReply, RequestTrace, Slot, TraceContext};

use super::*;

const EPOCH: Epoch = Epoch(4);

fn result(text: &'static [u8]) -> Outcome {
    Outcome::Result(Bytes::from_static(text))
}

impl Test {
    fn read(&mut self, token: u64, payload: &'static [u8]) {
        let work = Work::Read(Bytes::from_static(payload));
        self.requester.submit(Submission { token, work, timeout: None, trace: None }, self.now);
        self.advance();
    }

    fn answer_in(&mut self, epoch: Epoch, replica: u16, number: u64, slot: u64, outcome: Outcome) {
        let reply = ReadReply { number, epoch, slot: Slot(slot), outcome };
        self.requester.read_replies(ReplicaId(replica), vec![reply]);
        self.advance();
    }

    fn answer(&mut self, replica: u16, number: u64, slot: u64, outcome: Outcome) {
        self.answer_in(EPOCH, replica, number, slot, outcome);
    }

    /// The reads sent since the last call, and to whom.
    fn reads(&mut self) -> Vec<(Vec<u16>, bool, Vec<Read>)> {
        let sent = self.requester.outgoing.drain(..).filter_map(|outgoing| match outgoing.message {
            ClientMessage::Reads { full_replies, reads } => {
                Some((outgoing.to.iter().map(|replica| replica.0).collect(), full_replies, reads))
            }
            _ => None,
        });
        sent.collect()
    }
}

#[test]
fn a_read_goes_to_all_without_a_session() {
    let mut test = Test::new(FaultModel::Byzantine, 4);
    (0..4).for_each(|replica| test.up(replica));
    test.read(1, b"query");
    let read = Read { number: 1, payload: Bytes::from_static(b"query") };
    assert_eq!(test.reads(), [(vec![0, 1, 2, 3], false, vec![read])]);
}

#[test]
fn whoever_is_sent_a_read_is_told_before_which_trace_it_belongs_to() {
    let mut test = Test::open(FaultModel::Crash, 3);
    let context = TraceContext { trace: [7; 16], span: [8; 8], flags: 1 };
    for (token, trace) in [(1, None), (2, Some(context))] {
        let work = Work::Read(Bytes::from_static(b"query"));
        test.requester.submit(Submission { token, work, timeout: None, trace }, test.now);
    }
    test.advance();
    let traced = vec![RequestTrace { session: RequestTrace::READ, sequence: 2, context }];
    let told = |test: &mut Test| {
        let is_second = |reads: &[Read]| reads.iter().any(|read| read.number == 2);
        let sent = test.requester.outgoing.drain(..).filter_map(|outgoing| match outgoing.message {
            ClientMessage::Traces(traces) => Some((outgoing.to, Some(traces))),
            ClientMessage::Reads { reads, .. } if is_second(&reads) => Some((outgoing.to, None)),
            _ => None,
        });
        sent.map(|(to, traces)| (to.iter().map(|replica| replica.0).collect(), traces)).collect::<Vec<_>>()
    };
    assert_eq!(told(&mut test), [(vec![0, 2], Some(traced.clone())), (vec![0, 2], None)]);
    test.pass(Duration::from_millis(25));
    assert_eq!(told(&mut test), [(vec![1], Some(traced)), (vec![1], None)], "the others, who are asked later");
}

#[test]
fn in_bft_a_quorum_has_to_say_the_same_wherever_it_is() {
    let mut test = Test::open(FaultModel::Byzantine, 4);
    test.read(1, b"query");
    test.answer(0, 1, 7, result(b"yes"));
    test.answer(1, 1, 900, result(b"lie"));
    test.answer(2, 1, 8, result(b"yes"));
    assert_eq!(test.completions(), [], "f + 1 are not enough");
    test.answer(3, 1, 9, result(b"yes"));
    assert_eq!(test.completions(), [done(1, b"yes")]);
}

#[test]
fn in_bft_a_replica_answers_once() {
    let mut test = Test::open(FaultModel::Byzantine, 4);
    test.read(1, b"query");
    for _ in 0..3 {
        test.answer(1, 1, 5, result(b"lie"));
    }
    test.answer(0, 1, 5, result(b"lie"));
    assert_eq!(test.completions(), []);
}

#[test]
fn in_cft_the_newest_of_a_quorum_counts() {
    let mut test = Test::open(FaultModel::Crash, 3);
    test.read(1, b"query");
    test.answer(1, 1, 7, result(b"new"));
    assert_eq!(test.completions(), []);
    test.answer(2, 1, 5, result(b"old"));
    assert_eq!(test.completions(), [done(1, b"new")]);
    test.read(2, b"query");
    test.answer(2, 2, 7, result(b"old"));
    test.answer(0, 2, 8, result(b"new"));
    assert_eq!(test.completions(), [done(2, b"new")]);
}

#[test]
fn in_cft_a_quorum_is_asked_by_turns_and_the_others_if_it_does_not_answer_soon() {
    let mut test = Test::open(FaultModel::Crash, 3);
    let asked = |test: &mut Test| test.reads().into_iter().map(|(to, ..)| to).collect::<Vec<_>>();
    (1..=3).for_each(|token| test.read(token, b"query"));
    assert_eq!(asked(&mut test), [[1, 2], [0, 2], [0, 1]]);
    test.answer(1, 1, 7, result(b"one"));
    test.answer(2, 1, 7, result(b"one"));
    test.pass(Duration::from_millis(25));
    assert_eq!(asked(&mut test), [[1], [2]], "the first has ended");
    test.answer(1, 2, 8, result(b"two"));
    test.answer(2, 2, 7, result(b"old"));
    assert_eq!(test.completions(), [done(1, b"one"), done(2, b"two")]);
    test.down(0);
    test.down(1);
    assert_eq!(test.receivers(), [2], "one is left, and the query is ordered");
}

#[test]
fn in_cft_another_replica_is_asked_at_once_if_one_does_not_answer() {
    let mut test = Test::open(FaultModel::Crash, 3);
    test.read(1, b"query");
    test.reads();
    test.answer(1, 1, 0, Outcome::Busy);
    assert_eq!(test.reads().into_iter().map(|(to, ..)| to).collect::<Vec<_>>(), [[0]]);
    test.answer(0, 1, 6, result(b"result"));
    test.answer(2, 1, 6, result(b"result"));
    assert_eq!(test.completions(), [done(1, b"result")]);
}

#[test]
fn answers_of_another_epoch_do_not_count() {
    for other in [Epoch(3), Epoch(5)] {
        let mut test = Test::open(FaultModel::Crash, 3);
        test.read(1, b"query");
        test.answer(1, 1, 7, result(b"this"));
        test.answer_in(other, 2, 1, 9, result(b"other"));
        assert_eq!(test.completions(), []);
        test.answer(0, 1, 6, result(b"this"));
        assert_eq!(test.completions(), [done(1, b"this")]);
    }
}

#[test]
fn where_replicas_disagree_the_query_is_ordered() {
    let mut test = Test::open(FaultModel::Byzantine, 4);
    test.read(1, b"query");
    test.answer(0, 1, 7, result(b"old"));
    test.answer(1, 1, 8, result(b"new"));
    assert_eq!(test.seen(), []);
    test.answer(2, 1, 7, result(b"old"));
    assert_eq!(test.seen(), [], "the last one may still say the same");
    test.answer(3, 1, 8, result(b"new"));
    let seen = test.seen();
    assert_eq!((seen.len(), seen[0].operation, seen[0].sequence), (4, Operation::Command, 1));
    test.result(0, 1, b"new");
    test.result(1, 1, b"new");
    assert_eq!(test.completions(), [done(1, b"new")]);
}

#[test]
fn replicas_that_do_not_answer_are_not_waited_for() {
    let mut test = Test::open(FaultModel::Crash, 3);
    test.read(1, b"query");
    test.answer(1, 1, 0, Outcome::Busy);
    assert!(test.receivers().is_empty(), "a quorum is left");
    test.answer(2, 1, 0, Outcome::Busy);
    assert_eq!(test.receivers(), [0], "ordered: the leader has it");
}

#[test]
fn a_lost_link_answers_nothing_any_more() {
    let mut test = Test::open(FaultModel::Crash, 3);
    test.read(1, b"query");
    test.down(1);
    test.up(1);
    test.advance();
    test.reads();
    test.answer(1, 1, 9, result(b"of another link"));
    test.answer(0, 1, 7, result(b"result"));
    assert_eq!(test.completions(), []);
    test.down(2);
    assert_eq!(test.receivers(), [0], "too few are left: it is ordered");
}

#[test]
fn what_has_too_few_answers_in_time_is_ordered() {
    let mut test = Test::open(FaultModel::Byzantine, 4);
    test.read(1, b"query");
    test.answer(0, 1, 7, result(b"result"));
    test.answer(1, 1, 7, result(b"result"));
    test.pass(RETRY);
    assert_eq!(test.receivers(), [0, 1, 2, 3]);
    test.answer(2, 1, 7, result(b"result"));
    assert_eq!(test.completions(), [], "it is ordered now");
    test.result(3, 1, b"result");
    test.result(2, 1, b"result");
    assert_eq!(test.completions(), [done(1, b"result")]);
}

#[test]
fn with_too_few_replicas_for_a_quorum_a_query_waits_a_little_and_is_ordered() {
    let mut test = Test::new(FaultModel::Byzantine, 4);
    (0..2).for_each(|replica| test.up(replica));
    test.advance();
    for seen in test.seen() {
        test.reply(seen.replica, 0, seen.sequence, Outcome::SessionOpened(SESSION));
    }
    test.read(1, b"query");
    assert_eq!(test.reads(), []);
    test.pass(RETRY);
    let ordered: Vec<_> = test.seen().into_iter().filter(|seen| seen.operation == Operation::Command).collect();
    assert_eq!(ordered.len(), 2);
}

#[test]
fn a_read_that_waits_for_links_goes_when_there_are_enough() {
    let mut test = Test::new(FaultModel::Byzantine, 4);
    (0..2).for_each(|replica| test.up(replica));
    test.read(1, b"query");
    test.up(3);
    test.advance();
    assert_eq!(test.reads().into_iter().map(|(to, full, _)| (to, full)).collect::<Vec<_>>(), [(vec![0, 1, 3], true)]);
}

#[test]
fn a_read_that_nobody_answers_fails_at_its_deadline_as_never_sent() {
    let mut test = Test::new(FaultModel::Byzantine, 4);
    test.read(1, b"query");
    test.pass(TIMEOUT);
    assert_eq!(test.completions(), [failed(1, RequestError::NoQuorum { reachable: 0, needed: 2 })]);
}

#[test]
fn a_result_that_only_its_digest_confirms_is_waited_for_and_then_ordered() {
    let mut test = Test::open(FaultModel::Byzantine, 4);
    let digest = || Outcome::ResultDigest(result_digest(b"a long result"));
    for (token, number) in [(1, 1), (2, 2)] {
        test.read(token, b"query");
        (0..3).for_each(|replica| test.answer(replica, number, 7, digest()));
        assert_eq!(test.completions(), []);
        if token == 1 {
            test.answer(3, number, 7, result(b"a long result"));
            assert_eq!(test.completions(), [done(token, b"a long result")]);
            assert!(test.receivers().is_empty());
        } else {
            test.answer(3, number, 7, digest());
            assert_eq!(test.receivers(), [0, 1, 2, 3]);
        }
    }
}

#[test]
fn where_reads_come_to_nothing_most_are_ordered_at_once() {
    let mut test = Test::open(FaultModel::Crash, 3);
    let mut tried = Vec::new();
    for token in 1..=150 {
        test.read(token, b"query");
        for (_, _, reads) in test.reads() {
            tried.push(token);
            (0..3).for_each(|replica| test.answer(replica, reads[0].number, 0, Outcome::Busy));
            test.answer(0, reads[0].number, 0, Outcome::Busy);
            test.requester.outgoing.clear();
        }
    }
    assert_eq!(tried, [1, 2, 4, 8, 16, 32, 64, 128], "ever fewer are tried");
}

#[test]
fn another_membership_has_what_is_open_ordered() {
    let mut test = Test::open(FaultModel::Crash, 3);
    test.read(1, b"query");
    test.answer(0, 1, 7, result(b"of the old epoch"));
    let members = (0..3).map(|id| member(id, id as u8)).collect();
    let next = Membership::of(ClusterId([1; 16]), Epoch(5), FaultModel::Crash, members).unwrap();
    test.reads();
    test.requester.adopt(next.into(), test.now);
    test.advance();
    assert!(!test.receivers().is_empty());
    test.answer(1, 1, 8, result(b"of the old epoch"));
    assert_eq!(test.completions(), []);
}

#[test]
fn reads_in_flight_are_bounded_and_the_rest_waits() {
    let mut test = Test::with(FaultModel::Crash, 3, |config| config.in_flight_max = 2);
    test.open_session(3);
    (1..=3).for_each(|token| test.read(token, b"query"));
    let sent = |test: &mut Test| test.reads().into_iter().map(|(_, _, reads)| reads.len()).sum::<usize>();
    assert_eq!(sent(&mut test), 2);
    test.answer(0, 2, 1, result(b"r"));
    test.answer(2, 2, 1, result(b"r"));
    assert_eq!(test.completions(), [done(2, b"r")]);
    assert_eq!(sent(&mut test), 1);
}

#[test]
fn closing_ends_reads_too() {
    let mut test = Test::open(FaultModel::Crash, 3);
    test.read(1, b"query");
    test.requester.close();
    assert_eq!(test.completions(), [failed(1, RequestError::Closed)]);
}
