//! The segment that is being written.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::replay;
use super::segment::{ENTRY_HEADER, MARK, RECORD, SEAL, SEGMENT_HEADER, SegmentHeader, SegmentKey};
use super::window::Window;
use crate::atomic::{UNFINISHED, failed};
use crate::directory::Place;
use crate::disk::{self, DiskFile};
use crate::error::StorageError;

/// How much of a rewritten tail is in memory at once, but for one record.
const REWRITE_BYTES: usize = 1 << 20;

pub(crate) fn file_name(number: u64) -> String {
    format!("{number:020}.log")
}

/// A segment that is open for writing. Its file was made by this process.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) number: u64,
    pub(crate) first_index: u64,
    pub(crate) key: SegmentKey,
    pub(crate) file: Box<dyn DiskFile>,
    pub(crate) path: PathBuf,
    /// Where the next entry goes.
    pub(crate) end: u64,
}

/// Records at the end of an older segment that may not be durable, though they can be read: they are written again.
#[derive(Debug)]
pub(crate) struct Tail<'a> {
    pub(crate) file: &'a dyn DiskFile,
    pub(crate) path: &'a Path,
    pub(crate) key: SegmentKey,
    /// The first of them, and where it is.
    pub(crate) from: (u64, u64),
    /// The index after the last.
    pub(crate) to: u64,
}

impl Active {
    /// Makes segment `number`. It begins with the `tail`, if there is one; everything in it is durable when it has its
    /// name.
    ///
    /// # Errors
    /// [`StorageError::NoSpace`]; nothing is there then. Others.
    pub(crate) fn create(
        place: &Place,
        directory: &Path,
        number: u64,
        first_index: u64,
        reserve_bytes: u64,
        tail: Option<&Tail<'_>>,
    ) -> Result<Self, StorageError> {
        let path = directory.join(file_name(number));
        let new = directory.join(format!("{}{UNFINISHED}", file_name(number)));
        let made = Self::fill(place, &new, &path, number, first_index, reserve_bytes, tail);
        let active = match made {
            Err(error) => {
                // It would be removed at the next opening; a full disk needs the room now.
                let _ = place.disk.remove(&new);
                return Err(error);
            }
            Ok(active) => active,
        };
        // If this fails, the file may have its name, and from then on what is written to the segment before it counts no
        // more: as bad as a failed sync.
        place.disk.rename(&new, &path).map_err(|error| sync_failed(&path, error))?;
        place.disk.sync_directory(directory).map_err(|error| sync_failed(directory, error))?;
        Ok(active)
    }

    fn fill(
        place: &Place,
        new: &Path,
        path: &Path,
        number: u64,
        first_index: u64,
        reserve_bytes: u64,
        tail: Option<&Tail<'_>>,
    ) -> Result<Self, StorageError> {
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce)
            .map_err(|error| failed("draw a nonce for", path)(io::Error::other(error.to_string())))?;
        let file = place.disk.create(new).map_err(failed("create", new))?;
        let reserved = reserve(&*file, reserve_bytes).map_err(failed("reserve space for", new))?;
        let (cluster, replica) = (place.cluster, place.replica);
        let header = SegmentHeader { cluster, replica, number, first_index, reserved, nonce };
        let (key, mut end) = (SegmentKey::new(&header), SEGMENT_HEADER);
        disk::write_all(&*file, &header.encode(), 0).map_err(failed("write", new))?;
        let mut buffer = Vec::new();
        if let Some(tail) = tail {
            let mut written = Ok(());
            let whole = Window::new(tail.file).and_then(|mut window| {
                replay::reread(&mut window, &tail.key, tail.from, tail.to, &mut |index, record| {
                    key.encode(&mut buffer, RECORD, index, first_index, &[record]);
                    if buffer.len() >= REWRITE_BYTES && written.is_ok() {
                        written = disk::write_all(&*file, &buffer, end);
                        end += buffer.len() as u64;
                        buffer.clear();
                    }
                })
            });
            written.map_err(failed("write", new))?;
            if !whole.map_err(failed("read", tail.path))? {
                let what = "it reads differently the second time";
                return Err(StorageError::Damaged { path: tail.path.to_owned(), what });
            }
        }
        // True by the time that anybody reads it: the file has its name only after it was synced.
        let next_index = tail.map_or(first_index, |tail| tail.to);
        key.encode(&mut buffer, MARK, next_index, next_index, &[]);
        disk::write_all(&*file, &buffer, end).map_err(failed("write", new))?;
        end += buffer.len() as u64;
        file.sync().map_err(|error| sync_failed(new, error))?;
        Ok(Self { number, first_index, key, file, path: path.to_owned(), end })
    }

    /// Writes a mark that says that the records below `synced` are durable. It becomes so itself with the next sync or
    /// when the system gets to it. Where there is no room for it, it is left out.
    pub(crate) fn mark(&mut self, synced: u64) {
        self.note(MARK, synced);
    }

    /// Ends the segment, of which all records are durable, now that one after it is; gives back the space that was
    /// reserved and not used.
    pub(crate) fn seal(mut self, next_index: u64) {
        self.note(SEAL, next_index);
        // What is cut off is zeros.
        let _ = self.file.truncate(self.end);
    }

    fn note(&mut self, kind: u32, synced: u64) {
        let mut entry = Vec::with_capacity(ENTRY_HEADER);
        self.key.encode(&mut entry, kind, synced, synced, &[]);
        if disk::write_all(&*self.file, &entry, self.end).is_ok() {
            self.end += entry.len() as u64;
        }
    }
}

/// Reserves space, so that a sync has no length to make durable and the disk does not get full halfway. If there is not
/// so much, what there is will do. How much was reserved.
fn reserve(file: &dyn DiskFile, bytes: u64) -> io::Result<u64> {
    match file.reserve(bytes) {
        Ok(can) => Ok(if can { bytes } else { 0 }),
        Err(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
            file.truncate(0).map(|()| 0)
        }
        Err(error) => Err(error),
    }
}

pub(crate) fn sync_failed(path: &Path, error: io::Error) -> StorageError {
    StorageError::SyncFailed { path: path.to_owned(), source: Arc::new(error) }
}
