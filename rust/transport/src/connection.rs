//! One TCP connection with TLS on it: bytes in, frames out, and back.

use std::io::{self, BufRead, Read, Write};
use std::time::Instant;

use bytes::BytesMut;
use mio::net::TcpStream;
use pssmr_types::PublicKey;
use rustls::Connection as Tls;

use crate::counters::Counters;
use crate::error::{DownReason, HandshakeFailure, SendError};
use crate::framing::{CHUNK_BYTES, FrameDecoder};
use crate::link::{Event, LinkId};
use crate::send_queue::SendQueue;
use crate::tls::{Identity, handshake_failure, proved_key};

/// The acceptor's first bytes on a link: it has taken the dialer's key.
const WELCOME: [u8; 4] = *b"PSM1";
/// The acceptor's first and last bytes when it has taken the key, but has no link left.
const FULL: [u8; 4] = *b"FULL";

/// The most bytes that are read from an accepted connection before it has proved a key. A handshake has under 1 KiB.
const STRANGER_BYTES_MAX: usize = 8 * 1024;

/// How much is read from one connection at a time.
const READ_BYTES_MAX: usize = 64 * 1024;

/// After so much has been written for one connection, others have their turn.
const WRITE_BYTES_PER_TURN: usize = 512 * 1024;

/// How much is encrypted at a time: so much ciphertext a connection has at most.
const ENCRYPT_BYTES_MAX: usize = 256 * 1024;

/// The buffers that all connections of a transport share.
pub(crate) struct Buffers {
    /// What one read of a socket gives.
    wire: Vec<u8>,
    /// Where frames are sliced from.
    chunk: BytesMut,
}

impl Buffers {
    pub(crate) fn new() -> Self {
        Self { wire: vec![0; READ_BYTES_MAX], chunk: BytesMut::with_capacity(CHUNK_BYTES) }
    }
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Dialed; TCP is not there yet.
    Connecting,
    /// TLS is being agreed.
    Handshaking,
    /// Dialed; the acceptor has still to take our key.
    AwaitingWelcome(PublicKey),
    /// Accepted; the key is proved, the transport has still to give it a link.
    AwaitingAdmission(PublicKey),
    /// Frames flow.
    Up(PublicKey),
}

/// The acceptor's first bytes, as far as they have come.
#[derive(Default)]
struct Welcome {
    bytes: [u8; WELCOME.len()],
    len: usize,
}

impl Welcome {
    /// Takes its bytes from the front of `plaintext`. True once the dialer is welcome.
    fn take(&mut self, plaintext: &mut &[u8]) -> Result<bool, HandshakeFailure> {
        let (now, later) = plaintext.split_at(plaintext.len().min(WELCOME.len() - self.len));
        self.bytes[self.len..self.len + now.len()].copy_from_slice(now);
        self.len += now.len();
        *plaintext = later;
        match self.bytes {
            _ if self.len < WELCOME.len() => Ok(false),
            WELCOME => Ok(true),
            FULL => Err(HandshakeFailure::Full),
            _ => Err(HandshakeFailure::Incompatible),
        }
    }
}

/// A connection of one link, dialed or accepted, from its socket's first breath to its last.
#[expect(clippy::struct_excessive_bools, reason = "they are independent facts about a socket, not one state")]
pub(crate) struct Connection {
    link: LinkId,
    dialed: bool,
    stream: TcpStream,
    tls: Tls,
    stage: Stage,
    decoder: FrameDecoder,
    queue: SendQueue,
    handshake_bytes: usize,
    welcome: Welcome,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The other side will send no more: reading on finds the end.
    pub(crate) read_closed: bool,
    pub(crate) paused: bool,
    /// Is in the transport's list of connections to read from.
    pub(crate) in_ready: bool,
    /// Is in the transport's list of connections to write to.
    pub(crate) in_dirty: bool,
    /// When the link came up.
    pub(crate) up_since: Instant,
    /// When the link came up, or a frame last came.
    pub(crate) active_at: Instant,
}

impl Connection {
    pub(crate) fn new(
        link: LinkId,
        stream: TcpStream,
        mut tls: Tls,
        dialed: bool,
        frame_bytes_max: usize,
        now: Instant,
    ) -> Self {
        // The send queue has its own bound.
        tls.set_buffer_limit(None);
        Self {
            link,
            dialed,
            stream,
            tls,
            stage: if dialed { Stage::Connecting } else { Stage::Handshaking },
            decoder: FrameDecoder::new(frame_bytes_max),
            queue: SendQueue::default(),
            handshake_bytes: 0,
            welcome: Welcome::default(),
            readable: false,
            writable: !dialed,
            read_closed: false,
            paused: false,
            in_ready: false,
            in_dirty: false,
            up_since: now,
            active_at: now,
        }
    }

    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    pub(crate) fn stage(&self) -> Stage {
        self.stage
    }

    pub(crate) fn link(&self) -> LinkId {
        self.link
    }

    /// Whether this side dialed.
    pub(crate) fn dialed(&self) -> bool {
        self.dialed
    }

    /// Whether it has yet to prove a key to this side, which makes its next step a costly one.
    pub(crate) fn is_stranger(&self) -> bool {
        !self.dialed && !self.is_up()
    }

    /// Whether frames flow.
    pub(crate) fn is_up(&self) -> bool {
        matches!(self.stage, Stage::Up(_))
    }

    /// Whether a read would find something and may be done.
    pub(crate) fn wants_read(&self) -> bool {
        self.readable && !self.paused && self.stage != Stage::Connecting
    }

    /// Whether a write would find something to do, the socket permitting.
    pub(crate) fn wants_write(&self) -> bool {
        self.tls.wants_write() || self.queue.len() > 0
    }

    /// Bytes that wait to be sent.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.queue.len()
    }

    /// TCP is there: TLS may begin.
    pub(crate) fn connected(&mut self) {
        assert_eq!(self.stage, Stage::Connecting);
        self.stage = Stage::Handshaking;
        self.writable = true;
    }

    /// The transport gives the accepted connection a link.
    pub(crate) fn admit(&mut self) {
        let Stage::AwaitingAdmission(key) = self.stage else { panic!("{} has not proved a key", self.link) };
        self.stage = Stage::Up(key);
        self.queue.push_bytes(&WELCOME);
    }

    /// The transport has no link for the accepted connection, which is told so and is then to be dropped.
    pub(crate) fn refuse_admission(&mut self, counters: &mut Counters) {
        assert!(matches!(self.stage, Stage::AwaitingAdmission(_)), "{} has not proved a key", self.link);
        self.queue.push_bytes(&FULL);
        self.write_last(counters);
    }

    /// Queues one frame, which `write` appends.
    pub(crate) fn queue_frame(
        &mut self,
        frame_bytes_max: usize,
        queue_bytes_max: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), SendError> {
        if !self.is_up() {
            return Err(SendError::NotConnected);
        }
        self.queue.push_frame(frame_bytes_max, queue_bytes_max, write)
    }

    /// One read of the socket: pushes what it completes to `events`.
    pub(crate) fn read(
        &mut self,
        identity: &Identity,
        buffers: &mut Buffers,
        counters: &mut Counters,
        events: &mut Vec<Event>,
    ) -> Result<(), DownReason> {
        let read = match self.stream.read(&mut buffers.wire) {
            Ok(0) => return Err(self.ended()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                return Ok(());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(self.failed(error)),
        };
        counters.bytes_received += read as u64;
        // A short read has emptied the socket, and what comes next gives a new event; except the end, which may have
        // been announced together with the last bytes.
        if read < buffers.wire.len() && !self.read_closed {
            self.readable = false;
        }
        if !self.dialed && self.stage == Stage::Handshaking {
            self.handshake_bytes += read;
            if self.handshake_bytes > STRANGER_BYTES_MAX {
                return Err(HandshakeFailure::NotTls.into());
            }
        }
        let Buffers { wire, chunk } = buffers;
        let mut wire = &wire[..read];
        while !wire.is_empty() {
            match self.tls.read_tls(&mut wire) {
                // After the other side's good-bye TLS takes no more.
                Ok(0) => return Err(self.ended()),
                Ok(_) => {}
                Err(_) => return Err(self.broken(rustls::Error::General("a record without end".to_owned()))),
            }
            let state = self.tls.process_new_packets().map_err(|error| self.broken(error))?;
            if self.stage == Stage::Handshaking && !self.tls.is_handshaking() {
                self.end_handshake(identity)?;
            }
            if state.plaintext_bytes_to_read() > 0 {
                self.take_plaintext(chunk, counters, events)?;
            }
            if state.peer_has_closed() {
                return Err(self.ended());
            }
        }
        Ok(())
    }

    /// Encrypts and writes until nothing is left, the socket takes no more, or others should have their turn. True in
    /// this last case.
    pub(crate) fn write(&mut self, counters: &mut Counters) -> Result<bool, DownReason> {
        let mut turn = 0;
        loop {
            while self.tls.wants_write() {
                if !self.writable {
                    return Ok(false);
                }
                match self.tls.write_tls(&mut self.stream) {
                    Ok(written) => {
                        counters.bytes_sent += written as u64;
                        turn += written;
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.writable = false;
                        return Ok(false);
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(self.failed(error)),
                }
            }
            self.queue.written();
            let next = self.queue.next(ENCRYPT_BYTES_MAX);
            if next.is_empty() {
                return Ok(false);
            }
            if turn >= WRITE_BYTES_PER_TURN {
                return Ok(true);
            }
            let len = next.len();
            self.tls.writer().write_all(next)?;
            self.queue.encrypted(len);
        }
    }

    /// Says good-bye, or what was wrong, as far as the socket takes it at once.
    pub(crate) fn write_last(&mut self, counters: &mut Counters) {
        if self.stage == Stage::Connecting {
            return;
        }
        // The connection goes in any case: an error changes nothing.
        while matches!(self.write(counters), Ok(true)) {}
        if self.queue.len() == 0 {
            self.tls.send_close_notify();
            let _ = self.write(counters);
        }
    }

    fn end_handshake(&mut self, identity: &Identity) -> Result<(), DownReason> {
        if !identity.agrees_on_alpn(&self.tls) {
            return Err(HandshakeFailure::WrongAlpn.into());
        }
        let key = proved_key(&self.tls).ok_or(HandshakeFailure::UnexpectedKey(None))?;
        self.stage = if self.dialed { Stage::AwaitingWelcome(key) } else { Stage::AwaitingAdmission(key) };
        Ok(())
    }

    fn take_plaintext(
        &mut self,
        chunk: &mut BytesMut,
        counters: &mut Counters,
        events: &mut Vec<Event>,
    ) -> Result<(), DownReason> {
        let mut reader = self.tls.reader();
        loop {
            let plaintext = match reader.fill_buf() {
                Ok([]) => return Ok(()),
                Ok(plaintext) => plaintext,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let len = plaintext.len();
            let mut frames = plaintext;
            match self.stage {
                Stage::Up(_) => {}
                Stage::AwaitingWelcome(key) => {
                    if self.welcome.take(&mut frames)? {
                        self.stage = Stage::Up(key);
                        counters.links_up += 1;
                        events.push(Event::Up { link: self.link, key, dialed: true });
                    }
                }
                // A dialer is silent until it is welcome.
                Stage::Connecting | Stage::Handshaking | Stage::AwaitingAdmission(_) => {
                    return Err(HandshakeFailure::Incompatible.into());
                }
            }
            let link = self.link;
            self.decoder.decode(frames, chunk, |frame| {
                counters.frames_received += 1;
                events.push(Event::Frame { link, frame });
            })?;
            reader.consume(len);
        }
    }

    /// The reason when the other side ends the connection.
    fn ended(&self) -> DownReason {
        if self.is_up() { DownReason::ClosedByPeer } else { HandshakeFailure::Closed.into() }
    }

    /// The reason when the socket fails.
    fn failed(&self, error: io::Error) -> DownReason {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe if self.stage != Stage::Connecting => {
                self.ended()
            }
            io::ErrorKind::TimedOut => DownReason::TimedOut,
            _ => error.into(),
        }
    }

    /// The reason when TLS fails.
    fn broken(&self, error: rustls::Error) -> DownReason {
        if self.is_up() { DownReason::Garbage(error) } else { handshake_failure(error).into() }
    }
}
