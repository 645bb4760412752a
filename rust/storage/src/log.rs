//! The log: records in order, in segments, with group commit.

mod active;
mod note;
mod opening;
mod replay;
mod segment;
#[cfg(test)]
mod tests;
mod window;

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::atomic::failed;
use crate::directory::{DataDirectory, Place};
use crate::disk;
use crate::error::StorageError;
use active::{Active, file_name, sync_failed};
use segment::{RECORD, entry_bytes};

/// The largest record, in bytes.
pub const RECORD_BYTES_MAX: u64 = 128 << 20;

/// What a segment that is set aside is called after its name.
const SET_ASIDE: &str = ".damaged";

/// The capacity that the buffer keeps after a large group.
const BUFFER_BYTES_KEPT: usize = 4 << 20;

/// How a [`Log`] is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// A segment that has reached so many bytes is followed by another. The space is reserved when it is made.
    pub segment_bytes: u64,
    /// At most so many bytes are appended and not written.
    pub buffer_bytes_max: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, buffer_bytes_max: 256 << 20 }
    }
}

/// What [`Log::open`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// The index of the first record replayed, if there was any.
    pub first_index: u64,
    /// The index after the last record replayed: the next record's.
    pub next_index: u64,
    /// There was no segment, whole or set aside: the log was made now. If the replica has made a
    /// [promise](crate::Promise) before and kept a log then, the log is lost, which nothing else shows.
    pub is_new: bool,
    /// The bytes at the end that a crash left of what was never synced; they are no part of the log any more.
    pub torn_bytes: Option<u64>,
    /// Damage that is not the work of a crash, found now or before and not yet [repaired](Log::damage_repaired).
    pub damage: Option<Damage>,
}

/// Records are lost that may have been acknowledged. The replica must not vote as if it had only what is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file in which it was found, under the name that it has now.
    pub file: PathBuf,
    /// Where in the file.
    pub offset: u64,
    /// The index of the first record that is lost; 0 if the file that said it is the damaged one, and the oldest. The log
    /// went on with this index after the damage, so later records may have indexes of lost ones.
    pub first_lost: u64,
    /// What is wrong, for people.
    pub what: String,
}

/// A segment that is complete.
#[derive(Clone, Debug)]
struct Sealed {
    number: u64,
    first_index: u64,
    /// Damage was found in it after its valid records: it is never deleted.
    is_damaged: bool,
}

/// A segmented, append-only log of opaque records, each with an index: 0, 1, 2…
///
/// ```text
/// append, append, append → write → sync        group commit: one write and one sync for all of them
/// ```
///
/// What is durable: after [`sync`](Self::sync) returned, every record written before. What a later [`open`](Self::open)
/// replays: all of those, perhaps followed by some that were not synced, in order and without a gap, or it reports damage.
/// What it replayed is durable.
///
/// **How a crash is told from damage.** A segment is written once, from zeros, by one process, so a crash leaves each
/// sector as it was meant or zero. Every entry says how many records were durable when it was appended; after each
/// sync a mark says it at once. A broken record that some valid entry, or a later segment, says was durable is damage;
/// so is one of which no sector is missing. Otherwise it is what a crash left of a group that was never acknowledged,
/// and the log ends before it. Undetected is only rot that empties a sector of the last group, in a crash that also took the
/// mark after it.
///
/// **After damage** nothing is deleted or overwritten: the segments after it are renamed `*.damaged`, the one in which it
/// is stays as far as it is valid (and is renamed, not deleted, when it is due to go), and the log goes on in a new
/// segment. The damage is noted and reported by every opening until [`damage_repaired`](Self::damage_repaired).
///
/// **Errors.** After a failed sync the log is dead: [`StorageError::SyncFailed`] for ever. When the disk is full
/// ([`StorageError::NoSpace`]) nothing is lost and [`write`](Self::write) may be tried again.
#[derive(Debug)]
pub struct Log {
    place: Place,
    directory: PathBuf,
    options: LogOptions,
    /// Oldest first.
    sealed: VecDeque<Sealed>,
    active: Active,
    /// Entries that are appended and not written.
    buffer: Vec<u8>,
    next_index: u64,
    /// Records below are in the file.
    written: u64,
    /// Records below are durable.
    synced: u64,
    /// The first failed sync.
    failure: Option<(PathBuf, Arc<io::Error>)>,
}

impl Log {
    /// Opens the log in `directory` and hands all its records to `each`, with their indexes, in order, from the oldest that
    /// is kept.
    ///
    /// # Errors
    /// [`StorageError`]: a segment is another replica's or from a newer version, the disk is full, or the system refuses.
    /// Damage is not an error: it is in [`Recovery::damage`].
    pub fn open(
        directory: &DataDirectory,
        options: LogOptions,
        each: &mut dyn FnMut(u64, &[u8]),
    ) -> Result<(Self, Recovery), StorageError> {
        opening::open(directory.place(), options, each)
    }

    /// The index that the next appended record gets.
    pub fn next_index(&self) -> u64 {
        self.next_index
    }

    /// The index of the oldest record that is kept, or would be.
    pub fn first_index(&self) -> u64 {
        self.sealed.front().map_or(self.active.first_index, |segment| segment.first_index)
    }

    /// The number of records, from index 0 on, that are durable.
    pub fn synced_index(&self) -> u64 {
        self.synced
    }

    /// Whether no record is kept.
    pub fn is_empty(&self) -> bool {
        self.first_index() == self.next_index
    }

    /// Appends a record, in memory; its index.
    ///
    /// # Errors
    /// [`StorageError::RecordTooLarge`], [`StorageError::BufferFull`] (write first), [`StorageError::SyncFailed`].
    pub fn append(&mut self, record: &[u8]) -> Result<u64, StorageError> {
        self.append_parts(&[record])
    }

    /// Appends a record that comes in parts, without their being joined first; its index.
    ///
    /// # Errors
    /// As for [`append`](Self::append).
    pub fn append_parts(&mut self, parts: &[&[u8]]) -> Result<u64, StorageError> {
        self.check_alive()?;
        let bytes = parts.iter().map(|part| part.len() as u64).sum();
        if bytes > RECORD_BYTES_MAX {
            return Err(StorageError::RecordTooLarge { bytes, limit: RECORD_BYTES_MAX });
        }
        let buffered = self.buffer.len() as u64 + entry_bytes(RECORD, bytes);
        // A record that is allowed at all fits into an empty buffer.
        if buffered > self.options.buffer_bytes_max && !self.buffer.is_empty() {
            return Err(StorageError::BufferFull { bytes: buffered, limit: self.options.buffer_bytes_max });
        }
        let index = self.next_index;
        self.active.key.encode(&mut self.buffer, RECORD, index, self.synced, parts);
        self.next_index += 1;
        Ok(index)
    }

    /// Writes what is appended, with one system call, and begins a new segment if this one is full (which syncs it).
    /// It survives the end of the process then, but not that of the machine.
    ///
    /// # Errors
    /// [`StorageError::NoSpace`]: what was appended is kept, and a later call may succeed. [`StorageError::SyncFailed`].
    pub fn write(&mut self) -> Result<(), StorageError> {
        self.check_alive()?;
        self.write_buffer()?;
        if self.active.end >= self.options.segment_bytes && self.active.first_index < self.written {
            match self.roll() {
                // The old segment serves until there is room for a new one.
                Ok(()) | Err(StorageError::NoSpace { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Makes what is written durable. Costs nothing if it is.
    ///
    /// # Errors
    /// [`StorageError::SyncFailed`], from now on.
    pub fn sync(&mut self) -> Result<(), StorageError> {
        self.check_alive()?;
        if self.synced == self.written {
            return Ok(());
        }
        if let Err(error) = self.active.file.sync() {
            return Err(self.die(sync_failed(&self.active.path, error)));
        }
        self.synced = self.written;
        self.active.mark(self.synced);
        Ok(())
    }

    /// Begins a new segment: writes and syncs what is appended first. A checkpoint that is appended next is at its start, so
    /// that everything before can go.
    ///
    /// # Errors
    /// [`StorageError::NoSpace`]: the log goes on in the old segment. [`StorageError::SyncFailed`].
    pub fn roll(&mut self) -> Result<(), StorageError> {
        self.check_alive()?;
        self.write_buffer()?;
        self.sync()?;
        if self.active.first_index == self.next_index {
            return Ok(());
        }
        let number = self.active.number + 1;
        let made =
            Active::create(&self.place, &self.directory, number, self.next_index, self.options.segment_bytes, None);
        let old = match made {
            Err(error) => return Err(self.die(error)),
            Ok(new) => std::mem::replace(&mut self.active, new),
        };
        self.sealed.push_back(Sealed { number: old.number, first_index: old.first_index, is_damaged: false });
        old.seal(self.next_index);
        Ok(())
    }

    /// Deletes the segments of which all records are below `index`, oldest first, each durably before the next, so that no
    /// crash leaves a gap. The segment that is being written stays.
    ///
    /// # Errors
    /// [`StorageError::Io`]: the log goes on, and the call may be repeated. [`StorageError::SyncFailed`].
    pub fn remove_before(&mut self, index: u64) -> Result<(), StorageError> {
        self.check_alive()?;
        while let Some(oldest) = self.sealed.front() {
            let end = self.sealed.get(1).map_or(self.active.first_index, |next| next.first_index);
            if end > index {
                break;
            }
            let path = self.directory.join(file_name(oldest.number));
            if oldest.is_damaged {
                set_aside(&self.place, &path)?;
            } else {
                remove_if_there(&self.place, &path)?;
            }
            if let Err(error) = self.place.disk.sync_directory(&self.directory) {
                return Err(self.die(sync_failed(&self.directory, error)));
            }
            self.sealed.pop_front();
        }
        Ok(())
    }

    /// Notes that what the damage took has been made good, from peers: it is not reported any more. The files set aside
    /// stay until somebody removes them.
    ///
    /// # Errors
    /// [`StorageError::Io`]; the damage stays noted.
    pub fn damage_repaired(&mut self) -> Result<(), StorageError> {
        self.check_alive()?;
        note::remove(&self.place, &self.directory)
    }

    fn write_buffer(&mut self) -> Result<(), StorageError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        // What a failed call has left behind is written over by the next, with the same bytes.
        disk::write_all(&*self.active.file, &self.buffer, self.active.end)
            .map_err(failed("write", &self.active.path))?;
        self.active.end += self.buffer.len() as u64;
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_BYTES_KEPT);
        self.written = self.next_index;
        Ok(())
    }

    fn check_alive(&self) -> Result<(), StorageError> {
        match &self.failure {
            None => Ok(()),
            Some((path, source)) => Err(StorageError::SyncFailed { path: path.clone(), source: Arc::clone(source) }),
        }
    }

    /// Remembers a failed sync for ever.
    fn die(&mut self, error: StorageError) -> StorageError {
        if let StorageError::SyncFailed { path, source } = &error {
            self.failure = Some((path.clone(), Arc::clone(source)));
        }
        error
    }
}

/// Gives the file at `path` the name of one that is set aside.
fn set_aside(place: &Place, path: &std::path::Path) -> Result<(), StorageError> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(SET_ASIDE);
    match place.disk.rename(path, std::path::Path::new(&aside)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        renamed => renamed.map_err(failed("set aside", path)),
    }
}

fn remove_if_there(place: &Place, path: &std::path::Path) -> Result<(), StorageError> {
    match place.disk.remove(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(failed("remove", path)),
    }
}
