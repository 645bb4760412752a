//! Ids, memberships, quorums, keys, messages and the wire format. No I/O, no threads.

pub mod client;
pub mod digest;
pub mod ids;
pub mod keys;
pub mod membership;
pub mod peer;
pub mod quorums;
pub mod request;
pub mod wire;

pub use client::{ClientMessage, Hello, Outcome, ReplicaMessage, Reply, result_digest};
pub use digest::{ClusterId, Digest, chain_digest, genesis};
pub use ids::{ClientId, Epoch, Principal, ReplicaId, Slot, View};
pub use keys::{KeyError, PublicKey, SecretKey, Signature};
pub use membership::{Membership, MembershipError};
pub use peer::{Entry, Lock, PeerMessage, Propose, Status, StopData, Sync, Vote, Written};
pub use quorums::{FaultModel, Quorums, REPLICAS_MAX};
pub use request::{Batch, BatchLimits, Operation, Request};
pub use wire::{DecodeError, PROTOCOL_VERSION, Reader, Writer};
