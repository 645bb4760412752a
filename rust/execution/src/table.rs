//! Tables: the state that the core keeps for services.
//!
//! A table maps keys (in the encoding of [`crate::key`], so sorted by value) to values (bytes that only the service
//! understands). It is split by hash into shards, each behind a lock of its own, so that commands on different keys
//! don't meet. A shard is a persistent map: a copy of it costs nothing and shares all structure, so a table can be
//! read as it was while commands go on.

mod encoding;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;
use parking_lot::RwLock;
use pssmr_types::Digest;

use crate::footprint::{KeyHash, TableId};

pub use encoding::TablesSnapshot;

/// The number of shards of a table, a power of two.
const SHARDS: usize = 32;

/// A key and its value.
pub type Entry = (Arc<[u8]>, Bytes);

type Shard = OrdMap<Arc<[u8]>, Bytes>;

/// One table. Its users see to it that commands that conflict don't meet here: each call is atomic by itself, no more.
#[derive(Debug)]
struct Table {
    name: String,
    /// A later version of the service has added it.
    is_added: bool,
    shards: [RwLock<Shard>; SHARDS],
}

/// All tables of a service, by id.
#[derive(Debug)]
pub struct Tables {
    tables: Vec<Table>,
}

impl Table {
    fn shard(&self, hash: KeyHash) -> &RwLock<Shard> {
        &self.shards[shard_of(hash)]
    }
}

fn shard_of(hash: KeyHash) -> usize {
    hash.0 as usize % SHARDS
}

impl Tables {
    /// Empty tables with these names. A table's id is its place in the list.
    ///
    /// # Panics
    /// If there are more than 65536 names, or one of them is there twice.
    pub fn new<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        Self::with_added(names.into_iter().map(|name| (name, false)))
    }

    /// The same, where some tables were added by a later version of the service: those are in no snapshot and no digest
    /// as long as they are empty, so that code without them comes to the same.
    ///
    /// # Panics
    /// As [`Tables::new`] does.
    pub fn with_added<N: Into<String>>(tables: impl IntoIterator<Item = (N, bool)>) -> Self {
        let table = |(name, is_added): (N, bool)| Table { name: name.into(), is_added, shards: Default::default() };
        let tables: Vec<_> = tables.into_iter().map(table).collect();
        assert!(tables.len() <= 1 << 16, "a table's id has 16 bits");
        let mut names: Vec<_> = tables.iter().map(|table| &table.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "a table's name is its own");
        Self { tables }
    }

    /// The number of tables.
    pub fn count(&self) -> usize {
        self.tables.len()
    }

    /// The table's name.
    ///
    /// # Panics
    /// If there is no such table; this holds for all methods that take an id.
    pub fn name(&self, table: TableId) -> &str {
        &self.tables[table.index()].name
    }

    /// The id of the table with this name.
    pub fn id_of(&self, name: &str) -> Option<TableId> {
        self.tables.iter().position(|table| table.name == name).map(|index| TableId(index as u16))
    }

    pub(crate) fn get(&self, table: TableId, hash: KeyHash, key: &[u8]) -> Option<Bytes> {
        self.tables[table.index()].shard(hash).read().get(key).cloned()
    }

    pub(crate) fn contains(&self, table: TableId, hash: KeyHash, key: &[u8]) -> bool {
        self.tables[table.index()].shard(hash).read().contains_key(key)
    }

    /// Returns the previous value.
    pub(crate) fn put(&self, table: TableId, hash: KeyHash, key: &[u8], value: Bytes) -> Option<Bytes> {
        let mut shard = self.tables[table.index()].shard(hash).write();
        if let Some(held) = shard.get_mut(key) {
            return Some(std::mem::replace(held, value));
        }
        shard.insert(Arc::from(key), value)
    }

    /// Returns the previous value.
    pub(crate) fn remove(&self, table: TableId, hash: KeyHash, key: &[u8]) -> Option<Bytes> {
        self.tables[table.index()].shard(hash).write().remove(key)
    }

    /// The least key, and its value.
    pub(crate) fn first(&self, table: TableId) -> Option<Entry> {
        let firsts = self.tables[table.index()].shards.iter().filter_map(|shard| shard.read().get_min().cloned());
        firsts.min_by(|a, b| a.0.cmp(&b.0))
    }

    /// The greatest key, and its value.
    pub(crate) fn last(&self, table: TableId) -> Option<Entry> {
        let lasts = self.tables[table.index()].shards.iter().filter_map(|shard| shard.read().get_max().cloned());
        lasts.max_by(|a, b| a.0.cmp(&b.0))
    }

    /// Replaces a value by a function of it, in one step.
    pub(crate) fn update(
        &self,
        table: TableId,
        hash: KeyHash,
        key: &[u8],
        change: impl FnOnce(Option<&Bytes>) -> Bytes,
    ) {
        let mut shard = self.tables[table.index()].shard(hash).write();
        let value = change(shard.get(key));
        shard.insert(Arc::from(key), value);
    }

    pub(crate) fn clear(&self, table: TableId) {
        for shard in &self.tables[table.index()].shards {
            *shard.write() = Shard::new();
        }
    }

    /// Makes the table what the snapshot says.
    pub(crate) fn restore(&self, table: TableId, snapshot: TableSnapshot) {
        for (shard, held) in self.tables[table.index()].shards.iter().zip(snapshot.shards) {
            *shard.write() = held;
        }
    }

    /// The number of keys in the table.
    pub(crate) fn len(&self, table: TableId) -> usize {
        self.tables[table.index()].shards.iter().map(|shard| shard.read().len()).sum()
    }

    /// The table as it is now. Costs nothing to speak of, however large it is.
    pub fn snapshot(&self, table: TableId) -> TableSnapshot {
        TableSnapshot { shards: self.tables[table.index()].shards.iter().map(|shard| shard.read().clone()).collect() }
    }

    /// The digest of all tables: of their names, keys and values, in order. Equal states have equal digests, however
    /// they came about. It is the BLAKE3 digest of what [`TablesSnapshot::encode`] writes.
    pub fn digest(&self) -> Digest {
        let mut hasher = blake3::Hasher::new();
        self.snapshot_all().encode(&mut hasher).expect("hashing does not fail");
        Digest(*hasher.finalize().as_bytes())
    }
}

/// A table as it was at one moment.
#[derive(Clone, Debug)]
pub struct TableSnapshot {
    shards: Vec<Shard>,
}

impl TableSnapshot {
    fn empty() -> Self {
        Self { shards: vec![Shard::new(); SHARDS] }
    }

    fn insert(&mut self, hash: KeyHash, key: &[u8], value: Bytes) {
        self.shards[shard_of(hash)].insert(Arc::from(key), value);
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.shards.iter().map(OrdMap::len).sum()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Keys and values, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Bytes)> {
        self.range(Bound::Unbounded, Bound::Unbounded)
    }

    /// Keys and values between two bounds, in the order of the keys. To read a table in pages, start each page with
    /// the last key of the one before, excluded.
    pub fn range<'a>(&'a self, from: Bound<&[u8]>, to: Bound<&[u8]>) -> impl Iterator<Item = (&'a [u8], &'a Bytes)> {
        let empty = match (from, to) {
            (Bound::Included(from), Bound::Included(to)) => from > to,
            (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => from >= to,
            _ => false,
        };
        let shards = if empty { &[][..] } else { &self.shards[..] };
        let mut heads: Vec<_> = shards.iter().map(|shard| shard.range::<_, [u8]>((from, to)).peekable()).collect();
        let first = heads.iter_mut().enumerate().filter_map(|(index, head)| Some(Reverse((&**head.peek()?.0, index))));
        let mut least: BinaryHeap<Reverse<(&[u8], usize)>> = first.collect();
        std::iter::from_fn(move || {
            let mut top = least.peek_mut()?;
            let head = &mut heads[top.0.1];
            let (key, value) = head.next().expect("its key is in the heap");
            match head.peek() {
                Some((next, _)) => top.0.0 = next,
                None => drop(PeekMut::pop(top)),
            }
            Some((&**key, value))
        })
    }
}
