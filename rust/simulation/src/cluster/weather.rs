//! Faults as they happen to a run, and their end.

use std::collections::HashSet;

use pssmr_ordering::{Durability, Effect, Input};
use pssmr_types::{PeerMessage, ReplicaId};

use super::client::Client;
use super::counters::Sometimes;
use super::disk::Stop;
use super::faults::{Fault, FaultKind, Partition, duration, interval};
use super::host::{Fate, Host};
use super::profile::MILLISECOND;
use super::queue::Event;
use super::world::World;

impl World {
    pub(super) fn on_fault(&mut self, fault: Fault) {
        match fault {
            // One that does not vote yet is one of the f, too.
            Fault::Crash { .. } if self.hosts.iter().any(|host| self.may_vote_soon(host)) => {
                self.queue.schedule(self.now + 100 * MILLISECOND, Event::Fault(fault));
            }
            Fault::Crash { host } => {
                self.note(|| "fault", |world| format!("{} stops for good", world.hosts[host].id));
                self.counters.count(Sometimes::Crashed);
                let target = &mut self.hosts[host];
                target.fate = Fate::Crashed;
                target.inbox.clear();
                if self.random.chance(1, 2) {
                    self.disconnect_all(host);
                }
            }
            Fault::Recurring { .. } if self.healed => {}
            Fault::Recurring { kind, mean } => {
                self.begin_fault(kind);
                let next = self.now + interval(&mut self.random, mean);
                self.queue.schedule(next, Event::Fault(fault));
            }
        }
    }

    /// Whether a host follows without a vote, and waits for others to get one.
    fn may_vote_soon(&self, host: &Host) -> bool {
        let has_no_vote = host.core.status().learner || (host.is_down && host.disk.has_no_promise());
        host.is_correct() && host.is_born && self.newest.contains(host.id) && has_no_vote
    }

    pub(super) fn begin_fault(&mut self, kind: FaultKind) {
        let host = self.random.index(self.hosts.len());
        match kind {
            FaultKind::Partition => self.begin_partition(),
            FaultKind::Pause => {
                let until = self.now + duration(&mut self.random);
                self.note(|| "fault", |world| format!("{} stands still to {until}", world.hosts[host].id));
                self.counters.count(Sometimes::Paused);
                self.hosts[host].paused_until = self.hosts[host].paused_until.max(until);
                self.queue.schedule(until, Event::Resume { host });
            }
            FaultKind::Slow => {
                let until = self.now + duration(&mut self.random);
                let slowness = self.random.magnitude(MILLISECOND, 100 * MILLISECOND);
                self.note(|| "fault", |world| format!("{} is slow to {until}", world.hosts[host].id));
                self.counters.count(Sometimes::Slowed);
                self.hosts[host].slowness = slowness;
                self.queue.schedule(until, Event::SlownessEnds { host });
            }
            FaultKind::Reset => self.reset_a_link(),
            FaultKind::Clock => {
                let skew_max = self.draw.config.clock_skew_max.as_nanos() as u64 / 2 - MILLISECOND;
                let skew = self.random.around_zero(skew_max);
                self.note(|| "fault", |world| format!("{} clock is off by {skew}", world.hosts[host].id));
                self.counters.count(Sometimes::ClockSet);
                self.hosts[host].machine.skew = skew;
            }
            FaultKind::StepDown => {
                // Mostly whoever leads, as somebody else sees it; sometimes one that does not.
                let leader = self.hosts[host].core.leader().index();
                let host = if self.random.chance(1, 8) { host } else { leader };
                self.note(|| "fault", |world| format!("{} is asked to step down", world.hosts[host].id));
                self.give(host, Input::StepDown);
            }
            FaultKind::Kill => self.take_down(host, Stop::Kill),
            FaultKind::PowerCut => self.take_down(host, Stop::PowerCut),
            FaultKind::DiskLoss => self.take_down(host, Stop::DiskLoss),
            FaultKind::Blackout => {
                self.counters.count(Sometimes::Blackout);
                (0..self.hosts.len()).for_each(|host| self.take_down(host, Stop::PowerCut));
            }
            FaultKind::Regroup => {
                for adversary in &mut self.adversaries {
                    adversary.regroup();
                    if adversary.hosts.len() > 1 {
                        self.counters.count(Sometimes::TwinsRegrouped);
                    }
                }
            }
        }
    }

    /// A replica goes down with all that is not on its disk, and comes back later. Byzantine ones are beyond that.
    fn take_down(&mut self, host: usize, how: Stop) {
        if !self.hosts[host].is_correct() || self.hosts[host].is_down || !self.hosts[host].is_born {
            return;
        }
        // One that forgets is one of the f until it votes again.
        let forgets = self.draw.config.durability == Durability::Memory || how == Stop::DiskLoss;
        let lacks = |host: &Host| !host.is_correct() || host.is_down || host.core.status().learner;
        let faulty: HashSet<_> = self.hosts.iter().filter(|host| lacks(host)).map(|host| host.id).collect();
        let will_crash = self.draw.crashes.iter().filter(|(host, _)| !self.hosts[*host].is_crashed()).count();
        if forgets && faulty.len() + will_crash >= self.profile.quorums().faults() {
            return;
        }
        self.note(|| "fault", |world| format!("{} goes down: {how:?}", world.hosts[host].id));
        self.counters.count(match how {
            Stop::Kill => Sometimes::Killed,
            Stop::PowerCut => Sometimes::PowerCut,
            Stop::DiskLoss => Sometimes::DiskLost,
        });
        self.hosts[host].stop(how, self.draw.config.durability, &mut self.random);
        // The end of a process is told at once, that of a machine seldom.
        if self.random.chance(if how == Stop::Kill { 7 } else { 1 }, 8) {
            self.disconnect_all(host);
        }
        let back = self.now + duration(&mut self.random);
        let incarnation = self.hosts[host].incarnation;
        self.queue.schedule(back, Event::Start { host, incarnation });
    }

    /// Whether a fault hits at this very moment: after something that a replica must not forget.
    pub(super) fn strikes(&mut self, effect: &Effect) -> bool {
        let matters = matches!(
            effect,
            Effect::Deliver(_)
                | Effect::Persist(_)
                | Effect::Checkpoint { .. }
                | Effect::Stable(_)
                | Effect::Install(_)
                | Effect::Broadcast(PeerMessage::Write(_) | PeerMessage::Accept(_) | PeerMessage::Propose(_))
                | Effect::Send { message: PeerMessage::StopData(_), .. }
        );
        matters && !self.healed && self.draw.strikes > 0 && self.random.chance(1, self.draw.strikes)
    }

    /// The host goes down, or all do, in the middle of what it does.
    pub(super) fn strike(&mut self, host: usize) {
        self.counters.count(Sometimes::Struck);
        match self.draw.config.durability {
            Durability::Sync if self.random.chance(1, 2) => self.begin_fault(FaultKind::Blackout),
            Durability::Sync => self.take_down(host, Stop::PowerCut),
            Durability::Memory | Durability::Async => self.take_down(host, Stop::Kill),
        }
    }

    fn reset_a_link(&mut self) {
        let replicas = self.draw.machines.len();
        let one = self.random.index(replicas);
        let other = self.random.index(replicas);
        if one == other || !self.network.has_streams() {
            return;
        }
        let (one, other) = (ReplicaId(one as u16), ReplicaId(other as u16));
        self.note(|| "fault", |_| format!("the connection of {one} and {other} breaks"));
        self.counters.count(Sometimes::LinkReset);
        self.network.reset(one, other);
        let until = self.now + self.random.magnitude(MILLISECOND, 200 * MILLISECOND);
        self.network.block(one, other, true);
        self.network.block(other, one, true);
        if self.random.chance(3, 4) {
            self.disconnected(one, other);
        }
        self.queue.schedule(until, Event::LinkUp { one, other });
    }

    pub(super) fn on_link_up(&mut self, one: ReplicaId, other: ReplicaId) {
        self.network.block(one, other, false);
        self.network.block(other, one, false);
        self.connected(one, other);
    }

    fn begin_partition(&mut self) {
        self.end_partition();
        let partition = Partition::new(&mut self.random, self.draw.machines.len());
        self.note(|| "fault", |_| format!("partition: {:?}", partition.blocked));
        if partition.one_way {
            self.counters.count(Sometimes::OneWayPartition);
        }
        for (from, to) in &partition.blocked {
            self.network.block(*from, *to, true);
            self.network.reset(*from, *to);
        }
        self.partition += 1;
        let number = self.partition;
        let until = self.now + duration(&mut self.random);
        self.queue.schedule(until, Event::PartitionEnds { number });
    }

    pub(super) fn end_partition(&mut self) {
        let pairs = self.network.blocked_pairs();
        if pairs.is_empty() {
            return;
        }
        self.note(|| "fault", |_| "the partition ends".into());
        self.counters.count(Sometimes::PartitionHealed);
        for (one, other) in pairs {
            self.on_link_up(one, other);
        }
    }

    /// All faults but those of crashed and Byzantine replicas end.
    pub(super) fn heal(&mut self) {
        self.note(|| "heal", |_| "all faults end".into());
        self.healed = true;
        self.end_partition();
        self.network.heal();
        if self.draw.watch.is_none() {
            self.clients.iter_mut().for_each(Client::hurry);
        }
        for host in 0..self.hosts.len() {
            self.hosts[host].slowness = 0;
            if self.hosts[host].is_down && self.hosts[host].is_born && !self.hosts[host].is_crashed() {
                let incarnation = self.hosts[host].incarnation;
                self.queue.schedule(self.now, Event::Start { host, incarnation });
            }
            if self.hosts[host].paused_until > self.now {
                self.hosts[host].paused_until = self.now;
                self.queue.schedule(self.now, Event::Resume { host });
            }
        }
    }
}
