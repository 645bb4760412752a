//! What a transport is told when it is made.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use pssmr_types::{PublicKey, SecretKey};

use crate::error::TransportError;
use crate::framing::HEADER_BYTES;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The keys that may connect to a listening transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AcceptKeys {
    /// These, and nobody else.
    Only(HashSet<PublicKey>),
    /// Whoever proves a key. The key is still the link's identity.
    Any,
}

impl AcceptKeys {
    /// Only `keys`.
    pub fn only(keys: impl IntoIterator<Item = PublicKey>) -> Self {
        Self::Only(keys.into_iter().collect())
    }

    /// Nobody: for a transport that only dials.
    pub fn nobody() -> Self {
        Self::Only(HashSet::new())
    }

    /// Whether `key` may connect.
    pub fn contains(&self, key: &PublicKey) -> bool {
        match self {
            Self::Only(keys) => keys.contains(key),
            Self::Any => true,
        }
    }
}

/// What a transport is, and its bounds.
#[derive(Clone, Debug)]
pub struct TransportConfig {
    /// The key that this side proves on every link.
    pub secret: SecretKey,
    /// The application protocol (ALPN), 1 to 255 bytes. Both sides must say the same; it keeps the purposes apart.
    pub alpn: &'static [u8],
    /// Who may connect.
    pub accept_keys: AcceptKeys,
    /// Where to listen; `None` only dials. Port 0 takes a free port, see [`Transport::local_addr`](crate::Transport::local_addr).
    pub listen: Option<SocketAddr>,
    /// The longest frame, in bytes of payload, both ways. A longer one closes the link that it came on.
    pub frame_bytes_max: usize,
    /// The most bytes that wait to be sent on one link, framing included. Holds at least one longest frame.
    pub send_queue_bytes_max: usize,
    /// The most accepted links. When all are taken, a key that has some replaces its oldest, and others are refused.
    pub links_max: usize,
    /// The most accepted links of one key. One more closes the oldest of them.
    pub links_per_key_max: usize,
    /// The most accepted connections that have not yet proved a key.
    pub handshakes_max: usize,
    /// How long a connection may take, from its first packet to its link being up.
    pub handshake_timeout: Duration,
    /// The delay before a lost link's first new attempt. Each further one waits twice as long.
    pub reconnect_min: Duration,
    /// The longest delay between two attempts. A random half of each delay is jitter.
    pub reconnect_max: Duration,
    /// How long the other side's kernel may be silent, or take none of our bytes, until the connection counts as dead.
    /// Whole seconds, at least three. A link that its reader pauses for longer may be lost.
    pub dead_after: Duration,
    /// After how long without a frame an accepted link is closed; `None` never.
    pub idle_timeout: Option<Duration>,
}

impl TransportConfig {
    /// A configuration for links that speak `alpn`, with bounds that suit a small cluster. It listens nowhere and
    /// accepts nobody.
    pub fn new(secret: SecretKey, alpn: &'static [u8]) -> Self {
        Self {
            secret,
            alpn,
            accept_keys: AcceptKeys::nobody(),
            listen: None,
            frame_bytes_max: 16 << 20,
            send_queue_bytes_max: 64 << 20,
            links_max: 4096,
            links_per_key_max: 4,
            handshakes_max: 64,
            handshake_timeout: Duration::from_secs(5),
            reconnect_min: Duration::from_millis(20),
            reconnect_max: Duration::from_secs(2),
            dead_after: Duration::from_secs(15),
            idle_timeout: None,
        }
    }

    pub(crate) fn check(&self) -> Result<(), TransportError> {
        let refuse = |field, expected| Err(TransportError::Config { field, expected });
        if self.alpn.is_empty() || self.alpn.len() > 255 {
            return refuse("alpn", "1 to 255 bytes");
        }
        if self.frame_bytes_max == 0 || self.frame_bytes_max > u32::MAX as usize {
            return refuse("frame_bytes_max", "1 to 2^32 - 1 bytes");
        }
        if self.send_queue_bytes_max < self.frame_bytes_max.saturating_add(HEADER_BYTES) {
            return refuse("send_queue_bytes_max", "at least frame_bytes_max + 4, to hold one longest frame");
        }
        if self.links_max == 0 || self.links_per_key_max == 0 || self.handshakes_max == 0 {
            return refuse("links_max, links_per_key_max, handshakes_max", "at least 1");
        }
        if self.handshake_timeout.is_zero() || self.handshake_timeout > DAY {
            return refuse("handshake_timeout", "more than 0, at most a day");
        }
        if self.reconnect_min.is_zero() || self.reconnect_max < self.reconnect_min || self.reconnect_max > DAY {
            return refuse("reconnect_min, reconnect_max", "0 < reconnect_min <= reconnect_max <= a day");
        }
        if self.dead_after < Duration::from_secs(3) || self.dead_after > DAY {
            return refuse("dead_after", "3 seconds to a day");
        }
        if self.idle_timeout.is_some_and(|idle| idle.is_zero() || idle > 365 * DAY) {
            return refuse("idle_timeout", "more than 0, at most a year, or none");
        }
        Ok(())
    }
}
