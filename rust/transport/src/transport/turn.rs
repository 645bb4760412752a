//! The steps of one poll: what the system reports, what can be read and written, what is due.

use std::time::{Duration, Instant};

use mio::Token;

use super::{LISTENER, Transport, WAKER};
use crate::connection::Stage;
use crate::error::DownReason;
use crate::socket;

/// Handshakes that go a step further in one poll. A step has some 100 µs of cryptography, which frames wait for.
const STRANGERS_PER_POLL_MAX: usize = 4;
/// A poll that has so many events reads no further.
const EVENTS_PER_POLL_MAX: usize = 8192;

impl Transport {
    /// How long a poll may sleep.
    pub(super) fn sleep_time(&self, timeout: Option<Duration>) -> Option<Duration> {
        if !self.events.is_empty()
            || !self.ready.is_empty()
            || !self.dirty.is_empty()
            || (self.accept_ready && self.accept_paused_until.is_none())
        {
            return Some(Duration::ZERO);
        }
        let due = self.deadlines.first().map(|(due, _)| *due).into_iter().chain(self.accept_paused_until).min();
        let until_due = due.map(|due| due.saturating_duration_since(Instant::now()));
        until_due.into_iter().chain(timeout).min()
    }

    /// Notes which sockets the system has reported.
    pub(super) fn take_readiness(&mut self) {
        let readiness = std::mem::replace(&mut self.readiness, mio::Events::with_capacity(0));
        for ready in &readiness {
            match ready.token() {
                WAKER => {}
                LISTENER => self.accept_ready = true,
                Token(slot) => {
                    let Some(connection) = self.connection_at(slot) else { continue };
                    connection.readable |= ready.is_readable() || ready.is_read_closed() || ready.is_error();
                    connection.read_closed |= ready.is_read_closed() || ready.is_error();
                    if connection.stage() != Stage::Connecting {
                        connection.writable |= ready.is_writable();
                    } else if ready.is_writable() || ready.is_error() {
                        self.take_connected(slot);
                    }
                    self.mark_ready(slot);
                    self.mark_dirty(slot);
                }
            }
        }
        self.readiness = readiness;
    }

    fn take_connected(&mut self, slot: usize) {
        let connection = self.connection_at(slot).expect("the slot has a connection");
        match socket::connected(connection.stream()) {
            None => {}
            Some(Ok(())) => connection.connected(),
            Some(Err(error)) => self.take_down(slot, error.into()),
        }
    }

    /// Reads from each readable link in turn.
    pub(super) fn read_ready(&mut self, now: Instant) {
        let mut strangers = 0;
        for _ in 0..self.ready.len() {
            if self.events.len() >= EVENTS_PER_POLL_MAX {
                return;
            }
            let slot = self.ready.pop_front().expect("as many as were counted");
            if self.connection_at(slot).is_some_and(|connection| connection.is_stranger()) {
                strangers += 1;
                if strangers > STRANGERS_PER_POLL_MAX {
                    self.ready.push_back(slot);
                    continue;
                }
            }
            self.read(slot, now);
        }
    }

    fn read(&mut self, slot: usize, now: Instant) {
        let Some(connection) = self.links[slot].as_mut().and_then(|link| link.connection.as_mut()) else { return };
        connection.in_ready = false;
        if !connection.wants_read() {
            return;
        }
        let (before, was_up) = (self.events.len(), connection.is_up());
        let read = connection.read(&self.identity, &mut self.buffers, &mut self.counters, &mut self.events);
        if self.events.len() > before {
            connection.active_at = now;
        }
        if let Err(reason) = read {
            self.take_down(slot, reason);
            return;
        }
        match connection.stage() {
            Stage::AwaitingAdmission(key) => self.admit(slot, key, now),
            Stage::Up(key) if !was_up => {
                connection.up_since = now;
                tracing::debug!(link = %connection.link(), %key, "link up, dialed");
                self.set_deadline(slot, None);
            }
            _ => {}
        }
        self.mark_ready(slot);
        self.mark_dirty(slot);
    }

    /// Writes what waits in `slot`.
    pub(super) fn write(&mut self, slot: usize) {
        let Some(connection) = self.links[slot].as_mut().and_then(|link| link.connection.as_mut()) else { return };
        connection.in_dirty = false;
        match connection.write(&mut self.counters) {
            Ok(false) => {}
            Ok(true) => self.mark_dirty(slot),
            Err(reason) => self.take_down(slot, reason),
        }
    }

    /// Does what is due.
    pub(super) fn take_deadlines(&mut self, now: Instant) {
        while let Some(&(due, slot)) = self.deadlines.first()
            && due <= now
        {
            self.set_deadline(slot, None);
            let link = self.links[slot].as_ref().expect("a deadline is a link's");
            match &link.connection {
                None => self.attempt(slot, now),
                Some(connection) if connection.is_up() => {
                    let active_at = if connection.paused { now } else { connection.active_at };
                    match self.config.idle_timeout.map(|idle| active_at + idle) {
                        Some(end) if end > now => self.set_deadline(slot, Some(end)),
                        _ => self.take_down(slot, DownReason::TimedOut),
                    }
                }
                Some(_) => self.take_down(slot, DownReason::TimedOut),
            }
        }
    }
}
