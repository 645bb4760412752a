//! Opening a session: the one request outside of any session.

use std::time::Instant;

use pssmr_types::{ClientId, Operation, Outcome, ReplicaId, Reply, Request};

use super::{Attempts, Requester, session_client};
use crate::tally::{Tally, Verdict};

/// Where the client stands with its session.
#[derive(Debug)]
pub(super) enum Session {
    /// There is none, and none was asked for.
    Closed,
    /// One was asked for.
    Opening(Box<Opening>),
    /// There is one.
    Open(ClientId),
}

#[derive(Debug)]
pub(super) struct Opening {
    pub(super) request: Request,
    pub(super) attempts: Attempts,
    pub(super) tally: Tally,
}

impl Requester {
    /// Asks for a session, if there is none and somebody to ask.
    pub(super) fn open_session(&mut self, now: Instant) {
        if !matches!(self.session, Session::Closed) || self.up.is_empty() {
            return;
        }
        let client = session_client(self.principal, 0);
        let request = Request::new(client, (self.nonces)(), 0, Operation::OpenSession, b"");
        let (to, retry_at) = (self.first_targets(), now + self.retry_interval);
        self.send_requests(to, vec![request.clone()], false);
        let attempts = Attempts::first(to, retry_at);
        self.session = Session::Opening(Box::new(Opening { request, attempts, tally: Tally::default() }));
        self.wake_at(retry_at);
    }

    pub(super) fn opening_reply(&mut self, replica: ReplicaId, reply: Reply, now: Instant) {
        let Session::Opening(opening) = &mut self.session else { return };
        if reply.sequence != opening.request.sequence || !matches!(reply.outcome, Outcome::SessionOpened(_)) {
            return;
        }
        let verdict = opening.tally.vote(replica, reply.outcome, self.membership.quorums().weak(), 0);
        self.judge_opening(&verdict, now);
    }

    pub(super) fn judge_opening(&mut self, verdict: &Verdict, now: Instant) {
        if let Verdict::Believed(Outcome::SessionOpened(session)) = verdict {
            tracing::debug!(session, "session open");
            self.session = Session::Open(session_client(self.principal, *session));
            self.admit(now);
        }
    }
}
