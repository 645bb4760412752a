//! Backups of replicas: verified, and restored into a data directory.

use std::path::PathBuf;

use pssmr_replica::{Backup, BackupError};
use pssmr_types::{Membership, ReplicaId};
use pyo3::prelude::*;

use crate::errors;
use crate::keys::{cluster_id, fault_model};
use crate::membership::{MemberTuple, membership};

/// A backup that was verified: its slot, the bytes of the state, the version of the service.
type Verified = (u64, u64, Option<u32>);

/// Verifies the newest snapshot in a directory that has one as data directories have it, with its proof: that enough of the
/// replicas of this membership have signed it, and that all its bytes are those that they have signed.
///
/// Raises pssmr.ConfigError if it is no backup of this cluster and this membership, or damaged.
#[pyfunction]
#[pyo3(signature = (directory, *, cluster, fault_model, epoch, members))]
pub(crate) fn verify_backup(
    py: Python<'_>,
    directory: PathBuf,
    cluster: &str,
    fault_model: &str,
    epoch: u64,
    members: Vec<MemberTuple>,
) -> PyResult<Verified> {
    let membership = membership_of(py, cluster, fault_model, epoch, members)?;
    verified(py, py.detach(|| pssmr_replica::verify(&directory, &membership)))
}

/// The same, and makes the directory that of a replica which goes on from there. It must have nothing else.
///
/// Raises pssmr.ConfigError also if it has.
#[pyfunction]
#[pyo3(signature = (directory, *, cluster, fault_model, epoch, members, me))]
pub(crate) fn restore_backup(
    py: Python<'_>,
    directory: PathBuf,
    cluster: &str,
    fault_model: &str,
    epoch: u64,
    members: Vec<MemberTuple>,
    me: u16,
) -> PyResult<Verified> {
    let membership = membership_of(py, cluster, fault_model, epoch, members)?;
    verified(py, py.detach(|| pssmr_replica::restore(&directory, &membership, ReplicaId(me))))
}

fn membership_of(
    py: Python<'_>,
    cluster: &str,
    model: &str,
    epoch: u64,
    members: Vec<MemberTuple>,
) -> PyResult<Membership> {
    membership(py, cluster_id(cluster)?, epoch, fault_model(model)?, members)
}

fn verified(py: Python<'_>, outcome: Result<Backup, BackupError>) -> PyResult<Verified> {
    let backup = outcome.map_err(|error| errors::config_error(py, error.to_string()))?;
    Ok((backup.slot.0, backup.bytes, backup.service_version))
}
