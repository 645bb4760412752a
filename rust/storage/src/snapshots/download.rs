//! Filling a snapshot with chunks that come from peers.

use std::path::PathBuf;

use super::file;
use super::manifest::Manifest;
use super::{Directory, snapshot_name};
use crate::atomic::{self, failed};
use crate::disk::{self, DiskFile};
use crate::error::StorageError;

/// A snapshot of which the manifest is known, and the chunks come in any order. What has been put stays on disk if the
/// process ends; beginning the same download again finds what is whole.
#[derive(Debug)]
pub struct SnapshotDownload {
    directory: Directory,
    path: PathBuf,
    file: Box<dyn DiskFile>,
    manifest: Manifest,
    /// Which chunks are on disk.
    present: Vec<bool>,
    missing: u32,
}

impl SnapshotDownload {
    pub(super) fn new(directory: Directory, path: PathBuf, manifest: Manifest) -> Result<Self, StorageError> {
        let disk = &directory.place.disk;
        let begun = match disk.open(&path) {
            Ok(begun) => file::check_header(&directory.place, &*begun, &path, manifest.slot).is_ok().then_some(begun),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed("open", &path)(error)),
        };
        let mut present = vec![false; manifest.chunks.len()];
        let file = if let Some(begun) = begun {
            for (chunk, is_present) in (0..).zip(&mut present) {
                *is_present = file::read_chunk(&*begun, &path, &manifest, chunk)?.is_some();
            }
            begun
        } else {
            let new = disk.create(&path).map_err(failed("create", &path))?;
            file::write_header(&directory.place, &*new, manifest.slot).map_err(failed("write", &path))?;
            // What the system writes of it in time is found again after a power cut.
            atomic::sync_directory(&**disk, &directory.path)?;
            new
        };
        let missing = present.iter().filter(|&&is_present| !is_present).count() as u32;
        Ok(Self { directory, path, file, manifest, present, missing })
    }

    /// What is downloaded.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Puts a chunk in its place. One that is there already is left.
    ///
    /// # Errors
    /// [`StorageError::WrongChunk`]: the sender is wrong. [`StorageError::NoSpace`]: try again. Others.
    pub fn put_chunk(&mut self, chunk: u32, bytes: &[u8]) -> Result<(), StorageError> {
        if !self.manifest.matches(chunk, bytes) {
            return Err(StorageError::WrongChunk { chunk });
        }
        if !self.present[chunk as usize] {
            let offset = file::chunk_offset(self.manifest.chunk_bytes, chunk);
            disk::write_all(&*self.file, bytes, offset).map_err(failed("write", &self.path))?;
            self.present[chunk as usize] = true;
            self.missing -= 1;
        }
        Ok(())
    }

    /// The chunks that are missing, in ascending order.
    pub fn missing(&self) -> impl Iterator<Item = u32> + '_ {
        (0..).zip(&self.present).filter(|&(_, &is_present)| !is_present).map(|(chunk, _)| chunk)
    }

    /// How many chunks are missing.
    pub fn missing_count(&self) -> u32 {
        self.missing
    }

    /// Ends the download. When this returns the snapshot is durable, in place of an older one of the same slot.
    ///
    /// # Errors
    /// [`StorageError::Incomplete`] and others; the download can be begun again.
    pub fn finish(self) -> Result<Manifest, StorageError> {
        if self.missing > 0 {
            return Err(StorageError::Incomplete { missing: self.missing });
        }
        file::seal(&*self.file, &self.path, &self.manifest)?;
        self.directory.publish(&self.path, &snapshot_name(self.manifest.slot))?;
        Ok(self.manifest)
    }
}
