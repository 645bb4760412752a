//! The early scheduler: which lanes may run a command is decided before the order is known, by its class.
//!
//! A lane is what the papers call a worker thread, but any worker may serve any lane. A command of a concurrent class goes
//! to one lane of its class, a command of a synchronised class to all of them.

mod mapping;

use std::sync::Arc;

pub use mapping::{Class, Mapping, MappingError, Partitioning, Synchronisation};

use super::lanes::{Lanes, Route};
use super::{Handle, Ready, Scheduler, SchedulerStats};
use crate::footprint::Footprint;
use crate::service::WorkerId;

/// Runs commands by their classes.
#[derive(Debug)]
pub struct Early {
    mapping: Arc<Mapping>,
    lanes: Lanes,
    /// For each class, the lanes that its commands meet in, if it is synchronised.
    meetings: Vec<Option<Arc<[usize]>>>,
    /// For each class, its lane that is next to get a command.
    turns: Vec<usize>,
}

impl Early {
    /// A scheduler with nothing pending.
    pub fn new(mapping: Arc<Mapping>, workers: usize) -> Self {
        let meeting = |class| {
            let lanes = mapping.lanes_of(class);
            (mapping.is_synchronised(class) && lanes.len() > 1).then(|| Arc::from(lanes))
        };
        let meetings = (0..mapping.class_count()).map(meeting).collect();
        let turns = vec![0; mapping.class_count()];
        Self { lanes: Lanes::new(mapping.lanes(), workers), mapping, meetings, turns }
    }

    fn route_of(&mut self, footprint: &Footprint) -> Route {
        let class = self.mapping.class_of(footprint);
        if let Some(lanes) = &self.meetings[class] {
            return Route::Several(Arc::clone(lanes));
        }
        let (lanes, turn) = (self.mapping.lanes_of(class), &mut self.turns[class]);
        let lane = lanes[*turn];
        *turn = (*turn + 1) % lanes.len();
        Route::One(lane)
    }
}

impl Scheduler for Early {
    fn submit(&mut self, handle: Handle, footprint: &Footprint, ready: &mut Ready) {
        let route = self.route_of(footprint);
        self.lanes.submit(handle, route, ready);
    }

    fn complete(&mut self, worker: WorkerId, handle: Handle, ready: &mut Ready) {
        self.lanes.complete(worker, handle, ready);
    }

    fn follow(&mut self, handle: Handle) -> Option<Handle> {
        self.lanes.follow(handle)
    }

    fn resize(&mut self, workers: usize) {
        self.lanes.resize(workers);
    }

    fn stats(&self) -> SchedulerStats {
        self.lanes.stats()
    }
}
