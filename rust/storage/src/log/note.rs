//! The note that the log was damaged: it stays until the caller says that the loss was made good, so that a replica
//! that stops right after it learned of the damage learns of it again.

use std::path::PathBuf;

use pssmr_types::Digest;

use crate::atomic;
use crate::directory::Place;
use crate::error::StorageError;
use crate::preamble;

const NAME: &str = "damage";
const MAGIC: [u8; 8] = *b"pssmrdmg";
const FORMAT: u32 = 1;
const WHAT_BYTES_MAX: usize = 256;
const BYTES_MAX: usize = preamble::BYTES + 3 * 8 + WHAT_BYTES_MAX + 32;

/// What is known of a damage to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    pub(crate) first_lost: u64,
    pub(crate) what: String,
}

impl Note {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = preamble::encode(MAGIC, FORMAT).to_vec();
        for field in [self.segment, self.offset, self.first_lost] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        bytes.extend_from_slice(self.what.as_bytes());
        let checksum = Digest::of("pssmr log damage note 1", &bytes);
        bytes.extend_from_slice(&checksum.0);
        bytes
    }

    /// `None` if the note is itself damaged.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, checksum) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
        if Digest::of("pssmr log damage note 1", body).0 != checksum {
            return None;
        }
        let fields = body.get(preamble::BYTES..)?;
        let number = |at: usize| fields.get(at..at + 8).and_then(|field| field.try_into().ok()).map(u64::from_le_bytes);
        let what = String::from_utf8(fields.get(24..)?.to_vec()).ok()?;
        Some(Self { segment: number(0)?, offset: number(8)?, first_lost: number(16)?, what })
    }
}

/// The note in the log's directory.
///
/// # Errors
/// The system's; a note of a newer version. A note that is damaged is one all the same.
pub(crate) fn read(place: &Place, directory: &std::path::Path) -> Result<Option<Note>, StorageError> {
    let path: PathBuf = directory.join(NAME);
    let Some(bytes) = atomic::read(&*place.disk, &path, BYTES_MAX)? else {
        return Ok(None);
    };
    match preamble::check(&path, &bytes, MAGIC, FORMAT) {
        Ok(()) | Err(StorageError::Damaged { .. }) => {}
        Err(error) => return Err(error),
    }
    Ok(Some(Note::decode(&bytes).unwrap_or_else(|| Note {
        segment: 0,
        offset: 0,
        first_lost: 0,
        what: "the log was damaged before, and the note of it is damaged, too".to_owned(),
    })))
}

/// Makes the note durable.
///
/// # Errors
/// The system's.
pub(crate) fn write(place: &Place, directory: &std::path::Path, note: &Note) -> Result<(), StorageError> {
    atomic::write(&*place.disk, directory, NAME, &note.encode())
}

/// Removes the note.
///
/// # Errors
/// The system's.
pub(crate) fn remove(place: &Place, directory: &std::path::Path) -> Result<(), StorageError> {
    let path = directory.join(NAME);
    match place.disk.remove(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        removed => removed.map_err(atomic::failed("remove", &path))?,
    }
    atomic::sync_directory(&*place.disk, directory)
}
