//! Checkpoints: what replicas sign about their state after a slot, and the proof that enough signed the same.

use crate::digest::{ClusterId, Digest};
use crate::ids::{Epoch, Slot};
use crate::keys::{PublicKey, Sign, Signature};
use crate::membership::Membership;
use crate::signatures::{self, Signatures};
use crate::wire::{DecodeError, Reader, Writer};

/// What the state after a slot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The slot: all commands up to it are executed, and none after it.
    pub slot: Slot,
    /// The chain digest there.
    pub digest: Digest,
    /// The digest of the snapshot: of the application's state, the sessions and the replies that clients may still want.
    pub root: Digest,
}

/// One replica's word on the state after a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointVote {
    /// What it found.
    pub checkpoint: Checkpoint,
    /// Its signature, bound to the cluster and the epoch.
    pub signature: Signature,
}

/// The words of f + 1 replicas, all the same: one of them at least is correct and has the snapshot. The checkpoint is
/// *stable*, and anyone can check that it is. (PBFT calls this a weak certificate.)
///
/// No quorum is asked for: a Byzantine replica that votes but signs no checkpoint could else keep replicas that lag from
/// ever coming back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// What they all found.
    pub checkpoint: Checkpoint,
    /// The epoch as whose replicas they signed it: that of the slot, or a later one.
    pub epoch: Epoch,
    /// Their signatures, by replica, ascending.
    pub signatures: Signatures,
}

impl Checkpoint {
    fn signed_bytes(&self, cluster: ClusterId, epoch: Epoch) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(128);
        bytes.put(b"pssmr checkpoint 1");
        bytes.put(&cluster.0);
        bytes.put_u64(epoch.0);
        self.encode(&mut bytes);
        bytes
    }

    /// Appends it to `out`.
    pub fn encode(&self, out: &mut impl Writer) {
        out.put_u64(self.slot.0);
        out.put_digest(&self.digest);
        out.put_digest(&self.root);
    }

    /// Takes one off the reader.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let (slot, digest) = (reader.slot("slot of a checkpoint")?, reader.digest("digest of a checkpoint")?);
        if slot == Slot(0) {
            return Err(DecodeError::Invalid("slot of a checkpoint"));
        }
        Ok(Self { slot, digest, root: reader.digest("root of a checkpoint")? })
    }
}

impl CheckpointVote {
    /// Signs a checkpoint.
    pub fn sign(cluster: ClusterId, epoch: Epoch, checkpoint: Checkpoint, signer: impl Sign) -> Self {
        Self { checkpoint, signature: signer.sign(&checkpoint.signed_bytes(cluster, epoch)) }
    }

    /// Whether the signature is that of `key`.
    pub fn is_signed_by(&self, cluster: ClusterId, epoch: Epoch, key: &PublicKey) -> bool {
        key.verify(&self.checkpoint.signed_bytes(cluster, epoch), &self.signature)
    }

    /// Appends it to `out`.
    pub fn encode(&self, out: &mut impl Writer) {
        self.checkpoint.encode(out);
        out.put(&self.signature.0);
    }

    /// Takes one off the reader.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let checkpoint = Checkpoint::decode(reader)?;
        Ok(Self { checkpoint, signature: reader.signature("signature of a checkpoint")? })
    }
}

impl Certificate {
    /// Whether enough replicas of `membership` have signed this.
    pub fn is_valid(&self, membership: &Membership) -> bool {
        let message = self.checkpoint.signed_bytes(membership.cluster(), membership.epoch());
        self.epoch == membership.epoch()
            && signatures::are_of(&self.signatures, membership, &message, membership.quorums().faults() + 1)
    }

    /// Appends it to `out`.
    pub fn encode(&self, out: &mut impl Writer) {
        self.checkpoint.encode(out);
        out.put_u64(self.epoch.0);
        signatures::encode(&self.signatures, out);
    }

    /// Takes one off the reader.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let (checkpoint, epoch) = (Checkpoint::decode(reader)?, reader.epoch()?);
        Ok(Self { checkpoint, epoch, signatures: signatures::decode(reader)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ReplicaId;
    use crate::keys::SecretKey;
    use crate::quorums::FaultModel;

    const CLUSTER: ClusterId = ClusterId([7; 16]);
    const CHECKPOINT: Checkpoint = Checkpoint { slot: Slot(9), digest: Digest([1; 32]), root: Digest([2; 32]) };

    fn secret(replica: u16) -> SecretKey {
        SecretKey::from_seed([replica as u8 + 1; 32])
    }

    fn membership() -> Membership {
        let keys = (0..4).map(|replica| secret(replica).public()).collect();
        Membership::new(CLUSTER, Epoch(3), FaultModel::Byzantine, keys).unwrap()
    }

    fn certificate(signers: &[u16]) -> Certificate {
        let sign = |replica| CheckpointVote::sign(CLUSTER, Epoch(3), CHECKPOINT, &secret(replica)).signature;
        let signatures = signers.iter().map(|replica| (ReplicaId(*replica), sign(*replica))).collect();
        Certificate { checkpoint: CHECKPOINT, epoch: Epoch(3), signatures }
    }

    #[test]
    fn a_certificate_needs_more_different_replicas_than_may_be_faulty() {
        assert!(certificate(&[1, 3]).is_valid(&membership()));
        assert!(certificate(&[0, 1, 2, 3]).is_valid(&membership()));
        for too_few in [&[][..], &[1], &[1, 1], &[1, 0], &[1, 9]] {
            assert!(!certificate(too_few).is_valid(&membership()));
        }
    }

    #[test]
    fn every_part_of_a_checkpoint_is_signed() {
        let changes: [fn(&mut Certificate); 5] = [
            |c| c.epoch = Epoch(4),
            |c| c.checkpoint.slot = Slot(10),
            |c| c.checkpoint.digest = Digest([9; 32]),
            |c| c.checkpoint.root = Digest([9; 32]),
            |c| c.signatures[1].1.0[5] ^= 1,
        ];
        for change in changes {
            let mut changed = certificate(&[0, 1, 3]);
            change(&mut changed);
            assert!(!changed.is_valid(&membership()));
        }
        let vote = CheckpointVote::sign(CLUSTER, Epoch(3), CHECKPOINT, &secret(1));
        assert!(vote.is_signed_by(CLUSTER, Epoch(3), &secret(1).public()));
        assert!(!vote.is_signed_by(CLUSTER, Epoch(4), &secret(1).public()));
        assert!(!vote.is_signed_by(ClusterId([8; 16]), Epoch(3), &secret(1).public()));
    }

    #[test]
    fn what_is_encoded_is_decoded_and_nothing_shorter() {
        let mut bytes = Vec::new();
        certificate(&[0, 1, 3]).encode(&mut bytes);
        let decode = |bytes: &[u8]| Certificate::decode(&mut Reader::new(bytes.to_vec().into()));
        assert_eq!(decode(&bytes), Ok(certificate(&[0, 1, 3])));
        assert!((0..bytes.len()).all(|length| decode(&bytes[..length]).is_err()));
    }
}
