//! The graph without a lock between the thread that inserts and those that remove.
//!
//! A command has a counter of what it waits for, and a set of bits: one for each command that waits for it, and one in
//! each word that says that the command is gone. The thread that inserts sets a bit and sees in the same step whether
//! the command was gone; who removes a command takes all bits and leaves the mark in the same step. So either the
//! dependency is seen by the one who removes, or its end is seen by the one who inserts.
//!
//! The counter begins with one for the insertion itself. Whoever takes it to zero hands the command over: one thread,
//! once.

use std::sync::atomic::Ordering;

use super::{ConflictGraph, Conflicts, Handle};
use crate::footprint::Footprint;
use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use crate::sync::{Mutex, lock};

/// In each word of dependents: the command is gone.
const GONE: u64 = 1 << 63;
/// Dependents in one word.
const BITS: usize = 63;

struct Node {
    /// The number of older commands that it waits for, and one while it is inserted.
    waits: AtomicU32,
    gone: AtomicBool,
    dependents: Box<[AtomicU64]>,
}

pub(super) struct LockFree {
    nodes: Box<[Node]>,
    /// Those that may be in the graph, in delivery order. Only the thread that inserts locks it.
    order: Mutex<Vec<(Handle, Footprint)>>,
    conflicts: Conflicts,
}

impl LockFree {
    pub(super) fn new(window: usize, conflicts: Conflicts) -> Self {
        let words = window.div_ceil(BITS);
        let node = || Node {
            waits: AtomicU32::new(0),
            gone: AtomicBool::new(true),
            dependents: (0..words).map(|_| AtomicU64::new(GONE)).collect(),
        };
        Self { nodes: (0..window).map(|_| node()).collect(), order: Mutex::default(), conflicts }
    }
}

impl Node {
    /// `handle` waits for this command from now on; `false` if it is gone.
    fn add_dependent(&self, handle: usize) -> bool {
        // Acquire: what the command has done is seen by who runs because of its end.
        let before = self.dependents[handle / BITS].fetch_or(1 << (handle % BITS), Ordering::AcqRel);
        before & GONE == 0
    }

    /// One of the reasons to wait is gone; whether it was the last one.
    fn unblock(&self) -> bool {
        self.waits.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

impl ConflictGraph for LockFree {
    fn insert(&self, handle: Handle, footprint: &Footprint) -> bool {
        let new = &self.nodes[handle as usize];
        assert!(new.gone.load(Ordering::Acquire), "command {handle} is pending");
        let mut order = lock(&self.order);
        new.waits.store(1, Ordering::Relaxed);
        order.retain(|(older, held)| {
            let node = &self.nodes[*older as usize];
            if node.gone.load(Ordering::Acquire) {
                return false;
            }
            if self.conflicts.between(held, footprint) {
                // Counted first: who removes the older one may take it back at once.
                new.waits.fetch_add(1, Ordering::Relaxed);
                if !node.add_dependent(handle as usize) {
                    new.waits.fetch_sub(1, Ordering::Relaxed);
                }
            }
            true
        });
        for word in &new.dependents {
            word.store(0, Ordering::Relaxed);
        }
        new.gone.store(false, Ordering::Release);
        order.push((handle, footprint.clone()));
        new.unblock()
    }

    fn remove(&self, handle: Handle, ready: &mut Vec<Handle>) {
        let node = &self.nodes[handle as usize];
        let running = node.waits.load(Ordering::Acquire) == 0 && !node.gone.swap(true, Ordering::AcqRel);
        assert!(running, "command {handle} is not running");
        for (word, place) in node.dependents.iter().zip((0..).step_by(BITS)) {
            let mut bits = word.swap(GONE, Ordering::AcqRel);
            while bits != 0 {
                let dependent = place + bits.trailing_zeros();
                bits &= bits - 1;
                if self.nodes[dependent as usize].unblock() {
                    ready.push(dependent);
                }
            }
        }
    }
}
