//! The object that a thread drives: all links, their sockets and their deadlines.

mod accepting;
mod dialing;
mod turn;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpListener;
use mio::{Interest, Poll, Token};
use pssmr_types::PublicKey;

use self::dialing::Dial;
use crate::backoff::Backoff;
use crate::config::{AcceptKeys, TransportConfig};
use crate::connection::{Buffers, Connection, Stage};
use crate::counters::Counters;
use crate::error::{CloseReason, DownReason, SendError, TransportError};
use crate::link::{Event, LinkId};
use crate::noise::Noise;
use crate::resolver::Resolver;
use crate::socket;
use crate::tls::Identity;
use crate::waker::Waker;

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);

/// Readiness taken from the system at a time.
const READINESS_MAX: usize = 1024;
struct Link {
    id: LinkId,
    dial: Option<Dial>,
    connection: Option<Connection>,
    /// When something is due: the end of the handshake, the next attempt, or the end of idleness.
    deadline: Option<Instant>,
}

/// Authenticated links, driven by the one thread that owns it. See the [crate's documentation](crate).
pub struct Transport {
    config: TransportConfig,
    identity: Identity,
    poll: Poll,
    readiness: mio::Events,
    waker: Waker,
    resolver: Resolver,
    listener: Option<TcpListener>,
    /// Connections wait to be accepted.
    accept_ready: bool,
    accept_paused_until: Option<Instant>,
    links: Vec<Option<Link>>,
    free_slots: Vec<usize>,
    next_serial: u64,
    /// Accepted connections without a link, oldest first: serial to slot.
    strangers: BTreeMap<u64, usize>,
    /// Accepted links by key, oldest first.
    accepted: HashMap<PublicKey, VecDeque<LinkId>>,
    accepted_count: usize,
    deadlines: BTreeSet<(Instant, usize)>,
    /// Slots to read from, in turn.
    ready: VecDeque<usize>,
    /// Slots to write to.
    dirty: Vec<usize>,
    /// Empty, but for its memory, outside `flush`.
    flushing: Vec<usize>,
    /// What the next poll returns.
    events: Vec<Event>,
    buffers: Buffers,
    counters: Counters,
    noise: Noise,
}

impl Transport {
    /// Makes a transport, and listens if the configuration says where.
    ///
    /// # Errors
    /// [`TransportError`]: a field out of range, an address that cannot be listened on, no descriptors left.
    pub fn new(config: TransportConfig) -> Result<Self, TransportError> {
        config.check()?;
        let identity = Identity::new(&config.secret, config.alpn, config.accept_keys.clone())?;
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let mut listener = config.listen.map(socket::listen).transpose()?;
        if let Some(listener) = &mut listener {
            poll.registry().register(listener, LISTENER, Interest::READABLE)?;
        }
        Ok(Self {
            config,
            identity,
            poll,
            readiness: mio::Events::with_capacity(READINESS_MAX),
            resolver: Resolver::new(waker.clone()),
            waker,
            listener,
            accept_ready: false,
            accept_paused_until: None,
            links: Vec::new(),
            free_slots: Vec::new(),
            next_serial: 0,
            strangers: BTreeMap::new(),
            accepted: HashMap::new(),
            accepted_count: 0,
            deadlines: BTreeSet::new(),
            ready: VecDeque::new(),
            dirty: Vec::new(),
            flushing: Vec::new(),
            events: Vec::new(),
            buffers: Buffers::new(),
            counters: Counters::default(),
            noise: Noise::default(),
        })
    }

    /// Where this transport listens.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.listener.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// The key that this side proves.
    pub fn public_key(&self) -> PublicKey {
        self.config.secret.public()
    }

    /// Totals since the transport was made.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Wakes this transport's poll from other threads.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Keeps a link to the holder of `key` at `address`, `host:port`, until it is [forgotten](Self::forget). A name is
    /// resolved anew for each round of attempts, off this thread.
    ///
    /// # Errors
    /// [`TransportError::Tls`] if the key cannot be used.
    pub fn dial(&mut self, key: PublicKey, address: impl Into<String>) -> Result<LinkId, TransportError> {
        let dial = Dial {
            key,
            address: address.into(),
            tls: self.identity.dialer(key)?,
            backoff: Backoff::new(self.config.reconnect_min, self.config.reconnect_max),
            candidates: VecDeque::new(),
            resolving: false,
        };
        let id = self.insert(Some(dial));
        self.set_deadline(id.slot(), Some(Instant::now()));
        Ok(id)
    }

    /// Ends a dialed link for good. If it was up, its `Down` follows.
    pub fn forget(&mut self, link: LinkId) {
        let Some(found) = self.link_mut(link) else { return };
        found.dial = None;
        if found.connection.is_some() {
            self.take_down(link.slot(), DownReason::ClosedHere(CloseReason::Finished));
        } else {
            self.remove(link.slot());
        }
    }

    /// Replaces the keys that may connect, and closes the accepted links of those that may not any more.
    pub fn set_accept_keys(&mut self, keys: AcceptKeys) {
        let removed: Vec<LinkId> =
            self.accepted.iter().filter(|(key, _)| !keys.contains(key)).flat_map(|(_, links)| links.clone()).collect();
        self.config.accept_keys = keys.clone();
        self.identity.set_accept_keys(keys);
        for link in removed {
            self.take_down(link.slot(), DownReason::ClosedHere(CloseReason::KeyRemoved));
        }
    }

    /// Whether frames can be sent on `link`.
    pub fn is_up(&self, link: LinkId) -> bool {
        self.connection(link).is_some_and(Connection::is_up)
    }

    /// Bytes that wait to be sent on `link`, framing included.
    pub fn queued_bytes(&self, link: LinkId) -> usize {
        self.connection(link).map_or(0, Connection::queued_bytes)
    }

    /// Queues one frame. It leaves at the next [`flush`](Self::flush).
    ///
    /// # Errors
    /// [`SendError`]; nothing was queued then.
    pub fn send(&mut self, link: LinkId, frame: &[u8]) -> Result<(), SendError> {
        if frame.len() > self.config.frame_bytes_max {
            return Err(SendError::FrameLength { bytes: frame.len(), bytes_max: self.config.frame_bytes_max });
        }
        self.send_with(link, |queue| queue.extend_from_slice(frame))
    }

    /// Queues one frame that `write` appends to the bytes it is given, without touching those already there.
    ///
    /// # Errors
    /// [`SendError`]; nothing was queued then.
    ///
    /// # Panics
    /// If `write` makes the bytes fewer.
    pub fn send_with(&mut self, link: LinkId, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), SendError> {
        let (frame_bytes_max, queue_bytes_max) = (self.config.frame_bytes_max, self.config.send_queue_bytes_max);
        let connection = self.connection_mut(link).ok_or(SendError::NotConnected)?;
        let sent = connection.queue_frame(frame_bytes_max, queue_bytes_max, write);
        let marked = sent.is_ok() && !std::mem::replace(&mut connection.in_dirty, true);
        if marked {
            self.dirty.push(link.slot());
        }
        match sent {
            Ok(()) => self.counters.frames_sent += 1,
            Err(SendError::QueueFull) => self.counters.frames_refused += 1,
            Err(_) => {}
        }
        sent
    }

    /// Encrypts and writes what was queued since the last flush, and what sockets did not take then: once per turn of
    /// the owner's loop, for all that the turn has sent. A link with very much to send goes on in the next poll. Links
    /// that turn out to be lost are reported by it.
    pub fn flush(&mut self) {
        let mut flushing = std::mem::take(&mut self.flushing);
        std::mem::swap(&mut flushing, &mut self.dirty);
        for slot in flushing.drain(..) {
            self.write(slot);
        }
        self.flushing = flushing;
    }

    /// Closes a link's connection; its `Down` follows. An accepted link is gone then, a dialed one is dialed again
    /// after a delay. What is queued leaves as far as the socket takes it at once.
    pub fn close(&mut self, link: LinkId, reason: CloseReason) {
        if self.connection(link).is_some() {
            self.take_down(link.slot(), DownReason::ClosedHere(reason));
        }
    }

    /// Stops reading from `link`, so that the other side is slowed down. Frames that a poll has already returned stay
    /// returned. A connection's pause ends with it.
    pub fn pause(&mut self, link: LinkId) {
        if let Some(connection) = self.connection_mut(link) {
            connection.paused = true;
        }
    }

    /// Reads from `link` again.
    pub fn resume(&mut self, link: LinkId) {
        if let Some(connection) = self.connection_mut(link) {
            connection.paused = false;
            self.mark_ready(link.slot());
        }
    }

    /// Flushes, sleeps until something happens or `timeout` passes (`None`: for ever), and appends what happened to
    /// `events`. May return with no events and before `timeout`.
    ///
    /// # Errors
    /// The system's, if it cannot poll at all.
    pub fn poll(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        self.flush();
        let must_wake = self.waker.fall_asleep();
        let timeout = if must_wake { Some(Duration::ZERO) } else { self.sleep_time(timeout) };
        let polled = self.poll.poll(&mut self.readiness, timeout);
        if self.waker.get_up() || must_wake {
            self.events.push(Event::Woken);
        }
        match polled {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            Err(_) => self.readiness.clear(),
            Ok(()) => {}
        }
        let now = Instant::now();
        self.take_readiness();
        self.take_resolutions(now);
        self.read_ready(now);
        self.take_deadlines(now);
        self.accept(now);
        self.flush();
        if events.is_empty() {
            std::mem::swap(events, &mut self.events);
        } else {
            events.append(&mut self.events);
        }
        Ok(())
    }

    /// Closes every link, after the sockets have taken what is queued or `linger` has passed.
    ///
    /// # Errors
    /// The system's, if it cannot poll.
    pub fn shutdown(mut self, linger: Duration) -> io::Result<()> {
        let start = Instant::now();
        self.listener = None;
        loop {
            self.flush();
            let left = linger.saturating_sub(start.elapsed());
            let unsent = self.links.iter().flatten().filter_map(|link| link.connection.as_ref());
            if left.is_zero() || !unsent.into_iter().any(|connection| connection.is_up() && connection.wants_write()) {
                break;
            }
            let sleep = if self.dirty.is_empty() { left } else { Duration::ZERO };
            match self.poll.poll(&mut self.readiness, Some(sleep)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                Err(_) => self.readiness.clear(),
                Ok(()) => self.take_readiness(),
            }
        }
        for slot in 0..self.links.len() {
            if self.links[slot].as_ref().is_some_and(|link| link.connection.is_some()) {
                self.take_down(slot, DownReason::ClosedHere(CloseReason::Finished));
            }
        }
        Ok(())
    }

    // Links and slots.

    fn link(&self, id: LinkId) -> Option<&Link> {
        self.links.get(id.slot())?.as_ref().filter(|link| link.id == id)
    }

    fn link_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.links.get_mut(id.slot())?.as_mut().filter(|link| link.id == id)
    }

    fn connection(&self, id: LinkId) -> Option<&Connection> {
        self.link(id)?.connection.as_ref()
    }

    fn connection_mut(&mut self, id: LinkId) -> Option<&mut Connection> {
        self.link_mut(id)?.connection.as_mut()
    }

    /// The connection in `slot`, whichever it is.
    fn connection_at(&mut self, slot: usize) -> Option<&mut Connection> {
        self.links.get_mut(slot)?.as_mut()?.connection.as_mut()
    }

    fn insert(&mut self, dial: Option<Dial>) -> LinkId {
        let slot = self.free_slots.pop().unwrap_or_else(|| {
            self.links.push(None);
            self.links.len() - 1
        });
        let id = LinkId::new(self.next_serial, slot);
        self.next_serial += 1;
        self.links[slot] = Some(Link { id, dial, connection: None, deadline: None });
        id
    }

    fn remove(&mut self, slot: usize) {
        self.set_deadline(slot, None);
        assert!(self.links[slot].take().is_some(), "slot {slot} is empty");
        self.free_slots.push(slot);
    }

    fn set_deadline(&mut self, slot: usize, deadline: Option<Instant>) {
        let link = self.links[slot].as_mut().expect("a deadline is a link's");
        if let Some(old) = std::mem::replace(&mut link.deadline, deadline) {
            self.deadlines.remove(&(old, slot));
        }
        if let Some(new) = deadline {
            self.deadlines.insert((new, slot));
        }
    }

    /// Puts `slot` into the list of those to read from, if there may be something to read.
    fn mark_ready(&mut self, slot: usize) {
        if let Some(connection) = self.connection_at(slot)
            && connection.wants_read()
            && !std::mem::replace(&mut connection.in_ready, true)
        {
            self.ready.push_back(slot);
        }
    }

    /// Puts `slot` into the list of those to write to, if there is something to write.
    fn mark_dirty(&mut self, slot: usize) {
        if let Some(connection) = self.connection_at(slot)
            && connection.writable
            && connection.wants_write()
            && !std::mem::replace(&mut connection.in_dirty, true)
        {
            self.dirty.push(slot);
        }
    }

    // The end of connections.

    /// Ends the connection in `slot`, says so to the other side and to the owner, and goes on as the link's kind wants.
    fn take_down(&mut self, slot: usize, reason: DownReason) {
        let now = Instant::now();
        let link = self.links[slot].as_mut().expect("the slot has a link");
        let id = link.id;
        let connection = link.connection.as_mut().expect("the slot has a connection");
        connection.write_last(&mut self.counters);
        let connection = self.drop_connection(slot);
        if !connection.is_up() {
            if connection.dialed() {
                self.end_attempt(slot, reason, now);
            } else {
                self.count_refused(id, &reason, now);
                self.remove(slot);
            }
            return;
        }
        tracing::debug!(link = %id, %reason, "link down");
        match reason {
            DownReason::Replaced => self.counters.links_replaced += 1,
            DownReason::Frame(_) | DownReason::Garbage(_) | DownReason::ClosedHere(CloseReason::Violation(_)) => {
                self.counters.links_violated += 1;
                if let Some(hidden) = self.noise.allow(now) {
                    tracing::warn!(link = %id, %reason, hidden, "link closed because of what came on it");
                }
            }
            _ => {}
        }
        self.events.push(Event::Down { link: id, reason });
        let link = self.links[slot].as_mut().expect("the slot has a link");
        let Some(dial) = &mut link.dial else {
            self.remove(slot);
            return;
        };
        // A link that falls soon after it has come up is dialed as slowly as one that never does.
        if now.saturating_duration_since(connection.up_since) >= self.config.reconnect_max {
            dial.backoff.reset();
        }
        dial.candidates.clear();
        self.redial(slot, now);
    }

    /// Takes the connection out of `slot`, and out of whatever lists it.
    fn drop_connection(&mut self, slot: usize) -> Connection {
        let link = self.links[slot].as_mut().expect("the slot has a link");
        let id = link.id;
        let mut connection = link.connection.take().expect("the slot has a connection");
        // Closing the socket ends its registration in any case.
        let _ = self.poll.registry().deregister(connection.stream());
        match connection.stage() {
            _ if connection.dialed() => {}
            Stage::Up(key) => {
                let links = self.accepted.get_mut(&key).expect("an accepted link is listed under its key");
                links.retain(|other| *other != id);
                if links.is_empty() {
                    self.accepted.remove(&key);
                }
                self.accepted_count -= 1;
            }
            _ => assert!(self.strangers.remove(&id.serial()).is_some(), "{id} is no link and no stranger"),
        }
        connection
    }
}
