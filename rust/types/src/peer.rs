//! What replicas say to each other.

use bytes::Bytes;

use crate::checkpoint::{Certificate, CheckpointVote};
use crate::digest::Digest;
use crate::handover::{HANDOVERS_MAX, Handover, HandoverVote};
use crate::ids::{Epoch, Slot, View};
use crate::request::{Batch, BatchLimits, Request};
use crate::states::{StopData, Sync};
use crate::transfer::SnapshotMessage;
use crate::wire::{DecodeError, Reader, Writer};

/// Most requests that one frame can forward.
pub const FORWARD_MAX: usize = 4096;

/// The leader's batch for a slot, on top of the chain that ends in `parent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Propose {
    /// The leader's view.
    pub view: View,
    /// The slot.
    pub slot: Slot,
    /// The chain digest of the slot before.
    pub parent: Digest,
    /// The batch.
    pub batch: Batch,
}

/// A WRITE or an ACCEPT: a vote for the chain that ends in `digest`, from the slot above `base` to `slot`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vote {
    /// The view that it is cast in.
    pub view: View,
    /// The base of that view at the voter: the vote says nothing of this slot and those below.
    pub base: Slot,
    /// The chain's last slot.
    pub slot: Slot,
    /// The chain digest there.
    pub digest: Digest,
}

/// One slot of a chain, for a replica that lacks it. It proves itself: with the parent it gives the chain digest asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The slot.
    pub slot: Slot,
    /// The chain digest of the slot before.
    pub parent: Digest,
    /// The batch.
    pub batch: Batch,
}

/// Where a replica is. Sent at every heartbeat, and to each replica that connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The view that it is in.
    pub view: View,
    /// Whether it has the view's base; if not, it waits for the leader's SYNC.
    pub synced: bool,
    /// The last slot decided.
    pub decided: Slot,
    /// The chain digest there.
    pub digest: Digest,
    /// The last slot on its chain.
    pub head: Slot,
    /// The replica has forgotten its votes, and waits for this slot to be decided, to vote again; 0 if it does not wait.
    pub awaited: Slot,
    /// The replica remembers nothing, and asks the others whether there is anything to remember.
    pub is_newborn: bool,
}

/// A message between two replicas. The sender is who the link says, never a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerMessage {
    /// The leader's proposal.
    Propose(Propose),
    /// A vote that a chain was proposed.
    Write(Vote),
    /// A vote that a chain is locked by a quorum.
    Accept(Vote),
    /// The sender wants to leave for this view.
    Stop(View),
    /// The sender's state, for the leader of the view that it went to.
    StopData(StopData),
    /// The base of a view.
    Sync(Sync),
    /// Requests that the sender's clients wait for and the leader may not have.
    Forward(Vec<Request>),
    /// Where the sender is.
    Status(Status),
    /// Asks for the chain that ends in (slot, digest), down to the slot above `floor`.
    Fetch {
        /// The chain's last slot.
        slot: Slot,
        /// The chain digest there.
        digest: Digest,
        /// The highest slot that the asker has.
        floor: Slot,
    },
    /// An answer to a fetch, one slot of it.
    Entry(Entry),
    /// An answer to a fetch or a digest request for slots that the sender no longer keeps: `oldest` is the first it has.
    Truncated {
        /// The oldest slot kept.
        oldest: Slot,
    },
    /// Asks for the chain digest decided at this slot.
    DigestRequest(Slot),
    /// The chain digest decided at this slot.
    DigestReply {
        /// The slot.
        slot: Slot,
        /// The chain digest there.
        digest: Digest,
    },
    /// What the sender's state after a slot is.
    Checkpoint(CheckpointVote),
    /// The proof of a stable checkpoint.
    Certificate(Certificate),
    /// About a snapshot.
    Snapshot(SnapshotMessage),
    /// What the sender found at the end of its epoch.
    Handover(HandoverVote),
    /// The proof of memberships that the receiver does not know yet, one after the other. At most
    /// [`HANDOVERS_MAX`].
    Handovers(Vec<Handover>),
}

fn encode_vote(vote: &Vote, out: &mut impl Writer) {
    out.put_u64(vote.view.0);
    out.put_u64(vote.base.0);
    out.put_u64(vote.slot.0);
    out.put_digest(&vote.digest);
}

fn decode_vote(reader: &mut Reader) -> Result<Vote, DecodeError> {
    let vote = Vote {
        view: reader.view()?,
        base: reader.slot("base")?,
        slot: reader.slot("slot")?,
        digest: reader.digest("vote")?,
    };
    if vote.slot <= vote.base { Err(DecodeError::Invalid("slot of a vote")) } else { Ok(vote) }
}

mod tag {
    pub(super) const PROPOSE: u8 = 1;
    pub(super) const WRITE: u8 = 2;
    pub(super) const ACCEPT: u8 = 3;
    pub(super) const STOP: u8 = 4;
    pub(super) const STOP_DATA: u8 = 5;
    pub(super) const SYNC: u8 = 6;
    pub(super) const FORWARD: u8 = 7;
    pub(super) const STATUS: u8 = 8;
    pub(super) const FETCH: u8 = 9;
    pub(super) const ENTRY: u8 = 10;
    pub(super) const TRUNCATED: u8 = 11;
    pub(super) const DIGEST_REQUEST: u8 = 12;
    pub(super) const DIGEST_REPLY: u8 = 13;
    pub(super) const CHECKPOINT: u8 = 14;
    pub(super) const CERTIFICATE: u8 = 15;
    pub(super) const SNAPSHOT: u8 = 16;
    pub(super) const HANDOVER: u8 = 17;
    pub(super) const HANDOVERS: u8 = 18;
}

impl PeerMessage {
    /// Appends the message, bound to `epoch`, to `out`.
    pub fn encode(&self, epoch: Epoch, out: &mut impl Writer) {
        let head = |out: &mut dyn FnMut(&[u8]), tag: u8| {
            out(&[tag]);
            out(&epoch.0.to_le_bytes());
        };
        let tag = match self {
            Self::Propose(_) => tag::PROPOSE,
            Self::Write(_) => tag::WRITE,
            Self::Accept(_) => tag::ACCEPT,
            Self::Stop(_) => tag::STOP,
            Self::StopData(_) => tag::STOP_DATA,
            Self::Sync(_) => tag::SYNC,
            Self::Forward(_) => tag::FORWARD,
            Self::Status(_) => tag::STATUS,
            Self::Fetch { .. } => tag::FETCH,
            Self::Entry(_) => tag::ENTRY,
            Self::Truncated { .. } => tag::TRUNCATED,
            Self::DigestRequest(_) => tag::DIGEST_REQUEST,
            Self::DigestReply { .. } => tag::DIGEST_REPLY,
            Self::Checkpoint(_) => tag::CHECKPOINT,
            Self::Certificate(_) => tag::CERTIFICATE,
            Self::Snapshot(_) => tag::SNAPSHOT,
            Self::Handover(_) => tag::HANDOVER,
            Self::Handovers(_) => tag::HANDOVERS,
        };
        head(&mut |bytes| out.put(bytes), tag);
        match self {
            Self::Propose(propose) => {
                out.put_u64(propose.view.0);
                out.put_u64(propose.slot.0);
                out.put_digest(&propose.parent);
                out.put(propose.batch.bytes());
            }
            Self::Write(vote) | Self::Accept(vote) => encode_vote(vote, out),
            Self::Stop(view) => out.put_u64(view.0),
            Self::StopData(state) => {
                state.encode_unsigned(out);
                out.put(&state.signature.0);
            }
            Self::Sync(sync) => sync.encode(out),
            Self::Forward(requests) => {
                out.put_count(requests.len());
                for request in requests {
                    out.put_u64(request.client.principal.0);
                    out.put(request.body());
                }
            }
            Self::Status(status) => {
                out.put_u64(status.view.0);
                out.put_u8(u8::from(status.synced));
                out.put_u64(status.decided.0);
                out.put_digest(&status.digest);
                out.put_u64(status.head.0);
                out.put_u64(status.awaited.0);
                out.put_u8(u8::from(status.is_newborn));
            }
            Self::Fetch { slot, digest, floor } => {
                out.put_u64(slot.0);
                out.put_digest(digest);
                out.put_u64(floor.0);
            }
            Self::Entry(entry) => {
                out.put_u64(entry.slot.0);
                out.put_digest(&entry.parent);
                out.put(entry.batch.bytes());
            }
            Self::Truncated { oldest } => out.put_u64(oldest.0),
            Self::DigestRequest(slot) => out.put_u64(slot.0),
            Self::DigestReply { slot, digest } => {
                out.put_u64(slot.0);
                out.put_digest(digest);
            }
            Self::Checkpoint(vote) => vote.encode(out),
            Self::Certificate(certificate) => certificate.encode(out),
            Self::Snapshot(message) => message.encode(out),
            Self::Handover(vote) => vote.encode(out),
            Self::Handovers(handovers) => {
                out.put_count(handovers.len());
                for handover in handovers {
                    handover.encode(out);
                }
            }
        }
    }

    /// Decodes a frame: the epoch it is bound to, and the message.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(frame: Bytes, limits: &BatchLimits) -> Result<(Epoch, Self), DecodeError> {
        let mut reader = Reader::new(frame);
        let reader = &mut reader;
        let tag = reader.u8("message")?;
        let epoch = reader.epoch()?;
        let message = match tag {
            tag::PROPOSE => {
                let (view, slot, parent) = (reader.view()?, reader.slot("slot")?, reader.digest("parent")?);
                let batch = Batch::decode(&take_rest(reader)?, limits)?;
                Self::Propose(Propose { view, slot, parent, batch })
            }
            tag::WRITE => Self::Write(decode_vote(reader)?),
            tag::ACCEPT => Self::Accept(decode_vote(reader)?),
            tag::STOP => Self::Stop(reader.view()?),
            tag::STOP_DATA => Self::StopData(StopData::decode(reader)?),
            tag::SYNC => Self::Sync(Sync::decode(reader)?),
            tag::FORWARD => {
                let count = reader.count("requests forwarded", FORWARD_MAX)?;
                let mut requests = Vec::new();
                for _ in 0..count {
                    let principal = crate::ids::Principal(reader.u64("principal")?);
                    requests.push(Request::decode(principal, reader, limits.bytes_max)?);
                }
                Self::Forward(requests)
            }
            tag::STATUS => Self::Status(Status {
                view: reader.view()?,
                synced: reader.flag("synced")?,
                decided: reader.slot("decided")?,
                digest: reader.digest("decided")?,
                head: reader.slot("head")?,
                awaited: reader.slot("awaited")?,
                is_newborn: reader.flag("newborn")?,
            }),
            tag::FETCH => Self::Fetch {
                slot: reader.slot("slot")?,
                digest: reader.digest("digest")?,
                floor: reader.slot("floor")?,
            },
            tag::ENTRY => {
                let (slot, parent) = (reader.slot("slot")?, reader.digest("parent")?);
                Self::Entry(Entry { slot, parent, batch: Batch::decode(&take_rest(reader)?, &BatchLimits::WIDEST)? })
            }
            tag::TRUNCATED => Self::Truncated { oldest: reader.slot("oldest")? },
            tag::DIGEST_REQUEST => Self::DigestRequest(reader.slot("slot")?),
            tag::DIGEST_REPLY => Self::DigestReply { slot: reader.slot("slot")?, digest: reader.digest("digest")? },
            tag::CHECKPOINT => Self::Checkpoint(CheckpointVote::decode(reader)?),
            tag::CERTIFICATE => Self::Certificate(Certificate::decode(reader)?),
            tag::SNAPSHOT => Self::Snapshot(SnapshotMessage::decode(reader)?),
            tag::HANDOVER => Self::Handover(HandoverVote::decode(reader)?),
            tag::HANDOVERS => {
                let count = reader.count("handovers", HANDOVERS_MAX)?;
                let mut handovers = Vec::with_capacity(count);
                for _ in 0..count {
                    handovers.push(Handover::decode(reader)?);
                }
                Self::Handovers(handovers)
            }
            other => return Err(DecodeError::UnknownTag("message", other)),
        };
        let left = reader.rest().len();
        if left == 0 { Ok((epoch, message)) } else { Err(DecodeError::Trailing(left)) }
    }

    /// The message's name, for logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Propose(_) => "propose",
            Self::Write(_) => "write",
            Self::Accept(_) => "accept",
            Self::Stop(_) => "stop",
            Self::StopData(_) => "stop_data",
            Self::Sync(_) => "sync",
            Self::Forward(_) => "forward",
            Self::Status(_) => "status",
            Self::Fetch { .. } => "fetch",
            Self::Entry(_) => "entry",
            Self::Truncated { .. } => "truncated",
            Self::DigestRequest(_) => "digest_request",
            Self::DigestReply { .. } => "digest_reply",
            Self::Checkpoint(_) => "checkpoint",
            Self::Certificate(_) => "certificate",
            Self::Snapshot(_) => "snapshot",
            Self::Handover(_) => "handover",
            Self::Handovers(_) => "handovers",
        }
    }
}

fn take_rest(reader: &mut Reader) -> Result<Bytes, DecodeError> {
    let length = reader.rest().len();
    reader.take(length, "batch")
}
