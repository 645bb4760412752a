//! Memberships and changes of them, from and to the tuples that Python has of members.

use pssmr_types::{Change, ClusterId, Epoch, FaultModel, Member, Membership, REPLICAS_MAX, Reconfiguration, ReplicaId};
use pyo3::prelude::*;

use crate::errors;
use crate::keys::{cluster_id, public_key_of, secret_key};

/// One member: id, public key in hexadecimal, address for replicas, address for clients.
pub(crate) type MemberTuple = (u16, String, String, String);

fn member(py: Python<'_>, (id, key, peer_address, client_address): MemberTuple) -> PyResult<Member> {
    let key = public_key_of(&key).map_err(|error| errors::config_error(py, format!("replica {id}: {error}")))?;
    Ok(Member { id: ReplicaId(id), key, peer_address, client_address })
}

pub(crate) fn tuple_of(member: &Member) -> MemberTuple {
    (member.id.0, member.key.to_string(), member.peer_address.clone(), member.client_address.clone())
}

/// The membership of `members`, by seniority; `pssmr.ConfigError` if it can't be.
pub(crate) fn membership(
    py: Python<'_>,
    cluster: ClusterId,
    epoch: u64,
    model: FaultModel,
    members: Vec<MemberTuple>,
) -> PyResult<Membership> {
    let members = members.into_iter().map(|tuple| member(py, tuple)).collect::<PyResult<_>>()?;
    Membership::of(cluster, Epoch(epoch), model, members).map_err(|error| errors::config_error(py, error.to_string()))
}

/// The administrator's signed change of the membership of one epoch, for `ClientCore.submit_reconfiguration`: "add" `new`,
/// "remove" `old`, or "replace" `old` by `new`. A member is an id, a public key in hexadecimal, and the addresses for
/// replicas and for clients. `key` is the administrator's private key in PKCS#8 PEM form.
///
/// Raises pssmr.ConfigError for a change that no membership takes.
#[pyfunction]
#[pyo3(signature = (*, cluster, epoch, change, old=None, new=None, key))]
pub(crate) fn sign_reconfiguration(
    py: Python<'_>,
    cluster: &str,
    epoch: u64,
    change: &str,
    old: Option<u16>,
    new: Option<MemberTuple>,
    key: &str,
) -> PyResult<Vec<u8>> {
    let refuse = |message: String| Err(errors::config_error(py, message));
    let config_error = |error: PyErr| errors::config_error(py, error.value(py).to_string());
    let cluster = cluster_id(cluster).map_err(config_error)?;
    let secret = secret_key(key).map_err(config_error)?;
    if let Some(old) = old.filter(|old| usize::from(*old) >= REPLICAS_MAX) {
        return refuse(format!("{old} is not an id that a replica can have: 0 to {}", REPLICAS_MAX - 1));
    }
    let new = new.map(|new| new_member(py, cluster, epoch, new)).transpose()?;
    let change = match (change, old, new) {
        ("add", None, Some(new)) => Change::Add(new),
        ("remove", Some(old), None) => Change::Remove(ReplicaId(old)),
        ("replace", Some(old), Some(new)) => Change::Replace { old: ReplicaId(old), new },
        ("add", ..) => return refuse("to add a replica takes the new one, and no old one".to_owned()),
        ("remove", ..) => return refuse("to remove a replica takes the old one, and no new one".to_owned()),
        ("replace", ..) => return refuse("to replace a replica takes the old one and the new one".to_owned()),
        (other, ..) => {
            return refuse(format!("{other:?} is no change of a membership: add, remove or replace"));
        }
    };
    Ok(Reconfiguration::sign(cluster, Epoch(epoch), change, &secret).encode())
}

/// A replica that is to join: everybody learns from the change where to reach it.
fn new_member(py: Python<'_>, cluster: ClusterId, epoch: u64, new: MemberTuple) -> PyResult<Member> {
    if new.2.is_empty() || new.3.is_empty() {
        let message = format!("replica {} has to have an address for replicas and one for clients", new.0);
        return Err(errors::config_error(py, message));
    }
    // What can't be a member of any membership can't be one of its own.
    let alone = membership(py, cluster, epoch, FaultModel::Crash, vec![new])?;
    Ok(alone.members()[0].clone())
}
