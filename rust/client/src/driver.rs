//! The client's thread: its links, and the loop that drives them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pssmr_transport::{CloseReason, Event, LinkId, Transport};
use pssmr_types::{ClusterId, Digest, Epoch, Hello, PROTOCOL_VERSION, ReplicaId, ReplicaMessage, View};

use crate::completion::CompletionSink;
use crate::inbox::{Shared, Submission};
use crate::requester::Requester;
use crate::status::{ClientStatus, LinkStatus};

/// How long the last frames may take to leave when the client is closed.
const LINGER: Duration = Duration::from_millis(100);

/// What both sides of a link must have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Greeting {
    pub(crate) cluster: ClusterId,
    /// `None` takes any.
    pub(crate) agreed_settings: Option<Digest>,
    pub(crate) result_bytes_max: usize,
}

struct Link {
    id: LinkId,
    /// Whether the replica's greeting has come.
    greeted: bool,
    last_error: Option<String>,
}

/// What of a replica's status the client looks at.
#[derive(serde::Deserialize)]
struct Leadership {
    view: u64,
    leader: u16,
}

/// Everything that the client's thread owns.
pub(crate) struct Driver {
    transport: Transport,
    requester: Requester,
    links: Vec<Link>,
    greeting: Greeting,
    shared: Arc<Shared>,
    sink: Box<dyn CompletionSink>,
    frame: Vec<u8>,
}

impl Driver {
    /// `links` are the dialed links by replica.
    pub(crate) fn new(
        transport: Transport,
        links: Vec<LinkId>,
        requester: Requester,
        greeting: Greeting,
        shared: Arc<Shared>,
        sink: Box<dyn CompletionSink>,
    ) -> Self {
        let links = links.into_iter().map(|id| Link { id, greeted: false, last_error: None }).collect();
        Self { transport, requester, links, greeting, shared, sink, frame: Vec::new() }
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
            let links_changed = !events.iter().all(|event| matches!(event, Event::Frame { .. } | Event::Woken));
            for event in events.drain(..) {
                self.take_event(event, now);
            }
            self.take_submissions(&mut submissions, now);
            self.requester.advance(now);
            self.send();
            // What is on its way to the replicas comes before what is on its way up.
            self.transport.flush();
            self.publish(links_changed);
            self.deliver();
        }
        self.shared.close();
        self.take_submissions(&mut submissions, Instant::now());
        self.requester.close();
        self.publish(true);
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
                let hello = Hello::new(self.greeting.cluster, agreed_settings, Epoch(0), Digest::default());
                // The first frame on a link finds an empty queue; if the link is gone already, its end follows.
                let _ = self.transport.send_with(link, |out| hello.encode(out));
            }
            Event::Frame { link, frame } => {
                let Some(replica) = self.replica_of(link) else { return };
                let greeted = self.links[replica.index()].greeted;
                let taken =
                    if greeted { self.take_frame(replica, frame, now) } else { self.greet(replica, frame, now) };
                if let Err(refusal) = taken {
                    tracing::warn!(%replica, reason = refusal, "closing the link to a replica");
                    self.links[replica.index()].last_error = Some(refusal.to_owned());
                    self.transport.close(link, CloseReason::Violation(refusal));
                    self.lose(replica, now);
                }
            }
            Event::Down { link, reason } => {
                let Some(replica) = self.replica_of(link) else { return };
                tracing::debug!(%replica, %reason, "link to a replica down");
                // Where this side closed the link, why is noted already.
                if !matches!(reason, pssmr_transport::DownReason::ClosedHere(_)) {
                    self.links[replica.index()].last_error = Some(reason.to_string());
                }
                self.lose(replica, now);
            }
            Event::DialFailed { link, reason } => {
                let Some(replica) = self.replica_of(link) else { return };
                let reason = reason.to_string();
                let last_error = &mut self.links[replica.index()].last_error;
                if last_error.as_ref() != Some(&reason) {
                    tracing::info!(%replica, reason, "cannot reach a replica");
                    *last_error = Some(reason);
                }
            }
        }
    }

    fn replica_of(&self, link: LinkId) -> Option<ReplicaId> {
        self.links.iter().position(|known| known.id == link).map(|index| ReplicaId(index as u16))
    }

    fn lose(&mut self, replica: ReplicaId, now: Instant) {
        if std::mem::replace(&mut self.links[replica.index()].greeted, false) {
            self.requester.link_down(replica, now);
        }
    }

    /// Takes a link's first frame.
    fn greet(&mut self, replica: ReplicaId, frame: Bytes, now: Instant) -> Result<(), &'static str> {
        let hello = Hello::decode(frame).map_err(|_| "the replica's greeting cannot be read")?;
        if hello.version != PROTOCOL_VERSION {
            return Err("the replica speaks another version of the protocol");
        }
        if hello.cluster != self.greeting.cluster {
            return Err("the replica belongs to another cluster");
        }
        if self.greeting.agreed_settings.is_some_and(|settings| settings != hello.agreed_settings) {
            return Err("the replica has other settings than this client knows");
        }
        let link = &mut self.links[replica.index()];
        link.greeted = true;
        link.last_error = None;
        self.requester.link_up(replica, now);
        Ok(())
    }

    fn take_frame(&mut self, replica: ReplicaId, frame: Bytes, now: Instant) -> Result<(), &'static str> {
        match ReplicaMessage::decode(frame, self.greeting.result_bytes_max) {
            Ok(ReplicaMessage::Replies(replies)) => self.requester.replies(replica, replies, now),
            Ok(ReplicaMessage::Status(json)) => {
                if let Ok(leadership) = serde_json::from_slice::<Leadership>(&json) {
                    self.requester.leader_hint(View(leadership.view), ReplicaId(leadership.leader));
                }
                self.requester.status(replica, &json);
            }
            Ok(ReplicaMessage::Handovers(_)) => {}
            Err(error) => {
                tracing::debug!(%replica, %error, "a frame that is no message");
                return Err("the replica sent a frame that is no message");
            }
        }
        Ok(())
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
                if let Err(error) = self.transport.send(self.links[replica.index()].id, &self.frame) {
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

    fn publish(&mut self, links_changed: bool) {
        let requester = &self.requester;
        let mut status = self.shared.status.lock();
        status.session = requester.session();
        status.leader = requester.leader();
        status.in_flight = requester.in_flight();
        status.waiting = requester.waiting();
        if links_changed || status.links.iter().filter(|link| link.up).count() != requester.up().len() {
            let link = |link: &Link| LinkStatus { up: link.greeted, last_error: link.last_error.clone() };
            let links = self.links.iter().map(link).collect();
            *status = ClientStatus { links, ..*status };
        }
    }
}
