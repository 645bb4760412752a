//! Lanes: queues of commands that run one after the other. A command is in one lane or in several, and runs when it has
//! come to the front of each: a counter of arrivals, no barrier, and no worker waits. The worker whose command gave way
//! to the last arrival runs it.
//!
//! Commands enter in delivery order, so two commands that share a lane run in that order, and nobody waits in a circle.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Handle, Ready, ReadyCommand, SchedulerStats};
use crate::service::WorkerId;

const NONE: Handle = Handle::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Absent,
    Waiting,
    /// Given to the driver: ready, or following.
    Given,
}

/// The lanes of one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    One(usize),
    /// Two or more, each once.
    Several(Arc<[usize]>),
}

#[derive(Clone, Debug)]
struct Record {
    route: Route,
    /// In how many lanes it has not come to the front.
    missing: usize,
    /// The command behind it, if it is in one lane.
    behind: Handle,
    state: State,
}

/// What waits and runs in each lane.
#[derive(Debug)]
pub(super) struct Lanes {
    queues: Vec<VecDeque<Handle>>,
    records: Vec<Record>,
    workers: usize,
    stats: SchedulerStats,
}

impl Lanes {
    /// Empty lanes.
    pub(super) fn new(lanes: usize, workers: usize) -> Self {
        let queues = vec![VecDeque::new(); lanes];
        Self { queues, records: Vec::new(), workers, stats: SchedulerStats::default() }
    }

    /// Puts the command at the end of its lanes.
    pub(super) fn submit(&mut self, handle: Handle, route: Route, ready: &mut Ready) {
        if handle as usize >= self.records.len() {
            let absent = Record { route: Route::One(0), missing: 0, behind: NONE, state: State::Absent };
            self.records.resize(handle as usize + 1, absent);
        }
        assert!(self.records[handle as usize].state == State::Absent, "command {handle} is pending");
        let missing = match &route {
            Route::One(lane) => usize::from(!self.enter(*lane, handle)),
            Route::Several(lanes) => lanes.iter().filter(|lane| !self.enter(**lane, handle)).count(),
        };
        let state = if missing == 0 { State::Given } else { State::Waiting };
        self.records[handle as usize] = Record { route, missing, behind: NONE, state };
        self.stats.submitted += 1;
        if missing == 0 {
            ready.push(ReadyCommand { handle, worker: None });
        } else {
            self.stats.delayed += 1;
        }
    }

    /// Takes the command out of its lanes, and gives out what comes to the front.
    pub(super) fn complete(&mut self, worker: WorkerId, handle: Handle, ready: &mut Ready) {
        let record = &mut self.records[handle as usize];
        assert!(record.state == State::Given && record.missing == 0, "command {handle} is not running");
        record.state = State::Absent;
        let route = std::mem::replace(&mut record.route, Route::One(0));
        self.stats.completed += 1;
        let wish = (worker < self.workers).then_some(worker);
        match route {
            Route::One(lane) => self.leave(lane, handle, wish, ready),
            Route::Several(lanes) => lanes.iter().for_each(|lane| self.leave(*lane, handle, wish, ready)),
        }
    }

    /// See [`super::Scheduler::follow`].
    pub(super) fn follow(&mut self, handle: Handle) -> Option<Handle> {
        let Record { state, behind, .. } = self.records[handle as usize];
        assert!(state == State::Given, "command {handle} is not running");
        let next = self.records.get_mut(behind as usize)?;
        if next.missing != 1 {
            return None;
        }
        next.state = State::Given;
        Some(behind)
    }

    pub(super) fn resize(&mut self, workers: usize) {
        self.workers = workers;
    }

    pub(super) fn stats(&self) -> SchedulerStats {
        self.stats
    }

    /// Puts the command at the end of a lane; whether it is at the front.
    fn enter(&mut self, lane: usize, handle: Handle) -> bool {
        let queue = &mut self.queues[lane];
        if let Some(&last) = queue.back()
            && let record = &mut self.records[last as usize]
            && record.route == Route::One(lane)
        {
            record.behind = handle;
        }
        queue.push_back(handle);
        queue.len() == 1
    }

    /// Takes the command from the front of a lane. The next one arrives.
    fn leave(&mut self, lane: usize, handle: Handle, worker: Option<WorkerId>, ready: &mut Ready) {
        let queue = &mut self.queues[lane];
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
