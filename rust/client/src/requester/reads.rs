//! Reads: queries that replicas answer without ordering them, and that are ordered if that comes to nothing.
//!
//! Why a quorum of answers of one epoch is as good as an order is said in `rust/ordering/src/reads.rs`.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pssmr_types::client::FRAME_ITEMS_MAX;
use pssmr_types::{
    ClientMessage, FaultModel, Operation, Outcome, Read, ReadReply, ReplicaId, RequestTrace, Slot, TraceContext,
};

use super::{FRAME_BYTES, KEPT_BYTES_MAX, Requester, Waiting};
use crate::completion::{Completion, Response};
use crate::config::SPREAD_MAX;
use crate::replica_set::ReplicaSet;
use crate::tally::{Tally, Verdict};
use crate::window::Window;

/// After reads that came to nothing, at most so many are ordered at once before the next is tried.
const ORDERED_MAX: u32 = 64;

/// How long those that are asked first have, until the others are asked, too.
const WIDEN_AFTER: Duration = Duration::from_millis(20);

/// A read that has not completed.
#[derive(Debug)]
struct Entry {
    token: u64,
    payload: Bytes,
    deadline: Instant,
    trace: Option<TraceContext>,
    /// When it is ordered, if it has not completed.
    order_at: Instant,
    /// Who was sent it on a link that is still up, and has not answered.
    asked: ReplicaSet,
    /// Who is sent it as well if those don't answer soon, and when.
    others: ReplicaSet,
    widen_at: Option<Instant>,
    answers: Answers,
}

/// What replicas have answered to a read.
#[derive(Debug)]
enum Answers {
    /// Byzantine faults: a quorum has to say the same.
    Equal(Tally),
    /// Crash faults: of a quorum, the one with the highest slot.
    Newest { replicas: ReplicaSet, newest: Option<(Slot, Bytes)> },
}

/// A client's reads.
#[derive(Debug)]
pub(super) struct Reads {
    waiting: VecDeque<Entry>,
    open: Window<Entry>,
    kept_bytes: usize,
    /// So many of the next are ordered at once: where replicas often disagree, or don't answer, asking is a waste.
    ordered_next: u32,
    /// How many that is after the next one that comes to nothing.
    penalty: u32,
}

impl Reads {
    pub(super) fn new(in_flight_max: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            open: Window::new(in_flight_max, SPREAD_MAX),
            kept_bytes: 0,
            ordered_next: 0,
            penalty: 0,
        }
    }

    pub(super) fn in_flight(&self) -> usize {
        self.open.len()
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The tokens of all. It has none from now on.
    pub(super) fn drain(&mut self) -> Vec<u64> {
        self.kept_bytes = 0;
        self.waiting.drain(..).chain(self.open.drain()).map(|entry| entry.token).collect()
    }

    /// When the next one is ordered, or asked of more replicas.
    pub(super) fn due(&mut self) -> Option<Instant> {
        let open = self.open.iter_mut().map(|(_, entry)| entry.widen_at.unwrap_or(entry.order_at));
        self.waiting.iter().map(|entry| entry.order_at).chain(open).min()
    }

    fn remove(&mut self, number: u64) -> Option<Entry> {
        let entry = self.open.remove(number)?;
        self.kept_bytes -= entry.answers.kept_bytes();
        Some(entry)
    }
}

impl Answers {
    fn kept_bytes(&self) -> usize {
        match self {
            Self::Equal(tally) => tally.kept_bytes(),
            Self::Newest { newest, .. } => newest.as_ref().map_or(0, |(_, result)| result.len()),
        }
    }

    /// Counts an answer. The result, if it is known now.
    fn count(
        &mut self,
        replica: ReplicaId,
        slot: Slot,
        outcome: Outcome,
        quorum: usize,
        keep_bytes_max: usize,
    ) -> Option<Bytes> {
        match self {
            Self::Equal(tally) => match tally.vote(replica, outcome, quorum, keep_bytes_max) {
                Verdict::Believed(Outcome::Result(result)) => Some(result),
                _ => None,
            },
            Self::Newest { replicas, newest } => {
                // Where replicas do no worse than stop, each sends its result whole.
                let Outcome::Result(result) = outcome else { return None };
                replicas.insert(replica);
                if newest.as_ref().is_none_or(|(known, _)| *known < slot) {
                    *newest = Some((slot, result));
                }
                if replicas.len() >= quorum { newest.take().map(|(_, result)| result) } else { None }
            }
        }
    }

    /// Whether there can be a result if so many more answer.
    fn can_end(&self, more: usize, quorum: usize) -> bool {
        match self {
            // With all of them there, the result itself may be missing.
            Self::Equal(tally) => more > 0 && tally.most_agreeing() + more >= quorum,
            Self::Newest { replicas, .. } => replicas.len() + more >= quorum,
        }
    }
}

impl Requester {
    /// Takes a query that need not be ordered.
    pub(super) fn submit_read(
        &mut self,
        token: u64,
        payload: Bytes,
        deadline: Instant,
        trace: Option<TraceContext>,
        now: Instant,
    ) {
        if self.reads.ordered_next > 0 {
            self.reads.ordered_next -= 1;
            self.waiting.push_back(Waiting { token, operation: Operation::Command, payload, deadline, trace });
            return;
        }
        let answers = match self.membership.quorums().model() {
            FaultModel::Byzantine => Answers::Equal(Tally::default()),
            FaultModel::Crash => Answers::Newest { replicas: ReplicaSet::EMPTY, newest: None },
        };
        let order_at = deadline.min(now + self.retry_interval);
        let (asked, others) = (ReplicaSet::EMPTY, ReplicaSet::EMPTY);
        let entry = Entry { token, payload, deadline, trace, order_at, asked, others, widen_at: None, answers };
        self.reads.waiting.push_back(entry);
        self.wake_at(order_at);
    }

    /// Asks the replicas, if a quorum can be asked.
    pub(super) fn admit_reads(&mut self, now: Instant) {
        if self.reads.waiting.is_empty() || self.up.len() < self.membership.quorums().quorum() {
            return;
        }
        let mut bursts = Vec::new();
        while self.reads.open.has_room()
            && let Some(mut entry) = self.reads.waiting.pop_front()
        {
            let number = self.reads.open.next();
            entry.asked = self.first_readers(number);
            entry.others = self.up.without(entry.asked);
            entry.order_at = entry.deadline.min(now + self.retry_interval);
            entry.widen_at = (!entry.others.is_empty()).then(|| entry.order_at.min(now + WIDEN_AFTER));
            self.wake_at(entry.widen_at.unwrap_or(entry.order_at));
            gather(&mut bursts, entry.asked, number, &entry);
            self.reads.open.push(entry);
        }
        for (to, burst) in bursts {
            self.send_reads(to, burst);
        }
    }

    /// Who is asked first. With crash faults a quorum is enough, by turns; with Byzantine ones, somebody may say something
    /// else.
    fn first_readers(&self, number: u64) -> ReplicaSet {
        let quorums = self.membership.quorums();
        if quorums.model() == FaultModel::Byzantine {
            return self.up;
        }
        let first = (number % self.up.len() as u64) as usize;
        self.up.iter().chain(self.up.iter()).skip(first).take(quorums.quorum()).collect()
    }

    fn send_reads(&mut self, to: ReplicaSet, burst: Burst) {
        let full_replies = self.up.len() < self.membership.members().len();
        // Before the reads: a replica may execute them at once.
        for some in burst.traces.chunks(FRAME_ITEMS_MAX) {
            self.send(to, ClientMessage::Traces(some.to_vec()));
        }
        let (mut reads, mut bytes) = (Vec::new(), 0);
        for read in burst.reads {
            if reads.len() == FRAME_ITEMS_MAX || (bytes > 0 && bytes + read.payload.len() > FRAME_BYTES) {
                let reads = std::mem::take(&mut reads);
                self.send(to, ClientMessage::Reads { full_replies, reads });
                bytes = 0;
            }
            bytes += read.payload.len();
            reads.push(read);
        }
        if !reads.is_empty() {
            self.send(to, ClientMessage::Reads { full_replies, reads });
        }
    }

    /// Asks all the others.
    fn widen(&mut self, numbers: &[u64]) {
        let mut bursts = Vec::new();
        for number in numbers {
            let Some(entry) = self.reads.open.get_mut(*number) else { continue };
            let to = std::mem::replace(&mut entry.others, ReplicaSet::EMPTY);
            entry.asked = entry.asked.union(to);
            entry.widen_at = None;
            if !to.is_empty() {
                gather(&mut bursts, to, *number, entry);
            }
        }
        for (to, burst) in bursts {
            self.send_reads(to, burst);
        }
    }

    /// Answers to reads came on the link of `replica`.
    pub(crate) fn read_replies(&mut self, replica: ReplicaId, replies: Vec<ReadReply>) {
        let (quorum, epoch) = (self.membership.quorums().quorum(), self.membership.epoch());
        for ReadReply { number, epoch: of, slot, outcome } in replies {
            let Some(entry) = self.reads.open.get_mut(number).filter(|entry| entry.asked.contains(replica)) else {
                continue;
            };
            entry.asked.remove(replica);
            if outcome != Outcome::Busy && of == epoch {
                let kept = entry.answers.kept_bytes();
                let keep_max = KEPT_BYTES_MAX.saturating_sub(self.reads.kept_bytes);
                let result = entry.answers.count(replica, slot, outcome, quorum, keep_max);
                self.reads.kept_bytes = self.reads.kept_bytes - kept + entry.answers.kept_bytes();
                if let Some(result) = result {
                    self.complete_read(number, result);
                    continue;
                }
            }
            self.look_after(number);
        }
    }

    /// Has a read that can't end with those that were asked asked of others, or ordered.
    fn look_after(&mut self, number: u64) {
        let quorum = self.membership.quorums().quorum();
        let Some(entry) = self.reads.open.get_mut(number) else { return };
        if entry.answers.can_end(entry.asked.len(), quorum) {
            return;
        }
        if entry.answers.can_end(entry.asked.len() + entry.others.len(), quorum) {
            self.widen(&[number]);
        } else {
            self.order_read(number);
        }
    }

    fn complete_read(&mut self, number: u64, result: Bytes) {
        let entry = self.reads.remove(number).expect("only what is open completes");
        self.reads.penalty /= 2;
        self.completed_bytes += entry.payload.len();
        self.completions.push(Completion { token: entry.token, result: Ok(Response::Result(result)) });
    }

    /// The read has come to nothing: it is ordered.
    fn order_read(&mut self, number: u64) {
        let entry = self.reads.remove(number).expect("only what is open is ordered");
        self.reads.ordered_next = self.reads.penalty;
        self.reads.penalty = (2 * self.reads.penalty + 1).min(ORDERED_MAX);
        self.order_entry(entry);
    }

    fn order_entry(&mut self, entry: Entry) {
        let Entry { token, payload, deadline, trace, .. } = entry;
        self.waiting.push_back(Waiting { token, operation: Operation::Command, payload, deadline, trace });
    }

    /// The link to `replica` is lost, and what was on it.
    pub(super) fn reads_lose(&mut self, replica: ReplicaId) {
        let mut touched = Vec::new();
        for (number, entry) in self.reads.open.iter_mut() {
            if entry.asked.contains(replica) {
                touched.push(number);
            }
            entry.asked.remove(replica);
            entry.others.remove(replica);
        }
        for number in touched {
            self.look_after(number);
        }
    }

    /// Asks more replicas about what was not answered soon, and orders what was not answered in its time.
    pub(super) fn look_after_late_reads(&mut self, now: Instant) {
        let waiting = std::mem::take(&mut self.reads.waiting);
        let (late, waiting): (VecDeque<_>, _) = waiting.into_iter().partition(|entry| entry.order_at <= now);
        self.reads.waiting = waiting;
        for entry in late {
            self.order_entry(entry);
        }
        let (mut late, mut slow) = (Vec::new(), Vec::new());
        for (number, entry) in self.reads.open.iter_mut() {
            if entry.order_at <= now {
                late.push(number);
            } else if entry.widen_at.is_some_and(|at| at <= now) {
                slow.push(number);
            }
        }
        self.widen(&slow);
        for number in late {
            self.order_read(number);
        }
    }

    /// Another membership is in force: answers of the one before count no more.
    pub(super) fn order_all_reads(&mut self) {
        while let Some(entry) = self.reads.waiting.pop_front() {
            self.order_entry(entry);
        }
        let open: Vec<_> = self.reads.open.iter_mut().map(|(number, _)| number).collect();
        for number in open {
            let entry = self.reads.remove(number).expect("it is open");
            self.order_entry(entry);
        }
    }
}

/// Reads that go to the same replicas.
#[derive(Debug, Default)]
struct Burst {
    reads: Vec<Read>,
    /// Where some of them belong, in the same order.
    traces: Vec<RequestTrace>,
}

/// Adds a read to those that go to the same replicas.
fn gather(bursts: &mut Vec<(ReplicaSet, Burst)>, to: ReplicaSet, number: u64, entry: &Entry) {
    let at = bursts.iter().position(|(same, _)| *same == to).unwrap_or_else(|| {
        bursts.push((to, Burst::default()));
        bursts.len() - 1
    });
    let burst = &mut bursts[at].1;
    let traced = entry.trace.map(|context| RequestTrace { session: RequestTrace::READ, sequence: number, context });
    burst.traces.extend(traced);
    burst.reads.push(Read { number, payload: entry.payload.clone() });
}
