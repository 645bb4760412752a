//! A replica's data directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pssmr_types::{ClusterId, ReplicaId};

use crate::atomic::{self, failed};
use crate::disk::{Disk, Held, LockAttempt, SystemDisk};
use crate::error::StorageError;
use crate::identity::{self, Identity, IdentityError};

const LOCK: &str = "lock";
const IDENTITY: &str = "identity";
const VOTED: &str = "voted";

/// What the `voted` file says to whoever looks into it.
const VOTED_TEXT: &[u8] = b"This replica has voted. Without its votes it must never vote again: keep this file.\n";

/// A directory that belongs to one replica, locked for this process until it and all that was opened in it are dropped.
///
/// | file | content |
/// |---|---|
/// | `lock` | held by the process that has the directory; its pid |
/// | `identity` | cluster, replica, format, checksum |
/// | `voted` | there since before the replica's first vote |
/// | `promise-a`, `promise-b` | [`PromiseFile`](crate::PromiseFile) |
/// | `membership` | [`MembershipFile`](crate::MembershipFile) |
/// | `log/` | [`Log`](crate::Log) |
/// | `snapshots/` | [`Snapshots`](crate::Snapshots) |
#[derive(Debug)]
pub struct DataDirectory {
    place: Place,
    has_voted: bool,
}

/// Where a replica's files are, and whose they are. Whoever has one keeps the directory locked.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) path: PathBuf,
    pub(crate) cluster: ClusterId,
    pub(crate) replica: ReplicaId,
    _lock: Arc<dyn Held>,
}

impl DataDirectory {
    /// Opens `path` for this replica, and makes it if it is not there; only its owner can read it then.
    ///
    /// # Errors
    /// [`StorageError`]: another process has it, it is another cluster's or replica's, it is damaged, or the system
    /// refuses.
    pub fn open(path: impl Into<PathBuf>, cluster: ClusterId, replica: ReplicaId) -> Result<Self, StorageError> {
        Self::open_on(Arc::new(SystemDisk), path, cluster, replica)
    }

    /// [`open`](Self::open) on a disk other than the operating system's.
    ///
    /// # Errors
    /// The same.
    pub fn open_on(
        disk: Arc<dyn Disk>,
        path: impl Into<PathBuf>,
        cluster: ClusterId,
        replica: ReplicaId,
    ) -> Result<Self, StorageError> {
        let path = path.into();
        disk.create_directory(&path).map_err(failed("create", &path))?;
        let lock = take_lock(&*disk, &path)?;
        let expected = Identity { cluster, replica };
        let identity_path = path.join(IDENTITY);
        match atomic::read(&*disk, &identity_path, identity::BYTES)? {
            None => {
                atomic::write(&*disk, &path, IDENTITY, &expected.encode())?;
                if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                    atomic::sync_directory(&*disk, parent)?;
                }
            }
            Some(bytes) => check_identity(&path, identity_path, &bytes, expected)?,
        }
        let has_voted = atomic::read(&*disk, &path.join(VOTED), 0)?.is_some();
        Ok(Self { place: Place { disk, path, cluster, replica, _lock: lock }, has_voted })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.place.path
    }

    /// Whose cluster it belongs to.
    pub fn cluster(&self) -> ClusterId {
        self.place.cluster
    }

    /// Whose it is.
    pub fn replica(&self) -> ReplicaId {
        self.place.replica
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Whether the replica may have voted before.
    pub fn has_voted(&self) -> bool {
        self.has_voted
    }

    /// Notes that the replica votes. Returns when the note is on disk; the first vote must not leave before.
    ///
    /// # Errors
    /// [`StorageError::Io`]; the replica must not vote then.
    pub fn mark_voted(&mut self) -> Result<(), StorageError> {
        if !self.has_voted {
            atomic::write(&*self.place.disk, &self.place.path, VOTED, VOTED_TEXT)?;
            self.has_voted = true;
        }
        Ok(())
    }
}

fn take_lock(disk: &dyn Disk, directory: &Path) -> Result<Arc<dyn Held>, StorageError> {
    let path = directory.join(LOCK);
    match disk.lock(&path).map_err(failed("lock", &path))? {
        LockAttempt::Taken(held) => Ok(held.into()),
        LockAttempt::Refused(pid) => Err(StorageError::InUse { path: directory.to_owned(), pid }),
    }
}

fn check_identity(directory: &Path, file: PathBuf, bytes: &[u8], expected: Identity) -> Result<(), StorageError> {
    let found = Identity::decode(bytes).map_err(|error| match error {
        IdentityError::Damaged(what) => StorageError::Damaged { path: file.clone(), what },
        IdentityError::Format(found) => {
            StorageError::Format { path: file, found, expected: identity::FORMAT, written_by: None }
        }
    })?;
    expected.check(directory, found)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const CLUSTER: ClusterId = ClusterId([1; 16]);
    const REPLICA: ReplicaId = ReplicaId(2);

    fn open(path: &Path) -> Result<DataDirectory, StorageError> {
        DataDirectory::open(path, CLUSTER, REPLICA)
    }

    #[test]
    fn a_new_directory_is_its_owners_alone() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("deep/replica-2");
        let directory = open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(!directory.has_voted());
    }

    #[test]
    fn a_vote_is_remembered_for_ever() {
        let root = tempfile::tempdir().unwrap();
        let mut directory = open(root.path()).unwrap();
        directory.mark_voted().unwrap();
        assert!(directory.has_voted());
        drop(directory);
        assert!(open(root.path()).unwrap().has_voted());
    }

    #[test]
    fn opening_alone_is_not_voting() {
        let root = tempfile::tempdir().unwrap();
        drop(open(root.path()).unwrap());
        assert!(!open(root.path()).unwrap().has_voted());
    }

    #[test]
    fn a_vote_that_cannot_be_noted_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("data");
        let mut directory = open(&path).unwrap();
        fs::remove_dir_all(&path).unwrap();
        assert!(matches!(directory.mark_voted(), Err(StorageError::Io { .. })));
        assert!(!directory.has_voted());
    }

    #[test]
    fn a_directory_has_one_user_at_a_time_and_the_second_learns_who_the_first_is() {
        let root = tempfile::tempdir().unwrap();
        let first = open(root.path()).unwrap();
        let refused = open(root.path()).unwrap_err();
        assert!(
            matches!(&refused, StorageError::InUse { path, pid: Some(pid) } if path == root.path() && *pid == std::process::id())
        );
        assert!(refused.to_string().contains(&std::process::id().to_string()));
        drop(first);
        open(root.path()).unwrap();
    }

    #[test]
    fn a_directory_of_another_cluster_or_replica_is_refused() {
        let root = tempfile::tempdir().unwrap();
        drop(open(root.path()).unwrap());
        let other = DataDirectory::open(root.path(), ClusterId([9; 16]), REPLICA);
        assert!(matches!(other, Err(StorageError::OtherCluster { found: CLUSTER, .. })));
        let other = DataDirectory::open(root.path(), CLUSTER, ReplicaId(0));
        assert!(matches!(other, Err(StorageError::OtherReplica { found: REPLICA, .. })));
        open(root.path()).unwrap();
    }

    #[test]
    fn a_damaged_identity_is_named_and_not_overwritten() {
        let root = tempfile::tempdir().unwrap();
        drop(open(root.path()).unwrap());
        let file = root.path().join(IDENTITY);
        let mut bytes = fs::read(&file).unwrap();
        bytes[20] ^= 1;
        fs::write(&file, &bytes).unwrap();
        let refused = open(root.path()).unwrap_err();
        assert!(matches!(&refused, StorageError::Damaged { path, .. } if *path == file));
        fs::write(&file, b"").unwrap();
        assert!(matches!(open(root.path()), Err(StorageError::Damaged { .. })));
    }

    #[test]
    fn an_interrupted_first_opening_starts_over() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("identity.new"), b"half").unwrap();
        open(root.path()).unwrap();
        open(root.path()).unwrap();
    }
}
