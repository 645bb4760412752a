//! The version of the service that is in force: it goes up at one place in the total order, by the administrator's word.

use bytes::Bytes;
use pssmr_types::{ServiceVersion, Upgrade};

use crate::core::Core;

impl Core {
    /// The number of the version of the service that is in force for what is delivered next.
    pub fn service_version(&self) -> u32 {
        self.upgraded.map_or(self.config.first_service_version, |version| version.number)
    }

    /// The version that the service has gone over to, if it has ever left the first one.
    pub fn upgraded(&self) -> Option<ServiceVersion> {
        self.upgraded
    }

    /// Why an upgrade is not made; it is the same at every replica that has delivered the same.
    pub(crate) fn refusal_of_upgrade(&self, payload: Bytes) -> Option<String> {
        let upgrade = match Upgrade::decode(payload) {
            Ok(upgrade) => upgrade,
            Err(error) => return Some(format!("this is no upgrade: {error}")),
        };
        let (wanted, in_force) = (upgrade.to.number, self.service_version());
        // The signature last: anybody may send this.
        if wanted < in_force {
            return Some(format!("version {in_force} of the service is in force: there is no way back to {wanted}"));
        }
        if wanted == in_force && self.upgraded != Some(upgrade.to) {
            return Some(match self.upgraded {
                Some(_) => format!("another version {in_force} of the service is in force, with other commands"),
                None => format!("version {in_force} of the service is in force from the beginning"),
            });
        }
        let Some(administrator) = &self.config.administrator else {
            return Some("the cluster has no administrator key, so its service can't be upgraded".to_owned());
        };
        let is_signed = upgrade.is_signed_by(self.membership.cluster(), administrator);
        (!is_signed).then(|| "the upgrade is not signed by the cluster's administrator".to_owned())
    }

    /// An upgrade is decided. Gives its result, the same at every replica: empty if its version is in force now, and why it
    /// is not.
    pub(crate) fn upgrade(&mut self, payload: Bytes) -> Bytes {
        let refusal = self.refusal_of_upgrade(payload.clone());
        if refusal.is_none() {
            let upgrade = Upgrade::decode(payload).expect("it was just decoded");
            self.upgraded = Some(upgrade.to);
        }
        refusal.unwrap_or_default().into()
    }
}
