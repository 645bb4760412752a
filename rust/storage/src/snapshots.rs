//! Snapshots by slot: written as a stream or from chunks of peers, verified chunk by chunk.

mod download;
mod file;
mod manifest;
mod reading;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pssmr_types::Slot;

use crate::atomic::{self, UNFINISHED, failed};
use crate::directory::{DataDirectory, Place};
use crate::error::StorageError;
pub use download::SnapshotDownload;
pub use manifest::{CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, CHUNKS_MAX, Manifest};
pub use reading::{Snapshot, SnapshotReader};
pub use writer::SnapshotWriter;

const SNAPSHOT: &str = ".snapshot";
const CERTIFICATE: &str = ".certificate";
const DOWNLOAD: &str = ".download";

/// How snapshots are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotOptions {
    /// The size of a chunk, in bytes, from [`CHUNK_BYTES_MIN`] to [`CHUNK_BYTES_MAX`]. Replicas that compare roots must
    /// have the same.
    pub chunk_bytes: u32,
}

impl Default for SnapshotOptions {
    fn default() -> Self {
        Self { chunk_bytes: 256 << 10 }
    }
}

/// The snapshots of a replica. A snapshot is there whole and durable or not at all.
#[derive(Debug)]
pub struct Snapshots {
    directory: Directory,
    options: SnapshotOptions,
    /// Tells the files of unfinished writers apart.
    writers: AtomicU64,
}

/// Where the snapshots are.
#[derive(Clone, Debug)]
struct Directory {
    place: Place,
    path: PathBuf,
}

impl Snapshots {
    /// Opens the snapshots in `directory` and removes what unfinished writers left. An unfinished download stays.
    ///
    /// # Errors
    /// The system's.
    ///
    /// # Panics
    /// If the chunk size is outside its range.
    pub fn open(directory: &DataDirectory, options: SnapshotOptions) -> Result<Self, StorageError> {
        assert!((CHUNK_BYTES_MIN..=CHUNK_BYTES_MAX).contains(&options.chunk_bytes), "the chunk size has a range");
        let place = directory.place().clone();
        let path = place.path.join("snapshots");
        atomic::create_directory(&*place.disk, &path)?;
        let snapshots = Self { directory: Directory { place, path }, options, writers: AtomicU64::new(0) };
        let slots = snapshots.list()?;
        for name in snapshots.directory.names()? {
            let orphaned = slot_of(&name, CERTIFICATE).is_some_and(|slot| !slots.contains(&slot));
            if name.ends_with(UNFINISHED) || orphaned {
                snapshots.directory.remove(&name)?;
            }
        }
        Ok(snapshots)
    }

    /// The slots of which a snapshot is kept, the newest first.
    ///
    /// # Errors
    /// The system's.
    pub fn list(&self) -> Result<Vec<Slot>, StorageError> {
        let names = self.directory.names()?;
        let mut slots: Vec<_> = names.iter().filter_map(|name| slot_of(name, SNAPSHOT)).collect();
        slots.sort_unstable_by(|a, b| b.cmp(a));
        Ok(slots)
    }

    /// Begins a snapshot of the state after `slot`.
    ///
    /// # Errors
    /// The system's.
    pub fn begin(&self, slot: Slot) -> Result<SnapshotWriter, StorageError> {
        let number = self.writers.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.path.join(format!("{}.{number}{UNFINISHED}", snapshot_name(slot)));
        SnapshotWriter::new(self.directory.clone(), path, slot, self.options.chunk_bytes)
    }

    /// Begins, or goes on with, the download of the snapshot that `manifest` describes, and gives up any other.
    ///
    /// # Errors
    /// [`StorageError::Manifest`] if its fields don't go together; the system's.
    pub fn begin_download(&self, manifest: Manifest) -> Result<SnapshotDownload, StorageError> {
        manifest.check()?;
        let mut name = format!("{:020}-", manifest.slot.0);
        for byte in manifest.root().0 {
            write!(name, "{byte:02x}").expect("a string takes everything");
        }
        name.push_str(DOWNLOAD);
        for other in self.directory.names()? {
            if other.ends_with(DOWNLOAD) && other != name {
                self.directory.remove(&other)?;
            }
        }
        SnapshotDownload::new(self.directory.clone(), self.directory.path.join(name), manifest)
    }

    /// Opens the snapshot of `slot`.
    ///
    /// # Errors
    /// [`StorageError::NoSnapshot`], [`StorageError::Damaged`]; it is another cluster's or of a newer version; the system
    /// refuses.
    pub fn open_snapshot(&self, slot: Slot) -> Result<Snapshot, StorageError> {
        Snapshot::open(self.directory.clone(), slot)
    }

    /// Removes the snapshot of `slot` and its certificate, if they are there.
    ///
    /// # Errors
    /// The system's.
    pub fn remove(&self, slot: Slot) -> Result<(), StorageError> {
        self.directory.remove(&snapshot_name(slot))?;
        self.directory.remove(&certificate_name(slot))?;
        atomic::sync_directory(&*self.directory.place.disk, &self.directory.path)
    }

    /// Removes the downloads of slots below `slot`, and the snapshots, but for those of the slots in `kept`.
    ///
    /// # Errors
    /// The system's.
    pub fn remove_before(&self, slot: Slot, kept: &[Slot]) -> Result<(), StorageError> {
        for name in self.directory.names()? {
            if name.ends_with(DOWNLOAD)
                && name.split('-').next().and_then(|s| s.parse().ok()).is_some_and(|s: u64| s < slot.0)
            {
                self.directory.remove(&name)?;
            }
        }
        for old in self.list()?.into_iter().filter(|old| *old < slot && !kept.contains(old)) {
            self.remove(old)?;
        }
        Ok(())
    }
}

impl Directory {
    fn names(&self) -> Result<Vec<String>, StorageError> {
        self.place.disk.names(&self.path).map_err(failed("list", &self.path))
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        let path = self.path.join(name);
        match self.place.disk.remove(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(failed("remove", &path)),
        }
    }

    /// Gives the durable file at `from` its name, durably.
    fn publish(&self, from: &Path, name: &str) -> Result<(), StorageError> {
        self.place.disk.rename(from, &self.path.join(name)).map_err(failed("rename", from))?;
        self.place
            .disk
            .sync_directory(&self.path)
            .map_err(|source| StorageError::SyncFailed { path: self.path.clone(), source: Arc::new(source) })
    }
}

fn snapshot_name(slot: Slot) -> String {
    format!("{:020}{SNAPSHOT}", slot.0)
}

fn certificate_name(slot: Slot) -> String {
    format!("{:020}{CERTIFICATE}", slot.0)
}

fn slot_of(name: &str, suffix: &str) -> Option<Slot> {
    let slot = name.strip_suffix(suffix)?.parse().ok()?;
    (format!("{slot:020}{suffix}") == name).then_some(Slot(slot))
}
