//! Links as their owner sees them.

use std::fmt;

use bytes::Bytes;
use pssmr_types::PublicKey;

use crate::error::DownReason;

/// A link of one transport. A dialed link keeps its id; the id of an accepted link is never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId {
    serial: u64,
    slot: u32,
}

impl LinkId {
    pub(crate) fn new(serial: u64, slot: usize) -> Self {
        Self { serial, slot: u32::try_from(slot).expect("a transport has fewer than 2^32 links") }
    }

    pub(crate) fn slot(self) -> usize {
        self.slot as usize
    }

    /// Grows with each link that a transport makes.
    pub(crate) fn serial(self) -> u64 {
        self.serial
    }
}

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link {}", self.serial)
    }
}

impl fmt::Debug for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkId({})", self.serial)
    }
}

/// What happened on a transport. For one link: `Up`, its frames in order, `Down`; a dialed link then anew.
#[derive(Debug)]
pub enum Event {
    /// The link can be used.
    Up {
        /// The link.
        link: LinkId,
        /// The key that the other side has proved.
        key: PublicKey,
        /// Whether this side dialed.
        dialed: bool,
    },
    /// A frame came.
    Frame {
        /// The link that it came on.
        link: LinkId,
        /// Its payload, 1 to `frame_bytes_max` bytes.
        frame: Bytes,
    },
    /// A link that was up is down. What was queued on it is gone. A dialed link is dialed again.
    Down {
        /// The link.
        link: LinkId,
        /// Why.
        reason: DownReason,
    },
    /// An attempt to bring a dialed link up has failed. The next one follows by itself.
    DialFailed {
        /// The link.
        link: LinkId,
        /// Why.
        reason: DownReason,
    },
    /// A [`Waker`](crate::Waker) was used since the last poll. May come once too often, never too seldom.
    Woken,
}
