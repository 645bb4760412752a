//! The graph schedulers: each new command is compared with every pending one, and waits for those that it conflicts
//! with. Late scheduling as CBASE has it, and the conflict-ordered set of Escobar et al. (Middleware 2019) with coarse
//! locks, fine ones, and none.
//!
//! They take any conflict predicate, at a cost that grows with the number of pending commands, which therefore is
//! bounded by a window. In the papers, workers search the graph for a command that is ready; here whoever makes a command
//! ready hands it over, so that nothing is searched.

mod coarse;
mod fine;
mod lock_free;

use std::fmt;
use std::sync::Arc;

use super::{Handle, Ready, ReadyCommand, Scheduler, SchedulerStats};
use crate::footprint::{Footprint, Scope};
use crate::service::WorkerId;

use self::coarse::Coarse;
use self::fine::Fine;
use self::lock_free::LockFree;

/// How threads share the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GraphVariant {
    /// One lock for the graph.
    Coarse,
    /// One lock for each command; who walks the graph holds two at a time, hand over hand.
    Fine,
    /// No lock between the thread that inserts and those that remove.
    LockFree,
}

/// The most commands that a graph may have pending: one that is inserted is compared with all of them.
pub const WINDOW_MAX: usize = 1 << 14;

type Predicate = dyn Fn(&Footprint, &Footprint) -> bool + Send + Sync;

/// Which pairs of commands keep their order. The default is [`Footprint::conflicts`].
///
/// An exclusive command keeps its order with every other, whatever the predicate says.
#[derive(Clone, Default)]
pub struct Conflicts(Option<Arc<Predicate>>);

impl Conflicts {
    /// Those pairs for which `predicate` says so: of an older and a younger command. It must not say less than what the
    /// service needs.
    pub fn new(predicate: impl Fn(&Footprint, &Footprint) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(predicate)))
    }

    fn between(&self, older: &Footprint, younger: &Footprint) -> bool {
        match &self.0 {
            None => older.conflicts(younger),
            Some(predicate) => {
                let exclusive = older.scope() == Scope::Exclusive || younger.scope() == Scope::Exclusive;
                exclusive || predicate(older, younger)
            }
        }
    }
}

impl fmt::Debug for Conflicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Conflicts(of the application)" } else { "Conflicts(of footprints)" })
    }
}

/// Pending commands and what each of them waits for. Commands are inserted by one thread at a time, in delivery order,
/// and removed by any number of threads meanwhile.
pub trait ConflictGraph: Send + Sync {
    /// Adds a command; whether it is ready.
    ///
    /// # Panics
    /// If a command with this handle is in the graph, or the handle is not below the window.
    fn insert(&self, handle: Handle, footprint: &Footprint) -> bool;

    /// Removes a command that is executed. What waited for nothing else goes to `ready`.
    ///
    /// # Panics
    /// If the command is not in the graph, or waits for another.
    fn remove(&self, handle: Handle, ready: &mut Vec<Handle>);
}

/// A graph as a scheduler.
pub struct Graph {
    commands: Arc<dyn ConflictGraph>,
    window: usize,
    stats: SchedulerStats,
    /// Memory that is used again.
    freed: Vec<Handle>,
}

impl Graph {
    /// An empty graph for at most `window` pending commands.
    ///
    /// # Panics
    /// If the window is 0 or above [`WINDOW_MAX`].
    pub fn new(variant: GraphVariant, window: usize, conflicts: Conflicts) -> Self {
        assert!((1..=WINDOW_MAX).contains(&window), "a window of 1 to {WINDOW_MAX} commands");
        let commands: Arc<dyn ConflictGraph> = match variant {
            GraphVariant::Coarse => Arc::new(Coarse::new(window, conflicts)),
            GraphVariant::Fine => Arc::new(Fine::new(window, conflicts)),
            GraphVariant::LockFree => Arc::new(LockFree::new(window, conflicts)),
        };
        Self { commands, window, stats: SchedulerStats::default(), freed: Vec::new() }
    }
}

impl Scheduler for Graph {
    fn submit(&mut self, handle: Handle, footprint: &Footprint, ready: &mut Ready) {
        self.stats.submitted += 1;
        if self.commands.insert(handle, footprint) {
            ready.push(ReadyCommand { handle, worker: None });
        } else {
            self.stats.delayed += 1;
        }
    }

    fn complete(&mut self, _: WorkerId, handle: Handle, ready: &mut Ready) {
        self.commands.remove(handle, &mut self.freed);
        self.completed(1);
        ready.extend(self.freed.drain(..).map(|handle| ReadyCommand { handle, worker: None }));
    }

    fn follow(&mut self, _: Handle) -> Option<Handle> {
        None
    }

    fn room(&self) -> usize {
        self.window - self.stats.pending() as usize
    }

    fn graph(&self) -> Option<Arc<dyn ConflictGraph>> {
        Some(Arc::clone(&self.commands))
    }

    fn completed(&mut self, count: usize) {
        self.stats.completed += count as u64;
    }

    fn resize(&mut self, _: usize) {}

    fn stats(&self) -> SchedulerStats {
        self.stats
    }
}
