//! The client thread: requests in, replies out.

mod admission;
mod outbox;
mod reads;
mod replies;
mod routes;
mod sample;

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pssmr_execution::{CommandKind, Completion, Executor};
use pssmr_transport::{CloseReason, Event, LinkId, Transport};
use pssmr_types::handover::HANDOVERS_MAX;
use pssmr_types::{
    ClientId, ClientMessage, Epoch, Hello, Membership, Operation, Outcome, Principal, Read, ReadReply, ReplicaId,
    ReplicaMessage, Reply, Request, RequestTrace, Slot, View, result_digest,
};

pub(crate) use self::admission::Admission;
use self::admission::Rights;
use self::outbox::Outbox;
use self::reads::{AnnouncedTraces, Asked, Reads};
use self::replies::Replies;
use self::routes::{Route, Routes};
use self::sample::Sample;
use crate::greeting::{self, Side};
use crate::inbox::{ClientInbox, Notice, OrderingInbox, Taken};
use crate::panic_message;
use crate::reads::{TakenRead, ticket_of};
use crate::snapshots::WriterInbox;
use crate::state::State;
use crate::status::Counters;
use crate::traces::Traces;

/// How long the last frames may take to leave when the replica stops.
const LINGER: Duration = Duration::from_millis(100);

/// How long a link may be up without a greeting.
const GREETING_TIMEOUT: Duration = Duration::from_secs(5);

/// What the thread shows of itself is at most this old, once it rests.
const SHOW_INTERVAL: Duration = Duration::from_millis(20);

/// A result up to this length is sent whole by every replica: a digest would not be shorter.
const DIGEST_BYTES: usize = 32;

/// Which replicas send results whole.
#[derive(Clone, Copy, Debug)]
struct Designation {
    /// The replica's place among the members.
    place: u64,
    replicas: u64,
    /// A client believes a single replica, so each has to send all.
    always: bool,
}

impl Designation {
    fn new(me: ReplicaId, membership: &Membership) -> Self {
        let place = membership.members().iter().position(|member| member.id == me).unwrap_or_default() as u64;
        let quorums = membership.quorums();
        Self { place, replicas: quorums.replicas() as u64, always: quorums.weak() == 1 }
    }

    /// What to send of a result: the whole or its digest. Up to `full_through` the client wants all whole.
    fn outcome(&self, sequence: u64, result: Bytes, full_through: u64) -> Outcome {
        let is_mine = sequence % self.replicas == self.place;
        if self.always || sequence <= full_through || is_mine || result.len() <= DIGEST_BYTES {
            Outcome::Result(result)
        } else {
            Outcome::ResultDigest(result_digest(&result))
        }
    }
}

struct ClientLink {
    principal: Principal,
    rights: Rights,
    /// The last epoch that the client knows; `None` before its greeting.
    epoch: Option<Epoch>,
    read_traces: AnnouncedTraces,
}

/// Everything that the client thread owns.
pub(crate) struct ClientThread {
    hello: Hello,
    me: ReplicaId,
    admission: Admission,
    /// The epoch that this thread goes by.
    epoch: Epoch,
    designation: Designation,
    payload_bytes_max: usize,
    result_bytes_max: usize,
    links: HashMap<LinkId, ClientLink>,
    /// Links without a greeting, oldest first, with the end of their time.
    ungreeted: VecDeque<(Instant, LinkId)>,
    routes: Routes,
    replies: Replies,
    /// None without a data directory.
    snapshots: Option<Arc<WriterInbox>>,
    outbox: Outbox<Reply>,
    reads: Reads<LinkId>,
    read_outbox: Outbox<ReadReply>,
    sample: Sample,
    /// None if nobody looks at them.
    traces: Option<Arc<Traces>>,
    burst: Vec<Request>,
    read_burst: Vec<TakenRead>,
    status_wanted: Vec<LinkId>,
    ordering: Arc<OrderingInbox>,
    inbox: Arc<ClientInbox>,
    executor: Arc<Executor>,
    state: Arc<State>,
    counters: Counters,
    last_error: Option<String>,
    shown_at: Instant,
    show_due: bool,
}

/// What the client thread is made of.
pub(crate) struct Parts {
    pub(crate) hello: Hello,
    pub(crate) me: ReplicaId,
    pub(crate) admission: Admission,
    pub(crate) payload_bytes_max: usize,
    pub(crate) result_bytes_max: usize,
    pub(crate) cached_bytes_per_session_max: usize,
    pub(crate) ordering: Arc<OrderingInbox>,
    pub(crate) inbox: Arc<ClientInbox>,
    pub(crate) snapshots: Option<Arc<WriterInbox>>,
    pub(crate) executor: Arc<Executor>,
    pub(crate) state: Arc<State>,
    pub(crate) traces: Option<Arc<Traces>>,
}

impl ClientThread {
    pub(crate) fn new(parts: Parts) -> Self {
        let membership = parts.state.membership();
        Self {
            hello: parts.hello,
            me: parts.me,
            admission: parts.admission,
            epoch: membership.epoch(),
            designation: Designation::new(parts.me, &membership),
            payload_bytes_max: parts.payload_bytes_max,
            result_bytes_max: parts.result_bytes_max,
            links: HashMap::new(),
            ungreeted: VecDeque::new(),
            routes: Routes::default(),
            replies: Replies::new(parts.cached_bytes_per_session_max),
            snapshots: parts.snapshots,
            outbox: Outbox::default(),
            reads: Reads::default(),
            read_outbox: Outbox::default(),
            sample: Sample::default(),
            traces: parts.traces,
            burst: Vec::new(),
            read_burst: Vec::new(),
            status_wanted: Vec::new(),
            ordering: parts.ordering,
            inbox: parts.inbox,
            executor: parts.executor,
            state: parts.state,
            counters: Counters::default(),
            last_error: None,
            shown_at: Instant::now(),
            show_due: true,
        }
    }

    /// The thread's life.
    pub(crate) fn run(mut self, mut transport: Transport) {
        let worked = catch_unwind(AssertUnwindSafe(|| self.work(&mut transport)));
        match worked {
            Ok(Ok(())) => {}
            Ok(Err(reason)) => self.ordering.fail(reason),
            Err(panic) => self.ordering.fail(format!("the client thread panicked: {}", panic_message(&*panic))),
        }
        if let Err(error) = transport.shutdown(LINGER) {
            tracing::debug!(%error, "closing the clients' links");
        }
    }

    /// Works until the replica is stopped.
    fn work(&mut self, transport: &mut Transport) -> Result<(), String> {
        let mut events = Vec::new();
        let (mut taken, mut completions, mut notices) = (Vec::new(), Vec::new(), Vec::new());
        while !self.inbox.is_stopping() {
            let polled = transport.poll(self.timeout(), &mut events);
            polled.map_err(|error| format!("cannot poll the clients' links: {error}"))?;
            for event in events.drain(..) {
                self.take_event(event, transport);
            }
            self.follow(transport);
            self.order();
            // Everything up to this slot has handed over its results.
            let executed = self.ordering.executed_slot();
            self.inbox.take(&mut taken, &mut completions, &mut notices);
            self.replies.announce(&mut notices);
            self.take_completions(&mut completions);
            notices.drain(..).for_each(|notice| self.take_notice(notice, transport));
            taken.drain(..).for_each(|taken| self.take_snapshot(taken));
            self.replies.end_sessions(executed);
            self.answer_status(transport);
            self.counters.replies += self.outbox.send(transport);
            self.counters.read_replies += self.read_outbox.send(transport);
            transport.flush();
            self.close_ungreeted(transport);
            self.show_sometimes(transport);
        }
        Ok(())
    }

    fn timeout(&self) -> Option<Duration> {
        let greeting = self.ungreeted.front().map(|(end, _)| *end);
        let show = self.show_due.then(|| self.shown_at + SHOW_INTERVAL);
        greeting.into_iter().chain(show).min().map(|at| at.saturating_duration_since(Instant::now()))
    }

    fn take_event(&mut self, event: Event, transport: &mut Transport) {
        match event {
            Event::Frame { link, frame } => {
                if let Err(refusal) = self.take_frame(link, frame, transport) {
                    self.counters.bad_frames += 1;
                    let principal = self.links.get(&link).map(|known| known.principal);
                    let client = principal.map_or_else(String::new, |principal| principal.to_string());
                    tracing::warn!(client, reason = &*refusal, "closing a client's link");
                    self.last_error = Some(format!("{client}: {refusal}"));
                    transport.close(link, CloseReason::Violation(refusal));
                    self.forget(link);
                }
            }
            Event::Up { link, key, .. } => {
                let rights = self.admission.rights(&key);
                let principal = key.principal();
                let read_traces = AnnouncedTraces::default();
                self.links.insert(link, ClientLink { principal, rights, epoch: None, read_traces });
                self.ungreeted.push_back((Instant::now() + GREETING_TIMEOUT, link));
                let hello = self.hello;
                // The first frame finds an empty queue; if the link is gone already, its end follows.
                let _ = transport.send_with(link, |out| hello.encode(out));
            }
            Event::Down { link, reason } => {
                tracing::debug!(%link, %reason, "a client's link down");
                self.forget(link);
            }
            // This side dials no clients.
            Event::DialFailed { .. } | Event::Woken => return,
        }
        self.show_due = true;
    }

    fn forget(&mut self, link: LinkId) {
        self.links.remove(&link);
        self.routes.link_down(link);
        self.reads.link_down(link);
    }

    /// Goes by the membership in force, and lets the clients know of it.
    fn follow(&mut self, transport: &mut Transport) {
        let membership = self.state.membership();
        if membership.epoch() == self.epoch {
            return;
        }
        self.epoch = membership.epoch();
        self.designation = Designation::new(self.me, &membership);
        transport.set_accept_keys(self.admission.keys(&membership));
        for (link, known) in &mut self.links {
            prove_memberships(&self.state, *link, known, transport);
        }
    }

    fn take_frame(&mut self, link: LinkId, frame: Bytes, transport: &mut Transport) -> Result<(), Cow<'static, str>> {
        // Frames that came before the link was closed here.
        let Some(known) = self.links.get_mut(&link) else { return Ok(()) };
        if known.epoch.is_none() {
            let hello = greeting::check(&self.hello, frame, Side::Client)?;
            known.epoch = Some(hello.epoch);
            prove_memberships(&self.state, link, known, transport);
            self.ungreeted.retain(|(_, ungreeted)| *ungreeted != link);
            return Ok(());
        }
        let message = ClientMessage::decode(known.principal, frame, self.payload_bytes_max).map_err(|error| {
            tracing::debug!(%link, %error, "a frame that is no message");
            "it sent a frame that is no message"
        })?;
        match message {
            ClientMessage::StatusQuery => {
                if !self.status_wanted.contains(&link) {
                    self.status_wanted.push(link);
                }
            }
            ClientMessage::Traces(traces) => {
                if let Some(known_traces) = &self.traces {
                    let (reads, requests): (Vec<_>, Vec<_>) =
                        traces.into_iter().partition(|trace| trace.session == RequestTrace::READ);
                    known.read_traces.announce(reads.into_iter());
                    known_traces.announce(known.principal, &requests);
                }
            }
            ClientMessage::Reads { full_replies, reads } => {
                if !known.rights.allow(Operation::Command) {
                    return Err("a replica has no queries, and sent one".into());
                }
                for read in reads {
                    self.take_read(link, read, full_replies);
                }
            }
            ClientMessage::Requests { full_replies, requests } => {
                if !requests.iter().all(|request| known.rights.allow(request.operation)) {
                    return Err(
                        "a replica may ask for checkpoints and changes of the membership, and sent a command".into()
                    );
                }
                self.counters.requests += requests.len() as u64;
                for request in requests {
                    self.take_request(link, request, full_replies);
                }
            }
        }
        Ok(())
    }

    fn take_request(&mut self, link: LinkId, request: Request, full_replies: bool) {
        self.routes.carry(link, &request, full_replies);
        let Some(result) = self.replies.get(request.client, request.sequence) else {
            self.burst.push(request);
            return;
        };
        let full_through = self.routes.of(request.client).map_or(0, |route| route.full_through);
        self.counters.replies_from_cache += 1;
        let outcome = self.designation.outcome(request.sequence, result.clone(), full_through);
        self.outbox.add(link, Reply { session: request.client.session, sequence: request.sequence, outcome });
    }

    fn take_read(&mut self, link: LinkId, read: Read, full_replies: bool) {
        let number = read.number;
        let taken = self.reads.take(link, read, full_replies);
        if let (Some(traces), Some(known)) = (&self.traces, self.links.get_mut(&link))
            && let (Some(context), Some(read)) = (known.read_traces.of_read(number), &taken)
        {
            traces.announce_read(read.ticket, context);
        }
        match taken {
            Some(read) => self.read_burst.push(read),
            None => self.answer_read(Asked { link, number, full_replies }, Epoch(0), Slot(0), Outcome::Busy),
        }
    }

    fn answer_read(&mut self, asked: Asked<LinkId>, epoch: Epoch, slot: Slot, outcome: Outcome) {
        self.counters.reads_refused += u64::from(outcome == Outcome::Busy);
        self.read_outbox.add(asked.link, ReadReply { number: asked.number, epoch, slot, outcome });
    }

    fn refuse_read(&mut self, ticket: u64) {
        if let Some(traces) = &self.traces {
            traces.take_read(ticket);
        }
        if let Some(asked) = self.reads.end(ticket) {
            self.answer_read(asked, Epoch(0), Slot(0), Outcome::Busy);
        }
    }

    fn take_result_of_read(&mut self, completion: Completion) {
        let (ticket, epoch, slot) = ticket_of(&completion);
        let Some(asked) = self.reads.end(ticket) else { return };
        let result = completion.reply;
        // It has to be ordered, or its result is an error that the order gives as well.
        let outcome = if result.is_empty() || result.len() > self.result_bytes_max {
            Outcome::Busy
        } else {
            self.designation.outcome(asked.number, result, if asked.full_replies { u64::MAX } else { 0 })
        };
        self.answer_read(asked, epoch, slot, outcome);
    }

    /// Hands the new requests to ordering. Those for which there is no room are refused.
    fn order(&mut self) {
        self.ordering.offer_reads(&mut self.read_burst);
        for read in std::mem::take(&mut self.read_burst) {
            self.refuse_read(read.ticket);
        }
        self.sample.requests(&self.burst);
        self.ordering.offer(&mut self.burst);
        self.counters.requests_refused += self.burst.len() as u64;
        for request in std::mem::take(&mut self.burst) {
            self.sample.refused(request.client, request.sequence);
            self.reply(request.client, request.sequence, Outcome::Busy);
        }
    }

    fn take_completions(&mut self, completions: &mut Vec<Completion>) {
        // Most results follow another one of the same session.
        let mut last = None;
        for completion in completions.drain(..) {
            if completion.kind == CommandKind::Read {
                self.take_result_of_read(completion);
                continue;
            }
            let Completion { slot, client, sequence, mut reply, .. } = completion;
            if reply.len() > self.result_bytes_max {
                tracing::warn!(%client, sequence, bytes = reply.len(), "a result is too large");
                reply = pssmr_execution::reply::handler_failed("ResultTooLarge");
            }
            let route = match last {
                Some((of, route)) if of == client => route,
                _ => self.routes.of(client),
            };
            last = Some((client, route));
            self.sample.result(client, sequence, &self.state.meters.request_ns);
            if let Some(Route { link, full_through }) = route {
                let outcome = self.designation.outcome(sequence, reply.clone(), full_through);
                self.outbox.add(link, Reply { session: client.session, sequence, outcome });
            }
            self.replies.insert(slot, client, sequence, reply);
        }
    }

    fn take_notice(&mut self, notice: Notice, transport: &mut Transport) {
        match notice {
            Notice::Leader { view, leader } => self.tell_leader(view, leader, transport),
            Notice::Reply { client, sequence, outcome } => self.reply(client, sequence, outcome),
            Notice::ReadRefused { ticket } => self.refuse_read(ticket),
            other => self.replies.take(other),
        }
    }

    /// Clients that ask the leader first need not find out by themselves that it is another one.
    fn tell_leader(&self, view: View, leader: ReplicaId, transport: &mut Transport) {
        if !self.designation.always {
            return;
        }
        let message = ReplicaMessage::Leader { epoch: view.epoch(), view: view.number(), leader };
        for (link, _) in self.links.iter().filter(|(_, known)| known.epoch.is_some()) {
            if let Err(error) = transport.send_with(*link, |out| message.encode(out)) {
                tracing::debug!(%link, %error, "a client was not told who leads");
            }
        }
    }

    /// The application's state after a slot is frozen: with the replies of that slot it can be written.
    fn take_snapshot(&mut self, taken: Taken) {
        let slot = taken.slot;
        if let (Some(frozen), Some(snapshots)) = (self.replies.taken(taken), &self.snapshots)
            && !snapshots.write(frozen)
        {
            tracing::warn!(%slot, "no checkpoint: those before it are still being written");
        }
    }

    fn reply(&mut self, client: ClientId, sequence: u64, outcome: Outcome) {
        let link = if client.session == 0 {
            let link = self.routes.of_opening(client.principal, sequence);
            if let Outcome::SessionOpened(session) = outcome {
                self.routes.opened(client.principal, sequence, session);
            }
            link
        } else {
            self.routes.of(client).map(|route| route.link)
        };
        if let Some(link) = link {
            self.outbox.add(link, Reply { session: client.session, sequence, outcome });
        }
    }

    fn answer_status(&mut self, transport: &mut Transport) {
        if self.status_wanted.is_empty() {
            return;
        }
        let json = serde_json::to_vec(&self.state.status(&self.executor, &self.ordering, &self.inbox))
            .expect("a status is a JSON object");
        let message = ReplicaMessage::Status(json.into());
        for link in self.status_wanted.drain(..) {
            if let Err(error) = transport.send_with(link, |out| message.encode(out)) {
                tracing::debug!(%link, %error, "status not sent");
            }
        }
    }

    fn close_ungreeted(&mut self, transport: &mut Transport) {
        if self.ungreeted.is_empty() {
            return;
        }
        let now = Instant::now();
        while let Some((end, link)) = self.ungreeted.front().copied()
            && end <= now
        {
            self.ungreeted.pop_front();
            transport.close(link, CloseReason::Violation("it sent no greeting".into()));
        }
    }

    fn show_sometimes(&mut self, transport: &Transport) {
        if !self.show_due {
            return;
        }
        let now = Instant::now();
        if now.duration_since(self.shown_at) < SHOW_INTERVAL {
            return;
        }
        let transported = transport.counters();
        self.counters.client_bytes_sent = transported.bytes_sent;
        self.counters.client_bytes_received = transported.bytes_received;
        let mut shown = self.state.clients.lock();
        shown.clients.links = self.links.len();
        shown.clients.last_error.clone_from(&self.last_error);
        shown.counters = self.counters;
        shown.transport = transported;
        (self.shown_at, self.show_due) = (now, false);
    }
}

/// Hands a client that has greeted the proofs of the memberships that it does not know.
fn prove_memberships(state: &State, link: LinkId, known: &mut ClientLink, transport: &mut Transport) {
    let Some(epoch) = known.epoch else { return };
    let handovers = state.handovers_since(epoch);
    known.epoch = handovers.last().map(|last| last.next.epoch()).or(known.epoch);
    for some in handovers.chunks(HANDOVERS_MAX) {
        let message = ReplicaMessage::Handovers(some.to_vec());
        if let Err(error) = transport.send_with(link, |out| message.encode(out)) {
            tracing::debug!(%link, %error, "the proof of a membership was not sent");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_replica_sends_a_long_result_whole_and_the_others_its_digest() {
        let long = Bytes::from(vec![1; DIGEST_BYTES + 1]);
        let of = |me, always, full_through| {
            Designation { place: me, replicas: 4, always }.outcome(6, long.clone(), full_through)
        };
        assert_eq!(of(2, false, 0), Outcome::Result(long.clone()));
        for other in [0, 1, 3] {
            assert_eq!(of(other, false, 5), Outcome::ResultDigest(result_digest(&long)));
            assert_eq!(of(other, false, 6), Outcome::Result(long.clone()));
            assert_eq!(of(other, true, 0), Outcome::Result(long.clone()));
        }
        let short = Bytes::from(vec![1; DIGEST_BYTES]);
        let designation = Designation { place: 0, replicas: 4, always: false };
        assert_eq!(designation.outcome(6, short.clone(), 0), Outcome::Result(short));
    }
}
