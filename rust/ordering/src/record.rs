//! What a replica writes to its log: each change of what it must remember over a restart.
//!
//! A record is a step, not a state: replaying the records in order from the beginning (or from an image) gives the
//! promises, the chain and the decisions that the replica had.

use bytes::Bytes;
use pssmr_types::wire::{DecodeError, Reader, Writer};
use pssmr_types::{Batch, BatchLimits, Digest, Handover, Lock, Slot, Sync, View, Written};

use crate::core::Tip;

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
    /// What has to be remembered beside the snapshot after a slot. A log can begin with it.
    Image(Box<Image>),
    /// A record that belongs to the image before it, one of [`Image::follow`]. Whoever knows already what the image says
    /// leaves it out.
    OfImage(Box<Record>),
    /// A slot off the chain that an image speaks of.
    Shelved {
        /// The slot.
        slot: Slot,
        /// The chain digest before it.
        parent: Digest,
        /// Its batch.
        batch: Batch,
    },
    /// The replica has gone on from the snapshot after this slot.
    Installed(Slot),
    /// The replica knows how the next epoch begins. It enters it as soon as all before is decided.
    Handover(Box<Handover>),
}

/// Where a replica stood when the checkpoint of a slot was taken, but for what the snapshot holds. The records of batches
/// that belong to it follow it: slots of the shelf, then those of the chain above the snapshot, then how many of them are
/// decided. Only when all of them are kept can the log before it go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The slot of the snapshot.
    pub slot: Slot,
    pub(crate) view: View,
    /// The view's base and its proof, if the replica has it.
    pub(crate) base: Option<(Slot, Option<Sync>)>,
    pub(crate) wrote: Option<Tip>,
    pub(crate) accepted: Option<Tip>,
    pub(crate) lock: Option<Lock>,
    pub(crate) writeset: Vec<Written>,
    pub(crate) handovers: Vec<Handover>,
    pub(crate) follow: u32,
}

impl Image {
    /// How many of the records after it belong to it.
    pub fn follow(&self) -> u32 {
        self.follow
    }

    fn encode(&self, out: &mut impl Writer) {
        out.put_u64(self.view.0);
        out.put_u8(u8::from(self.base.is_some()));
        if let Some((base, sync)) = &self.base {
            out.put_u64(base.0);
            out.put_u8(u8::from(sync.is_some()));
            if let Some(sync) = sync {
                sync.encode(out);
            }
        }
        for tip in [self.wrote, self.accepted] {
            out.put_u8(u8::from(tip.is_some()));
            if let Some(tip) = tip {
                out.put_u64(tip.slot.0);
                out.put_digest(&tip.digest);
            }
        }
        Lock::encode(self.lock.as_ref(), out);
        Written::encode_all(&self.writeset, out);
        out.put_count(self.handovers.len());
        for handover in &self.handovers {
            handover.encode(out);
        }
        out.put_u32(self.follow);
    }

    fn decode(slot: Slot, reader: &mut Reader) -> Result<Self, DecodeError> {
        let view = reader.view()?;
        let base = if flag(reader)? {
            let base = reader.slot("base")?;
            Some((base, if flag(reader)? { Some(Sync::decode(reader)?) } else { None }))
        } else {
            None
        };
        let tip = |reader: &mut Reader| -> Result<Option<Tip>, DecodeError> {
            if !flag(reader)? {
                return Ok(None);
            }
            Ok(Some(Tip { slot: reader.slot("slot voted for")?, digest: reader.digest("digest voted for")? }))
        };
        let (wrote, accepted) = (tip(reader)?, tip(reader)?);
        let (lock, writeset) = (Lock::decode(reader)?, Written::decode_all(reader)?);
        let count = reader.u32("handovers")?;
        let mut handovers = Vec::new();
        for _ in 0..count {
            handovers.push(Handover::decode(reader)?);
        }
        let follow = reader.u32("records of an image")?;
        Ok(Self { slot, view, base, wrote, accepted, lock, writeset, handovers, follow })
    }
}

mod tag {
    pub(super) const VIEW: u8 = 1;
    pub(super) const BASE: u8 = 2;
    pub(super) const CUT: u8 = 3;
    pub(super) const SLOT: u8 = 4;
    pub(super) const WROTE: u8 = 5;
    pub(super) const ACCEPTED: u8 = 6;
    pub(super) const DECIDED: u8 = 7;
    pub(super) const IMAGE: u8 = 8;
    pub(super) const SHELVED: u8 = 9;
    pub(super) const INSTALLED: u8 = 10;
    pub(super) const OF_IMAGE: u8 = 11;
    pub(super) const HANDOVER: u8 = 12;
}

impl Record {
    /// Appends the record to `out`, but for a batch at its end, which is returned: its bytes need not be copied.
    pub fn encode(&self, out: &mut impl Writer) -> Option<&Bytes> {
        if let Self::OfImage(record) = self {
            out.put_u8(tag::OF_IMAGE);
            return record.encode(out);
        }
        let (tag, number) = match self {
            Self::View(view) => (tag::VIEW, view.0),
            Self::Base { slot, .. } => (tag::BASE, slot.0),
            Self::Cut(slot) => (tag::CUT, slot.0),
            Self::Slot { slot, .. } => (tag::SLOT, slot.0),
            Self::Wrote(slot) => (tag::WROTE, slot.0),
            Self::Accepted { slot, .. } => (tag::ACCEPTED, slot.0),
            Self::Decided { slot, .. } => (tag::DECIDED, slot.0),
            Self::Image(image) => (tag::IMAGE, image.slot.0),
            Self::Shelved { slot, .. } => (tag::SHELVED, slot.0),
            Self::Installed(slot) => (tag::INSTALLED, slot.0),
            Self::Handover(handover) => (tag::HANDOVER, handover.next.epoch().0),
            Self::OfImage(_) => unreachable!("encoded above"),
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
            Self::Image(image) => image.encode(out),
            Self::Shelved { parent, .. } => out.put_digest(parent),
            Self::Handover(handover) => handover.encode(out),
            _ => {}
        }
        self.batch().map(Batch::bytes)
    }

    /// Its batch, if it has one.
    pub fn batch(&self) -> Option<&Batch> {
        match self {
            Self::Slot { batch, .. } | Self::Shelved { batch, .. } => Some(batch),
            Self::OfImage(record) => record.batch(),
            _ => None,
        }
    }

    /// Decodes a record that takes up all of `bytes`.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let tag = reader.u8("kind of a record")?;
        if tag == tag::OF_IMAGE {
            if reader.rest().first() == Some(&tag::OF_IMAGE) {
                return Err(DecodeError::Invalid("record of an image"));
            }
            return match Self::decode(reader.rest().clone())? {
                record @ (Self::Slot { .. } | Self::Shelved { .. } | Self::Decided { .. }) => {
                    Ok(Self::OfImage(Box::new(record)))
                }
                _ => Err(DecodeError::Invalid("record of an image")),
            };
        }
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
            tag::IMAGE => Self::Image(Box::new(Image::decode(Slot(number), &mut reader)?)),
            tag::SHELVED => {
                let parent = reader.digest("parent")?;
                let batch = Batch::decode(reader.rest(), &BatchLimits::WIDEST)?;
                return Ok(Self::Shelved { slot: Slot(number), parent, batch });
            }
            tag::INSTALLED => Self::Installed(Slot(number)),
            tag::HANDOVER => {
                let handover = Handover::decode(&mut reader)?;
                if handover.next.epoch().0 != number {
                    return Err(DecodeError::Invalid("number of a handover"));
                }
                Self::Handover(Box::new(handover))
            }
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

    fn handover() -> Handover {
        let next = crate::snapshot::tests::membership();
        Handover { slot: Slot(10), digest: Digest([5; 32]), next, signatures: vec![] }
    }

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
            Record::Image(Box::new(Image {
                slot: Slot(10),
                view: View(4),
                base: Some((Slot(3), Some(Sync::sign(ClusterId([1; 16]), View(4), vec![], &secret)))),
                wrote: Some(Tip { slot: Slot(12), digest: Digest([2; 32]) }),
                accepted: None,
                lock: Some(Lock { view: View(4), slot: Slot(12), digest: Digest([2; 32]) }),
                writeset: vec![Written {
                    view: View(4),
                    base: Slot(3),
                    first: Slot(10),
                    digests: vec![Digest([3; 32])],
                }],
                handovers: vec![handover(), handover()],
                follow: 7,
            })),
            Record::OfImage(Box::new(Record::Shelved {
                slot: Slot(11),
                parent: Digest([4; 32]),
                batch: Batch::new(8, vec![]),
            })),
            Record::OfImage(Box::new(Record::Decided { slot: Slot(9), in_view: false })),
            Record::Installed(Slot(10)),
            Record::Handover(Box::new(handover())),
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
