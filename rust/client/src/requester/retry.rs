//! What happens in time: requests are sent again, and given up.

use std::time::{Duration, Instant};

use pssmr_types::{ClientMessage, ReplicaId};

use super::{Attempts, InFlight, Requester, Session, TIMER_GRAIN};
use crate::completion::{Completion, Response};
use crate::error::RequestError;
use crate::replica_set::ReplicaSet;

impl Attempts {
    /// The request is sent to `to` for the first time.
    pub(super) fn first(to: ReplicaSet, retry_at: Instant) -> Self {
        Self { sent: to, unrefused: to, retry_at: Some(retry_at), ..Self::default() }
    }

    /// The request is sent to `to` once more.
    pub(super) fn again(&mut self, to: ReplicaSet) {
        self.unsure = self.unsure.union(self.unrefused.intersection(to));
        self.sent = self.sent.union(to);
        self.unrefused = self.unrefused.union(to);
    }

    /// What `replica` was sent may be lost. True if no other has the request: it is to be sent again at once.
    pub(super) fn lose(&mut self, replica: ReplicaId, now: Instant) -> bool {
        let had = self.sent.contains(replica);
        self.sent.remove(replica);
        let orphaned = had && self.sent.is_empty();
        if orphaned {
            self.retry_at = Some(now);
        }
        orphaned
    }

    /// These replicas have left the membership. What no other has is sent again at once.
    pub(super) fn forget(&mut self, gone: ReplicaSet, now: Instant) {
        // They may have passed it on before: no refusal of others says that it is not executed.
        self.may_be_passed_on |= !self.unrefused.union(self.unsure).intersection(gone).is_empty();
        self.unrefused = self.unrefused.without(gone);
        self.unsure = self.unsure.without(gone);
        for replica in gone.iter() {
            self.lose(replica, now);
        }
    }

    /// Whether any replica may have the request.
    fn may_be_executed(&self) -> bool {
        self.may_be_passed_on || !self.unrefused.union(self.unsure).is_empty()
    }

    /// Whether the request is to be sent again now. If so, the next time is set.
    fn is_due(&mut self, now: Instant, interval: Duration, interval_max: Duration) -> bool {
        if self.retry_at.is_none_or(|at| at > now + TIMER_GRAIN) {
            return false;
        }
        self.retries += 1;
        self.retry_at = Some(now + interval.saturating_mul(1 << self.retries.min(16)).min(interval_max));
        true
    }
}

impl InFlight {
    /// How the request ends at its deadline.
    fn end(&mut self) -> Result<Response, RequestError> {
        match &mut self.digests {
            Some(digests) if !digests.is_empty() => Ok(Response::StateDigests(std::mem::take(digests))),
            _ if self.attempts.may_be_executed() => Err(RequestError::OutcomeUnknown),
            _ => Err(RequestError::Busy),
        }
    }
}

impl Requester {
    /// Sends to `replica`, whose link has come up, what it should have had.
    pub(super) fn resend_to(&mut self, replica: ReplicaId, now: Instant) {
        let to = ReplicaSet::only(replica);
        let everyone = !self.follows_leader();
        // Where one replica is asked first, another one gets only what nobody has.
        let missing = |attempts: &Attempts, collects: bool| everyone || collects || attempts.sent.is_empty();
        let mut requests = Vec::new();
        if let Session::Opening(opening) = &mut self.session
            && missing(&opening.attempts, false)
        {
            opening.attempts.again(to);
            requests.push(opening.request.clone());
        }
        for (_, entry) in self.window.iter_mut() {
            if missing(&entry.attempts, entry.digests.is_some()) {
                entry.attempts.again(to);
                requests.push(entry.request.clone());
            }
        }
        self.send_requests(to, requests, true);
        self.wake_at(now + self.retry_interval);
    }

    /// Sends to the new leader what it should have had: the one before may not have passed it on.
    pub(super) fn follow(&mut self, leader: ReplicaId, now: Instant) {
        let to = ReplicaSet::only(leader);
        let mut requests = Vec::new();
        if let Session::Opening(opening) = &mut self.session
            && !opening.attempts.sent.contains(leader)
        {
            opening.attempts.again(to);
            requests.push(opening.request.clone());
        }
        for (_, entry) in self.window.iter_mut().filter(|(_, entry)| !entry.attempts.sent.contains(leader)) {
            entry.attempts.again(to);
            requests.push(entry.request.clone());
        }
        self.send_requests(to, requests, true);
        self.wake_at(now + self.retry_interval);
    }

    /// Ends what is out of time, and sends again what has waited long enough, to all.
    pub(super) fn take_due(&mut self, now: Instant) {
        self.look_after_late_reads(now);
        self.end_overdue(now);
        let (up, interval, interval_max) = (self.up, self.retry_interval, self.retry_interval_max);
        let mut again = Vec::new();
        let mut next: Option<Instant> = None;
        let mut soonest = |at: Instant| next = Some(next.map_or(at, |next| next.min(at)));
        if let Session::Opening(opening) = &mut self.session {
            if opening.attempts.is_due(now, interval, interval_max) && !up.is_empty() {
                opening.attempts.again(up);
                again.push(opening.request.clone());
            }
            opening.attempts.retry_at.into_iter().for_each(&mut soonest);
        }
        for (_, entry) in self.window.iter_mut() {
            if entry.attempts.is_due(now, interval, interval_max) && !up.is_empty() {
                entry.attempts.again(up);
                again.push(entry.request.clone());
            }
            soonest(entry.deadline);
            entry.attempts.retry_at.into_iter().for_each(&mut soonest);
        }
        self.waiting.iter().for_each(|waiting| soonest(waiting.deadline));
        self.status_queries.iter().flatten().for_each(|query| soonest(query.deadline));
        self.reads.due().into_iter().for_each(&mut soonest);
        self.due = next;
        if again.is_empty() {
            return;
        }
        tracing::debug!(requests = again.len(), "sending requests again");
        if self.follows_leader() {
            self.send(up, ClientMessage::StatusQuery);
        }
        self.send_requests(up, again, true);
    }

    /// The error of what could not be sent.
    pub(super) fn no_quorum(&self) -> RequestError {
        RequestError::NoQuorum { reachable: self.up.len(), needed: self.membership.quorums().weak() }
    }

    fn end_overdue(&mut self, now: Instant) {
        let overdue = |deadline: Instant| deadline <= now;
        let unreachable = self.no_quorum();
        let (completions, completed_bytes) = (&mut self.completions, &mut self.completed_bytes);
        self.waiting.retain(|waiting| {
            if overdue(waiting.deadline) {
                *completed_bytes += waiting.payload.len();
                completions.push(Completion { token: waiting.token, result: Err(unreachable) });
            }
            !overdue(waiting.deadline)
        });
        for queries in &mut self.status_queries {
            for query in queries.extract_if(.., |query| overdue(query.deadline)) {
                self.completions.push(Completion { token: query.token, result: Err(unreachable) });
            }
        }
        let ended: Vec<_> = self
            .window
            .iter_mut()
            .filter(|(_, entry)| overdue(entry.deadline))
            .map(|(sequence, entry)| (sequence, entry.end()))
            .collect();
        for (sequence, result) in ended {
            self.complete(sequence, result);
        }
    }
}
