//! Links to others: attempts to connect, one after the other, until one holds.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use mio::{Interest, Token};
use pssmr_types::PublicKey;
use rustls::ClientConfig;

use super::Transport;
use crate::backoff::{Backoff, random_share};
use crate::connection::Connection;
use crate::error::DownReason;
use crate::link::Event;
use crate::resolver::Resolution;
use crate::{socket, tls};

/// What makes a link a dialed one.
pub(super) struct Dial {
    pub(super) key: PublicKey,
    pub(super) address: String,
    pub(super) tls: Arc<ClientConfig>,
    pub(super) backoff: Backoff,
    /// What the address was last resolved to, and has still to be tried.
    pub(super) candidates: VecDeque<SocketAddr>,
    pub(super) resolving: bool,
}

impl Transport {
    /// Begins an attempt to connect: to the next candidate, or by asking for candidates.
    pub(super) fn attempt(&mut self, slot: usize, now: Instant) {
        let link = self.links[slot].as_mut().expect("an attempt is a link's");
        let id = link.id;
        let dial = link.dial.as_mut().expect("only dialed links have no connection");
        if dial.candidates.is_empty()
            && let Ok(address) = dial.address.parse()
        {
            dial.candidates.push_back(address);
        }
        let failed = match dial.candidates.pop_front() {
            Some(address) => self.connect(slot, address, now),
            None if dial.resolving => return,
            None => match self.resolver.ask(id, &dial.address) {
                Ok(()) => {
                    dial.resolving = true;
                    return;
                }
                Err(error) => Err(error.into()),
            },
        };
        if let Err(reason) = failed {
            self.end_attempt(slot, reason, now);
        }
    }

    fn connect(&mut self, slot: usize, address: SocketAddr, now: Instant) -> Result<(), DownReason> {
        let link = self.links[slot].as_mut().expect("an attempt is a link's");
        let dial = link.dial.as_ref().expect("only dialed links are connected");
        let tls = tls::dial(&dial.tls).map_err(tls::handshake_failure)?;
        let mut stream = socket::connect(address, self.config.dead_after)?;
        self.poll.registry().register(&mut stream, Token(slot), Interest::READABLE | Interest::WRITABLE)?;
        link.connection = Some(Connection::new(link.id, stream, tls, true, self.config.frame_bytes_max, now));
        self.set_deadline(slot, Some(now + self.config.handshake_timeout));
        Ok(())
    }

    pub(super) fn take_resolutions(&mut self, now: Instant) {
        while let Some(Resolution { link, addresses }) = self.resolver.answer() {
            let Some(found) = self.link_mut(link) else { continue };
            let Some(dial) = &mut found.dial else { continue };
            dial.resolving = false;
            let detail = match addresses {
                Ok(addresses) if !addresses.is_empty() => {
                    dial.candidates = addresses.into();
                    self.attempt(link.slot(), now);
                    continue;
                }
                Ok(_) => "the name has no address".to_owned(),
                Err(error) => error.to_string(),
            };
            let address = dial.address.clone();
            self.end_attempt(link.slot(), DownReason::Unresolved { address, detail }, now);
        }
    }

    /// Reports a failed attempt and sets the time of the next.
    pub(super) fn end_attempt(&mut self, slot: usize, reason: DownReason, now: Instant) {
        let link = self.links[slot].as_ref().expect("an attempt is a link's");
        let Some(dial) = &link.dial else {
            // Forgotten meanwhile.
            self.remove(slot);
            return;
        };
        let link = link.id;
        let (key, address) = (dial.key, &dial.address);
        if !matches!(reason, DownReason::Handshake(_)) {
            tracing::debug!(%link, %key, address, %reason, "cannot connect");
        } else if let Some(hidden) = self.noise.allow(now) {
            tracing::warn!(%link, %key, address, %reason, hidden, "cannot connect");
        }
        self.events.push(Event::DialFailed { link, reason });
        self.redial(slot, now);
    }

    pub(super) fn redial(&mut self, slot: usize, now: Instant) {
        let link = self.links[slot].as_mut().expect("an attempt is a link's");
        let dial = link.dial.as_mut().expect("only dialed links are dialed again");
        // Further addresses of the same name follow at once.
        let delay =
            if dial.candidates.is_empty() { dial.backoff.delay(random_share()) } else { self.config.reconnect_min };
        self.set_deadline(slot, Some(now + delay));
    }
}
