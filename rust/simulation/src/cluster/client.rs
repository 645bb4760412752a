//! Clients: sessions, pipelined commands, retries with identical bytes, and k equal replies.

use std::collections::BTreeMap;

use pssmr_types::{ClientId, Digest, Operation, Outcome, Principal, ReplicaId, Reply, Request};

use super::profile::Habits;
use crate::random::Random;

/// A request that waits for k equal replies.
#[derive(Debug)]
struct Waiting {
    request: Request,
    answers: BTreeMap<ReplicaId, Digest>,
    sent_at: u64,
    /// The highest position of a command that had completed, anywhere, when this one was first sent.
    after: u64,
}

/// What k replicas say of a request.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) client: ClientId,
    pub(super) sequence: u64,
    pub(super) outcome: Outcome,
    pub(super) after: u64,
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) habits: Habits,
    principal: Principal,
    /// k.
    weak: usize,
    /// 0 if it has none.
    session: u64,
    waiting: BTreeMap<u64, Waiting>,
    opening: Option<Waiting>,
    next_sequence: u64,
    left: u64,
    /// What it sent, if it is faulty.
    past: Vec<Request>,
    random: Random,
}

impl Client {
    pub(super) fn new(number: usize, habits: Habits, weak: usize, mut random: Random) -> Self {
        Self {
            principal: Self::principal(number),
            habits,
            weak,
            session: 0,
            waiting: BTreeMap::new(),
            opening: None,
            next_sequence: 1,
            left: habits.commands,
            past: Vec::new(),
            random: random.fork(),
        }
    }

    /// The principal of the client with this number.
    pub(super) fn principal(number: usize) -> Principal {
        Principal(1000 + number as u64)
    }

    /// The number of the client with this principal, if there is one.
    pub(super) fn number(principal: Principal) -> Option<usize> {
        usize::try_from(principal.0.checked_sub(1000)?).ok()
    }

    /// Whether all that it is owed was done.
    pub(super) fn is_done(&self) -> bool {
        self.left == 0 && (self.habits.faulty.is_some() || self.waiting.is_empty() && self.opening.is_none())
    }

    /// It will send nothing new.
    pub(super) fn has_no_more(&self) -> bool {
        self.left == 0
    }

    /// It has little left to send: what is to come to an end must not go on for ever.
    pub(super) fn hurry(&mut self) {
        self.left = self.left.min(3);
    }

    /// It has one command more to send.
    pub(super) fn go_on(&mut self) {
        self.left += 1;
    }

    /// What it has to send that is new, mostly one request. For each of a faulty client's requests there may be others of
    /// the same number.
    pub(super) fn work(&mut self, now: u64, after: u64) -> Vec<Vec<Request>> {
        if self.left == 0 {
            return Vec::new();
        }
        if self.session == 0 {
            if self.opening.is_some() {
                return Vec::new();
            }
            let client = ClientId { principal: self.principal, session: 0 };
            let request = Request::new(client, self.random.any(), 0, Operation::OpenSession, b"");
            self.opening = Some(Waiting { request: request.clone(), answers: BTreeMap::new(), sent_at: now, after });
            return vec![vec![request]];
        }
        if self.waiting.len() >= self.habits.pipeline {
            return Vec::new();
        }
        let client = ClientId { principal: self.principal, session: self.session };
        let sequence = self.next_sequence;
        let acknowledged = self.waiting.keys().next().copied().unwrap_or(sequence);
        self.next_sequence += 1;
        self.left -= 1;
        if let Some(mischief) = self.habits.faulty {
            self.next_sequence += mischief.flood - 1;
            let alternatives = if mischief.equivocates { 2 } else { 1 };
            let many: Vec<Vec<Request>> = (sequence..sequence + mischief.flood)
                .map(|sequence| (0..alternatives).map(|_| self.command(client, sequence, acknowledged)).collect())
                .collect();
            self.past.extend(many.iter().filter_map(|alternatives| alternatives.first().cloned()).take(8));
            return many;
        }
        let request = self.command(client, sequence, acknowledged);
        let waiting = Waiting { request: request.clone(), answers: BTreeMap::new(), sent_at: now, after };
        self.waiting.insert(sequence, waiting);
        vec![vec![request]]
    }

    /// A request of another kind, if there is room for one.
    pub(super) fn ask(&mut self, now: u64, after: u64, operation: Operation, payload: &[u8]) -> Option<Request> {
        if self.session == 0 || self.waiting.len() >= self.habits.pipeline {
            return None;
        }
        let client = ClientId { principal: self.principal, session: self.session };
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let acknowledged = self.waiting.keys().next().copied().unwrap_or(sequence);
        let request = Request::new(client, sequence, acknowledged, operation, payload);
        let waiting = Waiting { request: request.clone(), answers: BTreeMap::new(), sent_at: now, after };
        self.waiting.insert(sequence, waiting);
        Some(request)
    }

    /// Something that it sent before, if it is given to that and feels like it.
    pub(super) fn old(&mut self) -> Option<Request> {
        let replays = self.habits.faulty?.replays;
        if self.past.is_empty() || !self.random.parts_per_million(replays) {
            return None;
        }
        Some(self.random.pick(&self.past).clone())
    }

    fn command(&mut self, client: ClientId, sequence: u64, acknowledged: u64) -> Request {
        if self.random.chance(1, 20) {
            let operation = *self.random.pick(&[Operation::StateDigest, Operation::Checkpoint]);
            return Request::new(client, sequence, acknowledged, operation, b"");
        }
        let mut payload = vec![0; self.habits.payload];
        for byte in payload.iter_mut().take(16) {
            *byte = self.random.any() as u8;
        }
        Request::new(client, sequence, acknowledged, Operation::Command, &payload)
    }

    /// What has waited so long that it has to be sent again.
    pub(super) fn overdue(&mut self, now: u64) -> Vec<Request> {
        let retry = self.habits.retry;
        let mut again = Vec::new();
        for waiting in self.waiting.values_mut().chain(&mut self.opening) {
            if now >= waiting.sent_at + retry {
                waiting.sent_at = now;
                again.push(waiting.request.clone());
            }
        }
        again
    }

    /// A replica's reply; what k of them say now, if that is news.
    pub(super) fn on_reply(&mut self, from: ReplicaId, reply: &Reply) -> Option<Answer> {
        if reply.outcome == Outcome::Busy {
            return None;
        }
        let waiting = if reply.session == 0 {
            self.opening.as_mut().filter(|opening| opening.request.sequence == reply.sequence)?
        } else if reply.session == self.session {
            self.waiting.get_mut(&reply.sequence)?
        } else {
            return None;
        };
        let digest = reply.outcome.digest();
        waiting.answers.insert(from, digest);
        if waiting.answers.values().filter(|answer| **answer == digest).count() < self.weak {
            return None;
        }
        let answer = Answer {
            client: waiting.request.client,
            sequence: reply.sequence,
            outcome: reply.outcome.clone(),
            after: waiting.after,
        };
        match &reply.outcome {
            Outcome::SessionOpened(session) => {
                self.opening = None;
                self.session = *session;
                self.next_sequence = 1;
            }
            // Whether what waits was executed can't be known any more: the client gives it up.
            Outcome::SessionExpired => {
                self.session = 0;
                self.waiting.clear();
            }
            _ => {
                self.waiting.remove(&reply.sequence);
            }
        }
        Some(answer)
    }

    /// What it still waits for, as text.
    pub(super) fn show(&self) -> String {
        let waiting: Vec<String> = self
            .waiting
            .values()
            .chain(&self.opening)
            .map(|waiting| format!("{} ({} answers)", waiting.request.sequence, waiting.answers.len()))
            .collect();
        format!("{} session {}: {} to send, waits for {waiting:?}", self.principal, self.session, self.left)
    }
}
