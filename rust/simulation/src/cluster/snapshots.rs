//! What becomes of snapshots: they reach the disk late, and others may fetch them.

use pssmr_ordering::Input;
use pssmr_types::{Checkpoint, Slot};

use super::counters::Sometimes;
use super::disk::Snapshot;
use super::profile::SECOND;
use super::queue::Event;
use super::world::World;

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

    /// A host wants a snapshot of others. It takes a while.
    pub(super) fn transfer(&mut self, host: usize, checkpoint: Checkpoint) {
        let at = self.now + self.random.below(SECOND);
        let incarnation = self.hosts[host].incarnation;
        self.queue.schedule(at, Event::Transferred { host, incarnation, checkpoint });
    }

    /// A host has fetched a snapshot from another one, or found none.
    pub(super) fn on_transferred(&mut self, host: usize, incarnation: u32, checkpoint: Checkpoint) {
        if self.hosts[host].incarnation != incarnation || self.hosts[host].is_crashed() {
            return;
        }
        let Checkpoint { slot, root, .. } = checkpoint;
        let with_snapshot = |at: &usize| {
            let other = &self.hosts[*at];
            let is_there = !other.is_down && !other.is_crashed();
            is_there && other.disk.snapshots.get(&slot).is_some_and(|snapshot| snapshot.root() == root)
        };
        let Some(from) = (0..self.hosts.len()).find(with_snapshot) else {
            self.counters.count(Sometimes::TransferFailed);
            return self.give(host, Input::TransferFailed);
        };
        let snapshot = self.hosts[from].disk.snapshots[&slot].clone();
        let core = snapshot.core();
        self.hosts[host].disk.snapshots.insert(slot, snapshot);
        self.give(host, Input::Transferred(Box::new(core)));
    }
}
