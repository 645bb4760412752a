//! Access to tables by one running command: checked against its footprint, and undone if its handler fails.

use std::sync::Arc;

use bytes::Bytes;

use crate::footprint::{Footprint, KeyHash, Mode, TableId};
use crate::messagepack::{self, Reader, Token};
use crate::table::{Entry, TableSnapshot, Tables};

/// Why an access was denied. It has changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// The command did not declare that it touches this key in this way.
    #[error("the command does not declare that it touches this key of table {table:?} in mode {mode:?}")]
    UndeclaredKey {
        /// The table.
        table: TableId,
        /// The mode that is missing.
        mode: Mode,
    },
    /// The command did not declare that it touches the whole table in this way.
    #[error("the command does not declare that it touches all of table {table:?} in mode {mode:?}")]
    UndeclaredTable {
        /// The table.
        table: TableId,
        /// The mode that is missing.
        mode: Mode,
    },
    /// Addition to a value that is not an integer of 64 bits with a sign.
    #[error("the value is not an integer of 64 bits")]
    NotAnInteger,
}

#[derive(Debug)]
enum Undo {
    Key { table: TableId, hash: KeyHash, key: Bytes, previous: Option<Bytes> },
    Table { table: TableId, previous: TableSnapshot },
}

#[derive(Debug)]
struct Addition {
    table: TableId,
    hash: KeyHash,
    key: Bytes,
    amount: i64,
}

/// One command's view of the tables.
///
/// [`Access::begin`] gives it the footprint of the next command; [`Access::commit`] or [`Access::rollback`] ends the
/// command. One access serves all commands of a worker.
#[derive(Debug)]
pub struct Access {
    tables: Arc<Tables>,
    /// `None`: not guarded.
    footprint: Option<Footprint>,
    /// What the whole transaction touches, if the command is an operation of one.
    transaction: Option<Footprint>,
    undo: Vec<Undo>,
    /// Commuting additions are put off until the command commits, if others may be adding to the same key: such an
    /// addition could not be undone by writing back the previous value. Nothing in the command looks at the key then.
    additions: Vec<Addition>,
}

impl Access {
    /// Access that declares nothing yet.
    pub fn new(tables: Arc<Tables>) -> Self {
        Self {
            tables,
            footprint: Some(Footprint::nothing()),
            transaction: None,
            undo: Vec::new(),
            additions: Vec::new(),
        }
    }

    /// Access that is not guarded, for use outside of a replica.
    pub fn unguarded(tables: Arc<Tables>) -> Self {
        Self { tables, footprint: None, transaction: None, undo: Vec::new(), additions: Vec::new() }
    }

    /// The tables themselves.
    pub fn tables(&self) -> &Arc<Tables> {
        &self.tables
    }

    /// Begins a command with this footprint. From here on the access is guarded.
    ///
    /// # Panics
    /// If the command before has neither committed nor rolled back.
    pub fn begin(&mut self, footprint: &Footprint) {
        assert!(self.undo.is_empty() && self.additions.is_empty(), "the command before has not ended");
        self.transaction = None;
        self.guard(footprint);
    }

    /// Begins the next operation of the transaction whose footprint [`Access::begin`] was given. It may touch what its
    /// own footprint says, which is a part of that one, and sees what those before it have written.
    pub fn begin_operation(&mut self, footprint: &Footprint) {
        if self.transaction.is_none() {
            self.transaction = self.footprint.take();
        }
        self.guard(footprint);
    }

    fn guard(&mut self, footprint: &Footprint) {
        match &mut self.footprint {
            Some(held) => held.clone_from(footprint),
            none => *none = Some(footprint.clone()),
        }
    }

    /// Keeps what the command has done.
    pub fn commit(&mut self) {
        self.undo.clear();
        for Addition { table, hash, key, amount } in self.additions.drain(..) {
            self.tables.update(table, hash, &key, |value| {
                let value = integer(value).expect("checked when it was added, and nothing but additions since");
                encode_integer(value.wrapping_add(amount))
            });
        }
    }

    /// Undoes all that was done since the command began.
    pub fn rollback(&mut self) {
        self.additions.clear();
        while let Some(undo) = self.undo.pop() {
            match undo {
                Undo::Key { table, hash, key, previous: Some(value) } => {
                    self.tables.put(table, hash, &key, value);
                }
                Undo::Key { table, hash, key, previous: None } => {
                    self.tables.remove(table, hash, &key);
                }
                Undo::Table { table, previous } => self.tables.restore(table, previous),
            }
        }
    }

    /// The value of a key. Needs read or write.
    ///
    /// # Errors
    /// [`AccessError::UndeclaredKey`].
    pub fn get(&self, table: TableId, key: &[u8]) -> Result<Option<Bytes>, AccessError> {
        let hash = self.key(table, key, Mode::Read)?;
        Ok(self.tables.get(table, hash, key))
    }

    /// Whether a key is there. Needs read or write.
    ///
    /// # Errors
    /// [`AccessError::UndeclaredKey`].
    pub fn contains(&self, table: TableId, key: &[u8]) -> Result<bool, AccessError> {
        let hash = self.key(table, key, Mode::Read)?;
        Ok(self.tables.contains(table, hash, key))
    }

    /// Gives a key a value. Needs write. The value is kept as it is: a slice of something large keeps all of that in
    /// memory, so copy what comes from a payload.
    ///
    /// # Errors
    /// [`AccessError::UndeclaredKey`].
    pub fn put(&mut self, table: TableId, key: &[u8], value: Bytes) -> Result<(), AccessError> {
        let hash = self.key(table, key, Mode::Write)?;
        let previous = self.tables.put(table, hash, key, value);
        self.remember(table, hash, key, previous);
        Ok(())
    }

    /// Removes a key and returns its value. Needs write.
    ///
    /// # Errors
    /// [`AccessError::UndeclaredKey`].
    pub fn remove(&mut self, table: TableId, key: &[u8]) -> Result<Option<Bytes>, AccessError> {
        let hash = self.key(table, key, Mode::Write)?;
        let previous = self.tables.remove(table, hash, key);
        if previous.is_some() {
            self.remember(table, hash, key, previous.clone());
        }
        Ok(previous)
    }

    /// Adds to the integer that is a key's value; a key that is not there counts as 0. Needs commute or write. The sum
    /// wraps around at 64 bits: an error that depends on the order of additions would not commute.
    ///
    /// # Errors
    /// [`AccessError::UndeclaredKey`] or [`AccessError::NotAnInteger`].
    pub fn add(&mut self, table: TableId, key: &[u8], amount: i64) -> Result<(), AccessError> {
        let hash = self.key(table, key, Mode::Commute)?;
        let value = self.tables.get(table, hash, key);
        let sum = integer(value.as_ref())?.wrapping_add(amount);
        let whole = self.transaction.as_ref().or(self.footprint.as_ref());
        if whole.is_none_or(|whole| whole.excludes_additions(table, hash)) {
            let previous = self.tables.put(table, hash, key, encode_integer(sum));
            self.remember(table, hash, key, previous);
        } else {
            self.additions.push(Addition { table, hash, key: Bytes::copy_from_slice(key), amount });
        }
        Ok(())
    }

    /// The number of keys of a table. Needs read on the whole table.
    ///
    /// # Errors
    /// [`AccessError::UndeclaredTable`].
    pub fn len(&self, table: TableId) -> Result<usize, AccessError> {
        self.whole(table, Mode::Read)?;
        Ok(self.tables.len(table))
    }

    /// The least key of a table, and its value. Needs read on the whole table.
    ///
    /// # Errors
    /// [`AccessError::UndeclaredTable`].
    pub fn first(&self, table: TableId) -> Result<Option<Entry>, AccessError> {
        self.whole(table, Mode::Read)?;
        Ok(self.tables.first(table))
    }

    /// The greatest key of a table, and its value. Needs read on the whole table.
    ///
    /// # Errors
    /// [`AccessError::UndeclaredTable`].
    pub fn last(&self, table: TableId) -> Result<Option<Entry>, AccessError> {
        self.whole(table, Mode::Read)?;
        Ok(self.tables.last(table))
    }

    /// The table as it is now, to iterate over. Needs read on the whole table.
    ///
    /// # Errors
    /// [`AccessError::UndeclaredTable`].
    pub fn snapshot(&self, table: TableId) -> Result<TableSnapshot, AccessError> {
        self.whole(table, Mode::Read)?;
        Ok(self.tables.snapshot(table))
    }

    /// Removes all keys of a table. Needs write on the whole table.
    ///
    /// # Errors
    /// [`AccessError::UndeclaredTable`].
    pub fn clear(&mut self, table: TableId) -> Result<(), AccessError> {
        self.whole(table, Mode::Write)?;
        if self.footprint.is_some() {
            self.undo.push(Undo::Table { table, previous: self.tables.snapshot(table) });
        }
        self.tables.clear(table);
        Ok(())
    }

    fn key(&self, table: TableId, key: &[u8], mode: Mode) -> Result<KeyHash, AccessError> {
        let hash = KeyHash::of(table, key);
        match &self.footprint {
            Some(footprint) if !footprint.allows_key(table, hash, mode) => {
                Err(AccessError::UndeclaredKey { table, mode })
            }
            _ => Ok(hash),
        }
    }

    fn whole(&self, table: TableId, mode: Mode) -> Result<(), AccessError> {
        match &self.footprint {
            Some(footprint) if !footprint.allows_table(table, mode) => {
                Err(AccessError::UndeclaredTable { table, mode })
            }
            _ => Ok(()),
        }
    }

    fn remember(&mut self, table: TableId, hash: KeyHash, key: &[u8], previous: Option<Bytes>) {
        if self.footprint.is_some() {
            self.undo.push(Undo::Key { table, hash, key: Bytes::copy_from_slice(key), previous });
        }
    }
}

/// An access that ends without a word rolls back: a handler that unwinds has not finished.
impl Drop for Access {
    fn drop(&mut self) {
        self.rollback();
    }
}

fn integer(value: Option<&Bytes>) -> Result<i64, AccessError> {
    let Some(value) = value else { return Ok(0) };
    match Reader::new(value).token() {
        Ok(Token::Unsigned(value)) => i64::try_from(value).map_err(|_| AccessError::NotAnInteger),
        Ok(Token::Negative(value)) => Ok(value),
        _ => Err(AccessError::NotAnInteger),
    }
}

fn encode_integer(value: i64) -> Bytes {
    let mut out = Vec::with_capacity(9);
    messagepack::write_signed(&mut out, value);
    Bytes::from(out)
}
