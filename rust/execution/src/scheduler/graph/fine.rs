//! The graph as a list in delivery order with a lock on each command. Who walks the list holds the lock of a command
//! until it has that of the next, so nobody overtakes another, and everybody sees each command as it was left.

use super::{ConflictGraph, Conflicts, Handle};
use crate::footprint::Footprint;
use crate::sync::{Mutex, lock};

/// The place before the first command. The command with handle `h` is at place `h + 1`.
const HEAD: usize = 0;

#[derive(Default)]
struct Node {
    footprint: Footprint,
    /// The place of the next younger command; `HEAD` if there is none.
    next: usize,
    present: bool,
    /// The number of older commands that it waits for.
    waits: usize,
    /// Younger commands that wait for it.
    dependents: Vec<Handle>,
}

pub(super) struct Fine {
    nodes: Box<[Mutex<Node>]>,
    conflicts: Conflicts,
}

impl Fine {
    pub(super) fn new(window: usize, conflicts: Conflicts) -> Self {
        Self { nodes: (0..=window).map(|_| Mutex::default()).collect(), conflicts }
    }
}

impl ConflictGraph for Fine {
    fn insert(&self, handle: Handle, footprint: &Footprint) -> bool {
        let place = handle as usize + 1;
        // Held until the command has its place: who removes what it waits for waits for that.
        let mut new = lock(&self.nodes[place]);
        assert!(!new.present, "command {handle} is pending");
        new.footprint.clone_from(footprint);
        (new.next, new.present, new.waits) = (HEAD, true, 0);
        let mut last = lock(&self.nodes[HEAD]);
        while last.next != HEAD {
            let mut older = lock(&self.nodes[last.next]);
            if self.conflicts.between(&older.footprint, footprint) {
                older.dependents.push(handle);
                new.waits += 1;
            }
            last = older;
        }
        last.next = place;
        new.waits == 0
    }

    fn remove(&self, handle: Handle, ready: &mut Vec<Handle>) {
        let place = handle as usize + 1;
        let mut before = lock(&self.nodes[HEAD]);
        let dependents = loop {
            assert!(before.next != HEAD, "command {handle} is not running");
            let mut node = lock(&self.nodes[before.next]);
            if before.next == place {
                assert!(node.waits == 0, "command {handle} is not running");
                before.next = node.next;
                node.present = false;
                break std::mem::take(&mut node.dependents);
            }
            before = node;
        };
        drop(before);
        for dependent in dependents {
            let mut node = lock(&self.nodes[dependent as usize + 1]);
            node.waits -= 1;
            if node.waits == 0 {
                ready.push(dependent);
            }
        }
    }
}
