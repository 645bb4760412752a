//! The bytes of all tables: what a snapshot of them is, and what their digest is of.
//!
//! `"pssmr tables 1"`, the number of tables; for each, in the order of their ids, its name, the number of its keys; for each
//! key, in order, the key and its value. A table that a later version of the service has added is left out while it is
//! empty. Numbers and lengths have 8 bytes, the lowest first; a length stands before what it is of.

use std::io::{self, BufWriter, Read, Write};

use bytes::Bytes;

use super::{TableSnapshot, Tables};
use crate::footprint::{KeyHash, TableId};
use crate::snapshot::{RestoreError, SnapshotReader, SnapshotSource};

const HEADER: &str = "pssmr tables 1";

/// The longest key, value, and name that is read, in bytes.
const KEY_BYTES_MAX: usize = 1 << 20;
const VALUE_BYTES_MAX: usize = 1 << 30;
const NAME_BYTES_MAX: usize = 1 << 16;

/// What a piece of the encoding gathers before it is written.
const BUFFER_BYTES: usize = 64 << 10;

/// All tables as they were at one moment.
#[derive(Clone, Debug)]
pub struct TablesSnapshot {
    tables: Vec<(String, TableSnapshot)>,
}

impl TablesSnapshot {
    /// Writes the canonical encoding: equal tables give equal bytes, however they came about.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn encode(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, out);
        out.write_all(HEADER.as_bytes())?;
        number(&mut out, self.tables.len())?;
        for (name, table) in &self.tables {
            bytes(&mut out, name.as_bytes())?;
            number(&mut out, table.len())?;
            for (key, value) in table.iter() {
                bytes(&mut out, key)?;
                bytes(&mut out, value)?;
            }
        }
        out.flush()
    }
}

impl SnapshotSource for TablesSnapshot {
    fn write_to(self: Box<Self>, out: &mut dyn Write) -> io::Result<()> {
        self.encode(out)
    }
}

fn number(out: &mut impl Write, value: usize) -> io::Result<()> {
    out.write_all(&(value as u64).to_le_bytes())
}

fn bytes(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    number(out, bytes.len())?;
    out.write_all(bytes)
}

impl Tables {
    /// All tables as they are now. Costs nothing to speak of, however large they are. They are of one moment only if
    /// nothing writes meanwhile.
    pub fn snapshot_all(&self) -> TablesSnapshot {
        let ids = (0..self.count()).map(|index| TableId(index as u16));
        let tables = ids.map(|id| (&self.tables[id.index()], self.snapshot(id)));
        let there = tables.filter(|(table, snapshot)| !table.is_added || !snapshot.is_empty());
        TablesSnapshot { tables: there.map(|(table, snapshot)| (table.name.clone(), snapshot)).collect() }
    }

    /// Makes all tables what `source`, which [`TablesSnapshot::encode`] has written, says: those that it does not have were
    /// added since, and are empty. It reads that and no byte more, in small pieces: hand over a reader with a buffer.
    ///
    /// # Errors
    /// The source can't be read, is of other tables, or is not in the canonical encoding. The tables are as before.
    pub fn restore_all(&self, source: &mut dyn Read) -> Result<(), RestoreError> {
        let mut reader = SnapshotReader(source);
        reader.literal(HEADER)?;
        let count = reader.number()?;
        if count > self.count() as u64 {
            return Err(RestoreError::Malformed(format!("{count} tables, where {} are expected", self.count())));
        }
        let mut read = vec![TableSnapshot::empty(); self.count()];
        let mut next = 0;
        for _ in 0..count {
            let id = self.find_from(next, &reader.bytes("name", NAME_BYTES_MAX)?)?;
            next = id.index() + 1;
            read[id.index()] = Self::read_table(id, &mut reader)?;
        }
        for (index, table) in read.into_iter().enumerate() {
            self.restore(TableId(index as u16), table);
        }
        Ok(())
    }

    /// The table of this name, which is not one before `next`.
    fn find_from(&self, next: usize, name: &[u8]) -> Result<TableId, RestoreError> {
        let found =
            (next..self.count()).map(|index| TableId(index as u16)).find(|id| self.name(*id).as_bytes() == name);
        found.ok_or_else(|| {
            let expected = self.tables[next..].iter().map(|table| format!("{:?}", table.name)).collect::<Vec<_>>();
            let got = String::from_utf8_lossy(name);
            RestoreError::Malformed(format!("table {got:?}, where {} is expected", expected.join(" or ")))
        })
    }

    fn read_table(id: TableId, reader: &mut SnapshotReader<'_>) -> Result<TableSnapshot, RestoreError> {
        let mut table = TableSnapshot::empty();
        let mut last: Option<Vec<u8>> = None;
        for _ in 0..reader.number()? {
            let key = reader.bytes("key", KEY_BYTES_MAX)?;
            if last.is_some_and(|last| last >= key) {
                return Err(RestoreError::Malformed("keys that do not ascend".to_owned()));
            }
            let value = reader.bytes("value", VALUE_BYTES_MAX)?;
            table.insert(KeyHash::of(id, &key), &key, Bytes::from(value.into_boxed_slice()));
            last = Some(key);
        }
        Ok(table)
    }
}
