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

use self::demand::{Demand, NONE, demands};
use self::node::{Node, NodeMode};
use super::{Handle, Ready, ReadyCommand, Scheduler, SchedulerStats};
use crate::footprint::{Footprint, Mode};
use crate::service::WorkerId;

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
    /// Whether the entry is held.
    granted: bool,
    /// The next request in the entry's queue.
    next_waiting: u32,
    /// The next request of the same command, or the next free one.
    next: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Absent,
    Waiting,
    /// Given to the driver: ready, or following.
    Given,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    /// At how many places the command waits.
    blocked: u32,
    /// Its first request.
    requests: u32,
    root_mode: NodeMode,
    state: State,
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
    requests: Vec<Request>,
    free_request: u32,
    workers: usize,
    stats: SchedulerStats,
    // Memory that is used again.
    demands: Vec<Demand>,
    entered: Vec<u32>,
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
            shift: 64 - entries.trailing_zeros(),
            root: Node::default(),
            tables: Vec::new(),
            records: Vec::new(),
            requests: Vec::new(),
            free_request: NONE,
            workers,
            stats: SchedulerStats::default(),
            demands: Vec::new(),
            entered: Vec::new(),
        }
    }

    fn new_request(&mut self, request: Request) -> u32 {
        if self.free_request == NONE {
            self.requests.push(request);
            return self.requests.len() as u32 - 1;
        }
        let index = self.free_request;
        let place = &mut self.requests[index as usize];
        self.free_request = place.next;
        *place = request;
        index
    }

    fn free_request(&mut self, index: u32) {
        self.requests[index as usize].next = self.free_request;
        self.free_request = index;
    }

    /// Holds the entry for the request, or waits at it; whether it is held.
    fn acquire(&mut self, index: u32, demand: Demand) -> bool {
        let entry = &mut self.entries[demand.entry as usize];
        if entry.holders == 0 {
            (entry.holders, entry.mode) = (1, demand.mode);
            return true;
        }
        if entry.head == NONE && !entry.mode.conflicts(demand.mode) {
            entry.holders += 1;
            return true;
        }
        // Also a reader beside readers waits if somebody waits already: it must not overtake a writer.
        if entry.head == NONE {
            entry.head = index;
        } else {
            self.requests[entry.tail as usize].next_waiting = index;
        }
        entry.tail = index;
        false
    }

    /// Gives the entry back. If nobody holds it any more, those at the front of its queue that are compatible do.
    fn release(&mut self, entry: u32, ready: &mut Ready) {
        let place = &mut self.entries[entry as usize];
        place.holders -= 1;
        if place.holders > 0 || place.head == NONE {
            return;
        }
        place.mode = self.requests[place.head as usize].demand.mode;
        loop {
            let place = &mut self.entries[entry as usize];
            let request = &mut self.requests[place.head as usize];
            request.granted = true;
            place.holders += 1;
            place.head = request.next_waiting;
            let (command, mode, next) = (request.command, place.mode, place.head);
            self.unblock(command, ready);
            if next == NONE || mode.conflicts(self.requests[next as usize].demand.mode) {
                return;
            }
        }
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

    /// A command that waits, and only for this one of its requests.
    fn waits_only_here(&self, command: Handle) -> bool {
        let record = &self.records[command as usize];
        record.state == State::Waiting && record.blocked == 1
    }

    /// The writer that waits behind `command` at one of its entries or tables, and for nothing else.
    fn follower_at_requests(&mut self, command: Handle) -> Option<Handle> {
        let mut index = self.records[command as usize].requests;
        while index != NONE {
            let request = self.requests[index as usize];
            let next = if request.demand.entry != NONE {
                let entry = &self.entries[request.demand.entry as usize];
                match request.granted {
                    true if entry.holders > 1 => NONE,
                    true => entry.head,
                    false => request.next_waiting,
                }
            } else if request.demand.table_mode == NodeMode::Write {
                self.tables[usize::from(request.demand.table)].follower(index).unwrap_or(NONE)
            } else {
                NONE
            };
            if next != NONE {
                let Request { command, demand, .. } = self.requests[next as usize];
                if demand.mode == Mode::Write && self.waits_only_here(command) {
                    if request.demand.entry == NONE {
                        self.tables[usize::from(demand.table)].follow();
                    }
                    return Some(command);
                }
            }
            index = request.next;
        }
        None
    }
}

impl Scheduler for Keyed {
    fn submit(&mut self, handle: Handle, footprint: &Footprint, ready: &mut Ready) {
        let mut wanted = std::mem::take(&mut self.demands);
        let (multiplier, shift) = (self.multiplier, self.shift);
        // The upper bits of the product; a shift by all 64 bits is for a table of one entry.
        let entry_of = |hash: u64| hash.wrapping_mul(multiplier).checked_shr(shift).unwrap_or(0) as u32;
        let root_mode = demands(footprint, entry_of, &mut wanted);

        let mut blocked = u32::from(!self.root.enter(root_mode, handle));
        let mut requests = NONE;
        for demand in wanted.drain(..) {
            let granted = false;
            let index =
                self.new_request(Request { command: handle, demand, granted, next_waiting: NONE, next: requests });
            requests = index;
            let table = usize::from(demand.table);
            if table >= self.tables.len() {
                self.tables.resize_with(table + 1, Node::default);
            }
            blocked += u32::from(!self.tables[table].enter(demand.table_mode, index));
            if demand.entry != NONE {
                let granted = self.acquire(index, demand);
                self.requests[index as usize].granted = granted;
                blocked += u32::from(!granted);
            }
        }
        self.demands = wanted;

        let state = if blocked == 0 { State::Given } else { State::Waiting };
        let record = Record { blocked, requests, root_mode, state };
        let place = handle as usize;
        if place >= self.records.len() {
            self.records.resize(place + 1, Record { state: State::Absent, ..record });
        }
        assert!(self.records[place].state == State::Absent, "command {handle} is pending");
        self.records[place] = record;
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
        let (mut index, root_mode) = (record.requests, record.root_mode);
        self.stats.completed += 1;
        let already_ready = ready.len();

        let mut entered = std::mem::take(&mut self.entered);
        self.root.leave(root_mode, &mut entered);
        for command in entered.drain(..) {
            self.unblock(command, ready);
        }
        while index != NONE {
            let Request { demand, next, .. } = self.requests[index as usize];
            self.tables[usize::from(demand.table)].leave(demand.table_mode, &mut entered);
            for request in entered.drain(..) {
                self.unblock(self.requests[request as usize].command, ready);
            }
            if demand.entry != NONE {
                self.release(demand.entry, ready);
            }
            self.free_request(index);
            index = next;
        }
        self.entered = entered;
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
            let next = self.root.follower(handle).filter(|next| self.waits_only_here(*next))?;
            self.root.follow();
            next
        } else {
            self.follower_at_requests(handle)?
        };
        self.records[next as usize].state = State::Given;
        Some(next)
    }

    fn resize(&mut self, workers: usize) {
        self.workers = workers;
    }

    fn stats(&self) -> SchedulerStats {
        self.stats
    }
}
