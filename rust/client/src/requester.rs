//! The client without its sockets and clock: what to send to whom, and what is complete.

mod adoption;
mod opening;
mod reads;
mod retry;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pssmr_types::client::FRAME_ITEMS_MAX;
use pssmr_types::{
    ClientId, ClientMessage, Digest, Epoch, Membership, Operation, Outcome, Principal, REPLICAS_MAX, ReplicaId, Reply,
    Request, RequestTrace, TraceContext,
};

use self::opening::Session;
use self::reads::Reads;
use crate::completion::{Completion, Response};
use crate::config::{ClientConfig, SPREAD_MAX};
use crate::error::RequestError;
use crate::inbox::{Submission, Work};
use crate::replica_set::ReplicaSet;
use crate::tally::{Tally, Verdict};
use crate::window::Window;

/// Requests of one frame, in bytes, unless a single one is larger.
const FRAME_BYTES: usize = 1 << 20;

/// Bytes of results that are kept while too few replicas have confirmed them.
const KEPT_BYTES_MAX: usize = 64 << 20;

/// How long a result that is confirmed by its digest alone may take to come, until it is asked for.
const RESULT_GRACE: Duration = Duration::from_millis(20);

/// What is due within this time is done together.
const TIMER_GRAIN: Duration = Duration::from_millis(5);

/// A message, and whom it is for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outgoing {
    pub(crate) to: ReplicaSet,
    pub(crate) message: ClientMessage,
}

/// A request that was given its sequence.
#[derive(Debug)]
struct InFlight {
    token: u64,
    request: Request,
    attempts: Attempts,
    tally: Tally,
    /// For a state digest: what each replica says.
    digests: Option<BTreeMap<ReplicaId, Digest>>,
    deadline: Instant,
}

/// Where a request was sent, and when it is sent again.
#[derive(Debug, Default)]
struct Attempts {
    /// Replicas that have it on a link that is still up.
    sent: ReplicaSet,
    /// Replicas that may have it: they were sent it and did not refuse it since.
    unrefused: ReplicaSet,
    /// Replicas of which a refusal could be of one attempt, and not of another.
    unsure: ReplicaSet,
    /// A replica that has left may have passed it on to others before.
    may_be_passed_on: bool,
    /// So many times was it sent again.
    retries: u32,
    /// When it is sent again; `None` before it was sent at all.
    retry_at: Option<Instant>,
}

/// A submission that waits for a session, or for room in its window.
#[derive(Debug)]
struct Waiting {
    token: u64,
    operation: Operation,
    payload: Bytes,
    deadline: Instant,
    trace: Option<TraceContext>,
}

/// A question for one replica.
#[derive(Debug)]
struct StatusQuery {
    token: u64,
    deadline: Instant,
}

/// One client's requests, from submission to completion.
pub(crate) struct Requester {
    principal: Principal,
    /// The newest that is known.
    membership: Arc<Membership>,
    request_timeout: Duration,
    retry_interval: Duration,
    retry_interval_max: Duration,
    /// Replicas whose link is up and greeted.
    up: ReplicaSet,
    leader: ReplicaId,
    /// The epoch, and the number of the view in it, that it leads.
    leader_view: (Epoch, u64),
    session: Session,
    window: Window<InFlight>,
    waiting: VecDeque<Waiting>,
    reads: Reads,
    /// By replica.
    status_queries: Vec<Vec<StatusQuery>>,
    /// Random numbers, for opening sessions.
    nonces: Box<dyn FnMut() -> u64 + Send>,
    kept_bytes: usize,
    /// Nothing is due before.
    due: Option<Instant>,
    /// What is to be sent, in order.
    pub(crate) outgoing: Vec<Outgoing>,
    /// What has ended.
    pub(crate) completions: Vec<Completion>,
    /// The payload bytes of what has ended.
    pub(crate) completed_bytes: usize,
}

impl Requester {
    pub(crate) fn new(config: &ClientConfig, nonces: Box<dyn FnMut() -> u64 + Send>) -> Self {
        let (leader, leader_view) = adoption::first_leader(&config.membership);
        Self {
            principal: config.secret.public().principal(),
            membership: Arc::new(config.membership.clone()),
            request_timeout: config.request_timeout,
            retry_interval: config.retry_interval,
            retry_interval_max: config.retry_interval_max,
            up: ReplicaSet::EMPTY,
            // Only a guess: a replica that is not the leader passes requests on.
            leader,
            leader_view,
            session: Session::Closed,
            window: Window::new(config.in_flight_max, SPREAD_MAX),
            waiting: VecDeque::new(),
            reads: Reads::new(config.in_flight_max),
            status_queries: (0..REPLICAS_MAX).map(|_| Vec::new()).collect(),
            nonces,
            kept_bytes: 0,
            due: None,
            outgoing: Vec::new(),
            completions: Vec::new(),
            completed_bytes: 0,
        }
    }

    /// When [`Self::advance`] wants to be called at the latest.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The newest membership that is known.
    pub(crate) fn membership(&self) -> &Membership {
        &self.membership
    }

    pub(crate) fn leader(&self) -> ReplicaId {
        self.leader
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.window.len() + self.reads.in_flight()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len() + self.reads.waiting()
    }

    /// The open session's number.
    pub(crate) fn session(&self) -> Option<u64> {
        if let Session::Open(client) = &self.session { Some(client.session) } else { None }
    }

    // What happens.

    pub(crate) fn submit(&mut self, submission: Submission, now: Instant) {
        let deadline = now + submission.timeout.unwrap_or(self.request_timeout);
        let (token, trace) = (submission.token, submission.trace);
        self.wake_at(deadline);
        match submission.work {
            Work::Command(payload) => {
                self.waiting.push_back(Waiting { token, operation: Operation::Command, payload, deadline, trace });
            }
            Work::Read(payload) => self.submit_read(token, payload, deadline, trace, now),
            work @ (Work::StateDigests | Work::Checkpoint) => {
                let takes_checkpoint = matches!(work, Work::Checkpoint);
                let operation = if takes_checkpoint { Operation::Checkpoint } else { Operation::StateDigest };
                self.waiting.push_back(Waiting { token, operation, payload: Bytes::new(), deadline, trace });
            }
            Work::Reconfigure(payload) => {
                self.waiting.push_back(Waiting { token, operation: Operation::Reconfigure, payload, deadline, trace });
            }
            Work::Upgrade(payload) => {
                self.waiting.push_back(Waiting { token, operation: Operation::Upgrade, payload, deadline, trace });
            }
            // It was one when this was submitted.
            Work::Status(replica) if !self.membership.contains(replica) => {
                self.completions.push(Completion { token, result: Err(RequestError::ReplicaGone) });
            }
            Work::Status(replica) => {
                self.status_queries[replica.index()].push(StatusQuery { token, deadline });
                if self.up.contains(replica) {
                    self.send(ReplicaSet::only(replica), ClientMessage::StatusQuery);
                }
            }
        }
    }

    /// The link to `replica` can be used (again).
    pub(crate) fn link_up(&mut self, replica: ReplicaId, now: Instant) {
        self.up.insert(replica);
        if !self.status_queries[replica.index()].is_empty() || self.follows_leader() {
            self.send(ReplicaSet::only(replica), ClientMessage::StatusQuery);
        }
        self.resend_to(replica, now);
    }

    /// The link to `replica` is lost, and what was on it.
    pub(crate) fn link_down(&mut self, replica: ReplicaId, now: Instant) {
        self.up.remove(replica);
        let mut orphaned = false;
        for (_, entry) in self.window.iter_mut() {
            orphaned |= entry.attempts.lose(replica, now);
        }
        if let Session::Opening(opening) = &mut self.session {
            orphaned |= opening.attempts.lose(replica, now);
        }
        self.reads_lose(replica);
        if orphaned {
            self.wake_at(now);
        }
    }

    /// The replica cannot be reached: nobody waits for its status.
    pub(crate) fn dial_failed(&mut self, replica: ReplicaId) {
        let unreachable = self.no_quorum();
        for query in std::mem::take(&mut self.status_queries[replica.index()]) {
            self.completions.push(Completion { token: query.token, result: Err(unreachable) });
        }
    }

    /// A replica says who leads. A hint: a wrong one costs a retry.
    /// The view is its epoch, and its number there.
    pub(crate) fn leader_hint(&mut self, view: (Epoch, u64), leader: ReplicaId, now: Instant) {
        if view < self.leader_view || !self.membership.contains(leader) {
            return;
        }
        let is_news = std::mem::replace(&mut self.leader, leader) != leader;
        self.leader_view = view;
        if is_news && self.follows_leader() && self.up.contains(leader) {
            self.follow(leader, now);
        }
    }

    /// A replica has answered a status query.
    pub(crate) fn status(&mut self, replica: ReplicaId, json: &Bytes) {
        for query in std::mem::take(&mut self.status_queries[replica.index()]) {
            let result = Ok(Response::Status(json.clone()));
            self.completions.push(Completion { token: query.token, result });
        }
    }

    /// Answers came on the link of `replica`.
    pub(crate) fn replies(&mut self, replica: ReplicaId, replies: Vec<Reply>, now: Instant) {
        assert!(self.up.contains(replica), "only a link that is up is read from");
        for reply in replies {
            match &self.session {
                Session::Open(client) if client.session == reply.session => self.reply(replica, reply, now),
                Session::Opening(_) if reply.session == 0 => self.opening_reply(replica, reply, now),
                // Of a session that has ended, or an opening that has.
                _ => {}
            }
        }
    }

    fn reply(&mut self, replica: ReplicaId, reply: Reply, now: Instant) {
        // Most requests have their answer before the last replica's reply comes.
        let Some(entry) = self.window.get_mut(reply.sequence) else { return };
        if reply.outcome == Outcome::Busy {
            entry.attempts.unrefused.remove(replica);
            return;
        }
        if let (Some(digests), Outcome::Result(result)) = (&mut entry.digests, &reply.outcome) {
            if let Ok(digest) = <[u8; 32]>::try_from(&result[..]) {
                digests.insert(replica, Digest(digest));
                self.complete_digests(reply.sequence);
            }
            return;
        }
        let kept = entry.tally.kept_bytes();
        let keep_max = KEPT_BYTES_MAX.saturating_sub(self.kept_bytes);
        let verdict = entry.tally.vote(replica, reply.outcome, self.membership.quorums().weak(), keep_max);
        self.kept_bytes = self.kept_bytes - kept + entry.tally.kept_bytes();
        self.judge(reply.sequence, verdict, now);
    }

    fn judge(&mut self, sequence: u64, verdict: Verdict, now: Instant) {
        match verdict {
            Verdict::Open => {}
            Verdict::ResultMissing => {
                let Some(entry) = self.window.get_mut(sequence) else { return };
                let soon = now + RESULT_GRACE;
                if entry.attempts.retry_at.is_none_or(|at| at > soon) {
                    entry.attempts.retry_at = Some(soon);
                    self.wake_at(soon);
                }
            }
            Verdict::Believed(Outcome::Result(result)) => self.complete(sequence, Ok(Response::Result(result))),
            Verdict::Believed(Outcome::SessionExpired) => self.session_expired(),
            // Only of an earlier attempt's window: what was decided then is not known here.
            Verdict::Believed(_) => self.complete(sequence, Err(RequestError::OutcomeUnknown)),
        }
    }

    /// Completes a request for state digests, if all that can be asked have answered.
    fn complete_digests(&mut self, sequence: u64) {
        let Some(InFlight { digests: Some(digests), .. }) = self.window.get_mut(sequence) else { return };
        if !digests.is_empty() && self.up.iter().all(|replica| digests.contains_key(&replica)) {
            let response = Response::StateDigests(std::mem::take(digests));
            self.complete(sequence, Ok(response));
        }
    }

    fn complete(&mut self, sequence: u64, result: Result<Response, RequestError>) {
        let entry = self.window.remove(sequence).expect("only what is in flight completes");
        self.kept_bytes -= entry.tally.kept_bytes();
        self.completed_bytes += entry.request.payload().len();
        self.completions.push(Completion { token: entry.token, result });
    }

    /// The session is gone at the replicas: nothing of it executes any more.
    fn session_expired(&mut self) {
        tracing::info!(session = self.session(), "the session has expired: opening another one");
        self.session = Session::Closed;
        self.kept_bytes = 0;
        for entry in self.window.drain() {
            self.completed_bytes += entry.request.payload().len();
            self.completions.push(Completion { token: entry.token, result: Err(RequestError::SessionExpired) });
        }
    }

    /// Ends everything.
    pub(crate) fn close(&mut self) {
        let queries = self.status_queries.iter_mut().flat_map(std::mem::take).map(|query| query.token);
        let waiting = self.waiting.drain(..).map(|waiting| waiting.token);
        let in_flight = self.window.drain().map(|entry| entry.token);
        for token in queries.chain(waiting).chain(in_flight).chain(self.reads.drain()) {
            self.completions.push(Completion { token, result: Err(RequestError::Closed) });
        }
    }

    // What follows from it.

    /// Sends what can be sent and does what is due.
    pub(crate) fn advance(&mut self, now: Instant) {
        self.open_session(now);
        self.admit_reads(now);
        self.admit(now);
        if self.due.is_some_and(|due| due <= now) {
            self.take_due(now);
            // What has ended made room.
            self.admit_reads(now);
            self.admit(now);
        }
    }

    /// Gives waiting submissions their sequences, and sends them.
    fn admit(&mut self, now: Instant) {
        let Session::Open(client) = self.session else { return };
        // A request that nobody can be sent keeps its place in the queue: it is certainly not executed yet.
        if self.waiting.is_empty() || self.up.is_empty() {
            return;
        }
        let (first_to, all) = (self.first_targets(), self.up);
        let retry_at = now + self.retry_interval;
        let mut bursts = [(first_to, Vec::new()), (all, Vec::new())];
        let mut traces = Vec::new();
        while self.window.has_room()
            && let Some(waiting) = self.waiting.pop_front()
        {
            let collects = matches!(waiting.operation, Operation::StateDigest | Operation::Checkpoint);
            let (low, sequence) = (self.window.low(), self.window.next());
            let request = Request::new(client, sequence, low, waiting.operation, &waiting.payload);
            let session = client.session;
            traces.extend(waiting.trace.map(|context| RequestTrace { session, sequence, context }));
            let (to, burst) = &mut bursts[usize::from(collects)];
            burst.push(request.clone());
            self.window.push(InFlight {
                token: waiting.token,
                request,
                attempts: Attempts::first(*to, retry_at),
                tally: Tally::default(),
                digests: collects.then(BTreeMap::new),
                deadline: waiting.deadline,
            });
        }
        // Before the requests: a replica may execute them at once.
        for some in traces.chunks(FRAME_ITEMS_MAX) {
            self.send(first_to, ClientMessage::Traces(some.to_vec()));
        }
        for (to, burst) in bursts {
            // With a replica missing, it could be the one to send the whole result.
            let full_replies = self.up.len() < self.membership.members().len();
            self.send_requests(to, burst, full_replies);
        }
        self.wake_at(retry_at);
    }

    /// Whether one replica, the leader, is asked first.
    fn follows_leader(&self) -> bool {
        self.membership.quorums().weak() == 1 && self.membership.members().len() > 1
    }

    /// Who is sent a new request.
    fn first_targets(&self) -> ReplicaSet {
        if self.follows_leader() && self.up.contains(self.leader) { ReplicaSet::only(self.leader) } else { self.up }
    }

    fn send(&mut self, to: ReplicaSet, message: ClientMessage) {
        if !to.is_empty() {
            self.outgoing.push(Outgoing { to, message });
        }
    }

    fn send_requests(&mut self, to: ReplicaSet, requests: Vec<Request>, full_replies: bool) {
        let (mut frame, mut bytes) = (Vec::new(), 0);
        for request in requests {
            if frame.len() == FRAME_ITEMS_MAX || (bytes > 0 && bytes + request.body().len() > FRAME_BYTES) {
                let requests = std::mem::take(&mut frame);
                self.send(to, ClientMessage::Requests { full_replies, requests });
                bytes = 0;
            }
            bytes += request.body().len();
            frame.push(request);
        }
        if !frame.is_empty() {
            self.send(to, ClientMessage::Requests { full_replies, requests: frame });
        }
    }

    fn wake_at(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }
}

/// The session that requests go to.
fn session_client(principal: Principal, session: u64) -> ClientId {
    ClientId { principal, session }
}
