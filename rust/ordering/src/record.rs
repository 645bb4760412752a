//! What a replica writes to its log: each change of what it must remember over a restart.
//!
//! A record is a step, not a state: replaying the records in order from the beginning (or from an image) gives the
//! promises, the chain and the decisions that the replica had.

use bytes::Bytes;
use pssmr_types::wire::{DecodeError, Reader, Writer};
use pssmr_types::{Batch, BatchLimits, Digest, Slot, Sync, View};

/// One record of a replica's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The replica left for this view: it processes no vote of an earlier one again.
    View(View),
    /// The view's base is on the chain, and ordering goes on from it.
    Base {
        /// The base.
        slot: Slot,
        /// Its proof; none in the first view.
        sync: Option<Sync>,
    },
    /// The chain was cut back to this slot.
    Cut(Slot),
    /// A slot was put on the chain.
    Slot {
        /// The slot: one above the head.
        slot: Slot,
        /// Whether the view's leader proposed it; if not, it was fetched.
        proposed: bool,
        /// Its batch.
        batch: Batch,
    },
    /// A WRITE for the chain up to this slot.
    Wrote(Slot),
    /// An ACCEPT for the chain up to this slot, which is locked.
    Accepted {
        /// The slot.
        slot: Slot,
        /// The chain digest there.
        digest: Digest,
    },
    /// The chain is decided up to this slot.
    Decided {
        /// The slot.
        slot: Slot,
        /// Whether votes of the replica's view decided it; if not, the word of k replicas.
        in_view: bool,
    },
}

mod tag {
    pub(super) const VIEW: u8 = 1;
    pub(super) const BASE: u8 = 2;
    pub(super) const CUT: u8 = 3;
    pub(super) const SLOT: u8 = 4;
    pub(super) const WROTE: u8 = 5;
    pub(super) const ACCEPTED: u8 = 6;
    pub(super) const DECIDED: u8 = 7;
}

impl Record {
    /// Appends the record to `out`, but for a batch at its end, which is returned: its bytes need not be copied.
    pub fn encode(&self, out: &mut impl Writer) -> Option<&Bytes> {
        let (tag, number) = match self {
            Self::View(view) => (tag::VIEW, view.0),
            Self::Base { slot, .. } => (tag::BASE, slot.0),
            Self::Cut(slot) => (tag::CUT, slot.0),
            Self::Slot { slot, .. } => (tag::SLOT, slot.0),
            Self::Wrote(slot) => (tag::WROTE, slot.0),
            Self::Accepted { slot, .. } => (tag::ACCEPTED, slot.0),
            Self::Decided { slot, .. } => (tag::DECIDED, slot.0),
        };
        out.put_u8(tag);
        out.put_u64(number);
        match self {
            Self::Slot { proposed: flag, .. } | Self::Decided { in_view: flag, .. } => out.put_u8(u8::from(*flag)),
            Self::Base { sync, .. } => {
                out.put_u8(u8::from(sync.is_some()));
                if let Some(sync) = sync {
                    sync.encode(out);
                }
            }
            Self::Accepted { digest, .. } => out.put_digest(digest),
            _ => {}
        }
        if let Self::Slot { batch, .. } = self { Some(batch.bytes()) } else { None }
    }

    /// Decodes a record that takes up all of `bytes`.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let tag = reader.u8("kind of a record")?;
        let number = reader.u64("number of a record")?;
        let record = match tag {
            tag::VIEW => Self::View(View(number)),
            tag::BASE => {
                let sync = if flag(&mut reader)? { Some(Sync::decode(&mut reader)?) } else { None };
                Self::Base { slot: Slot(number), sync }
            }
            tag::CUT => Self::Cut(Slot(number)),
            tag::SLOT => {
                let proposed = flag(&mut reader)?;
                let batch = Batch::decode(reader.rest(), &BatchLimits::WIDEST)?;
                return Ok(Self::Slot { slot: Slot(number), proposed, batch });
            }
            tag::WROTE => Self::Wrote(Slot(number)),
            tag::ACCEPTED => Self::Accepted { slot: Slot(number), digest: reader.digest("digest of a record")? },
            tag::DECIDED => Self::Decided { slot: Slot(number), in_view: flag(&mut reader)? },
            other => return Err(DecodeError::UnknownTag("record", other)),
        };
        reader.finish()?;
        Ok(record)
    }
}

fn flag(reader: &mut Reader) -> Result<bool, DecodeError> {
    match reader.u8("flag of a record")? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(DecodeError::UnknownTag("flag of a record", other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pssmr_types::{ClusterId, SecretKey};

    #[test]
    fn every_record_survives_the_log() {
        let batch = Batch::new(7, vec![]);
        let secret = SecretKey::from_seed([1; 32]);
        for record in [
            Record::View(View(3)),
            Record::Base { slot: Slot(4), sync: None },
            Record::Base { slot: Slot(4), sync: Some(Sync::sign(ClusterId([1; 16]), View(3), vec![], &secret)) },
            Record::Cut(Slot(5)),
            Record::Slot { slot: Slot(6), proposed: true, batch: batch.clone() },
            Record::Slot { slot: Slot(6), proposed: false, batch },
            Record::Wrote(Slot(7)),
            Record::Accepted { slot: Slot(8), digest: Digest([1; 32]) },
            Record::Decided { slot: Slot(9), in_view: true },
            Record::Decided { slot: Slot(9), in_view: false },
        ] {
            let mut bytes = Vec::new();
            if let Some(tail) = record.encode(&mut bytes) {
                let tail = tail.clone();
                bytes.extend_from_slice(&tail);
            }
            assert_eq!(Record::decode(bytes.clone().into()).unwrap(), record);
            bytes.pop();
            assert!(Record::decode(bytes.into()).is_err());
        }
    }
}
