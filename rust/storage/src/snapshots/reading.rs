//! Reading a snapshot, chunk by chunk, each verified; and the certificate beside it.

use std::io::{self, Read};
use std::path::PathBuf;

use bytes::{Buf, Bytes};
use pssmr_types::{ClusterId, Digest, Slot};

use super::file;
use super::manifest::Manifest;
use super::{Directory, certificate_name, snapshot_name};
use crate::atomic::{self, failed};
use crate::disk::DiskFile;
use crate::error::StorageError;
use crate::preamble::{self, take};

const CERTIFICATE_MAGIC: [u8; 8] = *b"pssmrcrt";
const CERTIFICATE_FORMAT: u32 = 1;
const CERTIFICATE_BYTES_MAX: usize = 1 << 20;
const CERTIFICATE_HEADER: usize = preamble::BYTES + 16 + 8 + 32;

/// A snapshot that is kept, open for reading.
#[derive(Debug)]
pub struct Snapshot {
    directory: Directory,
    path: PathBuf,
    file: Box<dyn DiskFile>,
    manifest: Manifest,
}

impl Snapshot {
    pub(super) fn open(directory: Directory, slot: Slot) -> Result<Self, StorageError> {
        let path = directory.path.join(snapshot_name(slot));
        let file = match directory.place.disk.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(StorageError::NoSnapshot { slot }),
            opened => opened.map_err(failed("open", &path))?,
        };
        file::check_header(&directory.place, &*file, &path, slot)?;
        let manifest = file::read_manifest(&*file, &path, slot)?;
        Ok(Self { directory, path, file, manifest })
    }

    /// What it consists of.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Reads a chunk and verifies it.
    ///
    /// # Errors
    /// [`StorageError::ChunkDamaged`], also if there is no such chunk; the system's.
    pub fn read_chunk(&self, chunk: u32) -> Result<Bytes, StorageError> {
        file::read_chunk(&*self.file, &self.path, &self.manifest, chunk)?
            .ok_or_else(|| StorageError::ChunkDamaged { path: self.path.clone(), chunk })
    }

    /// The state, front to back; one chunk in memory. An error of its is a [`StorageError`] within an [`io::Error`].
    pub fn reader(&self) -> SnapshotReader<'_> {
        SnapshotReader { snapshot: self, next: 0, rest: Bytes::new() }
    }

    /// The certificate kept with this snapshot, if there is one. It is as it was given; what it proves is not storage's
    /// business.
    ///
    /// # Errors
    /// [`StorageError::Damaged`]; the system's.
    pub fn certificate(&self) -> Result<Option<Bytes>, StorageError> {
        let path = self.certificate_path();
        let bytes_max = CERTIFICATE_HEADER + CERTIFICATE_BYTES_MAX + 32;
        let Some(bytes) = atomic::read(&*self.directory.place.disk, &path, bytes_max)? else {
            return Ok(None);
        };
        preamble::check(&path, &bytes, CERTIFICATE_MAGIC, CERTIFICATE_FORMAT)?;
        let damaged = |what| StorageError::Damaged { path: path.clone(), what };
        let body_bytes = bytes.len().checked_sub(32).filter(|&body| body >= CERTIFICATE_HEADER);
        let (body, checksum) = bytes.split_at(body_bytes.ok_or_else(|| damaged("it is too short"))?);
        if Digest::of("pssmr certificate file 1", body).0 != checksum {
            return Err(damaged("its checksum is wrong"));
        }
        let mut fields = &body[preamble::BYTES..];
        let cluster = ClusterId(take(&mut fields));
        let slot = Slot(u64::from_le_bytes(take(&mut fields)));
        let root = Digest(take(&mut fields));
        // One of a snapshot that was there before, with another content, says nothing of this.
        let is_own =
            cluster == self.directory.place.cluster && slot == self.manifest.slot && root == self.manifest.root();
        Ok(is_own.then(|| Bytes::copy_from_slice(fields)))
    }

    /// Keeps `certificate` with this snapshot, in place of an older one. It is durable when this returns.
    ///
    /// # Errors
    /// [`StorageError::RecordTooLarge`] above 1 MiB; the system's.
    pub fn set_certificate(&self, certificate: &[u8]) -> Result<(), StorageError> {
        if certificate.len() > CERTIFICATE_BYTES_MAX {
            let (bytes, limit) = (certificate.len() as u64, CERTIFICATE_BYTES_MAX as u64);
            return Err(StorageError::RecordTooLarge { bytes, limit });
        }
        let mut bytes = preamble::encode(CERTIFICATE_MAGIC, CERTIFICATE_FORMAT).to_vec();
        bytes.extend_from_slice(&self.directory.place.cluster.0);
        bytes.extend_from_slice(&self.manifest.slot.0.to_le_bytes());
        bytes.extend_from_slice(&self.manifest.root().0);
        bytes.extend_from_slice(certificate);
        let checksum = Digest::of("pssmr certificate file 1", &bytes);
        bytes.extend_from_slice(&checksum.0);
        let name = certificate_name(self.manifest.slot);
        atomic::write(&*self.directory.place.disk, &self.directory.path, &name, &bytes)
    }

    fn certificate_path(&self) -> PathBuf {
        self.directory.path.join(certificate_name(self.manifest.slot))
    }
}

/// Reads a [`Snapshot`]'s state, each chunk verified before any of it is given.
#[derive(Debug)]
pub struct SnapshotReader<'a> {
    snapshot: &'a Snapshot,
    next: u32,
    rest: Bytes,
}

impl Read for SnapshotReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() && self.next < self.snapshot.manifest.count() {
            self.rest = self.snapshot.read_chunk(self.next).map_err(io::Error::other)?;
            self.next += 1;
        }
        let length = into.len().min(self.rest.len());
        self.rest.copy_to_slice(&mut into[..length]);
        Ok(length)
    }
}
