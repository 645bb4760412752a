//! What goes wrong, typed.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;

use pssmr_types::PublicKey;

/// Why a transport could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// A field of the configuration is out of range.
    #[error("transport configuration: {field} must be {expected}")]
    Config {
        /// The field, or fields.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; {}", bind_remedy(source))]
    Bind {
        /// The address of the configuration.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The system gave no poll object.
    #[error("cannot make a poll object: {0}")]
    Poll(#[from] io::Error),
    /// TLS could not be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
}

fn bind_remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::AddrInUse => "another process listens there: stop it, or choose another port",
        io::ErrorKind::PermissionDenied => "ports below 1024 need privileges: choose a higher one",
        io::ErrorKind::AddrNotAvailable => "it is not an address of this machine: use one that is, or 0.0.0.0",
        _ => "choose another address",
    }
}

/// Why a frame was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The link is down, or was never there.
    #[error("the link is not up")]
    NotConnected,
    /// The other side takes bytes more slowly than they are sent. Nothing was queued.
    #[error("the link's send queue is full")]
    QueueFull,
    /// The frame is empty, or longer than `frame_bytes_max`. Nothing was queued.
    #[error("a frame of {bytes} bytes: the bounds are 1 and {bytes_max}")]
    FrameLength {
        /// The frame's payload, in bytes.
        bytes: usize,
        /// The bound, in bytes.
        bytes_max: usize,
    },
}

/// Why received bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A frame of no bytes.
    #[error("an empty frame")]
    Empty,
    /// A frame over the bound.
    #[error("a frame of {bytes} bytes, the bound is {bytes_max}")]
    TooLarge {
        /// The announced payload, in bytes.
        bytes: usize,
        /// The bound, in bytes.
        bytes_max: usize,
    },
}

/// Why the owner closes a link.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// It is not needed any more.
    #[error("not needed any more")]
    Finished,
    /// The other side does not take what it is sent.
    #[error("its send queue stayed full")]
    QueueFull,
    /// The other side broke the protocol above; the text says how.
    #[error("{0}")]
    Violation(Cow<'static, str>),
    /// Its key may not connect any more.
    #[error("its key was removed")]
    KeyRemoved,
}

/// Why a link is down, or why an attempt to bring it up failed.
#[derive(Debug, thiserror::Error)]
pub enum DownReason {
    /// The other side closed the connection.
    #[error("closed by the other side")]
    ClosedByPeer,
    /// This side closed it.
    #[error("closed here: {0}")]
    ClosedHere(CloseReason),
    /// The same key connected again, and this was its oldest link.
    #[error("replaced by a newer connection of the same key")]
    Replaced,
    /// The socket failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The address's name was not found.
    #[error("cannot resolve {address:?}: {detail}")]
    Unresolved {
        /// The address that was dialed.
        address: String,
        /// What the system said.
        detail: String,
    },
    /// The two sides did not agree to have a link.
    #[error("handshake failed: {0}")]
    Handshake(#[from] HandshakeFailure),
    /// The connection, or an accepted link's next frame, did not come in time.
    #[error("timed out")]
    TimedOut,
    /// A frame out of bounds.
    #[error("{0}")]
    Frame(#[from] FrameError),
    /// What came on the established link was not TLS that its key holder wrote.
    #[error("garbage on an established link: {0}")]
    Garbage(rustls::Error),
}

/// Why two sides did not agree to have a link. Each text says where to look.
#[derive(Clone, Debug, thiserror::Error)]
pub enum HandshakeFailure {
    /// The other side's key is not the expected one (dialed), or not among those that may connect (accepted).
    #[error("the other side has the key {}, which is not expected there: check the address and the configured keys", text(*.0))]
    UnexpectedKey(Option<PublicKey>),
    /// The other side does not accept this side's key.
    #[error("the other side does not accept our key: check that our public key is in its configuration")]
    KeyRefused,
    /// The other side speaks another application protocol.
    #[error("the other side speaks another protocol: is this a client's port where a peer's is meant, or the reverse?")]
    WrongAlpn,
    /// The other side does not speak TLS.
    #[error("the other side does not speak TLS: is another program listening there?")]
    NotTls,
    /// The other side speaks TLS, but not TLS 1.3 with raw public keys.
    #[error("the other side does not speak TLS 1.3 with raw public keys: is another program listening there?")]
    Incompatible,
    /// The other side has all the links that it wants.
    #[error("the other side has reached its limit of links")]
    Full,
    /// The other side closed the connection without a word.
    #[error("the other side closed the connection during the handshake")]
    Closed,
    /// Anything else.
    #[error("{0}")]
    Tls(rustls::Error),
}

fn text(key: Option<PublicKey>) -> String {
    key.map_or_else(|| "(unreadable)".to_owned(), |key| key.to_string())
}
