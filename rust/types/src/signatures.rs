//! What several replicas have signed, the same words each: the signatures of a proof.

use crate::ids::ReplicaId;
use crate::keys::Signature;
use crate::membership::Membership;
use crate::quorums::REPLICAS_MAX;
use crate::wire::{DecodeError, Reader, Writer};

/// Signatures by replica, ascending.
pub type Signatures = Vec<(ReplicaId, Signature)>;

/// Whether at least `least` replicas of `membership` have signed `message`, each once, and nobody else has.
pub(crate) fn are_of(
    signatures: &[(ReplicaId, Signature)],
    membership: &Membership,
    message: &[u8],
    least: usize,
) -> bool {
    let is_genuine = |(replica, signature): &(_, Signature)| {
        membership.key(*replica).is_some_and(|key| key.verify(message, signature))
    };
    signatures.len() >= least && signatures.is_sorted_by(|(a, _), (b, _)| a < b) && signatures.iter().all(is_genuine)
}

pub(crate) fn encode(signatures: &[(ReplicaId, Signature)], out: &mut impl Writer) {
    out.put_count(signatures.len());
    for (replica, signature) in signatures {
        out.put_u16(replica.0);
        out.put(&signature.0);
    }
}

pub(crate) fn decode(reader: &mut Reader) -> Result<Signatures, DecodeError> {
    let count = reader.count("signatures of a proof", REPLICAS_MAX)?;
    let mut signatures = Vec::with_capacity(count);
    for _ in 0..count {
        signatures.push((reader.replica()?, reader.signature("signature of a proof")?));
    }
    Ok(signatures)
}
