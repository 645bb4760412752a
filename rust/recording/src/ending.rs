//! How a recording ends.

use std::fmt;

use pssmr_types::wire::{DecodeError, Reader, Writer};

use crate::frame::{kind, put_frame};

/// Why nothing more was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The replica was stopped, or has stopped by itself.
    Stopped,
    /// The recording had reached its limit.
    Full,
    /// The disk was too slow: too much waited to be written.
    Behind,
}

impl End {
    /// Appends its frame.
    pub fn put(self, out: &mut Vec<u8>) {
        let number = match self {
            Self::Stopped => 0,
            Self::Full => 1,
            Self::Behind => 2,
        };
        put_frame(out, kind::END, |out| out.put_u8(number));
    }

    pub(crate) fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        match reader.u8("end of a recording")? {
            0 => Ok(Self::Stopped),
            1 => Ok(Self::Full),
            2 => Ok(Self::Behind),
            other => Err(DecodeError::UnknownTag("end of a recording", other)),
        }
    }
}

/// Where the playback of a recording has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Where the recording says that it ends.
    End(End),
    /// At the end of the file, which does not say why: the process was killed, or still runs.
    Cut,
    /// The same, in the middle of a frame.
    Torn,
    /// The core has panicked on what came last, which it did not answer when it was recorded either.
    Panicked(String),
    /// At a difference: what the core does after it says nothing of what it did then.
    Differs,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::End(End::Stopped) => write!(f, "the replica was stopped"),
            Self::End(End::Full) => write!(f, "the recording had reached its limit"),
            Self::End(End::Behind) => write!(f, "too much waited to be written, so nothing more was recorded"),
            Self::Cut => write!(f, "the file ends here: the process was killed, or still runs"),
            Self::Torn => write!(f, "the file ends within an entry: the process was killed, or still runs"),
            Self::Panicked(reason) => write!(f, "the core panics here, as it did then: {reason}"),
            Self::Differs => write!(f, "the core does something else here than it did then"),
        }
    }
}
