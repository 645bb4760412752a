//! The service of the papers: a linked list of integers, in which `contains` reads and `add` writes. Readers run beside
//! each other, a writer alone.

use std::collections::LinkedList;
use std::sync::{Arc, RwLock};

use bytes::Bytes;
use pssmr::execution::scheduler::{
    Class, Conflicts, GraphVariant, Mapping, Partitioning, SchedulerConfig, Synchronisation,
};
use pssmr::execution::{Extraction, FootprintBuilder, Mode, Refusal, Service, TableId, Task, WorkerId, reply};
use pssmr::types::Digest;

use super::hand_off::Load;

const ROUNDS: usize = 3;
const WORKERS: usize = 2;
const CONFLICTS: [u64; 5] = [0, 1, 10, 50, 100];

pub(crate) fn report() {
    println!("\nlist: commands a second, {WORKERS} workers (best of {ROUNDS}, in turns)");
    for (length, commands) in [(1000, 1 << 13), (10_000, 1 << 10)] {
        for pending in [150, 1024] {
            println!("  {length} elements, {pending} pending");
            println!("    {:16}{}", "writes", CONFLICTS.map(|percent| format!("{percent:8} %")).concat());
            let schedulers = schedulers(pending);
            let mut best = vec![[0.0f64; CONFLICTS.len()]; schedulers.len()];
            for _ in 0..ROUNDS {
                for (column, percent) in CONFLICTS.into_iter().enumerate() {
                    let payloads = payloads(commands, length, percent);
                    for ((_, scheduler), best) in schedulers.iter().zip(&mut best) {
                        let mut load = Load::new(Arc::new(List::new(length)), scheduler, WORKERS);
                        (load.slot, load.pending_max) = (50, pending as u64);
                        let rate = commands as f64 / load.execute(&payloads).0.as_secs_f64();
                        best[column] = best[column].max(rate);
                    }
                }
            }
            for ((name, _), best) in schedulers.iter().zip(best) {
                println!("    {name:16}{}", best.map(|rate| format!("{rate:10.0}")).concat());
            }
        }
    }
}

fn schedulers(pending: usize) -> Vec<(&'static str, SchedulerConfig)> {
    let graph = |variant| SchedulerConfig::Graph { variant, window: pending, conflicts: Conflicts::default() };
    let class = |name: &str, mode, synchronisation| Class {
        name: name.to_owned(),
        touches: vec![(0, mode)],
        lanes: (0..WORKERS).collect(),
        synchronisation,
    };
    let classes = vec![
        class("readers", Mode::Read, Synchronisation::Concurrent),
        class("writers", Mode::Write, Synchronisation::Synchronised),
    ];
    let mapping = Mapping::new(Partitioning::Tables, 1, WORKERS, classes).expect("it keeps the rules");
    vec![
        ("sequential", SchedulerConfig::Sequential),
        ("keyed", SchedulerConfig::default()),
        ("graph-coarse", graph(GraphVariant::Coarse)),
        ("graph-fine", graph(GraphVariant::Fine)),
        ("graph-lock-free", graph(GraphVariant::LockFree)),
        ("early", SchedulerConfig::Early { mapping: Some(Arc::new(mapping)) }),
        ("static", SchedulerConfig::Static { lanes: None }),
    ]
}

const CONTAINS: u8 = 0;
const ADD: u8 = 1;

/// Random commands on elements that are all there; of `writes` in 100 they add.
fn payloads(count: usize, length: u64, writes: u64) -> Vec<Bytes> {
    let mut state: u64 = 1;
    let mut random = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        state >> 33
    };
    let mut command = |_| {
        let operation = if random() % 100 < writes { ADD } else { CONTAINS };
        let mut payload = vec![operation];
        payload.extend_from_slice(&(random() % length).to_le_bytes());
        Bytes::from(payload)
    };
    (0..count).map(&mut command).collect()
}

#[expect(clippy::linkedlist, reason = "to walk it is what the papers' commands cost")]
struct List {
    elements: RwLock<LinkedList<u64>>,
}

impl List {
    /// With the elements from 0 to `length` − 1.
    fn new(length: u64) -> Self {
        Self { elements: RwLock::new((0..length).collect()) }
    }
}

impl Service for List {
    fn footprint(&self, payload: &[u8], out: &mut FootprintBuilder) -> Result<Extraction, Refusal> {
        out.table(TableId(0), if payload[0] == ADD { Mode::Write } else { Mode::Read });
        Ok(Extraction::default())
    }

    fn execute(&self, _: WorkerId, run: &mut [Task]) {
        for task in run {
            let (operation, element) = task.command.payload.split_at(1);
            let element = u64::from_le_bytes(element.try_into().expect("eight bytes"));
            let contains = self.elements.read().expect("nobody panics").contains(&element);
            if operation == [ADD] && !contains {
                self.elements.write().expect("nobody panics").push_back(element);
            }
            task.reply = reply::result(&[if contains { 0xc3 } else { 0xc2 }]);
        }
    }

    fn state_digest(&self) -> Digest {
        Digest::default()
    }
}
