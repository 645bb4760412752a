//! Changes of the membership, and the proof of them: what the administrator signs, and what the replicas of an epoch sign
//! about its end.

use crate::digest::{ClusterId, Digest};
use crate::ids::{Epoch, Slot};
use crate::keys::{PublicKey, SecretKey, Sign, Signature};
use crate::membership::{Change, Membership};
use crate::signatures::{self, Signatures};
use crate::wire::{DecodeError, Reader, Writer};

/// Most handovers that one message carries.
pub const HANDOVERS_MAX: usize = 16;

/// A change of the membership, as the administrator signs it: it ends this epoch and no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconfiguration {
    /// The epoch that it ends.
    pub epoch: Epoch,
    /// The change.
    pub change: Change,
    /// The administrator's signature, bound to the cluster.
    pub signature: Signature,
}

/// One replica's word on the end of its epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandoverVote {
    /// The last slot of the epoch, which is decided.
    pub slot: Slot,
    /// The chain digest there.
    pub digest: Digest,
    /// The digest of the next membership.
    pub next: Digest,
    /// The replica's signature, bound to the cluster and the epoch.
    pub signature: Signature,
}

/// The proof of an epoch's end and of the membership that follows: k replicas of the epoch say so, and one of them at least
/// is correct. Whoever knows the membership of one epoch learns that of the next from it, whoever hands it over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    /// The last slot of the epoch.
    pub slot: Slot,
    /// The chain digest there.
    pub digest: Digest,
    /// The next membership.
    pub next: Membership,
    /// Who says so, ascending.
    pub signatures: Signatures,
}

impl Reconfiguration {
    fn signed_bytes(cluster: ClusterId, epoch: Epoch, change: &Change) -> Vec<u8> {
        let mut bytes = b"pssmr reconfiguration 1".to_vec();
        bytes.put(&cluster.0);
        bytes.put_u64(epoch.0);
        change.encode(&mut bytes);
        bytes
    }

    /// The administrator's change of the membership of `epoch`.
    pub fn sign(cluster: ClusterId, epoch: Epoch, change: Change, secret: &SecretKey) -> Self {
        let signature = secret.sign(&Self::signed_bytes(cluster, epoch, &change));
        Self { epoch, change, signature }
    }

    /// Whether the holder of this key signed it.
    pub fn is_signed_by(&self, cluster: ClusterId, key: &PublicKey) -> bool {
        key.verify(&Self::signed_bytes(cluster, self.epoch, &self.change), &self.signature)
    }

    /// Its encoding: the payload of a request.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_u64(self.epoch.0);
        self.change.encode(&mut out);
        out.put(&self.signature.0);
        out
    }

    /// Decodes what [`Reconfiguration::encode`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: bytes::Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let (epoch, change) = (reader.epoch()?, Change::decode(&mut reader)?);
        let signature = reader.signature("signature of a reconfiguration")?;
        reader.finish()?;
        Ok(Self { epoch, change, signature })
    }
}

fn signed_bytes(cluster: ClusterId, epoch: Epoch, slot: Slot, digest: Digest, next: Digest) -> Vec<u8> {
    let mut bytes = b"pssmr handover 1".to_vec();
    bytes.put(&cluster.0);
    bytes.put_u64(epoch.0);
    bytes.put_u64(slot.0);
    bytes.put_digest(&digest);
    bytes.put_digest(&next);
    bytes
}

impl HandoverVote {
    /// A replica's word: its `epoch` ended with this slot, and `next` is the digest of the membership that follows.
    pub fn sign(cluster: ClusterId, epoch: Epoch, slot: Slot, digest: Digest, next: Digest, signer: impl Sign) -> Self {
        Self { slot, digest, next, signature: signer.sign(&signed_bytes(cluster, epoch, slot, digest, next)) }
    }

    /// Whether the holder of this key signed it, as a replica of `epoch`.
    pub fn is_signed_by(&self, cluster: ClusterId, epoch: Epoch, key: &PublicKey) -> bool {
        key.verify(&signed_bytes(cluster, epoch, self.slot, self.digest, self.next), &self.signature)
    }

    /// Appends its encoding.
    pub fn encode(&self, out: &mut impl Writer) {
        out.put_u64(self.slot.0);
        out.put_digest(&self.digest);
        out.put_digest(&self.next);
        out.put(&self.signature.0);
    }

    /// Takes one off the reader.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            slot: reader.slot("last slot of an epoch")?,
            digest: reader.digest("digest of an epoch's end")?,
            next: reader.digest("digest of the next membership")?,
            signature: reader.signature("signature of a handover")?,
        })
    }
}

impl Handover {
    /// Whether it proves the end of `membership`'s epoch.
    pub fn ends(&self, membership: &Membership) -> bool {
        let (cluster, epoch) = (membership.cluster(), membership.epoch());
        let message = signed_bytes(cluster, epoch, self.slot, self.digest, self.next.digest());
        self.next.epoch() == epoch.next()
            && self.next.cluster() == cluster
            && self.next.quorums().model() == membership.quorums().model()
            && signatures::are_of(&self.signatures, membership, &message, membership.quorums().weak())
    }

    /// Appends its encoding.
    pub fn encode(&self, out: &mut impl Writer) {
        out.put_u64(self.slot.0);
        out.put_digest(&self.digest);
        self.next.encode(out);
        signatures::encode(&self.signatures, out);
    }

    /// Takes one off the reader.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let (slot, digest) = (reader.slot("last slot of an epoch")?, reader.digest("digest of an epoch's end")?);
        let next = Membership::decode(reader)?;
        Ok(Self { slot, digest, next, signatures: signatures::decode(reader)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ReplicaId;
    use crate::membership::Member;
    use crate::quorums::FaultModel;

    const CLUSTER: ClusterId = ClusterId([7; 16]);

    fn secret(replica: u16) -> SecretKey {
        SecretKey::from_seed([replica as u8 + 1; 32])
    }

    fn four() -> Membership {
        let keys = (0..4).map(|replica| secret(replica).public()).collect();
        Membership::new(CLUSTER, Epoch(3), FaultModel::Byzantine, keys).unwrap()
    }

    fn handover(signers: &[u16]) -> Handover {
        let next = four().changed(&Change::Remove(ReplicaId(1))).unwrap();
        let (slot, digest) = (Slot(9), Digest([1; 32]));
        let sign =
            |replica| HandoverVote::sign(CLUSTER, Epoch(3), slot, digest, next.digest(), &secret(replica)).signature;
        let signatures = signers.iter().map(|replica| (ReplicaId(*replica), sign(*replica))).collect();
        Handover { slot, digest, next, signatures }
    }

    #[test]
    fn a_handover_needs_enough_different_replicas_of_the_epoch_that_ends() {
        assert!(handover(&[1, 3]).ends(&four()));
        for too_few in [&[][..], &[1], &[1, 1], &[3, 1], &[1, 9]] {
            assert!(!handover(too_few).ends(&four()));
        }
        let later = Membership::of(CLUSTER, Epoch(4), FaultModel::Byzantine, four().members().to_vec()).unwrap();
        assert!(!handover(&[0, 1, 2, 3]).ends(&later));
    }

    #[test]
    fn every_part_of_a_handover_is_signed() {
        let changes: [fn(&mut Handover); 4] = [
            |h| h.slot = Slot(10),
            |h| h.digest = Digest([9; 32]),
            |h| h.next = four().changed(&Change::Remove(ReplicaId(2))).unwrap(),
            |h| h.signatures[1].1.0[5] ^= 1,
        ];
        for change in changes {
            let mut changed = handover(&[0, 1, 3]);
            change(&mut changed);
            assert!(!changed.ends(&four()));
        }
    }

    #[test]
    fn a_reconfiguration_is_the_administrators_for_one_epoch_of_one_cluster() {
        let member = Member {
            id: ReplicaId(4),
            key: secret(4).public(),
            peer_address: "a:1".to_owned(),
            client_address: "a:2".to_owned(),
        };
        let signed = Reconfiguration::sign(CLUSTER, Epoch(3), Change::Add(member), &secret(9));
        let key = secret(9).public();
        assert!(signed.is_signed_by(CLUSTER, &key));
        assert!(!signed.is_signed_by(ClusterId([8; 16]), &key) && !signed.is_signed_by(CLUSTER, &secret(8).public()));
        let moved = Reconfiguration { epoch: Epoch(4), ..signed.clone() };
        assert!(!moved.is_signed_by(CLUSTER, &key));
        let other = Reconfiguration { change: Change::Remove(ReplicaId(0)), ..signed.clone() };
        assert!(!other.is_signed_by(CLUSTER, &key));
        let bytes = signed.encode();
        assert_eq!(Reconfiguration::decode(bytes.clone().into()), Ok(signed));
        assert!((0..bytes.len()).all(|length| Reconfiguration::decode(bytes[..length].to_vec().into()).is_err()));
    }

    #[test]
    fn what_is_encoded_is_decoded_and_nothing_shorter() {
        let mut bytes = Vec::new();
        handover(&[0, 1, 3]).encode(&mut bytes);
        let decode = |bytes: &[u8]| Handover::decode(&mut Reader::new(bytes.to_vec().into()));
        assert_eq!(decode(&bytes), Ok(handover(&[0, 1, 3])));
        assert!((0..bytes.len()).all(|length| decode(&bytes[..length]).is_err()));
    }
}
