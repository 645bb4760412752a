//! Footprints: what a command touches, and so which commands it conflicts with.
//!
//! Every scheduler decides by footprints alone. Two commands conflict if their footprints do; conflicting commands run
//! in delivery order, all others at once. Replicas compute a footprint from the ordered bytes of the command, never
//! from what a client claims.

use siphasher::sip::SipHasher13;
use smallvec::SmallVec;

use crate::key::{self, KeyError};
use crate::messagepack::Reader;

/// Names a table: a class of state with a name space of keys of its own. `accounts/alice` and `orders/alice` are
/// different keys because their tables differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId(pub u16);

impl TableId {
    /// The id as an index into a list of tables.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// The hash of one key of one table. Keys with equal hashes count as one key: that loses parallelism, never safety.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash(pub u64);

impl KeyHash {
    /// The hash of `key`, in the encoding of [`crate::key`], in `table`.
    ///
    /// `SipHash` 1-3 with a fixed key: the same on every replica and in every version, because whether a handler's
    /// access was declared must be the same everywhere.
    pub fn of(table: TableId, key: &[u8]) -> Self {
        let hasher = SipHasher13::new_with_keys(0x7073_736d_7220_6b65 ^ u64::from(table.0), 0x7920_6861_7368_2031);
        Self(hasher.hash(key))
    }
}

/// How a command touches a key or a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Mode {
    /// Looks at it. Conflicts with `Commute` and `Write`.
    Read = 0,
    /// Changes it in a way that commutes with every other change of this mode, and does not look at it: adding to a
    /// counter. Conflicts with `Read` and `Write`.
    Commute = 1,
    /// Changes it. Conflicts with all modes.
    Write = 2,
}

impl Mode {
    /// Whether commands that touch one key in these modes must keep their order.
    #[inline]
    pub fn conflicts(self, other: Self) -> bool {
        self != other || self == Self::Write
    }

    /// The weakest mode that permits both.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        if self == other { self } else { Self::Write }
    }
}

/// Touching state as a whole, beside what the claims say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// The claims say all. With no claim at all, the command touches nothing and conflicts only with `Exclusive`.
    #[default]
    Claims,
    /// Reads everything: conflicts with every command that writes or commutes anywhere.
    ReadAll,
    /// May do anything: conflicts with every command, also with those that touch nothing. A fence.
    Exclusive,
}

/// One thing that a command touches: a key of a table, or a whole table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    // The order of the fields is the order of claims: by table, a whole table before its keys.
    table: TableId,
    is_key: bool,
    hash: u64,
    mode: Mode,
}

impl Claim {
    /// A claim on one key.
    pub fn key(table: TableId, hash: KeyHash, mode: Mode) -> Self {
        Self { table, is_key: true, hash: hash.0, mode }
    }

    /// A claim on every key of a table, those included that do not exist yet.
    pub fn table(table: TableId, mode: Mode) -> Self {
        Self { table, is_key: false, hash: 0, mode }
    }

    /// The table that is touched, or in which the key is.
    #[inline]
    pub fn table_id(&self) -> TableId {
        self.table
    }

    /// The key's hash; `None` if the whole table is claimed.
    #[inline]
    pub fn key_hash(&self) -> Option<KeyHash> {
        self.is_key.then_some(KeyHash(self.hash))
    }

    /// How it is touched.
    #[inline]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// What it is on; claims are sorted by this.
    fn place(&self) -> (TableId, bool, u64) {
        (self.table, self.is_key, self.hash)
    }

    /// The order of claims, as one number: comparing those takes a third of the time.
    fn rank(&self) -> u128 {
        u128::from(self.table.0) << 80
            | u128::from(self.is_key) << 72
            | u128::from(self.hash) << 8
            | u128::from(self.mode as u8)
    }

    fn same_target(&self, other: &Self) -> bool {
        self.place() == other.place()
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.table == other.table && (!self.is_key || !other.is_key || self.hash == other.hash)
    }

    fn conflicts(&self, other: &Self) -> bool {
        self.overlaps(other) && self.mode.conflicts(other.mode)
    }
}

/// Claims that are stored in place; a command with more allocates.
const INLINE_CLAIMS: usize = 4;

/// What a command touches: a scope, and a sorted list of claims, no two of them on the same target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    scope: Scope,
    claims: SmallVec<[Claim; INLINE_CLAIMS]>,
}

impl Footprint {
    /// Touches nothing.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Reads everything.
    pub fn read_all() -> Self {
        Self { scope: Scope::ReadAll, claims: SmallVec::new() }
    }

    /// May do anything.
    pub fn exclusive() -> Self {
        Self { scope: Scope::Exclusive, claims: SmallVec::new() }
    }

    /// The scope.
    #[inline]
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// The claims: sorted by table, a whole table before its keys.
    #[inline]
    pub fn claims(&self) -> &[Claim] {
        &self.claims
    }

    /// The claim, if there is one and nothing beside it. Most footprints are like that.
    #[inline]
    pub(crate) fn only_claim(&self) -> Option<&Claim> {
        match &self.claims[..] {
            [claim] if self.scope == Scope::Claims => Some(claim),
            _ => None,
        }
    }

    /// Whether it only looks at what it touches.
    pub fn is_read_only(&self) -> bool {
        self.scope != Scope::Exclusive && self.claims.iter().all(|claim| claim.mode == Mode::Read)
    }

    /// Whether two commands with these footprints must run in delivery order. This is the definition that schedulers
    /// are tested against; they find conflicts faster, and may order more pairs than this.
    pub fn conflicts(&self, other: &Self) -> bool {
        let changes = |f: &Self| f.claims.iter().any(|claim| claim.mode != Mode::Read);
        match (self.scope, other.scope) {
            (Scope::Exclusive, _) | (_, Scope::Exclusive) => true,
            (Scope::ReadAll, Scope::ReadAll) => changes(self) || changes(other),
            (Scope::ReadAll, Scope::Claims) if changes(other) => true,
            (Scope::Claims, Scope::ReadAll) if changes(self) => true,
            // Also a command that reads all and writes some can meet one that reads just that.
            (_, _) => self.claims.iter().any(|a| other.claims.iter().any(|b| a.conflicts(b))),
        }
    }

    /// Whether a command with this footprint may touch this key in this mode.
    pub fn allows_key(&self, table: TableId, hash: KeyHash, mode: Mode) -> bool {
        if self.claims.len() > INLINE_CLAIMS {
            return self.allows_one_of_many(table, hash, mode);
        }
        let target = Claim::key(table, hash, mode);
        self.allows(mode, |claim| claim.overlaps(&target))
    }

    /// The same by binary search, for footprints of commands that are executed together.
    fn allows_one_of_many(&self, table: TableId, hash: KeyHash, mode: Mode) -> bool {
        let permits = |target: Claim| {
            let found = self.claims.binary_search_by(|claim| claim.place().cmp(&target.place()));
            found.is_ok_and(|at| self.claims[at].mode == mode || self.claims[at].mode == Mode::Write)
        };
        self.scope == Scope::Exclusive
            || (self.scope == Scope::ReadAll && mode == Mode::Read)
            || permits(Claim::key(table, hash, mode))
            || permits(Claim::table(table, mode))
    }

    /// Whether a command with this footprint may touch the whole table in this mode.
    pub fn allows_table(&self, table: TableId, mode: Mode) -> bool {
        self.allows(mode, |claim| claim.table == table && !claim.is_key)
    }

    /// Whether no other command adds to this key while one with this footprint runs.
    pub fn excludes_additions(&self, table: TableId, hash: KeyHash) -> bool {
        let ordered = |target: Claim| {
            let found = self.claims.binary_search_by(|claim| claim.place().cmp(&target.place()));
            found.is_ok_and(|at| self.claims[at].mode != Mode::Commute)
        };
        self.scope != Scope::Claims
            || ordered(Claim::key(table, hash, Mode::Commute))
            || ordered(Claim::table(table, Mode::Commute))
    }

    fn allows(&self, mode: Mode, covers: impl Fn(&Claim) -> bool) -> bool {
        match self.scope {
            Scope::Exclusive => true,
            Scope::ReadAll if mode == Mode::Read => true,
            _ => self.claims.iter().any(|claim| (claim.mode == mode || claim.mode == Mode::Write) && covers(claim)),
        }
    }
}

/// Collects a footprint. One builder serves any number of commands: it keeps its memory.
#[derive(Clone, Debug, Default)]
pub struct FootprintBuilder {
    scope: Scope,
    claims: Vec<Claim>,
    key: Vec<u8>,
}

impl FootprintBuilder {
    /// A builder with nothing collected.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets what was collected.
    pub fn clear(&mut self) {
        self.scope = Scope::Claims;
        self.claims.clear();
    }

    /// Touches the key with these bytes, in the encoding of [`crate::key`].
    pub fn key(&mut self, table: TableId, key: &[u8], mode: Mode) {
        self.claim(Claim::key(table, KeyHash::of(table, key), mode));
    }

    /// Touches the key that this one `MessagePack` value is.
    ///
    /// # Errors
    /// If the value can't be a key.
    pub fn key_value(&mut self, table: TableId, value: &[u8], mode: Mode) -> Result<(), KeyError> {
        self.key.clear();
        key::encode(value, &mut self.key)?;
        self.claims.push(Claim::key(table, KeyHash::of(table, &self.key), mode));
        Ok(())
    }

    /// Touches the key that the next value of `reader` is.
    ///
    /// # Errors
    /// If the value can't be a key. Nothing is read then.
    pub fn next_key(&mut self, table: TableId, reader: &mut Reader<'_>, mode: Mode) -> Result<(), KeyError> {
        let mut ahead = *reader;
        self.key.clear();
        key::encode_next(&mut ahead, &mut self.key)?;
        *reader = ahead;
        self.claims.push(Claim::key(table, KeyHash::of(table, &self.key), mode));
        Ok(())
    }

    /// Touches a whole table.
    pub fn table(&mut self, table: TableId, mode: Mode) {
        self.claim(Claim::table(table, mode));
    }

    /// Adds a claim.
    pub fn claim(&mut self, claim: Claim) {
        self.claims.push(claim);
    }

    /// Touches all that `footprint` does.
    pub fn include(&mut self, footprint: &Footprint) {
        self.claims.extend_from_slice(&footprint.claims);
        match footprint.scope {
            Scope::Claims => {}
            Scope::ReadAll => self.read_all(),
            Scope::Exclusive => self.exclusive(),
        }
    }

    /// Reads everything.
    pub fn read_all(&mut self) {
        if self.scope == Scope::Claims {
            self.scope = Scope::ReadAll;
        }
    }

    /// May do anything.
    pub fn exclusive(&mut self) {
        self.scope = Scope::Exclusive;
    }

    /// The footprint of what was collected, and a cleared builder. Several claims on one target become one, of the
    /// weakest mode that permits all of them.
    pub fn build(&mut self) -> Footprint {
        if self.claims.len() > 1 {
            self.merge_claims();
        }
        let footprint = match self.scope {
            Scope::Exclusive => Footprint::exclusive(),
            scope => Footprint { scope, claims: SmallVec::from_slice(&self.claims) },
        };
        self.clear();
        footprint
    }

    fn merge_claims(&mut self) {
        self.claims.sort_unstable_by_key(Claim::rank);
        self.claims.dedup_by(|next, kept| {
            let same = next.same_target(kept);
            if same {
                kept.mode = kept.mode.join(next.mode);
            }
            same
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNTS: TableId = TableId(0);
    const ORDERS: TableId = TableId(1);

    fn footprint(fill: impl FnOnce(&mut FootprintBuilder)) -> Footprint {
        let mut builder = FootprintBuilder::new();
        fill(&mut builder);
        builder.build()
    }

    fn key(table: TableId, key: &[u8], mode: Mode) -> Footprint {
        footprint(|f| f.key(table, key, mode))
    }

    #[test]
    fn one_key_conflicts_unless_both_read_or_both_commute() {
        for a in [Mode::Read, Mode::Commute, Mode::Write] {
            for b in [Mode::Read, Mode::Commute, Mode::Write] {
                let compatible = a == b && a != Mode::Write;
                assert_eq!(key(ACCOUNTS, b"k", a).conflicts(&key(ACCOUNTS, b"k", b)), !compatible, "{a:?} {b:?}");
                assert!(!key(ACCOUNTS, b"k", a).conflicts(&key(ORDERS, b"k", b)));
                assert!(!key(ACCOUNTS, b"k", a).conflicts(&key(ACCOUNTS, b"l", b)));
            }
        }
    }

    #[test]
    fn a_whole_table_conflicts_with_its_keys_and_no_other_tables() {
        let reads = footprint(|f| f.table(ACCOUNTS, Mode::Read));
        assert!(reads.conflicts(&key(ACCOUNTS, b"k", Mode::Write)));
        assert!(reads.conflicts(&key(ACCOUNTS, b"k", Mode::Commute)));
        assert!(!reads.conflicts(&key(ACCOUNTS, b"k", Mode::Read)));
        assert!(!reads.conflicts(&key(ORDERS, b"k", Mode::Write)));
        assert!(!reads.conflicts(&reads));
    }

    #[test]
    fn scopes_conflict_as_they_say() {
        let (all, exclusive, nothing) = (Footprint::read_all(), Footprint::exclusive(), Footprint::nothing());
        assert!(!all.conflicts(&all) && !all.conflicts(&nothing) && !all.conflicts(&key(ORDERS, b"k", Mode::Read)));
        assert!(all.conflicts(&key(ORDERS, b"k", Mode::Commute)));
        assert!(exclusive.conflicts(&nothing) && nothing.conflicts(&exclusive) && exclusive.conflicts(&all));
        assert!(!nothing.conflicts(&nothing));
        let audit = footprint(|f| {
            f.read_all();
            f.key(ACCOUNTS, b"log", Mode::Write);
        });
        assert!(audit.conflicts(&audit) && audit.conflicts(&all) && audit.conflicts(&key(ORDERS, b"k", Mode::Write)));
        assert!(audit.conflicts(&key(ACCOUNTS, b"log", Mode::Read)));
        assert!(!audit.conflicts(&key(ORDERS, b"k", Mode::Read)));
    }

    #[test]
    fn claims_on_one_key_join() {
        let twice = footprint(|f| {
            f.key(ACCOUNTS, b"k", Mode::Read);
            f.key(ACCOUNTS, b"k", Mode::Write);
            f.key(ACCOUNTS, b"k", Mode::Read);
        });
        assert_eq!(twice, key(ACCOUNTS, b"k", Mode::Write));
        let both = footprint(|f| {
            f.key(ACCOUNTS, b"k", Mode::Commute);
            f.key(ACCOUNTS, b"k", Mode::Read);
        });
        assert_eq!(both, key(ACCOUNTS, b"k", Mode::Write));
    }

    #[test]
    fn claims_rank_as_they_compare() {
        let claims: Vec<_> = [TableId(0), TableId(1), TableId(u16::MAX)]
            .into_iter()
            .flat_map(|table| {
                [Mode::Read, Mode::Commute, Mode::Write].into_iter().flat_map(move |mode| {
                    let keys = [0, 1, u64::MAX].map(|hash| Claim::key(table, KeyHash(hash), mode));
                    keys.into_iter().chain([Claim::table(table, mode)])
                })
            })
            .collect();
        for a in &claims {
            for b in &claims {
                assert_eq!(a.rank().cmp(&b.rank()), a.cmp(b), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn a_footprint_allows_what_it_declares() {
        let hash = KeyHash::of(ACCOUNTS, b"k");
        let commute = key(ACCOUNTS, b"k", Mode::Commute);
        assert!(commute.allows_key(ACCOUNTS, hash, Mode::Commute));
        assert!(!commute.allows_key(ACCOUNTS, hash, Mode::Read) && !commute.allows_key(ACCOUNTS, hash, Mode::Write));
        let write = key(ACCOUNTS, b"k", Mode::Write);
        assert!(write.allows_key(ACCOUNTS, hash, Mode::Read) && write.allows_key(ACCOUNTS, hash, Mode::Commute));
        assert!(!write.allows_key(ORDERS, hash, Mode::Read) && !write.allows_table(ACCOUNTS, Mode::Read));
        let table = footprint(|f| f.table(ACCOUNTS, Mode::Read));
        assert!(table.allows_key(ACCOUNTS, hash, Mode::Read) && table.allows_table(ACCOUNTS, Mode::Read));
        assert!(!table.allows_key(ACCOUNTS, hash, Mode::Write));
        assert!(Footprint::read_all().allows_table(ORDERS, Mode::Read));
        assert!(!Footprint::read_all().allows_key(ORDERS, hash, Mode::Write));
        assert!(Footprint::exclusive().allows_table(ORDERS, Mode::Write));
    }

    #[test]
    fn a_footprint_of_many_claims_allows_what_each_of_them_does() {
        let modes = [Mode::Read, Mode::Commute, Mode::Write];
        let mut each: Vec<_> = modes.map(|mode| key(ACCOUNTS, &[mode as u8], mode)).into();
        each.extend([b"a", b"b"].map(|name| key(ACCOUNTS, name, Mode::Read)));
        for wide in modes.map(|mode| footprint(|f| f.table(ORDERS, mode))).into_iter().chain([Footprint::read_all()]) {
            each.push(wide);
            let many = footprint(|f| each.iter().for_each(|one| f.include(one)));
            for (table, name) in [ACCOUNTS, ORDERS].into_iter().flat_map(|table| (0..4).map(move |name| (table, name)))
            {
                for mode in modes {
                    let hash = KeyHash::of(table, &[name]);
                    let expected = each.iter().any(|one| one.allows_key(table, hash, mode));
                    assert_eq!(many.allows_key(table, hash, mode), expected, "{table:?} {name} {mode:?} {many:?}");
                }
            }
            each.pop();
        }
    }

    #[test]
    fn what_only_reads_is_known_by_scope_and_claims() {
        assert!(Footprint::nothing().is_read_only() && Footprint::read_all().is_read_only());
        assert!(!Footprint::exclusive().is_read_only());
        assert!(key(ACCOUNTS, b"k", Mode::Read).is_read_only());
        assert!(!key(ACCOUNTS, b"k", Mode::Commute).is_read_only());
    }

    #[test]
    fn a_builder_keeps_nothing_of_the_footprint_before() {
        let mut builder = FootprintBuilder::new();
        builder.exclusive();
        builder.key(ACCOUNTS, b"k", Mode::Write);
        assert_eq!(builder.build(), Footprint::exclusive());
        assert_eq!(builder.build(), Footprint::nothing());
    }

    #[test]
    fn what_may_do_anything_may_still_when_it_reads_everything() {
        for parts in [[Footprint::exclusive(), Footprint::read_all()], [Footprint::read_all(), Footprint::exclusive()]]
        {
            let both = footprint(|f| parts.iter().for_each(|part| f.include(part)));
            assert_eq!(both, Footprint::exclusive());
        }
    }

    #[test]
    fn whole_tables_are_claimed_each_by_itself() {
        let both = footprint(|f| {
            f.table(ACCOUNTS, Mode::Read);
            f.table(ORDERS, Mode::Write);
        });
        assert_eq!(both.claims(), [Claim::table(ACCOUNTS, Mode::Read), Claim::table(ORDERS, Mode::Write)]);
    }

    #[test]
    fn a_key_has_another_hash_in_each_table() {
        let hashes: std::collections::BTreeSet<_> =
            (0..1000).map(|table| KeyHash::of(TableId(table), b"alice")).collect();
        assert_eq!(hashes.len(), 1000);
    }

    #[test]
    fn nobody_else_adds_to_what_a_command_looks_at_or_writes() {
        let hash = KeyHash::of(ACCOUNTS, b"k");
        let adds = key(ACCOUNTS, b"k", Mode::Commute);
        let whole = |mode| footprint(|f| f.table(ACCOUNTS, mode));
        for other in [
            key(ACCOUNTS, b"k", Mode::Read),
            key(ACCOUNTS, b"k", Mode::Write),
            key(ACCOUNTS, b"l", Mode::Write),
            key(ORDERS, b"k", Mode::Write),
            whole(Mode::Read),
            whole(Mode::Commute),
            Footprint::read_all(),
            Footprint::exclusive(),
            Footprint::nothing(),
            footprint(|f| {
                f.include(&adds);
                f.include(&whole(Mode::Read));
            }),
            adds.clone(),
        ] {
            assert_eq!(other.excludes_additions(ACCOUNTS, hash), other.conflicts(&adds), "{other:?}");
        }
    }

    #[test]
    fn the_hash_of_a_key_is_the_same_in_every_version() {
        // A golden value, computed by another implementation of SipHash 1-3: all replicas must agree.
        assert_eq!(KeyHash::of(TableId(3), b"alice"), KeyHash(12_732_361_180_508_068_813));
    }
}
