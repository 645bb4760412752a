//! Who the replicas are.

use crate::digest::ClusterId;
use crate::ids::{Epoch, ReplicaId};
use crate::keys::PublicKey;
use crate::quorums::{FaultModel, Quorums};

/// The replicas in force in one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    cluster: ClusterId,
    epoch: Epoch,
    quorums: Quorums,
    keys: Vec<PublicKey>,
}

/// Why a list of keys is not a membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// Too few or too many replicas.
    #[error("{0} replicas: a membership has 1 to 64")]
    Size(usize),
    /// Two replicas with one key: one of them could vote twice.
    #[error("replicas {0} and {1} have the same key")]
    SameKey(ReplicaId, ReplicaId),
}

impl Membership {
    /// The membership of `keys`, by replica id.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub fn new(
        cluster: ClusterId,
        epoch: Epoch,
        model: FaultModel,
        keys: Vec<PublicKey>,
    ) -> Result<Self, MembershipError> {
        let quorums = Quorums::new(model, keys.len()).ok_or(MembershipError::Size(keys.len()))?;
        for (i, key) in keys.iter().enumerate() {
            if let Some(j) = keys[..i].iter().position(|other| other == key) {
                return Err(MembershipError::SameKey(ReplicaId(j as u16), ReplicaId(i as u16)));
            }
        }
        Ok(Self { cluster, epoch, quorums, keys })
    }

    /// The cluster.
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// The epoch.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The thresholds.
    pub fn quorums(&self) -> &Quorums {
        &self.quorums
    }

    /// A replica's key, if there is such a replica.
    pub fn key(&self, replica: ReplicaId) -> Option<&PublicKey> {
        self.keys.get(replica.index())
    }

    /// The replica with this key, if there is one.
    pub fn replica_with(&self, key: &PublicKey) -> Option<ReplicaId> {
        self.keys.iter().position(|k| k == key).map(|i| ReplicaId(i as u16))
    }

    /// All ids, ascending.
    pub fn replicas(&self) -> impl Iterator<Item = ReplicaId> + use<> {
        (0..self.quorums.replicas() as u16).map(ReplicaId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::SecretKey;

    #[test]
    fn one_key_is_one_replica() {
        let key = |i| SecretKey::from_seed([i; 32]).public();
        let of = |keys| Membership::new(ClusterId::default(), Epoch(0), FaultModel::Crash, keys);
        assert_eq!(of(vec![key(1), key(2), key(1)]), Err(MembershipError::SameKey(ReplicaId(0), ReplicaId(2))));
        assert_eq!(of(vec![]), Err(MembershipError::Size(0)));
        let three = of(vec![key(1), key(2), key(3)]).unwrap();
        assert_eq!(three.replica_with(&key(3)), Some(ReplicaId(2)));
        assert_eq!(three.replica_with(&key(4)), None);
    }
}
