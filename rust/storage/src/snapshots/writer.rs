//! Writing a snapshot as the state is told, front to back.

use std::io::{self, Write};
use std::path::PathBuf;

use pssmr_types::{Digest, Slot};

use super::file;
use super::manifest::{self, CHUNKS_MAX, Manifest};
use super::{Directory, snapshot_name};
use crate::atomic::failed;
use crate::disk::{self, DiskFile};
use crate::error::StorageError;

/// Takes a state and makes a snapshot of it, holding one chunk in memory. Dropped unfinished, it leaves nothing.
///
/// A failed [`write`](Write::write) has taken nothing and may be repeated, as when the disk was full.
#[derive(Debug)]
pub struct SnapshotWriter {
    directory: Directory,
    path: PathBuf,
    file: Box<dyn DiskFile>,
    slot: Slot,
    chunk_bytes: u32,
    chunks: Vec<Digest>,
    /// The chunk that is being filled.
    buffer: Vec<u8>,
    is_finished: bool,
}

impl SnapshotWriter {
    pub(super) fn new(directory: Directory, path: PathBuf, slot: Slot, chunk_bytes: u32) -> Result<Self, StorageError> {
        let file = directory.place.disk.create(&path).map_err(failed("create", &path))?;
        let buffer = Vec::with_capacity(chunk_bytes as usize);
        let writer = Self { directory, path, file, slot, chunk_bytes, chunks: Vec::new(), buffer, is_finished: false };
        file::write_header(&writer.directory.place, &*writer.file, slot).map_err(failed("write", &writer.path))?;
        Ok(writer)
    }

    /// Ends the snapshot. When this returns it is durable, in place of an older one of the same slot.
    ///
    /// # Errors
    /// [`StorageError`]; there is no new snapshot then.
    pub fn finish(mut self) -> Result<Manifest, StorageError> {
        let bytes = self.chunks.len() as u64 * u64::from(self.chunk_bytes) + self.buffer.len() as u64;
        if !self.buffer.is_empty() {
            self.write_chunk().map_err(|error| self.failed(error))?;
        }
        let chunks = std::mem::take(&mut self.chunks);
        let manifest = Manifest { slot: self.slot, bytes, chunk_bytes: self.chunk_bytes, chunks };
        file::seal(&*self.file, &self.path, &manifest)?;
        self.directory.publish(&self.path, &snapshot_name(self.slot))?;
        self.is_finished = true;
        Ok(manifest)
    }

    fn write_chunk(&mut self) -> io::Result<()> {
        let chunk = self.chunks.len() as u32;
        if chunk == CHUNKS_MAX {
            return Err(io::Error::other(StorageError::SnapshotTooLarge { limit: CHUNKS_MAX }));
        }
        disk::write_all(&*self.file, &self.buffer, file::chunk_offset(self.chunk_bytes, chunk))?;
        self.chunks.push(manifest::digest(&self.buffer));
        self.buffer.clear();
        Ok(())
    }

    fn failed(&self, error: io::Error) -> StorageError {
        match error.downcast::<StorageError>() {
            Ok(error) => error,
            Err(error) => failed("write", &self.path)(error),
        }
    }
}

impl Write for SnapshotWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full chunk is written when more comes, so that an error leaves everything as it was.
        if self.buffer.len() == self.chunk_bytes as usize && !bytes.is_empty() {
            self.write_chunk()?;
        }
        let taken = bytes.len().min(self.chunk_bytes as usize - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        if !self.is_finished {
            // What stays is removed at the next opening.
            let _ = self.directory.place.disk.remove(&self.path);
        }
    }
}
