//! The identity file: whose directory this is.

use std::path::Path;

use pssmr_types::{ClusterId, Digest, ReplicaId};

use crate::error::StorageError;

/// What the file begins with.
const MAGIC: &[u8; 8] = b"pssmr-id";
/// The layout of what follows the magic.
pub(crate) const FORMAT: u32 = 1;

/// magic, format, cluster, replica, checksum.
pub(crate) const BYTES: usize = 8 + 4 + 16 + 2 + 32;

/// Whose a data directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) cluster: ClusterId,
    pub(crate) replica: ReplicaId,
}

/// Why bytes are not an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IdentityError {
    Damaged(&'static str),
    Format(u32),
}

impl Identity {
    /// Refuses what was `found` at `path` if it is not this replica's.
    pub(crate) fn check(self, path: &Path, found: Self) -> Result<(), StorageError> {
        let path = || path.to_owned();
        if found.cluster != self.cluster {
            return Err(StorageError::OtherCluster { path: path(), found: found.cluster, expected: self.cluster });
        }
        if found.replica != self.replica {
            return Err(StorageError::OtherReplica { path: path(), found: found.replica, expected: self.replica });
        }
        Ok(())
    }

    pub(crate) fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&self.cluster.0);
        bytes.extend_from_slice(&self.replica.0.to_le_bytes());
        let checksum = checksum(&bytes);
        bytes.extend_from_slice(&checksum);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, IdentityError> {
        let Some(rest) = bytes.strip_prefix(MAGIC) else {
            return Err(IdentityError::Damaged("it does not begin as it should"));
        };
        let Some((format, rest)) = rest.split_first_chunk::<4>() else {
            return Err(IdentityError::Damaged("it is too short"));
        };
        let format = u32::from_le_bytes(*format);
        if format != FORMAT {
            return Err(IdentityError::Format(format));
        }
        if bytes.len() != BYTES {
            return Err(IdentityError::Damaged("it has the wrong length"));
        }
        let (body, sum) = bytes.split_at(BYTES - 32);
        if checksum(body) != sum {
            return Err(IdentityError::Damaged("its checksum is wrong"));
        }
        let (cluster, replica) = rest.split_first_chunk::<16>().expect("the length was checked");
        let replica = replica.first_chunk::<2>().expect("the length was checked");
        Ok(Self { cluster: ClusterId(*cluster), replica: ReplicaId(u16::from_le_bytes(*replica)) })
    }
}

fn checksum(body: &[u8]) -> [u8; 32] {
    Digest::of("pssmr identity file 1", body).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_damaged_byte_is_noticed() {
        let identity = Identity { cluster: ClusterId([3; 16]), replica: ReplicaId(2) };
        let bytes = identity.encode();
        assert_eq!(Identity::decode(&bytes), Ok(identity));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(Identity::decode(&damaged).is_err(), "byte {at}");
            assert!(Identity::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn another_format_is_told_from_damage() {
        let mut bytes = Identity { cluster: ClusterId([3; 16]), replica: ReplicaId(2) }.encode();
        bytes[8] = 9;
        assert_eq!(Identity::decode(&bytes), Err(IdentityError::Format(9)));
    }
}
