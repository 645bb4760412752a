//! What every file of several parts begins with: what it is, in which format, and which version wrote it. It stays
//! the same in all formats, so that a file from the future can say so.

use std::path::Path;

use pssmr_types::Digest;

use crate::error::StorageError;

/// magic, format, version, checksum.
pub(crate) const BYTES: usize = 8 + 4 + 20 + 32;

/// This crate's version, padded with zeros.
fn own_version() -> [u8; 20] {
    let mut version = [0; 20];
    let text = env!("CARGO_PKG_VERSION").as_bytes();
    let length = text.len().min(version.len());
    version[..length].copy_from_slice(&text[..length]);
    version
}

/// The preamble of a file of this kind that this version writes.
pub(crate) fn encode(magic: [u8; 8], format: u32) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes[..8].copy_from_slice(&magic);
    bytes[8..12].copy_from_slice(&format.to_le_bytes());
    bytes[12..32].copy_from_slice(&own_version());
    let checksum = checksum(&bytes[..32]);
    bytes[32..].copy_from_slice(&checksum);
    bytes
}

/// Checks what the file at `path` begins with.
///
/// # Errors
/// [`StorageError::Damaged`] or, if it is sound and from another format, [`StorageError::Format`].
pub(crate) fn check(path: &Path, bytes: &[u8], magic: [u8; 8], format: u32) -> Result<(), StorageError> {
    let damaged = |what| StorageError::Damaged { path: path.to_owned(), what };
    let Some(bytes) = bytes.first_chunk::<BYTES>() else {
        return Err(damaged("it is too short"));
    };
    if bytes[..8] != magic {
        return Err(damaged("it does not begin as it should"));
    }
    if checksum(&bytes[..32]) != bytes[32..] {
        return Err(damaged("the checksum of its beginning is wrong"));
    }
    let found = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
    if found != format {
        let version = bytes[12..32].split(|&byte| byte == 0).next().unwrap_or_default();
        let written_by = Some(String::from_utf8_lossy(version).into_owned());
        return Err(StorageError::Format { path: path.to_owned(), found, expected: format, written_by });
    }
    Ok(())
}

/// Takes a field off bytes of which the length was checked.
pub(crate) fn take<const N: usize>(fields: &mut &[u8]) -> [u8; N] {
    let (field, rest) = fields.split_first_chunk().expect("the length was checked");
    *fields = rest;
    *field
}

fn checksum(bytes: &[u8]) -> [u8; 32] {
    Digest::of("pssmr file preamble 1", bytes).0
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAGIC: [u8; 8] = *b"pssmr-xx";

    fn check_all(bytes: &[u8]) -> Result<(), StorageError> {
        check(Path::new("file"), bytes, MAGIC, 1)
    }

    #[test]
    fn every_damaged_byte_is_noticed() {
        let bytes = encode(MAGIC, 1);
        check_all(&bytes).unwrap();
        for at in 0..BYTES {
            let mut damaged = bytes;
            damaged[at] ^= 0x10;
            assert!(matches!(check_all(&damaged), Err(StorageError::Damaged { .. })), "byte {at}");
            assert!(matches!(check_all(&bytes[..at]), Err(StorageError::Damaged { .. })), "cut at {at}");
        }
    }

    #[test]
    fn a_file_of_a_newer_format_says_who_wrote_it_and_what_to_do() {
        let refused = check_all(&encode(MAGIC, 7)).unwrap_err();
        let text = refused.to_string();
        assert!(matches!(refused, StorageError::Format { found: 7, expected: 1, .. }));
        assert!(text.contains(env!("CARGO_PKG_VERSION")) && text.contains("use the version that wrote it"), "{text}");
    }
}
