//! The client's thread: its links, and the loop that drives them.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pssmr_transport::{CloseReason, DownReason, Event, LinkId, Transport};
use pssmr_types::{Digest, Epoch, Handover, Hello, Membership, PROTOCOL_VERSION, ReplicaId, ReplicaMessage};

use crate::completion::CompletionSink;
use crate::inbox::{Shared, Submission};
use crate::links::Links;
use crate::requester::Requester;
use crate::status::ClientStatus;

/// How long the last frames may take to leave when the client is closed.
const LINGER: Duration = Duration::from_millis(100);

/// What both sides of a link must have in common, beside the cluster.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Greeting {
    /// `None` takes any.
    pub(crate) agreed_settings: Option<Digest>,
    pub(crate) result_bytes_max: usize,
}

/// What of a replica's status the client looks at.
#[derive(serde::Deserialize)]
struct Leadership {
    #[serde(default)]
    epoch: u64,
    /// The view's number in its epoch.
    view: u64,
    leader: u16,
}

/// Everything that the client's thread owns.
pub(crate) struct Driver {
    transport: Transport,
    requester: Requester,
    links: Links,
    /// A link came, went or has another state since the status was last published.
    links_changed: bool,
    greeting: Greeting,
    shared: Arc<Shared>,
    sink: Box<dyn CompletionSink>,
    frame: Vec<u8>,
}

impl Driver {
    pub(crate) fn new(
        transport: Transport,
        links: Links,
        requester: Requester,
        greeting: Greeting,
        shared: Arc<Shared>,
        sink: Box<dyn CompletionSink>,
    ) -> Self {
        Self { transport, requester, links, links_changed: true, greeting, shared, sink, frame: Vec::new() }
    }

    /// The thread's life.
    pub(crate) fn run(mut self) {
        let mut events = Vec::new();
        let mut submissions = Vec::new();
        while !self.shared.is_closed() {
            let timeout = self.requester.due().map(|due| due.saturating_duration_since(Instant::now()));
            if let Err(error) = self.transport.poll(timeout, &mut events) {
                tracing::error!(%error, "the client cannot poll its links: closing it");
                break;
            }
            let now = Instant::now();
            for event in events.drain(..) {
                self.take_event(event, now);
            }
            self.take_submissions(&mut submissions, now);
            self.requester.advance(now);
            self.send();
            // What is on its way to the replicas comes before what is on its way up.
            self.transport.flush();
            self.publish();
            self.deliver();
        }
        self.shared.close();
        self.take_submissions(&mut submissions, Instant::now());
        self.requester.close();
        self.publish();
        self.deliver();
        if let Err(error) = self.transport.shutdown(LINGER) {
            tracing::debug!(%error, "closing the client's links");
        }
    }

    fn take_event(&mut self, event: Event, now: Instant) {
        match event {
            Event::Woken => {}
            Event::Up { link, .. } => {
                let agreed_settings = self.greeting.agreed_settings.unwrap_or_default();
                let membership = self.requester.membership();
                let hello = Hello::new(membership.cluster(), agreed_settings, membership.epoch(), Digest::default());
                // The first frame on a link finds an empty queue; if the link is gone already, its end follows.
                let _ = self.transport.send_with(link, |out| hello.encode(out));
            }
            Event::Frame { link, frame } => {
                let Some((replica, known)) = self.links.find(link) else { return };
                let taken = if known.greeted {
                    self.take_frame(replica, frame, now).map_err(Cow::Borrowed)
                } else {
                    self.greet(link, frame, now)
                };
                if let Err(refusal) = taken {
                    tracing::warn!(%replica, reason = &*refusal, "closing the link to a replica");
                    self.transport.close(link, CloseReason::Violation(refusal.clone()));
                    self.lose(link, Some(refusal.into_owned()), now);
                }
            }
            Event::Down { link, reason } => {
                // Where this side closed the link, why is noted already.
                let closed_here = matches!(reason, DownReason::ClosedHere(_));
                self.lose(link, (!closed_here).then(|| reason.to_string()), now);
            }
            Event::DialFailed { link, reason } => {
                let Some((replica, link)) = self.links.find(link) else { return };
                self.requester.dial_failed(replica);
                let reason = reason.to_string();
                if link.last_error.as_ref() != Some(&reason) {
                    tracing::info!(%replica, reason, "cannot reach a replica");
                    link.last_error = Some(reason);
                    self.links_changed = true;
                }
            }
        }
    }

    /// A link is down. It may be that of a replica that has left meanwhile, or that a frame on it has just removed.
    fn lose(&mut self, link: LinkId, why: Option<String>, now: Instant) {
        let Some((replica, link)) = self.links.find(link) else { return };
        tracing::debug!(%replica, why, "link to a replica down");
        self.links_changed = true;
        if why.is_some() {
            link.last_error = why;
        }
        if std::mem::replace(&mut link.greeted, false) {
            self.requester.link_down(replica, now);
        }
    }

    /// Takes a link's first frame.
    fn greet(&mut self, link: LinkId, frame: Bytes, now: Instant) -> Result<(), Cow<'static, str>> {
        let hello = Hello::decode(frame).map_err(|_| "the replica's greeting cannot be read")?;
        if hello.version != PROTOCOL_VERSION {
            let (theirs, mine) = (hello.version, PROTOCOL_VERSION);
            let problem =
                format!("the replica speaks version {theirs} of the protocol, and this client version {mine}");
            return Err(problem.into());
        }
        if hello.cluster != self.requester.membership().cluster() {
            return Err("the replica belongs to another cluster".into());
        }
        if self.greeting.agreed_settings.is_some_and(|settings| settings != hello.agreed_settings) {
            return Err("the replica has other settings than this client knows".into());
        }
        let Some((replica, link)) = self.links.find(link) else { return Ok(()) };
        link.greeted = true;
        link.last_error = None;
        self.links_changed = true;
        self.requester.link_up(replica, now);
        Ok(())
    }

    fn take_frame(&mut self, replica: ReplicaId, frame: Bytes, now: Instant) -> Result<(), &'static str> {
        match ReplicaMessage::decode(frame, self.greeting.result_bytes_max) {
            Ok(ReplicaMessage::Replies(replies)) => self.requester.replies(replica, replies, now),
            Ok(ReplicaMessage::Status(json)) => {
                if let Ok(leadership) = serde_json::from_slice::<Leadership>(&json) {
                    let view = (Epoch(leadership.epoch), leadership.view);
                    self.requester.leader_hint(view, ReplicaId(leadership.leader), now);
                }
                self.requester.status(replica, &json);
            }
            Ok(ReplicaMessage::Leader { epoch, view, leader }) => {
                self.requester.leader_hint((epoch, view), leader, now);
            }
            Ok(ReplicaMessage::ReadReplies(replies)) => self.requester.read_replies(replica, replies),
            Ok(ReplicaMessage::Handovers(handovers)) => return self.take_handovers(handovers, now),
            Err(error) => {
                tracing::debug!(%replica, %error, "a frame that is no message");
                return Err("the replica sent a frame that is no message");
            }
        }
        Ok(())
    }

    /// Goes from membership to membership as far as the handovers prove it.
    fn take_handovers(&mut self, handovers: Vec<Handover>, now: Instant) -> Result<(), &'static str> {
        for handover in handovers {
            let membership = self.requester.membership();
            // Each replica tells of each change, so most are known already. One that is too far ahead can't be judged.
            if handover.next.epoch() != membership.epoch().next() {
                continue;
            }
            if !handover.ends(membership) {
                return Err("the replica sent a handover that proves nothing");
            }
            self.adopt(handover.next, now);
        }
        Ok(())
    }

    fn adopt(&mut self, membership: Membership, now: Instant) {
        tracing::info!(epoch = %membership.epoch(), replicas = membership.members().len(), "the membership has changed");
        let membership = Arc::new(membership);
        self.links.adopt(&mut self.transport, &membership);
        self.links_changed = true;
        self.requester.adopt(Arc::clone(&membership), now);
        *self.shared.membership.lock() = membership;
    }

    fn take_submissions(&mut self, submissions: &mut Vec<Submission>, now: Instant) {
        self.shared.take(submissions);
        for submission in submissions.drain(..) {
            self.requester.submit(submission, now);
        }
    }

    fn send(&mut self) {
        for outgoing in self.requester.outgoing.drain(..) {
            self.frame.clear();
            outgoing.message.encode(&mut self.frame);
            for replica in outgoing.to.iter() {
                // Who was to be sent something before it left gets nothing.
                let Some(link) = self.links.id_of(replica) else { continue };
                if let Err(error) = self.transport.send(link, &self.frame) {
                    // It counts as sent, and is sent again in its time.
                    tracing::debug!(%replica, %error, "not sent");
                }
            }
        }
    }

    fn deliver(&mut self) {
        let completions = &mut self.requester.completions;
        if completions.is_empty() {
            return;
        }
        self.shared.completed(completions.len(), std::mem::take(&mut self.requester.completed_bytes));
        self.sink.completed(completions);
        completions.clear();
    }

    fn publish(&mut self) {
        let requester = &self.requester;
        let mut status = self.shared.status.lock();
        status.session = requester.session();
        status.leader = requester.leader();
        status.in_flight = requester.in_flight();
        status.waiting = requester.waiting();
        if std::mem::take(&mut self.links_changed) {
            *status = ClientStatus { links: self.links.status(), ..*status };
        }
    }
}
