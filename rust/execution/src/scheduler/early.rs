//! The early scheduler: which lanes may run a command is decided before the order is known, by its class.
//!
//! A lane is a queue of commands that run one after the other; it is what the papers call a worker thread, but any worker
//! may serve any lane. A command of a concurrent class goes to one lane of its class, a command of a synchronised class
//! to all of them. It runs when it has come to the front of every lane that it is in: a counter of arrivals, no barrier,
//! and no worker waits. The worker whose command gave way to the last arrival runs it.

mod mapping;

use std::collections::VecDeque;
use std::sync::Arc;

pub use mapping::{Class, Mapping, MappingError, Partitioning, Synchronisation};

use self::mapping::ClassId;
use super::{Handle, Ready, ReadyCommand, Scheduler, SchedulerStats};
use crate::footprint::Footprint;
use crate::service::WorkerId;

const NONE: Handle = Handle::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Absent,
    Waiting,
    /// Given to the driver: ready, or following.
    Given,
}

/// Where a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lanes {
    One(usize),
    AllOf(ClassId),
}

#[derive(Clone, Copy, Debug)]
struct Record {
    lanes: Lanes,
    /// In how many lanes it has not come to the front.
    missing: usize,
    /// The command behind it, if it is in one lane.
    behind: Handle,
    state: State,
}

/// Runs commands by their classes.
#[derive(Debug)]
pub struct Early {
    mapping: Arc<Mapping>,
    lanes: Vec<VecDeque<Handle>>,
    records: Vec<Record>,
    /// For each class, its lane that is next to get a command.
    turns: Vec<usize>,
    workers: usize,
    stats: SchedulerStats,
}

impl Early {
    /// A scheduler with nothing pending.
    pub fn new(mapping: Arc<Mapping>, workers: usize) -> Self {
        let lanes = vec![VecDeque::new(); mapping.lanes()];
        let turns = vec![0; mapping.class_count()];
        Self { mapping, lanes, records: Vec::new(), turns, workers, stats: SchedulerStats::default() }
    }

    /// Puts the command at the end of a lane; whether it is at the front.
    fn enter(&mut self, lane: usize, handle: Handle) -> bool {
        let queue = &mut self.lanes[lane];
        if let Some(&last) = queue.back()
            && let record = &mut self.records[last as usize]
            && record.lanes == Lanes::One(lane)
        {
            record.behind = handle;
        }
        queue.push_back(handle);
        queue.len() == 1
    }

    /// Takes the command from the front of a lane. The next one arrives.
    fn leave(&mut self, lane: usize, handle: Handle, worker: Option<WorkerId>, ready: &mut Ready) {
        let queue = &mut self.lanes[lane];
        assert!(queue.pop_front() == Some(handle), "commands of a lane complete in order");
        let Some(&next) = queue.front() else { return };
        let record = &mut self.records[next as usize];
        record.missing -= 1;
        if record.missing == 0 && record.state == State::Waiting {
            record.state = State::Given;
            ready.push(ReadyCommand { handle: next, worker });
        }
    }
}

impl Scheduler for Early {
    fn submit(&mut self, handle: Handle, footprint: &Footprint, ready: &mut Ready) {
        let absent = Record { lanes: Lanes::One(0), missing: 0, behind: NONE, state: State::Absent };
        if handle as usize >= self.records.len() {
            self.records.resize(handle as usize + 1, absent);
        }
        assert!(self.records[handle as usize].state == State::Absent, "command {handle} is pending");
        let mapping = Arc::clone(&self.mapping);
        let id = mapping.class_of(footprint);
        let lanes = mapping.lanes_of(id);
        let (lanes, missing) = if mapping.is_synchronised(id) && lanes.len() > 1 {
            let behind_others = lanes.iter().filter(|lane| !self.enter(**lane, handle)).count();
            (Lanes::AllOf(id), behind_others)
        } else {
            let turn = &mut self.turns[id];
            let lane = lanes[*turn];
            *turn = (*turn + 1) % lanes.len();
            (Lanes::One(lane), usize::from(!self.enter(lane, handle)))
        };
        let state = if missing == 0 { State::Given } else { State::Waiting };
        self.records[handle as usize] = Record { lanes, missing, behind: NONE, state };
        self.stats.submitted += 1;
        if missing == 0 {
            ready.push(ReadyCommand { handle, worker: None });
        } else {
            self.stats.delayed += 1;
        }
    }

    fn complete(&mut self, worker: WorkerId, handle: Handle, ready: &mut Ready) {
        let record = &mut self.records[handle as usize];
        assert!(record.state == State::Given && record.missing == 0, "command {handle} is not running");
        record.state = State::Absent;
        let lanes = record.lanes;
        self.stats.completed += 1;
        let wish = (worker < self.workers).then_some(worker);
        match lanes {
            Lanes::One(lane) => self.leave(lane, handle, wish, ready),
            Lanes::AllOf(class) => {
                let mapping = Arc::clone(&self.mapping);
                for lane in mapping.lanes_of(class) {
                    self.leave(*lane, handle, wish, ready);
                }
            }
        }
    }

    fn follow(&mut self, handle: Handle) -> Option<Handle> {
        let Record { state, behind, .. } = self.records[handle as usize];
        assert!(state == State::Given, "command {handle} is not running");
        let next = self.records.get_mut(behind as usize)?;
        if next.missing != 1 {
            return None;
        }
        next.state = State::Given;
        Some(behind)
    }

    fn resize(&mut self, workers: usize) {
        self.workers = workers;
    }

    fn stats(&self) -> SchedulerStats {
        self.stats
    }
}
