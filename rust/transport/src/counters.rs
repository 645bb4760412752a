//! What a transport has done so far.

/// Totals since the transport was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections accepted from the listening socket.
    pub accepted: u64,
    /// Links that came up, dialed and accepted.
    pub links_up: u64,
    /// Accepted connections that did not become a link: wrong key, wrong protocol, garbage, closed early.
    pub handshakes_refused: u64,
    /// Accepted connections that did not prove a key in time.
    pub handshakes_timed_out: u64,
    /// Accepted connections that made place for newer ones before they had proved a key.
    pub handshakes_evicted: u64,
    /// Accepted connections that proved a key but found all links taken.
    pub links_refused: u64,
    /// Links closed because their key connected again.
    pub links_replaced: u64,
    /// Links closed because of what came on them.
    pub links_violated: u64,
    /// Times that accepting paused because the system had no file descriptor or memory left.
    pub accept_pauses: u64,
    /// Frames queued for sending.
    pub frames_sent: u64,
    /// Frames refused because a send queue was full.
    pub frames_refused: u64,
    /// Frames received.
    pub frames_received: u64,
    /// Bytes written to sockets.
    pub bytes_sent: u64,
    /// Bytes read from sockets.
    pub bytes_received: u64,
}
