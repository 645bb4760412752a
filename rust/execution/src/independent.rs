//! Which commands of a run are independent of each other, so that one call may execute them together.

use std::collections::HashMap;

use crate::footprint::{Footprint, KeyHash, Mode, Scope, TableId};
use crate::service::Task;

/// Finds out how many commands at the beginning of a run can be executed together. Keeps its memory.
#[derive(Debug, Default)]
pub struct Independent {
    keys: HashMap<(TableId, KeyHash), Mode, foldhash::fast::RandomState>,
    /// The places of those that touch more than keys: they are few, and compared one by one.
    wide: Vec<usize>,
}

impl Independent {
    /// How many tasks at the beginning of `run` have the handler of the first one, and no two of them conflict.
    ///
    /// It costs one look-up for each key; what touches more than keys is compared with all before it.
    pub fn prefix(&mut self, run: &[Task]) -> usize {
        self.keys.clear();
        self.wide.clear();
        let Some(first) = run.first() else { return 0 };
        // What is ordered has a place in the order, and reads have none.
        let is_alike = |task: &&Task| task.handler == first.handler && task.command.kind == first.command.kind;
        let same = run.iter().take_while(is_alike).count();
        (0..same).find(|place| !self.admit(run, *place)).unwrap_or(same)
    }

    /// Whether the task at `place` conflicts with none that was admitted. It is admitted then.
    fn admit(&mut self, run: &[Task], place: usize) -> bool {
        let footprint = &run[place].footprint;
        if self.wide.iter().any(|wide| run[*wide].footprint.conflicts(footprint)) {
            return false;
        }
        if !has_only_keys(footprint) {
            // So far all before it are admitted.
            self.wide.push(place);
            if run[..place].iter().any(|task| task.footprint.conflicts(footprint)) {
                return false;
            }
        }
        for claim in footprint.claims() {
            let Some(hash) = claim.key_hash() else { continue };
            // A footprint has one claim for each key, so what is held is another command's.
            match self.keys.insert((claim.table_id(), hash), claim.mode()) {
                Some(held) if held.conflicts(claim.mode()) => return false,
                _ => {}
            }
        }
        true
    }
}

fn has_only_keys(footprint: &Footprint) -> bool {
    footprint.scope() == Scope::Claims && footprint.claims().iter().all(|claim| claim.key_hash().is_some())
}
