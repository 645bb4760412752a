//! What is going to happen, by virtual time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use bytes::Bytes;
use pssmr_types::{ReplicaId, Reply, Request, Slot};

use super::disk::Snapshot;
use super::faults::Fault;
use super::reads::{Answered, Query};
use super::snapshots::Offer;

/// Something that happens at an instant.
#[derive(Debug)]
pub(super) enum Event {
    /// A message arrives at a host.
    Message { host: usize, from: ReplicaId, generation: u32, bytes: Bytes },
    /// A client's request arrives at a host.
    Request { host: usize, request: Request },
    /// A replica's reply arrives at a client.
    Reply { client: usize, from: ReplicaId, reply: Reply },
    /// A client asks something that is not ordered.
    Read { client: usize },
    /// A query that is not ordered arrives at a host.
    Query { host: usize, query: Query },
    /// A replica's answer to one arrives.
    Answered { from: ReplicaId, answered: Answered },
    /// A host takes what has arrived.
    Step { host: usize, incarnation: u32 },
    /// A host's timer.
    Tick { host: usize },
    /// A host has executed a slot.
    Executed { host: usize, incarnation: u32 },
    /// What a host's disk was given is there.
    Written { host: usize, incarnation: u32 },
    /// A host's promise is on its disk.
    Promised { host: usize, incarnation: u32 },
    /// A snapshot is on a host's disk.
    SnapshotWritten { host: usize, incarnation: u32, slot: Slot, snapshot: Box<Snapshot> },
    /// A host has fetched a snapshot from others, if one has it.
    Transferred { host: usize, incarnation: u32, slot: Slot, offer: Option<Offer> },
    /// A host that went down starts again.
    Start { host: usize, incarnation: u32 },
    /// A host stands still no longer.
    Resume { host: usize },
    /// A client may have something new to send.
    ClientWork { client: usize },
    /// A client looks whether it should send something again.
    ClientTimer { client: usize },
    /// Two replicas have a connection again.
    LinkUp { one: ReplicaId, other: ReplicaId },
    /// A fault begins.
    Fault(Fault),
    /// A partition ends, if it is still this one.
    PartitionEnds { number: u64 },
    /// A host is no longer slow.
    SlownessEnds { host: usize },
    /// The administrator changes the membership, and does so again on the average after `mean`.
    Reconfigure { mean: u64 },
    /// All faults end.
    Heal,
}

/// Events, the earliest first; of those at one instant, the first one scheduled.
#[derive(Debug, Default)]
pub(super) struct Queue {
    order: BinaryHeap<Reverse<(u64, u64, u32)>>,
    events: Vec<Option<Event>>,
    free: Vec<u32>,
    scheduled: u64,
}

impl Queue {
    pub(super) fn schedule(&mut self, at: u64, event: Event) {
        let place = self.free.pop().unwrap_or(self.events.len() as u32);
        if place as usize == self.events.len() {
            self.events.push(Some(event));
        } else {
            self.events[place as usize] = Some(event);
        }
        self.scheduled += 1;
        self.order.push(Reverse((at, self.scheduled, place)));
    }

    pub(super) fn next(&mut self) -> Option<(u64, Event)> {
        let Reverse((at, _, place)) = self.order.pop()?;
        self.free.push(place);
        let event = self.events[place as usize].take().expect("every place in the order holds an event");
        Some((at, event))
    }
}
