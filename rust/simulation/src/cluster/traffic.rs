//! What clients send, and what they are told.

use bytes::Bytes;
use pssmr_ordering::Input;
use pssmr_types::{ClientId, Outcome, ReplicaId, Reply, Request};

use super::client::Client;
use super::counters::Sometimes;
use super::profile::MILLISECOND;
use super::queue::Event;
use super::world::World;

impl World {
    pub(super) fn on_request(&mut self, host: usize, request: Request) {
        if self.hosts[host].is_crashed() {
            return;
        }
        if let Some(reply) = self.hosts[host].remembered(request.client, request.sequence) {
            self.counters.count(Sometimes::ReplyFromCache);
            self.reply(host, request.client, reply);
        } else {
            self.give(host, Input::Request(request));
        }
    }

    pub(super) fn reply(&mut self, host: usize, client: ClientId, mut reply: Reply) {
        let from = self.hosts[host].id;
        let adversary = self.adversaries.iter().find(|adversary| adversary.id == from);
        if adversary.is_some_and(|adversary| adversary.character.lies) && self.random.chance(1, 2) {
            self.counters.count(Sometimes::LiedToClient);
            reply.outcome = match self.random.below(4) {
                0 => Outcome::Result(Bytes::from_static(b"a lie")),
                1 => Outcome::SessionExpired,
                2 => Outcome::SessionOpened(77),
                _ => Outcome::OutsideWindow,
            };
        }
        let Some(client) = Client::number(client.principal).filter(|number| *number < self.clients.len()) else {
            return;
        };
        if let Some(at) = self.network.send_to_or_from_client(self.now, &mut self.counters) {
            self.queue.schedule(at, Event::Reply { client, from, reply });
        }
    }

    pub(super) fn on_reply(&mut self, client: usize, from: ReplicaId, reply: &Reply) {
        let Some(answer) = self.clients[client].on_reply(from, reply) else { return };
        self.note(|| "answer", |_| format!("client {client} {} {:?}", answer.sequence, answer.outcome));
        self.checker.on_answer(&answer, self.clients[client].habits.faulty.is_some());
        match answer.outcome {
            Outcome::SessionOpened(_) => self.counters.count(Sometimes::SessionOpened),
            Outcome::SessionExpired => self.counters.count(Sometimes::SessionExpired),
            _ => self.counters.count(Sometimes::RequestCompleted),
        }
    }

    pub(super) fn on_client_work(&mut self, client: usize) {
        let sender = &mut self.clients[client];
        if self.draw.watch.is_some_and(|watch| self.now > watch.to) {
            sender.hurry();
        }
        let requests = sender.work(self.now, self.checker.completed);
        let gap = if self.healed && self.draw.watch.is_none() {
            sender.habits.gap.min(20 * MILLISECOND)
        } else {
            sender.habits.gap
        };
        if !sender.has_no_more() {
            let gap = gap / 2 + self.random.below(gap + MILLISECOND);
            self.queue.schedule(self.now + gap, Event::ClientWork { client });
        }
        let leaves_out = self.clients[client].habits.faulty.map_or(0, |mischief| mischief.leaves_out);
        if requests.len() > 3 {
            self.counters.count(Sometimes::ClientFlooded);
        }
        for alternatives in &requests {
            if alternatives.len() > 1 {
                self.counters.count(Sometimes::ClientEquivocated);
            }
            for request in alternatives {
                self.note(
                    || "client",
                    |_| format!("{client} sends {} of session {}", request.sequence, request.client.session),
                );
                self.checker.on_sent(request);
            }
            self.send_requests(alternatives, false, leaves_out);
        }
        if let Some(old) = self.clients[client].old() {
            self.note(|| "client", |_| format!("{client} sends {} once more", old.sequence));
            self.counters.count(Sometimes::ClientReplayed);
            self.send_requests(&[old], true, leaves_out);
        }
    }

    pub(super) fn on_client_timer(&mut self, client: usize) {
        let again = self.clients[client].overdue(self.now);
        for request in &again {
            self.note(|| "client", |_| format!("{client} sends {} again", request.sequence));
            self.counters.count(Sometimes::RequestRetried);
            self.send_requests(std::slice::from_ref(request), true, 0);
        }
        let retry = self.clients[client].habits.retry;
        if !self.clients[client].is_done() {
            self.queue.schedule(self.now + retry / 2, Event::ClientTimer { client });
        }
    }

    /// A client sends a request to all replicas; where crashes are all that can happen, to one of them, and to all if
    /// that does not help. Of several requests, each replica gets one.
    pub(super) fn send_requests(&mut self, requests: &[Request], again: bool, leaves_out: u64) {
        if requests.is_empty() {
            return;
        }
        let one = if self.profile.quorums().must_authenticate_requests() || again {
            None
        } else {
            Some(self.random.pick(&self.newest.replicas().collect::<Vec<_>>()).index())
        };
        for host in 0..self.hosts.len() {
            let id = self.hosts[host].id.index();
            if one.is_some_and(|one| one != id) {
                continue;
            }
            if leaves_out >> id & 1 == 1 {
                self.counters.count(Sometimes::LeftOut);
                continue;
            }
            let request = self.random.pick(requests).clone();
            if let Some(at) = self.network.send_to_or_from_client(self.now, &mut self.counters) {
                self.queue.schedule(at, Event::Request { host, request });
            }
        }
    }
}
