//! Ids, memberships, quorums, keys, messages and the wire format. No I/O, no threads.

pub mod checkpoint;
pub mod client;
pub mod digest;
pub mod handover;
pub mod ids;
pub mod keys;
pub mod membership;
pub mod peer;
pub mod quorums;
pub mod read;
pub mod request;
pub mod signatures;
pub mod states;
pub mod trace;
pub mod transfer;
pub mod upgrade;
pub mod wire;

pub use checkpoint::{Certificate, Checkpoint, CheckpointVote};
pub use client::{ClientMessage, Hello, Outcome, ReplicaMessage, Reply, result_digest};
pub use digest::{ClusterId, Digest, chain_digest, genesis};
pub use handover::{Handover, HandoverVote, Reconfiguration};
pub use ids::{ClientId, Epoch, Principal, ReplicaId, Slot, View};
pub use keys::{KeyError, PublicKey, SecretKey, Sign, Signature};
pub use membership::{Change, ChangeError, Member, Membership, MembershipError};
pub use peer::{Entry, PeerMessage, Propose, Status, Vote};
pub use quorums::{FaultModel, Quorums, REPLICAS_MAX};
pub use read::{Read, ReadReply};
pub use request::{Batch, BatchLimits, Operation, Request};
pub use states::{Lock, StopData, Sync, Written};
pub use trace::{RequestTrace, TraceContext};
pub use transfer::SnapshotMessage;
pub use upgrade::{ServiceVersion, Upgrade};
pub use wire::{DecodeError, PROTOCOL_VERSION, Reader, Writer};
