//! Changes of the membership: an administrator adds, removes and replaces replicas, and those that come are started with the
//! membership that they come with.

use pssmr_ordering::Input;
use pssmr_types::{Change, Epoch, Member, Membership, Operation, PeerMessage, Reconfiguration, ReplicaId, SecretKey};

use super::counters::Sometimes;
use super::effects::encode;
use super::profile::SECOND;
use super::queue::Event;
use super::world::{World, secrets};

/// Signs changes of the membership.
pub(super) fn administrator() -> SecretKey {
    SecretKey::from_seed([99; 32])
}

impl World {
    /// The administrator changes something. The last membership that it knows of need not be the last one any more.
    pub(super) fn on_reconfigure(&mut self, mean: u64) {
        if self.healed {
            return;
        }
        let next = self.now + super::faults::interval(&mut self.random, mean);
        self.queue.schedule(next, Event::Reconfigure { mean });
        let change = self.draw_change();
        if !self.is_sensible(&change) {
            return;
        }
        let newest = &self.newest;
        let epoch =
            if self.random.chance(1, 20) { Epoch(self.random.below(newest.epoch().0 + 1)) } else { newest.epoch() };
        let secret = if self.random.chance(1, 20) { secrets()[0].clone() } else { administrator() };
        let signed = Reconfiguration::sign(newest.cluster(), epoch, change, &secret);
        let (after, was_done) = (self.checker.completed, self.clients[0].is_done());
        let Some(request) = self.clients[0].ask(self.now, after, Operation::Reconfigure, &signed.encode()) else {
            return;
        };
        // Its timer runs only while it waits for something.
        if was_done {
            self.queue.schedule(self.now, Event::ClientTimer { client: 0 });
        }
        self.note(|| "admin", |_| format!("wants {:?} in {epoch}", signed.change));
        self.checker.on_sent(&request);
        self.send_requests(std::slice::from_ref(&request), true, 0);
    }

    /// An administrator looks first: whoever joins has no state yet, so the others have to be enough without it.
    fn is_sensible(&self, change: &Change) -> bool {
        let Ok(next) = self.newest.changed(change) else { return false };
        let stays = |id: &ReplicaId| {
            let host = &self.hosts[id.index()];
            let will_crash = self.draw.crashes.iter().any(|(crashing, _)| *crashing == id.index());
            let has_state = host.core.decided().0 > 0 && !host.core.status().learner;
            next.contains(*id) && host.is_correct() && !will_crash && has_state
        };
        self.newest.replicas().filter(stays).count() >= next.quorums().quorum()
    }

    fn draw_change(&mut self) -> Change {
        let members: Vec<_> = self.newest.replicas().collect();
        let all = (0..self.draw.machines.len() as u16).map(ReplicaId);
        let others: Vec<_> = all.filter(|id| !members.contains(id)).collect();
        let (old, has_spare) = (*self.random.pick(&members), members.len() < self.draw.machines.len());
        let can_shrink = members.len() > self.profile.replicas;
        let member = |id: ReplicaId| Member {
            id,
            key: secrets()[id.index()].public(),
            peer_address: String::new(),
            client_address: String::new(),
        };
        match self.random.below(3) {
            0 if has_spare => Change::Add(member(*self.random.pick(&others))),
            1 if can_shrink => Change::Remove(old),
            _ if has_spare => Change::Replace { old, new: member(*self.random.pick(&others)) },
            _ => Change::Remove(old),
        }
    }

    /// A host goes over to another membership.
    pub(super) fn on_reconfigured(&mut self, host: usize, membership: Membership) {
        let id = self.hosts[host].id;
        if let Some(adversary) = self.adversaries.iter_mut().find(|adversary| adversary.id == id) {
            adversary.follow(&membership);
        }
        let before = std::mem::replace(&mut self.hosts[host].membership, membership.clone());
        if self.hosts[host].is_correct() && !before.contains(id) && membership.contains(id) {
            self.counters.count(Sometimes::Returned);
        }
        if !self.hosts[host].is_correct() || membership.epoch() <= self.newest.epoch() {
            return;
        }
        self.counters.count(Sometimes::MembershipChanged);
        for member in membership.replicas() {
            let newcomer = &mut self.hosts[member.index()];
            if newcomer.is_born {
                continue;
            }
            newcomer.is_born = true;
            newcomer.root = membership.clone();
            let incarnation = newcomer.incarnation;
            let at = self.now + self.random.below(2 * SECOND);
            self.queue.schedule(at, Event::Start { host: member.index(), incarnation });
        }
        self.newest = membership;
    }

    /// Whether a host is a correct replica of the newest membership.
    pub(super) fn serves(&self, host: usize) -> bool {
        let target = &self.hosts[host];
        target.is_correct() && self.newest.contains(target.id)
    }

    /// A message of somebody that a host does not count among the replicas: one that was removed and has not heard of it
    /// learns it, as it does from replicas' links.
    pub(super) fn on_stranger(&mut self, host: usize, from: ReplicaId, epoch: Epoch, message: &PeerMessage) {
        let target = &self.hosts[host];
        if !matches!(message, PeerMessage::Status(_)) || epoch >= target.membership.epoch() {
            return;
        }
        let (id, own) = (target.id, target.membership.epoch());
        let messages: Vec<_> = target.core.handovers_since(epoch).map(|message| encode(own, &message)).collect();
        for bytes in messages {
            self.send_bytes(id, from, &bytes);
        }
    }

    /// An input that any member may send.
    pub(super) fn give_message(&mut self, host: usize, from: ReplicaId, epoch: Epoch, message: PeerMessage) {
        if matches!(message, PeerMessage::Handovers(_)) && self.hosts[host].is_correct() {
            self.counters.count(Sometimes::HandoversLearned);
        }
        if self.hosts[host].membership.contains(from) {
            self.give(host, Input::Message { from, epoch, message });
        } else {
            self.on_stranger(host, from, epoch, &message);
        }
    }
}
