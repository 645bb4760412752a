//! The layout of a snapshot's file: a page that says what it is, the chunks, the manifest, and a footer (the manifest's
//! size and the root). It has its name only when all of it is durable.

use std::io;
use std::path::Path;

use bytes::Bytes;
use pssmr_types::{ClusterId, Digest, Slot};

use super::manifest::{CHUNKS_MAX, Manifest};
use crate::atomic::failed;
use crate::directory::Place;
use crate::disk::{self, DiskFile};
use crate::error::StorageError;
use crate::preamble::{self, take};

const MAGIC: [u8; 8] = *b"pssmrsnp";
const FORMAT: u32 = 1;
/// Where the chunks begin.
pub(crate) const HEADER: u64 = 4096;
const FOOTER: u64 = 8 + 32;
const FIELDS: usize = preamble::BYTES + 16 + 8;
const MANIFEST_BYTES_MAX: u64 = 24 + 32 * CHUNKS_MAX as u64;

/// Writes what the file begins with.
pub(crate) fn write_header(place: &Place, file: &dyn DiskFile, slot: Slot) -> io::Result<()> {
    disk::write_all(file, &header(place.cluster, slot), 0)
}

fn header(cluster: ClusterId, slot: Slot) -> Vec<u8> {
    let mut bytes = preamble::encode(MAGIC, FORMAT).to_vec();
    bytes.extend_from_slice(&cluster.0);
    bytes.extend_from_slice(&slot.0.to_le_bytes());
    let checksum = Digest::of("pssmr snapshot header 1", &bytes);
    bytes.extend_from_slice(&checksum.0);
    bytes.resize(HEADER as usize, 0);
    bytes
}

/// Checks what the file begins with.
pub(crate) fn check_header(place: &Place, file: &dyn DiskFile, path: &Path, slot: Slot) -> Result<(), StorageError> {
    let damaged = |what| StorageError::Damaged { path: path.to_owned(), what };
    let mut bytes = vec![0; FIELDS + 32];
    read_exact(file, path, &mut bytes, 0)?;
    preamble::check(path, &bytes, MAGIC, FORMAT)?;
    let (body, checksum) = bytes.split_at(FIELDS);
    if Digest::of("pssmr snapshot header 1", body).0 != checksum {
        return Err(damaged("the checksum of its header is wrong"));
    }
    let mut fields = &body[preamble::BYTES..];
    let cluster = ClusterId(take(&mut fields));
    if cluster != place.cluster {
        return Err(StorageError::OtherCluster { path: path.to_owned(), found: cluster, expected: place.cluster });
    }
    if u64::from_le_bytes(take(&mut fields)) != slot.0 {
        return Err(damaged("it is of another slot"));
    }
    Ok(())
}

/// Writes the manifest and the footer after the chunks, and makes all of the file durable.
pub(crate) fn seal(file: &dyn DiskFile, path: &Path, manifest: &Manifest) -> Result<(), StorageError> {
    let mut bytes = manifest.encode();
    let length = bytes.len() as u64;
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&manifest.root().0);
    disk::write_all(file, &bytes, HEADER + manifest.bytes).map_err(failed("write", path))?;
    file.sync().map_err(|source| StorageError::SyncFailed { path: path.to_owned(), source: source.into() })
}

/// Reads the manifest of a sealed file.
pub(crate) fn read_manifest(file: &dyn DiskFile, path: &Path, slot: Slot) -> Result<Manifest, StorageError> {
    let damaged = |what| StorageError::Damaged { path: path.to_owned(), what };
    let length = file.length().map_err(failed("read", path))?;
    let mut footer = [0; FOOTER as usize];
    let at = length.checked_sub(FOOTER).ok_or_else(|| damaged("it is too short"))?;
    read_exact(file, path, &mut footer, at)?;
    let mut fields = &footer[..];
    let (manifest_bytes, root) = (u64::from_le_bytes(take(&mut fields)), Digest(take(&mut fields)));
    let start = at.checked_sub(manifest_bytes).filter(|_| manifest_bytes <= MANIFEST_BYTES_MAX);
    let start = start.ok_or_else(|| damaged("its footer is broken"))?;
    let mut bytes = vec![0; manifest_bytes as usize];
    read_exact(file, path, &mut bytes, start)?;
    let manifest = Manifest::decode(Bytes::from(bytes)).map_err(|_| damaged("its manifest is broken"))?;
    if manifest.root() != root || manifest.slot != slot || HEADER.checked_add(manifest.bytes) != Some(start) {
        return Err(damaged("its manifest is not its own"));
    }
    Ok(manifest)
}

fn read_exact(file: &dyn DiskFile, path: &Path, into: &mut [u8], offset: u64) -> Result<(), StorageError> {
    let damaged = |what| StorageError::Damaged { path: path.to_owned(), what };
    match disk::read_full(file, into, offset) {
        Ok(read) if read == into.len() => Ok(()),
        Ok(_) => Err(damaged("it is too short")),
        Err(error) if disk::is_unreadable(&error) => Err(damaged("it can't be read")),
        Err(error) => Err(failed("read", path)(error)),
    }
}

/// Reads a chunk; `None` if what is there is not what the manifest says.
pub(crate) fn read_chunk(
    file: &dyn DiskFile,
    path: &Path,
    manifest: &Manifest,
    chunk: u32,
) -> Result<Option<Bytes>, StorageError> {
    let Some(length) = manifest.chunk_length(chunk) else { return Ok(None) };
    let mut bytes = vec![0; length as usize];
    match disk::read_full(file, &mut bytes, chunk_offset(manifest.chunk_bytes, chunk)) {
        Ok(read) if read == bytes.len() && manifest.matches(chunk, &bytes) => Ok(Some(Bytes::from(bytes))),
        Ok(_) => Ok(None),
        Err(error) if disk::is_unreadable(&error) => Ok(None),
        Err(error) => Err(failed("read", path)(error)),
    }
}

/// Where a chunk is in the file.
pub(crate) fn chunk_offset(chunk_bytes: u32, chunk: u32) -> u64 {
    HEADER + u64::from(chunk) * u64::from(chunk_bytes)
}
