//! The version of the service that is in force, and the administrator's word that ends it.

use bytes::Bytes;

use crate::digest::{ClusterId, Digest};
use crate::keys::{PublicKey, SecretKey, Signature};
use crate::wire::{DecodeError, Reader, Writer};

/// A version of the service's code, with what its commands are there: two services can have the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceVersion {
    /// Its number, from 1 on.
    pub number: u32,
    /// The digest of the commands and the state that it has.
    pub schema: Digest,
}

impl ServiceVersion {
    /// Appends its encoding.
    pub fn encode(&self, out: &mut impl Writer) {
        out.put_u32(self.number);
        out.put_digest(&self.schema);
    }

    /// Takes one off the reader.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let (number, schema) = (reader.u32("version of the service")?, reader.digest("schema of the service")?);
        if number == 0 { Err(DecodeError::Invalid("version of the service")) } else { Ok(Self { number, schema }) }
    }
}

/// The step to a later version of the service, as the administrator signs it. It can be sent again at any time: versions
/// only go up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    /// The version that is in force afterwards.
    pub to: ServiceVersion,
    /// The administrator's signature, bound to the cluster.
    pub signature: Signature,
}

impl Upgrade {
    fn signed_bytes(cluster: ClusterId, to: &ServiceVersion) -> Vec<u8> {
        let mut bytes = b"pssmr upgrade 1".to_vec();
        bytes.put(&cluster.0);
        to.encode(&mut bytes);
        bytes
    }

    /// The administrator's step to a version.
    pub fn sign(cluster: ClusterId, to: ServiceVersion, secret: &SecretKey) -> Self {
        Self { to, signature: secret.sign(&Self::signed_bytes(cluster, &to)) }
    }

    /// Whether the holder of this key signed it.
    pub fn is_signed_by(&self, cluster: ClusterId, key: &PublicKey) -> bool {
        key.verify(&Self::signed_bytes(cluster, &self.to), &self.signature)
    }

    /// Its encoding: the payload of a request.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.to.encode(&mut out);
        out.put(&self.signature.0);
        out
    }

    /// Decodes what [`Upgrade::encode`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let to = ServiceVersion::decode(&mut reader)?;
        let signature = reader.signature("signature of an upgrade")?;
        reader.finish()?;
        Ok(Self { to, signature })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: ClusterId = ClusterId([1; 16]);

    fn secret(seed: u8) -> SecretKey {
        SecretKey::from_seed([seed; 32])
    }

    #[test]
    fn an_upgrade_is_one_administrators_of_one_cluster_to_one_version() {
        let to = ServiceVersion { number: 2, schema: Digest([7; 32]) };
        let upgrade = Upgrade::decode(Upgrade::sign(CLUSTER, to, &secret(1)).encode().into()).unwrap();
        assert_eq!(upgrade.to, to);
        assert!(upgrade.is_signed_by(CLUSTER, &secret(1).public()));
        assert!(!upgrade.is_signed_by(CLUSTER, &secret(2).public()));
        assert!(!upgrade.is_signed_by(ClusterId([2; 16]), &secret(1).public()));
        for to in [ServiceVersion { number: 3, ..to }, ServiceVersion { schema: Digest([8; 32]), ..to }] {
            assert!(!Upgrade { to, ..upgrade.clone() }.is_signed_by(CLUSTER, &secret(1).public()));
        }
    }

    #[test]
    fn what_is_no_upgrade_is_refused() {
        let whole = Upgrade::sign(CLUSTER, ServiceVersion { number: 1, schema: Digest([7; 32]) }, &secret(1)).encode();
        for cut in 0..whole.len() {
            assert!(Upgrade::decode(Bytes::copy_from_slice(&whole[..cut])).is_err());
        }
        assert!(Upgrade::decode([&whole[..], &[0]].concat().into()).is_err());
        let zero = [&[0; 4][..], &whole[4..]].concat();
        assert_eq!(Upgrade::decode(zero.into()), Err(DecodeError::Invalid("version of the service")));
    }
}
