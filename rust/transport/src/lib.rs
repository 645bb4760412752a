//! Mutually authenticated links between replicas, and between clients and replicas.
//!
//! A [`Transport`] is one object that one thread owns and drives: sockets, TLS, framing and reconnection, with no
//! thread of its own on the path of a frame. The owner's loop is
//!
//! ```text
//! loop {
//!     transport.poll(timeout, &mut events)?;     // sleeps; reads and decrypts what came
//!     for event in events.drain(..) { … transport.send(link, frame) … }
//!     transport.flush();                         // one encryption and one write per link, for all that was sent
//! }
//! ```
//!
//! and the same object serves a replica's peers (some dialed, some accepted), a replica's clients (hundreds accepted)
//! and a client (n dialed).
//!
//! # Links
//! A *link* is an authenticated, encrypted, ordered stream of frames to the holder of one key. A dialed link lives as
//! long as its owner wants it: its connection is made anew, with a jittered exponential back-off, whenever it is lost,
//! and its [`LinkId`] stays. An accepted link is one connection: a new connection is a new link with a new id. What was
//! queued when a connection broke is gone: a link promises order and integrity, the protocol above repairs loss.
//!
//! # Identity
//! Both sides prove an Ed25519 key in a TLS 1.3 handshake, as raw public keys (RFC 7250): there is no certificate, no
//! authority and no X.509 parser. The dialer knows which key must answer; the acceptor has a set of keys that may
//! connect. The two ports of a replica speak different application protocols (ALPN), so a client's link can never be
//! taken for a peer's. Sessions are never resumed. The dialer calls a link up only after the acceptor's *welcome*,
//! four bytes that follow the handshake, because in TLS 1.3 a client ends its handshake before the server has judged it.
//!
//! # Bounds
//! Nothing that another side does makes a `Transport` use unbounded memory or time:
//! - before it has proved its key, a stranger costs one socket, a few kilobytes and at most `handshake_timeout`; there
//!   are at most `handshakes_max` of them, the oldest of which makes place for the newest, and none of them ever takes
//!   the place of a link;
//! - links are bounded in all and per key; when a key connects once too often its *oldest* link goes, so that a peer
//!   that comes back after a half-open connection wins;
//! - a frame's length is checked before anything is allocated for it, and memory for a frame grows with what has come,
//!   not with what was announced;
//! - what waits to be sent is bounded per link ([`SendError::QueueFull`]), what is read is bounded per link and turn,
//!   and a link can be [paused](Transport::pause);
//! - a peer whose machine is gone is found by TCP keep-alive and the TCP user time-out (`dead_after`).
//!
//! # Memory of frames
//! A received frame is a [`bytes::Bytes`] slice of a chunk of up to 64 KiB that it shares with its neighbours. A frame
//! that is kept for long keeps its chunk: copy what is to outlive the request.

mod backoff;
mod config;
mod connection;
mod counters;
mod error;
mod framing;
mod link;
mod noise;
mod resolver;
mod send_queue;
mod socket;
mod tls;
mod transport;
mod waker;

pub use config::{AcceptKeys, TransportConfig};
pub use counters::Counters;
pub use error::{CloseReason, DownReason, FrameError, HandshakeFailure, SendError, TransportError};
#[cfg(feature = "fuzzing")]
pub use framing::frames_in_pieces;
pub use link::{Event, LinkId};
pub use transport::Transport;
pub use waker::Waker;
