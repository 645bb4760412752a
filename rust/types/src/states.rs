//! What replicas show each other at a view change: the lock, the writeset, and the states that a new leader's base is
//! chosen from.

use crate::digest::{ClusterId, Digest};
use crate::ids::{Epoch, ReplicaId, Slot, View};
use crate::keys::{PublicKey, Sign, Signature};
use crate::quorums::REPLICAS_MAX;
use crate::wire::{DecodeError, Reader, Writer};

/// Most slots that a window can have, so that a writeset is bounded.
pub const WINDOW_MAX: usize = 256;

/// Most views that a writeset can span. A replica whose writeset is full writes no more until something is decided.
pub const WRITESET_VIEWS_MAX: usize = 64;

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

impl Lock {
    /// Appends a lock, or that there is none, to `out`.
    pub fn encode(lock: Option<&Self>, out: &mut impl Writer) {
        out.put_u8(u8::from(lock.is_some()));
        if let Some(lock) = lock {
            out.put_u64(lock.view.0);
            out.put_u64(lock.slot.0);
            out.put_digest(&lock.digest);
        }
    }

    /// Takes what [`Lock::encode`] wrote off the reader.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(reader: &mut Reader) -> Result<Option<Self>, DecodeError> {
        match reader.u8("lock")? {
            0 => Ok(None),
            1 => {
                let lock =
                    Self { view: reader.view()?, slot: reader.slot("lock slot")?, digest: reader.digest("lock")? };
                if lock.slot == Slot(0) { Err(DecodeError::Invalid("lock")) } else { Ok(Some(lock)) }
            }
            tag => Err(DecodeError::UnknownTag("lock", tag)),
        }
    }
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

    /// Appends a writeset to `out`.
    pub fn encode_all(writeset: &[Self], out: &mut impl Writer) {
        out.put_count(writeset.len());
        for written in writeset {
            out.put_u64(written.view.0);
            out.put_u64(written.base.0);
            out.put_u64(written.first.0);
            out.put_count(written.digests.len());
            for digest in &written.digests {
                out.put_digest(digest);
            }
        }
    }

    /// Takes a writeset off the reader: ascending by view.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode_all(reader: &mut Reader) -> Result<Vec<Self>, DecodeError> {
        let count = reader.count("views of a writeset", WRITESET_VIEWS_MAX)?;
        let mut writeset: Vec<Self> = Vec::with_capacity(count);
        for _ in 0..count {
            let view = reader.view()?;
            let base = reader.slot("base")?;
            let first = reader.slot("first slot written")?;
            let length = reader.count("digests of a writeset", WINDOW_MAX)?;
            let end = first.0.checked_add(length as u64).ok_or(DecodeError::Invalid("slots of a writeset"))?;
            if length == 0 || first == Slot(0) || end <= base.0.saturating_add(1) {
                return Err(DecodeError::Invalid("slots of a writeset"));
            }
            if writeset.last().is_some_and(|before| before.view >= view) {
                return Err(DecodeError::Invalid("views of a writeset"));
            }
            let mut digests = Vec::with_capacity(length);
            for _ in 0..length {
                digests.push(reader.digest("digest written")?);
            }
            writeset.push(Self { view, base, first, digests });
        }
        Ok(writeset)
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

impl StopData {
    /// Signs a replica's state.
    pub fn sign(
        cluster: ClusterId,
        epoch: Epoch,
        view: View,
        replica: ReplicaId,
        lock: Option<Lock>,
        writeset: Vec<Written>,
        signer: impl Sign,
    ) -> Self {
        let mut unsigned = Self { epoch, view, replica, lock, writeset, signature: Signature([0; 64]) };
        unsigned.signature = signer.sign(&unsigned.signed_bytes(cluster));
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

    pub(crate) fn encode_unsigned(&self, out: &mut impl Writer) {
        out.put_u64(self.epoch.0);
        out.put_u64(self.view.0);
        out.put_u16(self.replica.0);
        Lock::encode(self.lock.as_ref(), out);
        Written::encode_all(&self.writeset, out);
    }

    pub(crate) fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let epoch = reader.epoch()?;
        let view = reader.view()?;
        let replica = reader.replica()?;
        let (lock, writeset) = (Lock::decode(reader)?, Written::decode_all(reader)?);
        if writeset.last().is_some_and(|written| written.view >= view) {
            return Err(DecodeError::Invalid("views of a writeset"));
        }
        if lock.is_some_and(|lock| lock.view >= view) {
            return Err(DecodeError::Invalid("lock"));
        }
        Ok(Self { epoch, view, replica, lock, writeset, signature: reader.signature("signature of a state")? })
    }
}

impl Sync {
    /// Signs a leader's choice of states.
    pub fn sign(cluster: ClusterId, view: View, states: Vec<StopData>, signer: impl Sign) -> Self {
        let mut unsigned = Self { view, states, signature: Signature([0; 64]) };
        unsigned.signature = signer.sign(&unsigned.signed_bytes(cluster));
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
