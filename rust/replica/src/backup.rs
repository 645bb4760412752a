//! Backups: a snapshot and its proof, as they are in one replica's directory, and a data directory that begins with them.
//!
//! f + 1 replicas have signed what the snapshot is, so one copy is enough, whoever gives it. A directory that begins with it is
//! that of a replica which was given the snapshot by others a moment ago: it remembers no votes above it. So all replicas have to
//! begin so, or none: one that keeps what it had may know of other decisions than those that are made now.

use std::path::Path;

use pssmr_ordering::Record;
use pssmr_storage::{DataDirectory, Log, LogOptions, MembershipFile, Promise, PromiseFile, Snapshots, StorageError};
use pssmr_types::{Certificate, Epoch, Membership, ReplicaId, Slot, View};

use crate::past::SYNCED;
use crate::snapshots::{Content, ContentError, certificate_of, snapshot_options};

/// A snapshot that was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backup {
    /// The slot that it is of.
    pub slot: Slot,
    /// The bytes of the state.
    pub bytes: u64,
    /// The version that the service had gone over to; `None` if it was the first.
    pub service_version: Option<u32>,
}

/// Why there is no backup, or none can be restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The directory can't be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// There is nothing in it.
    #[error("there is no snapshot with a proof")]
    Nothing,
    /// The proof is of another membership.
    #[error(
        "the snapshot of {slot} is of {found}, and the membership in the configuration of {expected}: take the configuration of that time"
    )]
    OtherEpoch {
        /// The snapshot's slot.
        slot: Slot,
        /// The epoch of its proof.
        found: Epoch,
        /// The configuration's epoch.
        expected: Epoch,
    },
    /// Not enough of the replicas have signed it.
    #[error("the snapshot of {slot} is not proved by the replicas of the configuration")]
    NotProved {
        /// The snapshot's slot.
        slot: Slot,
    },
    /// It is not what was proved.
    #[error("the snapshot of {slot} is damaged: {reason}")]
    Damaged {
        /// The snapshot's slot.
        slot: Slot,
        /// What is wrong.
        reason: String,
    },
    /// The replica has a past.
    #[error("the replica has a log, or promises: a backup is restored into an empty directory")]
    NotEmpty,
}

/// Verifies the newest snapshot in `directory`, all of it.
///
/// # Errors
/// [`BackupError`].
pub fn verify(directory: &Path, membership: &Membership) -> Result<Backup, BackupError> {
    let me = membership.members()[0].id;
    verify_in(&DataDirectory::open(directory, membership.cluster(), me)?, membership)
}

/// Makes `directory`, which has nothing but a snapshot and its proof, the data directory of a replica that goes on from there.
///
/// # Errors
/// [`BackupError`]; it can be tried again.
pub fn restore(directory: &Path, membership: &Membership, me: ReplicaId) -> Result<Backup, BackupError> {
    let directory = DataDirectory::open(directory, membership.cluster(), me)?;
    let (mut promises, promise) = PromiseFile::open(&directory)?;
    if promise.is_some() || directory.has_voted() {
        return Err(BackupError::NotEmpty);
    }
    let backup = verify_in(&directory, membership)?;
    let installed = Record::Installed(backup.slot);
    let mut bytes = Vec::new();
    let tail = installed.encode(&mut bytes);
    assert!(tail.is_none(), "all of it is in the record");
    let mut is_begun = true;
    let (mut log, _) = Log::open(&directory, LogOptions::default(), &mut |_, record| is_begun &= record == bytes)?;
    if !is_begun || log.next_index() > 1 {
        return Err(BackupError::NotEmpty);
    }
    if log.next_index() == 0 {
        log.append(&bytes)?;
        log.write()?;
        log.sync()?;
    }
    MembershipFile::new(&directory).write(membership)?;
    // Last: without a promise, the log counts for nothing.
    promises.write(&Promise { slot_limit: backup.slot, view: View(0), boot: SYNCED })?;
    Ok(backup)
}

fn verify_in(directory: &DataDirectory, membership: &Membership) -> Result<Backup, BackupError> {
    let snapshots = Snapshots::open(directory, snapshot_options())?;
    let slot = *snapshots.list()?.first().ok_or(BackupError::Nothing)?;
    let snapshot = snapshots.open_snapshot(slot)?;
    let certificate = certificate_of(&snapshots, slot).ok_or(BackupError::Nothing)?;
    let Certificate { checkpoint, epoch, .. } = &certificate;
    if *epoch != membership.epoch() {
        return Err(BackupError::OtherEpoch { slot, found: *epoch, expected: membership.epoch() });
    }
    if checkpoint.slot != slot || !certificate.is_valid(membership) {
        return Err(BackupError::NotProved { slot });
    }
    let damaged = |reason: String| BackupError::Damaged { slot, reason };
    if snapshot.manifest().root() != checkpoint.root {
        return Err(damaged("it is another one than was proved".to_owned()));
    }
    for chunk in 0..snapshot.manifest().count() {
        snapshot.read_chunk(chunk).map_err(|error| damaged(error.to_string()))?;
    }
    let content = Content::read(&mut snapshot.reader()).map_err(|error: ContentError| damaged(error.to_string()))?;
    if content.core.slot != slot || content.core.digest != checkpoint.digest {
        return Err(damaged("it is of another slot than was proved".to_owned()));
    }
    let service_version = content.core.upgraded.map(|version| version.number);
    Ok(Backup { slot, bytes: snapshot.manifest().bytes, service_version })
}
