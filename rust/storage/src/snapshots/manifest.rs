//! What a snapshot consists of.

use bytes::Bytes;
use pssmr_types::wire::{DecodeError, Reader, Writer};
use pssmr_types::{Digest, Slot};

/// The smallest chunk, in bytes.
pub const CHUNK_BYTES_MIN: u32 = 1 << 10;
/// The largest chunk, in bytes: it is sent in one message.
pub const CHUNK_BYTES_MAX: u32 = 16 << 20;
/// The most chunks of a snapshot: a manifest takes 32 bytes for each.
pub const CHUNKS_MAX: u32 = 1 << 20;

/// The list of a snapshot's chunks, by which each is verified. All chunks have `chunk_bytes` bytes but the last, which has
/// what is left; an empty state has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The slot after which the state was taken.
    pub slot: Slot,
    /// The size of the state, in bytes.
    pub bytes: u64,
    /// The size of a chunk, in bytes: from [`CHUNK_BYTES_MIN`] to [`CHUNK_BYTES_MAX`].
    pub chunk_bytes: u32,
    /// The chunks' digests, in order: at most [`CHUNKS_MAX`].
    pub chunks: Vec<Digest>,
}

impl Manifest {
    /// The canonical encoding: slot, bytes, chunk size, count, digests.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(8 + 8 + 4 + 4 + 32 * self.chunks.len());
        bytes.put_u64(self.slot.0);
        bytes.put_u64(self.bytes);
        bytes.put_u32(self.chunk_bytes);
        bytes.put_count(self.chunks.len());
        for chunk in &self.chunks {
            bytes.put_digest(chunk);
        }
        bytes
    }

    /// The manifest that `bytes` encode. What is returned is consistent and within the limits.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let (slot, bytes, chunk_bytes) = (reader.slot("slot")?, reader.u64("bytes")?, reader.u32("chunk size")?);
        let count = reader.count("chunks", CHUNKS_MAX as usize)?;
        if reader.rest().len() < 32 * count {
            return Err(DecodeError::Truncated("chunks"));
        }
        let chunks = (0..count).map(|_| reader.digest("chunk")).collect::<Result<_, _>>()?;
        reader.finish()?;
        let manifest = Self { slot, bytes, chunk_bytes, chunks };
        manifest.check()?;
        Ok(manifest)
    }

    /// Whether the fields go together.
    pub(crate) fn check(&self) -> Result<(), DecodeError> {
        if !(CHUNK_BYTES_MIN..=CHUNK_BYTES_MAX).contains(&self.chunk_bytes) {
            return Err(DecodeError::Invalid("chunk size"));
        }
        if self.chunks.len() > CHUNKS_MAX as usize
            || self.bytes.div_ceil(u64::from(self.chunk_bytes)) != self.chunks.len() as u64
        {
            return Err(DecodeError::Invalid("count of chunks"));
        }
        Ok(())
    }

    /// The digest that stands for the whole snapshot: what replicas vote on.
    pub fn root(&self) -> Digest {
        Digest::of("pssmr snapshot manifest 1", &self.encode())
    }

    /// How many chunks there are.
    pub fn count(&self) -> u32 {
        self.chunks.len() as u32
    }

    /// The size of a chunk, in bytes; `None` if there is no such chunk.
    pub fn chunk_length(&self, chunk: u32) -> Option<u32> {
        let rest = self.bytes.checked_sub(u64::from(chunk) * u64::from(self.chunk_bytes)).filter(|&rest| rest > 0)?;
        Some(rest.min(u64::from(self.chunk_bytes)) as u32)
    }

    /// Whether `bytes` are this chunk.
    pub fn matches(&self, chunk: u32, bytes: &[u8]) -> bool {
        self.chunk_length(chunk) == u32::try_from(bytes.len()).ok()
            && self.chunks.get(chunk as usize) == Some(&digest(bytes))
    }
}

/// The digest of a chunk.
pub(crate) fn digest(chunk: &[u8]) -> Digest {
    Digest::of("pssmr snapshot chunk 1", chunk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_have_the_sizes_that_there_may_be() {
        for (chunk_bytes, is_allowed) in [
            (0, false),
            (CHUNK_BYTES_MIN - 1, false),
            (CHUNK_BYTES_MIN, true),
            (CHUNK_BYTES_MAX, true),
            (CHUNK_BYTES_MAX + 1, false),
            (u32::MAX, false),
        ] {
            let manifest = Manifest { slot: Slot(1), bytes: 7, chunk_bytes, chunks: vec![digest(b"1234567")] };
            let decoded = Manifest::decode(Bytes::from(manifest.encode()));
            assert_eq!(decoded.is_ok(), is_allowed, "{chunk_bytes}");
        }
    }
}
