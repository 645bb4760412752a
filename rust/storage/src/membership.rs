//! The membership file: the replicas that this one began with. The log goes on from them, so they stay what they are, however
//! the membership and the configuration have changed since.

use pssmr_types::{Digest, Membership, Reader};

use crate::atomic;
use crate::directory::{DataDirectory, Place};
use crate::error::StorageError;

const NAME: &str = "membership";

/// What the file begins with.
const MAGIC: &[u8; 8] = b"pssmr-mb";
/// The layout of what follows the magic.
const FORMAT: u32 = 1;

/// magic and format; a checksum follows at the end.
const HEAD_BYTES: usize = 8 + 4;
const CHECKSUM_BYTES: usize = 32;

/// Above any membership's encoding.
const BYTES_MAX: usize = 64 * 1024;

/// The membership that a replica began with, in its data directory. Keeps the directory locked.
#[derive(Debug)]
pub struct MembershipFile {
    place: Place,
}

impl MembershipFile {
    /// Opens the file of a directory; there may be none yet.
    pub fn new(directory: &DataDirectory) -> Self {
        Self { place: directory.place().clone() }
    }

    /// What it says, if there is one.
    ///
    /// # Errors
    /// [`StorageError`]: it is damaged, of another format or another cluster's, or the system refuses.
    pub fn read(&self) -> Result<Option<Membership>, StorageError> {
        let Place { disk, path, cluster, .. } = &self.place;
        let file = path.join(NAME);
        let Some(bytes) = atomic::read(&**disk, &file, BYTES_MAX)? else { return Ok(None) };
        let damaged = |what| StorageError::Damaged { path: file.clone(), what };
        let (head, rest) = bytes.split_at_checked(HEAD_BYTES).ok_or_else(|| damaged("it is too short"))?;
        let format = head.strip_prefix(MAGIC).ok_or_else(|| damaged("it does not begin as it should"))?;
        let found = u32::from_le_bytes(format.try_into().expect("four bytes follow the magic"));
        if found != FORMAT {
            return Err(StorageError::Format { path: file, found, expected: FORMAT, written_by: None });
        }
        let length = rest.len().checked_sub(CHECKSUM_BYTES).ok_or_else(|| damaged("it is too short"))?;
        if checksum(&bytes[..HEAD_BYTES + length]).0 != rest[length..] {
            return Err(damaged("its checksum is wrong"));
        }
        let mut reader = Reader::new(rest[..length].to_vec().into());
        let membership = Membership::decode(&mut reader).map_err(|_| damaged("it is no membership"))?;
        reader.finish().map_err(|_| damaged("it is too long"))?;
        if membership.cluster() != *cluster {
            let found = membership.cluster();
            return Err(StorageError::OtherCluster { path: path.clone(), found, expected: *cluster });
        }
        Ok(Some(membership))
    }

    /// Makes it say this. Returns when that survives a power cut.
    ///
    /// # Errors
    /// [`StorageError`], from the system; it says then what it said before.
    pub fn write(&self, membership: &Membership) -> Result<(), StorageError> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        membership.encode(&mut bytes);
        let checksum = checksum(&bytes);
        bytes.extend_from_slice(&checksum.0);
        atomic::write(&*self.place.disk, &self.place.path, NAME, &bytes)
    }
}

fn checksum(bytes: &[u8]) -> Digest {
    Digest::of("pssmr membership file 1", bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use pssmr_types::{ClusterId, Epoch, FaultModel, Member, ReplicaId, SecretKey};

    use super::*;

    const CLUSTER: ClusterId = ClusterId([1; 16]);

    fn file(path: &Path) -> MembershipFile {
        MembershipFile::new(&DataDirectory::open(path, CLUSTER, ReplicaId(2)).unwrap())
    }

    fn membership(cluster: ClusterId) -> Membership {
        let member = |id: u16| Member {
            id: ReplicaId(id),
            key: SecretKey::from_seed([id as u8; 32]).public(),
            peer_address: format!("replica-{id}:7000"),
            client_address: format!("replica-{id}:8000"),
        };
        Membership::of(cluster, Epoch(3), FaultModel::Byzantine, [7, 2, 5, 1].map(member).into()).unwrap()
    }

    #[test]
    fn a_membership_is_kept() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(file(root.path()).read().unwrap(), None);
        file(root.path()).write(&membership(CLUSTER)).unwrap();
        assert_eq!(file(root.path()).read().unwrap(), Some(membership(CLUSTER)));
    }

    #[test]
    fn a_file_that_is_not_what_was_written_is_refused() {
        let root = tempfile::tempdir().unwrap();
        file(root.path()).write(&membership(CLUSTER)).unwrap();
        let path = root.path().join(NAME);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            for bytes in [&whole[..at], &changed] {
                fs::write(&path, bytes).unwrap();
                let refused = file(root.path()).read().unwrap_err();
                assert!(
                    matches!(refused, StorageError::Damaged { .. } | StorageError::Format { .. }),
                    "{at}: {refused}"
                );
            }
        }
    }

    #[test]
    fn the_membership_of_another_cluster_is_refused() {
        let root = tempfile::tempdir().unwrap();
        file(root.path()).write(&membership(ClusterId([9; 16]))).unwrap();
        assert!(matches!(file(root.path()).read(), Err(StorageError::OtherCluster { .. })));
    }
}
