//! The sequential scheduler: one command after the other, in delivery order.

use std::collections::VecDeque;

use super::{Handle, Ready, ReadyCommand, Scheduler, SchedulerStats};
use crate::footprint::Footprint;
use crate::service::WorkerId;

/// Runs commands one after the other. The oracle for all other schedulers, and the right choice for a service whose
/// commands all conflict.
#[derive(Debug, Default)]
pub struct Sequential {
    waiting: VecDeque<Handle>,
    /// Commands that were given out and are not complete: one run.
    running: VecDeque<Handle>,
    stats: SchedulerStats,
}

impl Sequential {
    /// A scheduler with nothing pending.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Scheduler for Sequential {
    fn submit(&mut self, handle: Handle, _: &Footprint, ready: &mut Ready) {
        self.stats.submitted += 1;
        if self.running.is_empty() {
            self.running.push_back(handle);
            ready.push(ReadyCommand { handle, worker: None });
        } else {
            self.stats.delayed += 1;
            self.waiting.push_back(handle);
        }
    }

    fn complete(&mut self, worker: WorkerId, handle: Handle, ready: &mut Ready) {
        assert_eq!(self.running.pop_front(), Some(handle), "commands of a run complete in order, each once");
        self.stats.completed += 1;
        if self.running.is_empty()
            && let Some(next) = self.waiting.pop_front()
        {
            self.running.push_back(next);
            ready.push(ReadyCommand { handle: next, worker: Some(worker) });
        }
    }

    fn follow(&mut self, handle: Handle) -> Option<Handle> {
        if self.running.back() != Some(&handle) {
            return None;
        }
        let next = self.waiting.pop_front()?;
        self.running.push_back(next);
        Some(next)
    }

    fn resize(&mut self, _: usize) {}

    fn stats(&self) -> SchedulerStats {
        self.stats
    }
}
