//! What replicas say to each other to hand over a snapshot: its manifest, then its chunks, each proven by a digest that is
//! known before it comes.

use bytes::Bytes;

use crate::digest::Digest;
use crate::ids::Slot;
use crate::wire::{DecodeError, Reader, Writer};

/// Most bytes of a manifest or a chunk in one message.
pub const PIECE_BYTES_MAX: usize = 16 << 20;

/// A message about a snapshot. Snapshots are known by slot and root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotMessage {
    /// Asks for the list of the snapshot's chunks.
    ManifestRequest {
        /// The slot.
        slot: Slot,
        /// The root.
        root: Digest,
    },
    /// The list; the root is its digest.
    Manifest {
        /// The slot.
        slot: Slot,
        /// Its encoding.
        bytes: Bytes,
    },
    /// Asks for a chunk.
    ChunkRequest {
        /// The slot.
        slot: Slot,
        /// The root.
        root: Digest,
        /// Which chunk.
        chunk: u32,
    },
    /// A chunk.
    Chunk {
        /// The slot.
        slot: Slot,
        /// Which chunk.
        chunk: u32,
        /// Its bytes.
        bytes: Bytes,
    },
    /// An answer to a request for a snapshot that the sender does not have, or has no more.
    Gone {
        /// The slot.
        slot: Slot,
    },
}

mod tag {
    pub(super) const MANIFEST_REQUEST: u8 = 1;
    pub(super) const MANIFEST: u8 = 2;
    pub(super) const CHUNK_REQUEST: u8 = 3;
    pub(super) const CHUNK: u8 = 4;
    pub(super) const GONE: u8 = 5;
}

impl SnapshotMessage {
    /// Appends it to `out`.
    pub fn encode(&self, out: &mut impl Writer) {
        let (tag, slot) = match self {
            Self::ManifestRequest { slot, .. } => (tag::MANIFEST_REQUEST, slot),
            Self::Manifest { slot, .. } => (tag::MANIFEST, slot),
            Self::ChunkRequest { slot, .. } => (tag::CHUNK_REQUEST, slot),
            Self::Chunk { slot, .. } => (tag::CHUNK, slot),
            Self::Gone { slot } => (tag::GONE, slot),
        };
        out.put_u8(tag);
        out.put_u64(slot.0);
        match self {
            Self::ManifestRequest { root, .. } => out.put_digest(root),
            Self::Manifest { bytes, .. } => out.put_bytes(bytes),
            Self::ChunkRequest { root, chunk, .. } => {
                out.put_digest(root);
                out.put_u32(*chunk);
            }
            Self::Chunk { chunk, bytes, .. } => {
                out.put_u32(*chunk);
                out.put_bytes(bytes);
            }
            Self::Gone { .. } => {}
        }
    }

    /// Takes one off the reader.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let tag = reader.u8("snapshot message")?;
        let slot = reader.slot("slot of a snapshot")?;
        Ok(match tag {
            tag::MANIFEST_REQUEST => Self::ManifestRequest { slot, root: reader.digest("root of a snapshot")? },
            tag::MANIFEST => Self::Manifest { slot, bytes: reader.bytes("manifest", PIECE_BYTES_MAX)? },
            tag::CHUNK_REQUEST => {
                Self::ChunkRequest { slot, root: reader.digest("root of a snapshot")?, chunk: reader.u32("chunk")? }
            }
            tag::CHUNK => {
                Self::Chunk { slot, chunk: reader.u32("chunk")?, bytes: reader.bytes("chunk", PIECE_BYTES_MAX)? }
            }
            tag::GONE => Self::Gone { slot },
            other => return Err(DecodeError::UnknownTag("snapshot message", other)),
        })
    }
}
