//! What replicas say to each other.

use bytes::Bytes;

use crate::digest::{ClusterId, Digest};
use crate::ids::{Epoch, ReplicaId, Slot, View};
use crate::keys::{PublicKey, SecretKey, Signature};
use crate::quorums::REPLICAS_MAX;
use crate::request::{Batch, BatchLimits, Request};
use crate::wire::{DecodeError, Reader, Writer};

/// Most slots that a window can have, so that a writeset is bounded.
pub const WINDOW_MAX: usize = 256;

/// Most views that a writeset can span. A replica whose writeset is full writes no more until something is decided.
pub const WRITESET_VIEWS_MAX: usize = 64;

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

/// The highest WRITE quorum that a replica has seen, in the order (view, slot).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// The view of the quorum.
    pub view: View,
    /// The slot.
    pub slot: Slot,
    /// The chain digest there.
    pub digest: Digest,
}

/// What a replica wrote in one view: one chain, of which it wrote the slots above that view's base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The view.
    pub view: View,
    /// The base of the view at the writer.
    pub base: Slot,
    /// The slot of the first of `digests`. The writer has decided every slot below it.
    pub first: Slot,
    /// The chain's digests from `first` on, one a slot, ascending, also those of slots at or below the base.
    pub digests: Vec<Digest>,
}

impl Written {
    /// The digest written at `slot`, if it is among them.
    pub fn digest_at(&self, slot: Slot) -> Option<Digest> {
        let index = usize::try_from(slot.0.checked_sub(self.first.0)?).ok()?;
        self.digests.get(index).copied()
    }

    /// The highest slot written.
    pub fn last(&self) -> Slot {
        Slot(self.first.0 + self.digests.len() as u64 - 1)
    }
}

/// What a replica freezes when it leaves for `view`, all that the choice of the next base can be made from. Signed,
/// and bound to the cluster, the epoch, the view and the sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopData {
    /// The epoch.
    pub epoch: Epoch,
    /// The view that the replica went to.
    pub view: View,
    /// The sender.
    pub replica: ReplicaId,
    /// The highest WRITE quorum seen.
    pub lock: Option<Lock>,
    /// What was written, ascending by view, since the last view in which something was decided.
    pub writeset: Vec<Written>,
    /// The sender's signature of all of this.
    pub signature: Signature,
}

/// The new leader's proof of what the base of its view must be. Signed, so that any replica may pass it on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sync {
    /// The view.
    pub view: View,
    /// A quorum of states, of distinct senders.
    pub states: Vec<StopData>,
    /// The leader's signature of all of this.
    pub signature: Signature,
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
}

impl StopData {
    /// Signs a replica's state.
    pub fn sign(
        cluster: ClusterId,
        epoch: Epoch,
        view: View,
        replica: ReplicaId,
        lock: Option<Lock>,
        writeset: Vec<Written>,
        secret: &SecretKey,
    ) -> Self {
        let mut unsigned = Self { epoch, view, replica, lock, writeset, signature: Signature([0; 64]) };
        unsigned.signature = secret.sign(&unsigned.signed_bytes(cluster));
        unsigned
    }

    /// Whether the signature is that of `key`.
    pub fn is_signed_by(&self, cluster: ClusterId, key: &PublicKey) -> bool {
        key.verify(&self.signed_bytes(cluster), &self.signature)
    }

    fn signed_bytes(&self, cluster: ClusterId) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        bytes.put(b"pssmr stopdata 1");
        bytes.put(&cluster.0);
        self.encode_unsigned(&mut bytes);
        bytes
    }

    fn encode_unsigned(&self, out: &mut impl Writer) {
        out.put_u64(self.epoch.0);
        out.put_u64(self.view.0);
        out.put_u16(self.replica.0);
        out.put_u8(u8::from(self.lock.is_some()));
        if let Some(lock) = &self.lock {
            out.put_u64(lock.view.0);
            out.put_u64(lock.slot.0);
            out.put_digest(&lock.digest);
        }
        out.put_count(self.writeset.len());
        for written in &self.writeset {
            out.put_u64(written.view.0);
            out.put_u64(written.base.0);
            out.put_u64(written.first.0);
            out.put_count(written.digests.len());
            for digest in &written.digests {
                out.put_digest(digest);
            }
        }
    }

    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let epoch = reader.epoch()?;
        let view = reader.view()?;
        let replica = reader.replica()?;
        let lock = match reader.u8("lock")? {
            0 => None,
            1 => Some(Lock { view: reader.view()?, slot: reader.slot("lock slot")?, digest: reader.digest("lock")? }),
            tag => return Err(DecodeError::UnknownTag("lock", tag)),
        };
        let count = reader.count("views of a writeset", WRITESET_VIEWS_MAX)?;
        let mut writeset: Vec<Written> = Vec::with_capacity(count);
        for _ in 0..count {
            let written_view = reader.view()?;
            let base = reader.slot("base")?;
            let first = reader.slot("first slot written")?;
            let length = reader.count("digests of a writeset", WINDOW_MAX)?;
            let end = first.0.checked_add(length as u64).ok_or(DecodeError::Invalid("slots of a writeset"))?;
            if length == 0 || first == Slot(0) || end <= base.0.saturating_add(1) {
                return Err(DecodeError::Invalid("slots of a writeset"));
            }
            if written_view >= view || writeset.last().is_some_and(|before| before.view >= written_view) {
                return Err(DecodeError::Invalid("views of a writeset"));
            }
            let mut digests = Vec::with_capacity(length);
            for _ in 0..length {
                digests.push(reader.digest("digest written")?);
            }
            writeset.push(Written { view: written_view, base, first, digests });
        }
        if lock.is_some_and(|lock| lock.view >= view || lock.slot == Slot(0)) {
            return Err(DecodeError::Invalid("lock"));
        }
        Ok(Self { epoch, view, replica, lock, writeset, signature: reader.signature("signature of a state")? })
    }
}

impl Sync {
    /// Signs a leader's choice of states.
    pub fn sign(cluster: ClusterId, view: View, states: Vec<StopData>, secret: &SecretKey) -> Self {
        let mut unsigned = Self { view, states, signature: Signature([0; 64]) };
        unsigned.signature = secret.sign(&unsigned.signed_bytes(cluster));
        unsigned
    }

    /// Whether the signature is that of `key`.
    pub fn is_signed_by(&self, cluster: ClusterId, key: &PublicKey) -> bool {
        key.verify(&self.signed_bytes(cluster), &self.signature)
    }

    fn signed_bytes(&self, cluster: ClusterId) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1024);
        bytes.put(b"pssmr sync 1");
        bytes.put(&cluster.0);
        self.encode_unsigned(&mut bytes);
        bytes
    }

    fn encode_unsigned(&self, out: &mut impl Writer) {
        out.put_u64(self.view.0);
        out.put_count(self.states.len());
        for state in &self.states {
            state.encode_unsigned(out);
            out.put(&state.signature.0);
        }
    }

    /// Appends it to `out`.
    pub fn encode(&self, out: &mut impl Writer) {
        self.encode_unsigned(out);
        out.put(&self.signature.0);
    }

    /// Takes one off the reader.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let view = reader.view()?;
        let count = reader.count("states of a SYNC", REPLICAS_MAX)?;
        let mut states = Vec::with_capacity(count);
        for _ in 0..count {
            states.push(StopData::decode(reader)?);
        }
        Ok(Self { view, states, signature: reader.signature("signature of a SYNC")? })
    }
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
                synced: match reader.u8("synced")? {
                    0 => false,
                    1 => true,
                    tag => return Err(DecodeError::UnknownTag("synced", tag)),
                },
                decided: reader.slot("decided")?,
                digest: reader.digest("decided")?,
                head: reader.slot("head")?,
                awaited: reader.slot("awaited")?,
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
        }
    }
}

fn take_rest(reader: &mut Reader) -> Result<Bytes, DecodeError> {
    let length = reader.rest().len();
    reader.take(length, "batch")
}
