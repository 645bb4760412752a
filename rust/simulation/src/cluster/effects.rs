//! What cores want done, and what comes of it at other hosts.

use bytes::Bytes;
use pssmr_ordering::{Effect, Event as Reported, Input};
use pssmr_recording::describe;
use pssmr_types::{Epoch, Outcome, PeerMessage, ReplicaId, Reply, View};

use super::counters::Sometimes;
use super::host::{Host, Work};
use super::queue::Event;
use super::world::World;

impl World {
    pub(super) fn perform(&mut self, host: usize, effect: Effect) {
        let (id, is_correct) = (self.hosts[host].id, self.hosts[host].is_correct());
        match effect {
            Effect::Promise(promise) => {
                if self.hosts[host].disk.promise(promise) {
                    let delay = self.random.below(self.draw.machines[id.index()].disk_delay_max + 1);
                    let incarnation = self.hosts[host].incarnation;
                    self.queue.schedule(self.now + delay, Event::Promised { host, incarnation });
                }
            }
            Effect::Persist(record) => {
                if self.hosts[host].disk.append(&record) {
                    self.write_to_disk(host);
                }
            }
            Effect::Send { to, message } => self.transmit(host, Some(to), &message),
            Effect::Broadcast(message) => self.transmit(host, None, &message),
            Effect::Deliver(delivery) => {
                self.note(|| "decides", |_| format!("{id} {}", describe::delivery(&delivery)));
                if is_correct {
                    let skew_max = self.draw.config.clock_skew_max.as_nanos() as u64;
                    let latest = Host::wall_ahead(self.now, skew_max + skew_max / 2);
                    let known = self.checker.slots();
                    self.checker.on_delivered(host, &delivery, latest);
                    if self.checker.slots() > known {
                        self.counters.count(Sometimes::SlotDecided);
                        if delivery.commands.is_empty() {
                            self.counters.count(Sometimes::EmptySlotDecided);
                        }
                    }
                }
                self.hosts[host].work.push_back(Work::Slot(delivery));
            }
            Effect::Reply { client, sequence, outcome } => {
                match &outcome {
                    Outcome::SessionOpened(session) if is_correct => {
                        self.checker.on_session_opened(*session, client.principal);
                    }
                    Outcome::Busy => self.counters.count(Sometimes::Busy),
                    _ => {}
                }
                self.reply(host, client, Reply { session: client.session, sequence, outcome });
            }
            Effect::SessionEvicted(client) => self.hosts[host].work.push_back(Work::Evict(client)),
            Effect::Checkpoint { snapshot, .. } => self.hosts[host].work.push_back(Work::Checkpoint(snapshot)),
            Effect::Stable(certificate) => self.hosts[host].disk.stable(certificate),
            Effect::Transfer(certificate) => self.transfer(host, certificate.checkpoint),
            Effect::Install(slot) => match self.hosts[host].install(slot) {
                Ok(_) => self.checker.on_installed(host, slot),
                Err(error) => self.checker.fail(format!("{id} can't install: {error}")),
            },
            Effect::Reconfigured(membership) => self.on_reconfigured(host, *membership),
            Effect::SteppedDown(answer) => {
                if is_correct && answer.is_ok() {
                    self.counters.count(Sometimes::SteppedDown);
                }
            }
            Effect::Event(event) => self.on_reported(host, &event),
            Effect::Halt(reason) => {
                self.note(|| "halts", |_| format!("{id}: {reason}"));
                if is_correct {
                    self.checker.fail(format!("{id} halts: {reason}"));
                }
            }
        }
    }

    fn write_to_disk(&mut self, host: usize) {
        let delay = self.random.below(self.draw.machines[self.hosts[host].id.index()].disk_delay_max + 1);
        let incarnation = self.hosts[host].incarnation;
        self.queue.schedule(self.now + delay, Event::Written { host, incarnation });
    }

    /// A host's disk has what it was given.
    pub(super) fn on_written(&mut self, host: usize, incarnation: u32) {
        if self.hosts[host].incarnation != incarnation || self.hosts[host].is_crashed() {
            return;
        }
        let (kept, begins) = self.hosts[host].disk.done();
        if begins {
            self.write_to_disk(host);
        }
        self.give(host, Input::Durable(kept));
    }

    /// A host's promise is on its disk.
    pub(super) fn on_promised(&mut self, host: usize, incarnation: u32) {
        if self.hosts[host].incarnation == incarnation && !self.hosts[host].is_crashed() {
            let promise = self.hosts[host].disk.promised();
            self.give(host, Input::Promised(promise));
        }
    }

    fn on_reported(&mut self, host: usize, event: &Reported) {
        let (id, is_correct) = (self.hosts[host].id, self.hosts[host].is_correct());
        self.note(|| "event", |_| format!("{id} {event:?}"));
        if !is_correct {
            return;
        }
        match event {
            Reported::LeaderSuspected { is_lost, .. } => {
                self.counters.count(if *is_lost { Sometimes::LeaderLost } else { Sometimes::LeaderSuspected });
            }
            Reported::ViewActive { base, .. } => {
                self.counters.count(Sometimes::ViewActivated);
                if base.0 > 0 {
                    self.counters.count(Sometimes::BaseAboveGenesis);
                }
                if self.draw.calm && self.draw.changes.is_none() {
                    self.checker.fail(format!("{id} changed views though nothing went wrong"));
                }
            }
            Reported::Forgotten { .. } => self.counters.count(Sometimes::Forgotten),
            Reported::Rejoined { .. } => self.counters.count(Sometimes::Rejoined),
            Reported::CatchingUp { .. } => self.counters.count(Sometimes::CaughtUp),
            Reported::Misbehaviour { replica, what } => {
                self.counters.count(Sometimes::MisbehaviourSeen);
                if !self.is_byzantine(*replica) {
                    self.checker.fail(format!("{id} accuses {replica}, which is correct, of {what}"));
                }
            }
            Reported::BeyondRetention { .. } => self.counters.count(Sometimes::BeyondRetention),
            Reported::CheckpointStable { .. } => self.counters.count(Sometimes::CheckpointStable),
            Reported::Transferring { .. } | Reported::SteppingDown { .. } => {}
            Reported::Installed { .. } => self.counters.count(Sometimes::Installed),
            Reported::EpochEntered { .. } => self.counters.count(Sometimes::EpochEntered),
            Reported::Retired { .. } => self.counters.count(Sometimes::Retired),
            Reported::ViewEntered { view, .. } => self.on_view_entered(host, *view),
        }
    }

    /// A leader was deposed. While a healthy cluster is watched that must not happen to a correct one.
    fn on_view_entered(&mut self, host: usize, view: View) {
        let id = self.hosts[host].id;
        let before = self.left[host];
        self.left[host] = view;
        if self.draw.watch.is_none_or(|watch| self.now < watch.from) || view.0 != before.0 + 1 {
            return;
        }
        let leader = self.hosts[host].membership.leader(before);
        if self.hosts[leader.index()].is_correct() {
            self.checker.fail(format!("{id} deposed {leader}, which is correct, though nothing goes wrong any more"));
        }
    }

    pub(super) fn is_byzantine(&self, replica: ReplicaId) -> bool {
        self.adversaries.iter().any(|adversary| adversary.id == replica)
    }

    /// A host's core sends a message, to one replica or to all others.
    fn transmit(&mut self, host: usize, to: Option<ReplicaId>, message: &PeerMessage) {
        let from = self.hosts[host].id;
        self.note(
            || "sends",
            |_| format!("{from} -> {} {}", to.map_or("all".into(), |to| to.to_string()), describe::message(message)),
        );
        if matches!(message, PeerMessage::Fetch { .. }) && !self.hosts[host].core.is_active() {
            self.counters.count(Sometimes::BaseFetched);
        }
        if let Some(adversary) = self.adversaries.iter_mut().find(|adversary| adversary.id == from) {
            for (to, message) in adversary.send(host, to, message, &mut self.counters) {
                self.send_bytes(from, to, &encode(self.hosts[host].membership.epoch(), &message));
            }
            return;
        }
        let membership = &self.hosts[host].membership;
        let bytes = encode(membership.epoch(), message);
        match to {
            Some(to) if to == from => self.checker.fail(format!("{from} sends to itself")),
            Some(to) => self.send_bytes(from, to, &bytes),
            None => {
                for to in membership.replicas().filter(|to| *to != from) {
                    self.send_bytes(from, to, &bytes);
                }
            }
        }
    }

    pub(super) fn send_bytes(&mut self, from: ReplicaId, to: ReplicaId, bytes: &Bytes) {
        let host = self.host_for(from, to);
        // The first byte of a message is its kind.
        let kind = u32::from(bytes[0]);
        for (at, generation) in self.network.send(self.now, from, to, kind, &mut self.counters) {
            let bytes = bytes.clone();
            self.queue.schedule(at, Event::Message { host, from, generation, bytes });
        }
    }

    /// The host that hears what `from` says to `to`: one of two, if that one has two selves.
    fn host_for(&self, from: ReplicaId, to: ReplicaId) -> usize {
        let adversary = self.adversaries.iter().find(|adversary| adversary.id == to);
        adversary.map_or(to.index(), |adversary| adversary.host_for(from))
    }

    pub(super) fn on_executed(&mut self, host: usize, incarnation: u32) {
        let target = &mut self.hosts[host];
        if target.incarnation != incarnation {
            return;
        }
        target.executing = false;
        if !target.is_up(self.now) {
            return;
        }
        let Some((slot, replies)) = target.execute() else { return };
        self.answer_reads(host);
        self.write_snapshots(host);
        for (client, reply) in replies {
            self.reply(host, client, reply);
        }
        self.give(host, Input::Executed(slot));
        self.execute_later(host);
    }

    /// Execution of the next slot begins, if one waits and the host is not at it already.
    pub(super) fn execute_later(&mut self, host: usize) {
        let target = &mut self.hosts[host];
        if target.executing || !target.is_up(self.now) || !target.has_slot_to_execute() {
            return;
        }
        target.executing = true;
        let most = target.machine.execution_max;
        let delay = self.random.below(most + 1);
        let incarnation = target.incarnation;
        self.queue.schedule(self.now + delay, Event::Executed { host, incarnation });
    }

    pub(super) fn on_message(&mut self, host: usize, from: ReplicaId, generation: u32, bytes: Bytes) {
        let to = self.hosts[host].id;
        if self.hosts[host].is_crashed()
            || self.hosts[host].is_down
            || self.network.has_streams() && !self.network.is_current(from, to, generation)
        {
            return;
        }
        match PeerMessage::decode(bytes, &self.draw.config.limits) {
            Ok((epoch, message)) => {
                self.note(|| "arrives", |_| format!("{to} <- {from} {}", describe::message(&message)));
                // Two that echo each other would never end.
                let is_echoed = !self.is_byzantine(from);
                if let Some(adversary) = self.adversaries.iter_mut().find(|adversary| is_echoed && adversary.id == to) {
                    for (receiver, vote) in adversary.echo(from, &message, &mut self.counters) {
                        self.send_bytes(to, receiver, &encode(epoch, &vote));
                    }
                }
                self.give_message(host, from, epoch, message);
            }
            Err(error) => {
                self.counters.count(Sometimes::Undecodable);
                if !self.is_byzantine(from) {
                    self.checker.fail(format!("{to} can't decode a message of {from}: {error}"));
                }
            }
        }
    }

    pub(super) fn connected(&mut self, one: ReplicaId, other: ReplicaId) {
        self.give_to_both(one, other, Input::Connected);
    }

    pub(super) fn disconnected(&mut self, one: ReplicaId, other: ReplicaId) {
        self.give_to_both(one, other, Input::Disconnected);
    }

    /// The others notice that a host is gone.
    pub(super) fn disconnect_all(&mut self, host: usize) {
        let id = self.hosts[host].id;
        for other in 0..self.draw.machines.len() {
            if other != id.index() {
                self.disconnected(id, ReplicaId(other as u16));
            }
        }
    }

    fn give_to_both(&mut self, one: ReplicaId, other: ReplicaId, input: fn(ReplicaId) -> Input) {
        for host in 0..self.hosts.len() {
            let id = self.hosts[host].id;
            if id == one {
                self.give(host, input(other));
            } else if id == other {
                self.give(host, input(one));
            }
        }
    }
}

pub(super) fn encode(epoch: Epoch, message: &PeerMessage) -> Bytes {
    let mut bytes = Vec::with_capacity(128);
    message.encode(epoch, &mut bytes);
    bytes.into()
}
