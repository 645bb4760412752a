//! Random commands on a small state. A command reads all that it may read when it begins, and writes all that it may
//! write when it ends; so two commands that conflict and overlap, or swap, leave a trace in the state or in a reply.

use std::hash::{DefaultHasher, Hash, Hasher};

use proptest::prelude::*;
use pssmr_execution::{Claim, Footprint, FootprintBuilder, KeyHash, Mode, TableId};

pub(crate) const TABLES: u16 = 3;
pub(crate) const KEYS: u8 = 4;

/// The value of each key of each table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State([[u64; KEYS as usize]; TABLES as usize]);

/// A command that has begun.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun {
    command: u64,
    read: u64,
}

fn hash(table: u16, key: u8) -> KeyHash {
    KeyHash::of(TableId(table), &[key])
}

fn places() -> impl Iterator<Item = (u16, u8)> {
    (0..TABLES).flat_map(|table| (0..KEYS).map(move |key| (table, key)))
}

impl State {
    /// Command number `command` reads what it may.
    pub(crate) fn begin(&self, command: u64, footprint: &Footprint) -> Begun {
        let mut hasher = DefaultHasher::new();
        for (table, key) in places() {
            if footprint.allows_key(TableId(table), hash(table, key), Mode::Read) {
                self.0[usize::from(table)][usize::from(key)].hash(&mut hasher);
            }
        }
        Begun { command, read: hasher.finish() }
    }

    /// The command writes what it may; its reply.
    pub(crate) fn end(&mut self, begun: Begun, footprint: &Footprint) -> u64 {
        for (table, key) in places() {
            let value = &mut self.0[usize::from(table)][usize::from(key)];
            if footprint.allows_key(TableId(table), hash(table, key), Mode::Write) {
                let mut hasher = DefaultHasher::new();
                (begun.command, begun.read, table, key).hash(&mut hasher);
                *value = hasher.finish();
            } else if footprint.allows_key(TableId(table), hash(table, key), Mode::Commute) {
                *value = value.wrapping_add(begun.command + 1);
            }
        }
        begun.read
    }
}

/// The state and the replies after all commands, one after the other.
pub(crate) fn in_delivery_order(footprints: &[Footprint]) -> (State, Vec<u64>) {
    let mut state = State::default();
    let replies = (0..)
        .zip(footprints)
        .map(|(command, footprint)| {
            let begun = state.begin(command, footprint);
            state.end(begun, footprint)
        })
        .collect();
    (state, replies)
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![4 => Just(Mode::Read), 4 => Just(Mode::Write), 2 => Just(Mode::Commute)]
}

fn key_claim() -> impl Strategy<Value = Claim> {
    (0..TABLES, 0..KEYS, mode()).prop_map(|(table, key, mode)| Claim::key(TableId(table), hash(table, key), mode))
}

fn table_claim() -> impl Strategy<Value = Claim> {
    (0..TABLES, mode()).prop_map(|(table, mode)| Claim::table(TableId(table), mode))
}

fn built(claims: Vec<Claim>, scope: impl Fn(&mut FootprintBuilder)) -> Footprint {
    let mut builder = FootprintBuilder::new();
    for claim in claims {
        builder.claim(claim);
    }
    scope(&mut builder);
    builder.build()
}

/// A footprint of up to four keys and nothing else.
pub(crate) fn keys() -> impl Strategy<Value = Footprint> {
    prop_oneof![
        6 => prop::collection::vec(key_claim(), 1..=1),
        3 => prop::collection::vec(key_claim(), 0..=4),
    ]
    .prop_map(|claims| built(claims, |_| {}))
}

/// Any footprint.
pub(crate) fn any_footprint() -> impl Strategy<Value = Footprint> {
    let with_tables = prop::collection::vec(prop_oneof![key_claim(), table_claim()], 1..=3);
    prop_oneof![
        16 => keys(),
        3 => with_tables.prop_map(|claims| built(claims, |_| {})),
        1 => prop::collection::vec(key_claim(), 0..=2).prop_map(|claims| built(claims, FootprintBuilder::read_all)),
        1 => Just(Footprint::exclusive()),
    ]
}
