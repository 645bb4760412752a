//! What becomes of snapshots: they reach the disk late, and others may fetch them.

use pssmr_ordering::Input;
use pssmr_types::{Checkpoint, Slot};

use super::counters::Sometimes;
use super::disk::Snapshot;
use super::profile::SECOND;
use super::queue::Event;
use super::world::World;

/// Who hands a snapshot over, and the snapshot.
pub(super) type Offer = (usize, Box<Snapshot>);

impl World {
    /// The snapshots that a host has taken are on their way to its disk.
    pub(super) fn write_snapshots(&mut self, host: usize) {
        for (slot, snapshot) in std::mem::take(&mut self.hosts[host].taken) {
            let most = 10 * self.draw.machines[self.hosts[host].id.index()].disk_delay_max;
            let at = self.now + self.random.below(most + 1);
            let incarnation = self.hosts[host].incarnation;
            self.queue.schedule(at, Event::SnapshotWritten { host, incarnation, slot, snapshot: Box::new(snapshot) });
        }
    }

    /// A snapshot is on a host's disk.
    pub(super) fn on_snapshot_written(&mut self, host: usize, incarnation: u32, slot: Slot, snapshot: Snapshot) {
        if self.hosts[host].incarnation != incarnation || self.hosts[host].is_crashed() {
            return;
        }
        let (digest, root) = (snapshot.core().digest, snapshot.root());
        let id = self.hosts[host].id;
        self.note(|| "snapshot", |_| format!("{id} has one of {slot}: {root}"));
        self.hosts[host].disk.snapshots.insert(slot, snapshot);
        self.give(host, Input::CheckpointTaken(Checkpoint { slot, digest, root }));
    }

    /// A host wants a snapshot of others. It takes a while, and who hands it over keeps it meanwhile.
    pub(super) fn transfer(&mut self, host: usize, checkpoint: Checkpoint) {
        let at = self.now + self.random.below(SECOND);
        let incarnation = self.hosts[host].incarnation;
        let Checkpoint { slot, root, .. } = checkpoint;
        let snapshot_of = |from: usize| {
            let other = &self.hosts[from];
            let kept = other.disk.snapshots.get(&slot).filter(|snapshot| snapshot.root() == root);
            kept.filter(|_| !other.is_down && !other.is_crashed()).cloned()
        };
        let offer = (0..self.hosts.len()).find_map(|from| Some((from, Box::new(snapshot_of(from)?))));
        self.queue.schedule(at, Event::Transferred { host, incarnation, slot, offer });
    }

    /// A host has fetched a snapshot from another one, or found none.
    pub(super) fn on_transferred(&mut self, host: usize, incarnation: u32, slot: Slot, offer: Option<Offer>) {
        if self.hosts[host].incarnation != incarnation || self.hosts[host].is_crashed() {
            return;
        }
        let is_there = |from: usize| !self.hosts[from].is_down && !self.hosts[from].is_crashed();
        let Some((_, snapshot)) = offer.filter(|(from, _)| is_there(*from)) else {
            self.counters.count(Sometimes::TransferFailed);
            return self.give(host, Input::TransferFailed);
        };
        let core = snapshot.core();
        self.hosts[host].disk.snapshots.insert(slot, *snapshot);
        self.give(host, Input::Transferred(Box::new(core)));
    }
}
