//! What is in a snapshot: ordering's part, the replies that clients may still want, and the application's state.

use std::io::{self, Read, Write};

use bytes::Bytes;
use pssmr_ordering::{CoreSnapshot, ReplyCache};
use pssmr_storage::StorageError;
use pssmr_types::DecodeError;

const MAGIC: &[u8; 16] = b"pssmr snapshot 1";

/// Most bytes that are set aside on the word of a length alone.
const TRUSTED_LENGTH: u64 = 64 << 10;

/// Ordering's part and the replies; what follows is the application's.
pub(crate) struct Content {
    pub(crate) core: CoreSnapshot,
    pub(crate) replies: Bytes,
}

/// Why a snapshot can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContentError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("it can't be read: {0}")]
    Read(#[from] io::Error),
    #[error("it is no snapshot of a replica")]
    NoSnapshot,
    #[error("{0}")]
    Malformed(#[from] DecodeError),
}

/// Writes what comes before the application's state.
pub(crate) fn write_head(core: &CoreSnapshot, replies: &[u8], out: &mut dyn Write) -> io::Result<()> {
    out.write_all(MAGIC)?;
    for part in [&core.encode()[..], replies] {
        out.write_all(&(part.len() as u64).to_le_bytes())?;
        out.write_all(part)?;
    }
    Ok(())
}

impl Content {
    /// Reads up to where the application's state begins.
    pub(crate) fn read(source: &mut dyn Read) -> Result<Self, ContentError> {
        let mut magic = [0; MAGIC.len()];
        source.read_exact(&mut magic)?;
        if &magic != MAGIC {
            return Err(ContentError::NoSnapshot);
        }
        let core = CoreSnapshot::decode(part(source)?)?;
        Ok(Self { core, replies: part(source)? })
    }

    /// The replies, as a cache.
    pub(crate) fn cache(&self, bytes_per_session_max: usize) -> Result<ReplyCache, ContentError> {
        Ok(ReplyCache::restored(bytes_per_session_max, self.replies.clone())?)
    }
}

fn part(source: &mut dyn Read) -> Result<Bytes, ContentError> {
    let mut length = [0; 8];
    source.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    let mut bytes = Vec::with_capacity(length.min(TRUSTED_LENGTH) as usize);
    source.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == length {
        Ok(bytes.into())
    } else {
        Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())
    }
}
