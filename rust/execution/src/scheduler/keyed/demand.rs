//! Demands: what a footprint asks for at the root, at tables, and at entries of the key table.

use super::node::NodeMode;
use crate::footprint::{Claim, Footprint, Mode, Scope};

/// Stands for "no entry", or "no request".
pub(super) const NONE: u32 = u32::MAX;

/// What a command asks for at one table, and at one entry of the key table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Demand {
    pub(super) table: u16,
    pub(super) table_mode: NodeMode,
    /// `NONE`: only the table.
    pub(super) entry: u32,
    pub(super) mode: Mode,
}

impl Demand {
    /// Stands where there is no demand, at no table and no entry.
    pub(super) const NOTHING: Self = Self { table: 0, table_mode: NodeMode::ReadBelow, entry: NONE, mode: Mode::Read };

    /// What a claim asks for if nothing is claimed beside it.
    pub(super) fn of(claim: &Claim, entry_of: impl Fn(u64) -> u32) -> Self {
        let (table, mode) = (claim.table_id().0, claim.mode());
        match claim.key_hash() {
            Some(hash) => Self { table, table_mode: NodeMode::below(mode), entry: entry_of(hash.0), mode },
            None => Self { table, table_mode: NodeMode::whole(mode), entry: NONE, mode },
        }
    }
}

/// The demand at the root; the first of the other demands; and in `extra`, which is empty, the rest of them. There is
/// at most one demand for each entry.
#[cold]
pub(super) fn demands(
    footprint: &Footprint,
    entry_of: impl Fn(u64) -> u32,
    extra: &mut Vec<Demand>,
) -> (NodeMode, Option<Demand>) {
    match (footprint.scope(), footprint.claims()) {
        // A command that touches nothing is still before or after an exclusive one.
        (Scope::Claims, []) => (NodeMode::ReadBelow, None),
        (Scope::Claims, claims) => {
            demands_of_claims(claims, entry_of, extra);
            let strongest = claims.iter().map(Claim::mode).fold(claims[0].mode(), Mode::join);
            (NodeMode::below(strongest), extra.pop())
        }
        (Scope::ReadAll, claims) => {
            let only_reads = claims.iter().all(|claim| claim.mode() == Mode::Read);
            (if only_reads { NodeMode::Read } else { NodeMode::Write }, None)
        }
        (Scope::Exclusive, _) => (NodeMode::Write, None),
    }
}

fn demands_of_claims(claims: &[Claim], entry_of: impl Fn(u64) -> u32, out: &mut Vec<Demand>) {
    for of_table in claims.chunk_by(|a, b| a.table_id() == b.table_id()) {
        if of_table[0].key_hash().is_none() {
            // The whole table, in a mode that covers its keys too.
            let mode = of_table.iter().map(Claim::mode).fold(of_table[0].mode(), Mode::join);
            out.push(Demand::of(&Claim::table(of_table[0].table_id(), mode), &entry_of));
        } else {
            out.extend(of_table.iter().map(|claim| Demand::of(claim, &entry_of)));
        }
    }
    share_entries(out);
}

/// Leaves one demand at each entry: two keys of one command can share it, and the command would wait for itself.
fn share_entries(demands: &mut [Demand]) {
    demands.sort_unstable_by_key(|demand| demand.entry);
    let mut first = 0;
    for index in 1..demands.len() {
        if demands[index].entry == NONE || demands[index].entry != demands[first].entry {
            first = index;
        } else {
            demands[first].mode = demands[first].mode.join(demands[index].mode);
            demands[index].entry = NONE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::footprint::{FootprintBuilder, TableId};

    #[test]
    fn keys_that_share_an_entry_make_one_demand_there_and_keep_their_tables() {
        let mut builder = FootprintBuilder::new();
        builder.key(TableId(1), b"a", Mode::Read);
        builder.key(TableId(2), b"b", Mode::Commute);
        builder.key(TableId(2), b"c", Mode::Commute);
        builder.table(TableId(3), Mode::Read);
        let mut out = Vec::new();
        let (root, first) = demands(&builder.build(), |_| 7, &mut out);
        assert_eq!(root, NodeMode::WriteBelow);
        out.extend(first);
        let at_entry: Vec<_> = out.iter().filter(|demand| demand.entry == 7).collect();
        assert_eq!(at_entry.len(), 1);
        assert_eq!(at_entry[0].mode, Mode::Write);
        let mut tables: Vec<_> = out.iter().map(|demand| (demand.table, demand.table_mode)).collect();
        tables.sort_unstable_by_key(|(table, _)| *table);
        let expected =
            [(1, NodeMode::ReadBelow), (2, NodeMode::CommuteBelow), (2, NodeMode::CommuteBelow), (3, NodeMode::Read)];
        assert_eq!(tables, expected);
    }

    #[test]
    fn a_whole_table_covers_its_keys() {
        let mut builder = FootprintBuilder::new();
        builder.table(TableId(1), Mode::Read);
        builder.key(TableId(1), b"a", Mode::Write);
        let mut out = Vec::new();
        let (_, first) = demands(&builder.build(), |_| 0, &mut out);
        assert_eq!(first, Some(Demand { table: 1, table_mode: NodeMode::Write, entry: NONE, mode: Mode::Write }));
        assert_eq!(out, []);
    }
}
