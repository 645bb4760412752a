//! What must hold in every run, whatever the faults.

use std::collections::HashMap;

use bytes::Bytes;
use pssmr_ordering::Delivery;
use pssmr_types::{ClientId, Operation, Outcome, Principal, Request, Slot};

use super::client::Answer;
use super::service::Service;

/// Compares what correct replicas deliver and what clients see with one agreed history.
#[derive(Debug)]
pub(super) struct Checker {
    /// What was delivered, by slot: the first correct replica to deliver a slot writes it down.
    history: Vec<Delivery>,
    /// By host, the last slot delivered.
    delivered: Vec<Slot>,
    /// What the history gives.
    service: Service,
    results: HashMap<(ClientId, u64), (Bytes, u64)>,
    position: u64,
    /// By key, the values that it has had, each with the position of the command that wrote it.
    values: HashMap<u8, Vec<(u64, u64)>>,
    /// What clients really sent. A faulty client may send several requests of one number.
    sent: HashMap<(ClientId, u64), Vec<Request>>,
    sessions: HashMap<u64, Principal>,
    /// Sessions may be evicted in this run.
    sessions_are_few: bool,
    /// The highest position of a command whose client knows its result.
    pub(super) completed: u64,
    failure: Option<String>,
}

impl Checker {
    pub(super) fn new(hosts: usize, sessions_are_few: bool) -> Self {
        Self {
            history: Vec::new(),
            delivered: vec![Slot(0); hosts],
            service: Service::default(),
            results: HashMap::new(),
            position: 0,
            values: HashMap::new(),
            sent: HashMap::new(),
            sessions: HashMap::new(),
            sessions_are_few,
            completed: 0,
            failure: None,
        }
    }

    /// Something that must not happen has happened.
    pub(super) fn fail(&mut self, what: String) {
        self.failure.get_or_insert(what);
    }

    /// What happened first of all that must not.
    pub(super) fn failure(&mut self) -> Option<String> {
        self.failure.take()
    }

    /// Slots that some correct replica has delivered.
    pub(super) fn slots(&self) -> usize {
        self.history.len()
    }

    /// What the application's state must be when all of it is executed.
    pub(super) fn service(&self) -> &Service {
        &self.service
    }

    /// A client sends this for the first time.
    pub(super) fn on_sent(&mut self, request: &Request) {
        self.sent.entry((request.client, request.sequence)).or_default().push(request.clone());
    }

    /// A replica comes back.
    pub(super) fn on_restarted(&mut self, host: usize) {
        self.delivered[host] = Slot(0);
    }

    /// It has replayed its log up to this slot, the same as was delivered before.
    pub(super) fn on_recovered(&mut self, host: usize, decided: Slot) {
        self.delivered[host] = decided;
    }

    /// A replica goes on from a snapshot of this slot: what the snapshot holds shows in what follows.
    pub(super) fn on_installed(&mut self, host: usize, slot: Slot) {
        self.delivered[host] = slot;
    }

    /// A correct replica delivers a slot. `latest` is the highest timestamp that a correct replica could let pass.
    pub(super) fn on_delivered(&mut self, host: usize, delivery: &Delivery, latest: u64) {
        let slot = delivery.slot;
        if slot != self.delivered[host].next() {
            return self.fail(format!("host {host} delivers {slot} after {}", self.delivered[host]));
        }
        self.delivered[host] = slot;
        if let Some(agreed) = self.history.get(slot.0 as usize - 1) {
            if agreed != delivery {
                let text = format!("disagreement at {slot}: host {host} delivers {delivery:?}, agreed is {agreed:?}");
                self.fail(text);
            }
            return;
        }
        let before = self.history.last().map_or(0, |before| before.timestamp);
        if delivery.timestamp < before || delivery.timestamp > latest {
            self.fail(format!("the timestamp of {slot} is {}, not {before} to {latest}", delivery.timestamp));
        }
        for command in &delivery.commands {
            let key = (command.client, command.sequence);
            let genuine = self.sent.get(&key).is_some_and(|requests| {
                requests.iter().any(|request| {
                    // What a change of the membership delivers is its result.
                    (request.payload() == command.payload || request.operation == Operation::Reconfigure)
                        && request.operation == command.operation
                        && request.acknowledged == command.acknowledged
                })
            });
            if !genuine {
                self.fail(format!("{slot} has a command that {} did not send: {command:?}", command.client));
            }
            if self.sessions.get(&command.client.session) != Some(&command.client.principal) {
                self.fail(format!("{slot} has a command of {}, which was not opened", command.client));
            }
            if command.position <= self.position {
                self.fail(format!("position {} comes after {}", command.position, self.position));
            }
            self.position = command.position;
            let result = self.service.execute(delivery, command);
            if let Some(key) = Service::key_of(command) {
                self.values.entry(key).or_default().push((command.position, self.service.value(key)));
            }
            if self.results.insert(key, (result, command.position)).is_some() {
                self.fail(format!("{slot} executes {} {} again", command.client, command.sequence));
            }
        }
        self.history.push(delivery.clone());
    }

    /// A correct replica says that a session was opened.
    pub(super) fn on_session_opened(&mut self, session: u64, principal: Principal) {
        if *self.sessions.entry(session).or_insert(principal) != principal {
            self.fail(format!("session {session} is that of two clients"));
        }
    }

    /// A change of the membership that would not be made is refused at once.
    fn is_reconfiguration(&self, key: &(ClientId, u64)) -> bool {
        let mut sent = self.sent.get(key).into_iter().flatten();
        sent.any(|request| request.operation == Operation::Reconfigure)
    }

    /// A client has read this value, having sent its query when `after` was the highest position that had completed.
    pub(super) fn on_read(&mut self, key: u8, value: u64, after: u64) {
        let values = self.values.get(&key).map_or(&[][..], Vec::as_slice);
        let written = if value == 0 { Some(None) } else { values.iter().position(|(_, v)| *v == value).map(Some) };
        let Some(place) = written else {
            return self.fail(format!("a query of key {key} was told {value:016x}, which nothing has written"));
        };
        let next = place.map_or(0, |place| place + 1);
        if let Some((overwritten, _)) = values.get(next).filter(|(position, _)| *position <= after) {
            return self.fail(format!(
                "a query of key {key} was told {value:016x}, which was overwritten at {overwritten}, though {after} had \
                 completed before it was sent"
            ));
        }
        // Whoever asks later must see no less.
        self.completed = self.completed.max(place.map_or(0, |place| values[place].0));
    }

    /// A client has k equal replies.
    pub(super) fn on_answer(&mut self, answer: &Answer, is_faulty: bool) {
        let key = (answer.client, answer.sequence);
        match &answer.outcome {
            Outcome::Result(result) => match self.results.get(&key).cloned() {
                Some((expected, position)) if expected == *result => {
                    if position <= answer.after {
                        let text = format!(
                            "{key:?} took effect at {position}, though {} had completed before it was sent",
                            answer.after
                        );
                        self.fail(text);
                    }
                    self.completed = self.completed.max(position);
                }
                None if !result.is_empty() && self.is_reconfiguration(&key) => {}
                expected => {
                    let text = format!("{key:?} was told {result:?}, the agreed history gives {expected:?}");
                    self.fail(text);
                }
            },
            Outcome::SessionOpened(session) if self.sessions.get(session) == Some(&answer.client.principal) => {}
            Outcome::SessionExpired if self.sessions_are_few => {}
            other if !is_faulty => self.fail(format!("{key:?} of a correct client ends with {other:?}")),
            _ => {}
        }
    }
}
