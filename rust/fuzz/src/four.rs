//! Four replicas and their keys, made once.

use std::sync::OnceLock;

use pssmr_types::{ClusterId, Epoch, FaultModel, Membership, SecretKey};

pub(crate) const CLUSTER: ClusterId = ClusterId([1; 16]);
pub(crate) const EPOCH: Epoch = Epoch(0);
pub(crate) const REPLICAS: usize = 4;

fn secrets() -> &'static [SecretKey] {
    static SECRETS: OnceLock<Vec<SecretKey>> = OnceLock::new();
    SECRETS.get_or_init(|| (1..=REPLICAS as u8).map(|number| SecretKey::from_seed([number; 32])).collect())
}

/// A replica's key.
pub(crate) fn secret(replica: usize) -> SecretKey {
    secrets()[replica].clone()
}

pub(crate) fn membership(model: FaultModel) -> Membership {
    static MEMBERSHIPS: OnceLock<[Membership; 2]> = OnceLock::new();
    let made = |model| {
        let keys = secrets().iter().map(SecretKey::public).collect();
        Membership::new(CLUSTER, EPOCH, model, keys).expect("four different keys")
    };
    let [byzantine, crash] = MEMBERSHIPS.get_or_init(|| [FaultModel::Byzantine, FaultModel::Crash].map(made));
    if model == FaultModel::Byzantine { byzantine.clone() } else { crash.clone() }
}
