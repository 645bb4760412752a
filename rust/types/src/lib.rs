//! Ids, memberships, quorums, keys, messages and the wire format. No I/O, no threads.

pub mod digest;
pub mod ids;
pub mod keys;

pub use digest::{ClusterId, Digest, chain_digest, genesis};
pub use ids::{ClientId, Epoch, Principal, ReplicaId, Slot, View};
pub use keys::{KeyError, PublicKey, SecretKey, Signature};
