//! The graph without locks, compiled with loom's atomics: in every interleaving that the memory model allows, each command
//! is handed over once, and sees what the commands before it have done.

#[path = "../src/scheduler/graph/lock_free.rs"]
mod lock_free;

use loom::cell::UnsafeCell;
use loom::sync::{Arc, Mutex};
use loom::thread;
use pssmr_execution::scheduler::{ConflictGraph, Handle};
use pssmr_execution::{Footprint, FootprintBuilder, Mode, TableId};

use lock_free::LockFree;

/// What the graph finds in its own crate.
mod footprint {
    pub(crate) use pssmr_execution::Footprint;
}

/// As above, with loom's primitives.
mod sync {
    pub(crate) use loom::sync::{Mutex, MutexGuard, atomic};

    pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap()
    }
}

struct Conflicts;

impl Conflicts {
    #[expect(clippy::unused_self, reason = "it stands for one that has something to say")]
    fn between(&self, older: &Footprint, younger: &Footprint) -> bool {
        older.conflicts(younger)
    }
}

/// Some commands, the graph that they are in, and what they touch: a cell for each key. Loom reports two accesses to a
/// cell of which neither comes before the other.
struct Rig {
    graph: LockFree,
    keys: Vec<Vec<u8>>,
    cells: Vec<UnsafeCell<()>>,
    ran: Mutex<Vec<Handle>>,
}

impl Rig {
    /// For each command the keys that it writes.
    fn new(keys: &[&[u8]]) -> Arc<Self> {
        Arc::new(Self {
            graph: LockFree::new(keys.len(), Conflicts),
            keys: keys.iter().map(|keys| keys.to_vec()).collect(),
            cells: (0..2).map(|_| UnsafeCell::new(())).collect(),
            ran: Mutex::new(Vec::new()),
        })
    }

    fn insert(&self, command: Handle) -> bool {
        let mut builder = FootprintBuilder::new();
        for key in &self.keys[command as usize] {
            builder.key(TableId(0), &[*key], Mode::Write);
        }
        self.graph.insert(command, &builder.build())
    }

    /// Executes a command, and those that are ready because of it.
    fn run(&self, command: Handle) {
        let mut ready = vec![command];
        while let Some(command) = ready.pop() {
            for key in &self.keys[command as usize] {
                self.cells[usize::from(*key)].with_mut(|_| ());
            }
            self.ran.lock().unwrap().push(command);
            self.graph.remove(command, &mut ready);
        }
    }
}

/// The first commands run in threads of their own; the others are inserted meanwhile. Threads are interrupted twice at
/// most: more takes minutes, and has found nothing.
fn explore(keys: &'static [&'static [u8]], at_once: Handle) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(move || {
        let rig = Rig::new(keys);
        let threads: Vec<_> = (0..at_once)
            .map(|command| {
                assert!(rig.insert(command));
                let rig = rig.clone();
                thread::spawn(move || rig.run(command))
            })
            .collect();
        for command in at_once..keys.len() as Handle {
            if rig.insert(command) {
                rig.run(command);
            }
        }
        for thread in threads {
            thread.join().unwrap();
        }
        let mut ran = rig.ran.lock().unwrap().clone();
        ran.sort_unstable();
        assert_eq!(ran, (0..keys.len() as Handle).collect::<Vec<_>>(), "each runs once");
    });
}

#[test]
fn a_dependency_is_seen_by_who_inserts_or_by_who_removes() {
    explore(&[&[0], &[0]], 1);
}

#[test]
fn a_chain_of_three_keeps_its_order() {
    explore(&[&[0], &[0], &[0]], 1);
}

#[test]
fn a_command_that_waits_for_two_is_handed_over_by_the_last() {
    explore(&[&[0], &[1], &[0, 1]], 2);
}
