//! The graph behind one lock.

use super::{ConflictGraph, Conflicts, Handle};
use crate::footprint::Footprint;
use crate::sync::{Mutex, lock};

#[derive(Default)]
struct Node {
    footprint: Footprint,
    /// The number of older commands that it waits for.
    waits: usize,
    /// Younger commands that wait for it.
    dependents: Vec<Handle>,
}

struct Nodes {
    by_handle: Box<[Option<Node>]>,
    /// Those in the graph, in delivery order.
    order: Vec<Handle>,
}

pub(super) struct Coarse {
    nodes: Mutex<Nodes>,
    conflicts: Conflicts,
}

impl Coarse {
    pub(super) fn new(window: usize, conflicts: Conflicts) -> Self {
        let by_handle = (0..window).map(|_| None).collect();
        Self { nodes: Mutex::new(Nodes { by_handle, order: Vec::new() }), conflicts }
    }
}

impl ConflictGraph for Coarse {
    fn insert(&self, handle: Handle, footprint: &Footprint) -> bool {
        let mut nodes = lock(&self.nodes);
        let Nodes { by_handle, order } = &mut *nodes;
        assert!(by_handle[handle as usize].is_none(), "command {handle} is pending");
        let mut waits = 0;
        for older in &*order {
            let node = by_handle[*older as usize].as_mut().expect("it is in the graph");
            if self.conflicts.between(&node.footprint, footprint) {
                node.dependents.push(handle);
                waits += 1;
            }
        }
        by_handle[handle as usize] = Some(Node { footprint: footprint.clone(), waits, dependents: Vec::new() });
        order.push(handle);
        waits == 0
    }

    fn remove(&self, handle: Handle, ready: &mut Vec<Handle>) {
        let mut nodes = lock(&self.nodes);
        let node = nodes.by_handle[handle as usize].take().filter(|node| node.waits == 0);
        let node = node.unwrap_or_else(|| panic!("command {handle} is not running"));
        let place = nodes.order.iter().position(|pending| *pending == handle);
        nodes.order.remove(place.expect("it is in the order"));
        for dependent in node.dependents {
            let node = nodes.by_handle[dependent as usize].as_mut().expect("what waits is in the graph");
            node.waits -= 1;
            if node.waits == 0 {
                ready.push(dependent);
            }
        }
    }
}
