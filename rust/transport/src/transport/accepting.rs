//! Connections from others: strangers until they prove a key, then links.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Token};
use pssmr_types::PublicKey;

use super::Transport;
use crate::connection::Connection;
use crate::error::{DownReason, HandshakeFailure};
use crate::link::{Event, LinkId};
use crate::socket;

/// Connections accepted in one poll.
const ACCEPTS_PER_POLL_MAX: usize = 8;
/// How long nothing is accepted after the system had no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

impl Transport {
    /// Accepts waiting connections, a few at a time.
    pub(super) fn accept(&mut self, now: Instant) {
        if self.accept_paused_until.is_some_and(|until| until > now) {
            return;
        }
        self.accept_paused_until = None;
        for _ in 0..ACCEPTS_PER_POLL_MAX {
            if !self.accept_ready {
                return;
            }
            let Some(listener) = &self.listener else { return };
            match listener.accept() {
                Ok((stream, address)) => self.take_accepted(stream, address, now),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => self.accept_ready = false,
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset => {}
                    // No descriptors or memory: the connection stays in the kernel's queue, trying at once would spin.
                    _ => {
                        self.counters.accept_pauses += 1;
                        self.accept_paused_until = Some(now + ACCEPT_PAUSE);
                        if let Some(hidden) = self.noise.allow(now) {
                            tracing::warn!(%error, hidden, "cannot accept connections for the moment");
                        }
                        return;
                    }
                },
            }
        }
    }

    fn take_accepted(&mut self, mut stream: TcpStream, address: SocketAddr, now: Instant) {
        self.counters.accepted += 1;
        if self.strangers.len() >= self.config.handshakes_max {
            let (_, &oldest) = self.strangers.first_key_value().expect("handshakes_max is not 0");
            self.counters.handshakes_evicted += 1;
            self.drop_connection(oldest);
            self.remove(oldest);
        }
        let tls = match self.identity.accept() {
            Ok(tls) => tls,
            Err(error) => return tracing::error!(%error, "cannot begin TLS"),
        };
        let id = self.insert(None);
        let slot = id.slot();
        let registered = socket::prepare(&stream, self.config.dead_after).and_then(|()| {
            self.poll.registry().register(&mut stream, Token(slot), Interest::READABLE | Interest::WRITABLE)
        });
        if let Err(error) = registered {
            // The other side is gone already, or the system has no memory.
            tracing::debug!(%address, %error, "accepted connection lost");
            self.remove(slot);
            return;
        }
        let connection = Connection::new(id, stream, tls, false, self.config.frame_bytes_max, now);
        self.links[slot].as_mut().expect("just inserted").connection = Some(connection);
        self.strangers.insert(id.serial(), slot);
        self.set_deadline(slot, Some(now + self.config.handshake_timeout));
    }

    /// Gives a link to an accepted connection that has proved `key`.
    pub(super) fn admit(&mut self, slot: usize, key: PublicKey, now: Instant) {
        // The keys may have changed while the handshake went on.
        if !self.config.accept_keys.contains(&key) {
            self.take_down(slot, HandshakeFailure::UnexpectedKey(Some(key)).into());
            return;
        }
        let oldest_of_key = self.accepted.get(&key).and_then(VecDeque::front).copied();
        let of_key = self.accepted.get(&key).map_or(0, VecDeque::len);
        let full = self.accepted_count >= self.config.links_max;
        if let Some(oldest) = oldest_of_key
            && (full || of_key >= self.config.links_per_key_max)
        {
            self.take_down(oldest.slot(), DownReason::Replaced);
        } else if full {
            self.counters.links_refused += 1;
            if let Some(hidden) = self.noise.allow(now) {
                tracing::warn!(%key, links_max = self.config.links_max, hidden, "no link left for a connection");
            }
            let connection = self.links[slot].as_mut().and_then(|link| link.connection.as_mut());
            connection.expect("just read from").refuse_admission(&mut self.counters);
            self.drop_connection(slot);
            self.remove(slot);
            return;
        }
        let link = self.links[slot].as_mut().expect("the slot has a link");
        let id = link.id;
        let connection = link.connection.as_mut().expect("the slot has a connection");
        connection.admit();
        connection.up_since = now;
        connection.active_at = now;
        self.strangers.remove(&id.serial());
        self.accepted.entry(key).or_default().push_back(id);
        self.accepted_count += 1;
        self.counters.links_up += 1;
        self.set_deadline(slot, self.config.idle_timeout.map(|idle| now + idle));
        tracing::debug!(link = %id, %key, "link up, accepted");
        self.events.push(Event::Up { link: id, key, dialed: false });
    }

    /// Counts an accepted connection that became no link.
    pub(super) fn count_refused(&mut self, link: LinkId, reason: &DownReason, now: Instant) {
        match reason {
            DownReason::TimedOut => self.counters.handshakes_timed_out += 1,
            _ => self.counters.handshakes_refused += 1,
        }
        if let Some(hidden) = self.noise.allow(now) {
            tracing::warn!(%link, %reason, hidden, "connection refused");
        }
    }
}
