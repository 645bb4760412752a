//! Digests: BLAKE3, always with a domain, so that a digest made for one purpose is never valid for another.

use std::fmt;

use crate::ids::{Epoch, Slot};

/// A 32-byte BLAKE3 digest.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of `bytes` in `domain`. Domains are constants of this workspace, unique by purpose.
    pub fn of(domain: &'static str, bytes: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(domain.len() as u64).to_le_bytes());
        hasher.update(domain.as_bytes());
        hasher.update(bytes);
        Self(*hasher.finalize().as_bytes())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in &self.0[..6] {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// Names a cluster: the digest of what its replicas agreed on when it was made. Bound into every chain digest and
/// signature, so nothing of one cluster is valid in another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClusterId(pub [u8; 16]);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in &self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// The chain digest `d_s = H(domain ‖ cluster ‖ epoch ‖ s ‖ d_{s-1} ‖ H(batch))`.
///
/// There is no view in it: a batch that is kept over a view change keeps its digest. A vote for `d_s` is a vote for
/// all of the chain that ends there.
pub fn chain_digest(cluster: ClusterId, epoch: Epoch, slot: Slot, parent: Digest, batch: Digest) -> Digest {
    let mut bytes = [0u8; 16 + 8 + 8 + 32 + 32];
    bytes[..16].copy_from_slice(&cluster.0);
    bytes[16..24].copy_from_slice(&epoch.0.to_le_bytes());
    bytes[24..32].copy_from_slice(&slot.0.to_le_bytes());
    bytes[32..64].copy_from_slice(&parent.0);
    bytes[64..].copy_from_slice(&batch.0);
    Digest::of("pssmr chain 1", &bytes)
}

/// The chain digest of the empty chain: slot 0.
pub fn genesis(cluster: ClusterId) -> Digest {
    Digest::of("pssmr genesis 1", &cluster.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_chain_digest_matters() {
        let of = |cluster, epoch, slot, parent, batch| {
            chain_digest(ClusterId([cluster; 16]), Epoch(epoch), Slot(slot), Digest([parent; 32]), Digest([batch; 32]))
        };
        let all = [
            of(1, 1, 1, 2, 3),
            of(9, 1, 1, 2, 3),
            of(1, 2, 1, 2, 3),
            of(1, 1, 2, 2, 3),
            of(1, 1, 1, 4, 3),
            of(1, 1, 1, 2, 4),
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn a_domain_separates() {
        assert_ne!(Digest::of("a", b"bc"), Digest::of("ab", b"c"));
    }
}
