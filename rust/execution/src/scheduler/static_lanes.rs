//! The static scheduler: the lanes of a command are a function of its keys alone.
//!
//! This is the execution of P-SMR (Marandi, Bezerra, Pedone, 2014): each key has its lane, for good; a command whose keys
//! are all of one lane runs there, and one with keys of several lanes runs when it has come to the front of each. There
//! is no state to decide by, so clients, leaders and replicas compute the same lanes without asking anybody.
//!
//! What it is not: in P-SMR each lane is also *ordered* by a multicast group of its own, so that no single stream bounds
//! the throughput. Here all lanes come out of the one total order.

use std::sync::Arc;

use smallvec::SmallVec;

use super::lanes::{Lanes, Route};
use super::{Handle, Ready, Scheduler, SchedulerStats};
use crate::footprint::{Claim, Footprint, KeyHash, Scope};
use crate::service::WorkerId;

/// The most lanes.
pub const LANES_MAX: usize = 1024;

/// Which lanes a command goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaneSet {
    /// It touches nothing: any lane will do.
    Any,
    /// These, ascending, each once.
    These(SmallVec<[usize; 4]>),
    /// It touches a whole table, or everything.
    All,
}

/// The lane of a key among `lanes`. The same in every process and every version.
pub fn lane_of(hash: KeyHash, lanes: usize) -> usize {
    (hash.0 % lanes as u64) as usize
}

/// The lanes of a command among `lanes`: a function of its footprint, and so of its ordered bytes.
pub fn lanes_of(footprint: &Footprint, lanes: usize) -> LaneSet {
    if footprint.scope() != Scope::Claims {
        return LaneSet::All;
    }
    let mut found = SmallVec::new();
    for claim in footprint.claims() {
        let Some(hash) = claim.key_hash() else { return LaneSet::All };
        found.push(lane_of(hash, lanes));
    }
    found.sort_unstable();
    found.dedup();
    if found.is_empty() { LaneSet::Any } else { LaneSet::These(found) }
}

/// Runs commands by the lanes of their keys.
#[derive(Debug)]
pub struct Static {
    lanes: Lanes,
    every_lane: Arc<[usize]>,
    /// The lane that is next to get a command that touches nothing.
    turn: usize,
}

impl Static {
    /// A scheduler with nothing pending.
    ///
    /// # Panics
    /// If there are no lanes, or more than [`LANES_MAX`].
    pub fn new(lanes: usize, workers: usize) -> Self {
        assert!((1..=LANES_MAX).contains(&lanes), "there are 1 to {LANES_MAX} lanes");
        Self { lanes: Lanes::new(lanes, workers), every_lane: (0..lanes).collect(), turn: 0 }
    }

    fn route_of(&mut self, footprint: &Footprint) -> Route {
        let count = self.every_lane.len();
        if let Some(hash) = footprint.only_claim().and_then(Claim::key_hash) {
            return Route::One(lane_of(hash, count));
        }
        match lanes_of(footprint, count) {
            LaneSet::Any => {
                self.turn = (self.turn + 1) % count;
                Route::One(self.turn)
            }
            LaneSet::These(lanes) if lanes.len() == 1 => Route::One(lanes[0]),
            LaneSet::These(lanes) => Route::Several(Arc::from(&lanes[..])),
            LaneSet::All if count == 1 => Route::One(0),
            LaneSet::All => Route::Several(Arc::clone(&self.every_lane)),
        }
    }
}

impl Scheduler for Static {
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
