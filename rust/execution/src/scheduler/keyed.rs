//! The keyed scheduler: one queue for each key, one counter for each command.
//!
//! A fixed table of entries is indexed by the hash of a key. Each entry has holders — one writer, or any number of
//! readers, or any number of commuting commands — and a queue of requests that wait for them, in delivery order. A
//! command counts the places at which it waits; it is ready when the count is zero. So a command costs the same however
//! many are pending: there is no graph, and nothing is searched.
//!
//! Two keys that share an entry wait for each other though they need not. That loses parallelism, never order, so the
//! table has no collisions to resolve, and one of a single entry is still correct.

mod demand;
mod node;

use std::hint::black_box;

use self::demand::{Demand, NONE, demands};
use self::node::{Node, NodeMode};
use super::{Handle, Ready, ReadyCommand, Scheduler, SchedulerStats};
use crate::footprint::{Footprint, Mode};
use crate::service::WorkerId;

/// A key table of fewer entries than this is in the cache anyhow.
const MANY_ENTRIES: usize = 1 << 12;

/// A place of the key table.
#[derive(Clone, Copy, Debug)]
struct Entry {
    holders: u32,
    /// The mode of the holders, if there are any.
    mode: Mode,
    /// The queue of requests that wait; empty if there are no holders.
    head: u32,
    tail: u32,
}

/// What one command asks for at one table and one entry.
#[derive(Clone, Copy, Debug)]
struct Request {
    command: Handle,
    demand: Demand,
    /// The next request in the entry's queue; [`GRANTED`] if the entry is held.
    next_waiting: u32,
    /// The next request of the same command, or the next free one.
    next: u32,
}

/// Names a request: the first one of a command by the command's handle, the others by this bit and their place.
type RequestId = u32;
const EXTRA: RequestId = 1 << 31;
const GRANTED: RequestId = u32::MAX - 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Absent,
    Waiting,
    /// Given to the driver: ready, or following.
    Given,
}

/// A command. It has half a cache line: most have one request, and touch nothing more here.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
struct Record {
    first: Request,
    /// At how many places the command waits.
    blocked: u32,
    root_mode: NodeMode,
    state: State,
    /// Whether there is a first request.
    requests: bool,
}

/// Runs commands as soon as no older one that is pending touches the same keys.
#[derive(Debug)]
pub struct Keyed {
    entries: Box<[Entry]>,
    multiplier: u64,
    shift: u32,
    root: Node,
    tables: Vec<Node>,
    records: Vec<Record>,
    extras: Vec<Request>,
    /// The first free place of `extras`.
    free_extra: RequestId,
    workers: usize,
    stats: SchedulerStats,
    /// Memory that is used again.
    demands: Vec<Demand>,
}

impl Keyed {
    /// A scheduler with `entries` entries, for `workers` workers.
    ///
    /// Clients choose keys, so they could choose ones that share an entry. `secret` decides which do: draw it at random,
    /// each replica for itself.
    ///
    /// # Panics
    /// If `entries` is not a power of two, or is above 2³¹.
    pub fn new(entries: usize, workers: usize, secret: u64) -> Self {
        assert!(entries.is_power_of_two() && entries <= 1 << 31, "a power of two, at most 2^31");
        let free = Entry { holders: 0, mode: Mode::Read, head: NONE, tail: NONE };
        Self {
            entries: vec![free; entries].into_boxed_slice(),
            multiplier: secret | 1,
            shift: 32 - entries.trailing_zeros(),
            root: Node::default(),
            tables: Vec::new(),
            records: Vec::new(),
            extras: Vec::new(),
            free_extra: NONE,
            workers,
            stats: SchedulerStats::default(),
            demands: Vec::new(),
        }
    }

    /// Multiplicative hashing: the upper bits of the product.
    fn entry_of(&self) -> impl Fn(u64) -> u32 + use<> {
        let (multiplier, shift) = (self.multiplier, self.shift);
        move |hash| (hash.wrapping_mul(multiplier) >> 32).wrapping_shr(shift) as u32
    }

    fn request(&self, id: RequestId) -> &Request {
        if id & EXTRA == 0 { &self.records[id as usize].first } else { &self.extras[(id & !EXTRA) as usize] }
    }

    fn request_mut(&mut self, id: RequestId) -> &mut Request {
        if id & EXTRA == 0 { &mut self.records[id as usize].first } else { &mut self.extras[(id & !EXTRA) as usize] }
    }

    fn new_extra(&mut self, request: Request) -> RequestId {
        if self.free_extra == NONE {
            self.extras.push(request);
            return EXTRA | (self.extras.len() as u32 - 1);
        }
        let id = self.free_extra;
        self.free_extra = self.request(id).next;
        *self.request_mut(id) = request;
        id
    }

    /// Makes room for the records of commands up to `handle`.
    #[cold]
    fn make_room(&mut self, handle: Handle) {
        assert!(handle & EXTRA == 0, "a handle is a small number");
        let first = Request { command: 0, demand: Demand::NOTHING, next_waiting: NONE, next: NONE };
        let root_mode = NodeMode::ReadBelow;
        let absent = Record { first, blocked: 0, root_mode, state: State::Absent, requests: false };
        self.records.resize(handle as usize + 1, absent);
    }

    /// Makes the demands beside the first one. Returns the number of places at which they wait, and the first of their
    /// requests.
    #[cold]
    fn demand_extra(&mut self, command: Handle) -> (u32, RequestId) {
        let (mut blocked, mut next) = (0, NONE);
        while let Some(demand) = self.demands.pop() {
            let id = self.new_extra(Request { command, demand, next_waiting: GRANTED, next });
            let (waits, next_waiting) = self.demand(id, demand);
            self.request_mut(id).next_waiting = next_waiting;
            blocked += waits;
            next = id;
        }
        (blocked, next)
    }

    /// Enters the table and holds the entry, or waits there. Returns the number of places at which it waits, and what
    /// [`Request::next_waiting`] is to be.
    #[expect(clippy::inline_always, reason = "a fifth of the instructions of a command with one key")]
    #[inline(always)]
    fn demand(&mut self, id: RequestId, demand: Demand) -> (u32, RequestId) {
        let table = usize::from(demand.table);
        if table >= self.tables.len() {
            self.make_tables(table);
        }
        let blocked = u32::from(!self.tables[table].enter(demand.table_mode, id));
        if demand.entry == NONE {
            return (blocked, GRANTED);
        }
        let entry = &mut self.entries[demand.entry as usize];
        // A reader beside readers waits too if somebody waits already: it must not overtake a writer.
        if entry.holders == 0 || (entry.head == NONE && !entry.mode.conflicts(demand.mode)) {
            entry.holders += 1;
            entry.mode = demand.mode;
            return (blocked, GRANTED);
        }
        self.wait_at(demand.entry, id);
        (blocked + 1, NONE)
    }

    #[cold]
    fn make_tables(&mut self, table: usize) {
        self.tables.resize_with(table + 1, Node::default);
    }

    /// Adds the request to the end of the entry's queue.
    fn wait_at(&mut self, entry: u32, id: RequestId) {
        let entry = &mut self.entries[entry as usize];
        let tail = std::mem::replace(&mut entry.tail, id);
        if entry.head == NONE {
            entry.head = id;
        } else {
            self.request_mut(tail).next_waiting = id;
        }
    }

    /// Leaves the table and gives the entry back.
    #[expect(clippy::inline_always, reason = "a fifth of the instructions of a command with one key")]
    #[inline(always)]
    fn withdraw(&mut self, demand: Demand, ready: &mut Ready) {
        let table = usize::from(demand.table);
        if self.tables[table].leave(demand.table_mode) {
            self.admit_to(table, ready);
        }
        if demand.entry != NONE {
            let entry = &mut self.entries[demand.entry as usize];
            entry.holders -= 1;
            if entry.holders == 0 && entry.head != NONE {
                self.pass_on(demand.entry, ready);
            }
        }
    }

    #[cold]
    fn admit_to(&mut self, table: usize, ready: &mut Ready) {
        while let Some(id) = self.tables[table].admit() {
            self.unblock(self.request(id).command, ready);
        }
    }

    #[cold]
    fn admit_to_root(&mut self, ready: &mut Ready) {
        while let Some(command) = self.root.admit() {
            self.unblock(command, ready);
        }
    }

    /// Withdraws the requests of a command beside the first one.
    #[cold]
    fn withdraw_extra(&mut self, first: RequestId, ready: &mut Ready) {
        let mut id = first;
        while id != NONE {
            let Request { demand, next, .. } = *self.request(id);
            self.withdraw(demand, ready);
            self.request_mut(id).next = self.free_extra;
            self.free_extra = id;
            id = next;
        }
    }

    /// Nobody holds the entry any more: those at the front of its queue that are compatible do from now on.
    #[inline(never)]
    fn pass_on(&mut self, entry: u32, ready: &mut Ready) {
        let mut id = self.entries[entry as usize].head;
        let mode = self.request(id).demand.mode;
        let mut holders = 0;
        loop {
            let request = self.request_mut(id);
            let command = request.command;
            id = std::mem::replace(&mut request.next_waiting, GRANTED);
            holders += 1;
            self.unblock(command, ready);
            if id == NONE || mode == Mode::Write || mode.conflicts(self.request(id).demand.mode) {
                break;
            }
        }
        let entry = &mut self.entries[entry as usize];
        (entry.holders, entry.mode, entry.head) = (holders, mode, id);
    }

    /// One of the places at which the command waits is free for it.
    fn unblock(&mut self, command: Handle, ready: &mut Ready) {
        let record = &mut self.records[command as usize];
        record.blocked -= 1;
        if record.blocked == 0 && record.state == State::Waiting {
            record.state = State::Given;
            ready.push(ReadyCommand { handle: command, worker: None });
        }
    }

    /// Whether the command waits, and at one place only.
    fn waits_at_one_place(&self, command: Handle) -> bool {
        let record = &self.records[command as usize];
        record.state == State::Waiting && record.blocked == 1
    }

    /// The writer that waits behind `command` at one of its entries or tables, and for nothing else.
    fn follower_at_requests(&mut self, command: Handle) -> Option<Handle> {
        let mut id = command;
        while id != NONE {
            let Request { demand, next_waiting, next, .. } = *self.request(id);
            let waiter = if demand.entry != NONE {
                let entry = &self.entries[demand.entry as usize];
                match next_waiting {
                    GRANTED if entry.holders > 1 => NONE,
                    GRANTED => entry.head,
                    behind => behind,
                }
            } else if demand.table_mode == NodeMode::Write {
                self.tables[usize::from(demand.table)].follower(id).unwrap_or(NONE)
            } else {
                NONE
            };
            if waiter != NONE {
                let Request { command, demand: wanted, .. } = *self.request(waiter);
                if wanted.mode == Mode::Write && self.waits_at_one_place(command) {
                    if demand.entry == NONE {
                        self.tables[usize::from(demand.table)].follow();
                    }
                    return Some(command);
                }
            }
            id = next;
        }
        None
    }
}

impl Scheduler for Keyed {
    fn submit(&mut self, handle: Handle, footprint: &Footprint, ready: &mut Ready) {
        if handle as usize >= self.records.len() {
            self.make_room(handle);
        }
        let (root_mode, demand, requests) = if let Some(claim) = footprint.only_claim() {
            (NodeMode::below(claim.mode()), Demand::of(claim, self.entry_of()), true)
        } else {
            let (root_mode, first) = demands(footprint, self.entry_of(), &mut self.demands);
            (root_mode, first.unwrap_or(Demand::NOTHING), first.is_some())
        };
        let mut blocked = u32::from(!self.root.enter(root_mode, handle));
        let mut first = Request { command: handle, demand, next_waiting: GRANTED, next: NONE };
        if requests {
            let (waits, next_waiting) = self.demand(handle, demand);
            first.next_waiting = next_waiting;
            blocked += waits;
            if !self.demands.is_empty() {
                let (waits, next) = self.demand_extra(handle);
                first.next = next;
                blocked += waits;
            }
        }

        let record = &mut self.records[handle as usize];
        assert!(record.state == State::Absent, "command {handle} is pending");
        let state = if blocked == 0 { State::Given } else { State::Waiting };
        *record = Record { first, blocked, root_mode, state, requests };
        self.stats.submitted += 1;
        if blocked == 0 {
            ready.push(ReadyCommand { handle, worker: None });
        } else {
            self.stats.delayed += 1;
        }
    }

    fn complete(&mut self, worker: WorkerId, handle: Handle, ready: &mut Ready) {
        let record = &mut self.records[handle as usize];
        assert!(record.state == State::Given && record.blocked == 0, "command {handle} is not running");
        record.state = State::Absent;
        let Record { first: Request { demand, next, .. }, root_mode, requests, .. } = *record;
        self.stats.completed += 1;
        let already_ready = ready.len();

        if self.root.leave(root_mode) {
            self.admit_to_root(ready);
        }
        if requests {
            self.withdraw(demand, ready);
            if next != NONE {
                self.withdraw_extra(next, ready);
            }
        }
        // What waited for this command touches what it touched.
        if let Some(first) = ready.get_mut(already_ready)
            && worker < self.workers
        {
            first.worker = Some(worker);
        }
    }

    fn follow(&mut self, handle: Handle) -> Option<Handle> {
        let record = &self.records[handle as usize];
        assert!(record.state == State::Given, "command {handle} is not running");
        let next = if record.root_mode == NodeMode::Write {
            let next = self.root.follower(handle).filter(|next| self.waits_at_one_place(*next))?;
            self.root.follow();
            next
        } else if record.requests {
            self.follower_at_requests(handle)?
        } else {
            return None;
        };
        self.records[next as usize].state = State::Given;
        Some(next)
    }

    fn expect_submissions(&self, footprints: &mut dyn Iterator<Item = &Footprint>) {
        if self.entries.len() < MANY_ENTRIES {
            return;
        }
        let entry_of = self.entry_of();
        let mut touched = 0;
        for footprint in footprints {
            for claim in footprint.claims() {
                if let Some(hash) = claim.key_hash() {
                    touched ^= self.entries[entry_of(hash.0) as usize].holders;
                }
            }
        }
        black_box(touched);
    }

    fn expect_completions(&self, run: &[Handle]) {
        if self.entries.len() < MANY_ENTRIES {
            return;
        }
        // The records, then the entries, then who waits there: each loop is of loads that do not wait for one another.
        let entry_of = |handle: Handle| self.entries.get(self.records[handle as usize].first.demand.entry as usize);
        let head_of = |entry: &Entry| self.records.get(entry.head as usize).map_or(0, |record| record.blocked);
        let blocked = run.iter().fold(0, |touched, handle| touched ^ self.records[*handle as usize].blocked);
        let holders =
            run.iter().fold(0, |touched, handle| touched ^ entry_of(*handle).map_or(0, |entry| entry.holders));
        let waiting = run.iter().fold(0, |touched, handle| touched ^ entry_of(*handle).map_or(0, head_of));
        black_box((blocked, holders, waiting));
    }

    fn resize(&mut self, workers: usize) {
        self.workers = workers;
    }

    fn stats(&self) -> SchedulerStats {
        self.stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::footprint::{FootprintBuilder, TableId};

    #[test]
    fn what_a_command_has_taken_is_used_again() {
        let mut keyed = Keyed::new(1 << 10, 1, 1);
        let mut builder = FootprintBuilder::new();
        for round in 0..100u64 {
            (0..4).for_each(|key| builder.key(TableId(0), &(round + key).to_le_bytes(), Mode::Write));
            keyed.submit(0, &builder.build(), &mut Vec::new());
            keyed.complete(0, 0, &mut Vec::new());
        }
        assert!(keyed.extras.len() <= 3 && keyed.records.len() == 1);
    }
}
