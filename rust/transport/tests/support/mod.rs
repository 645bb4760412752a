//! Transports in one thread, driven in turn.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]

pub mod raw;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use pssmr_transport::{AcceptKeys, Event, LinkId, Transport, TransportConfig};
use pssmr_types::SecretKey;

pub const ALPN: &[u8] = b"pssmr-test/1";

/// The key of side `n`.
pub fn key(n: u8) -> SecretKey {
    SecretKey::from_seed([n; 32])
}

/// A configuration with short times.
pub fn config(n: u8) -> TransportConfig {
    TransportConfig {
        reconnect_min: Duration::from_millis(5),
        reconnect_max: Duration::from_millis(40),
        ..TransportConfig::new(key(n), ALPN)
    }
}

/// A configuration that listens on a free port and accepts the keys of `accepted`.
pub fn listening(n: u8, accepted: impl IntoIterator<Item = u8>) -> TransportConfig {
    TransportConfig {
        listen: Some("127.0.0.1:0".parse().unwrap()),
        accept_keys: AcceptKeys::only(accepted.into_iter().map(|n| key(n).public())),
        ..config(n)
    }
}

/// A transport and all that has happened on it.
pub struct Side {
    pub transport: Transport,
    pub events: Vec<Event>,
}

impl Side {
    pub fn new(config: TransportConfig) -> Self {
        Self { transport: Transport::new(config).unwrap(), events: Vec::new() }
    }

    pub fn address(&self) -> SocketAddr {
        self.transport.local_addr().expect("this side listens")
    }

    /// Dials `other`, which has the key of side `n`.
    pub fn dial(&mut self, n: u8, other: &Self) -> LinkId {
        self.transport.dial(key(n).public(), other.address().to_string()).unwrap()
    }

    /// One turn that sleeps at most a millisecond.
    pub fn turn(&mut self) {
        self.transport.poll(Some(Duration::from_millis(1)), &mut self.events).unwrap();
    }

    /// The links that came up, in order.
    pub fn ups(&self) -> Vec<LinkId> {
        let up = |event: &Event| if let Event::Up { link, .. } = event { Some(*link) } else { None };
        self.events.iter().filter_map(up).collect()
    }

    pub fn frames(&self, of: LinkId) -> Vec<&[u8]> {
        let frame = |event| match event {
            &Event::Frame { link, ref frame } if link == of => Some(&frame[..]),
            _ => None,
        };
        self.events.iter().filter_map(frame).collect()
    }

    /// The first reason for which `of` went down, or an attempt to bring it up failed.
    pub fn failure(&self, of: LinkId) -> Option<&pssmr_transport::DownReason> {
        self.events.iter().find_map(|event| match event {
            Event::Down { link, reason } | Event::DialFailed { link, reason } if *link == of => Some(reason),
            _ => None,
        })
    }
}

/// Turns `sides` in turn until `done`; the time limit is there only so that a failing test ends.
pub fn until<const N: usize>(sides: [&mut Side; N], what: &str, done: impl Fn(&[&mut Side; N]) -> bool) {
    let limit = Instant::now() + Duration::from_secs(30);
    let mut sides = sides;
    while !done(&sides) {
        assert!(Instant::now() < limit, "never happened: {what}; events: {:?}", sides.map(|side| side.events.len()));
        for side in &mut sides {
            side.turn();
        }
    }
}

/// Side 1 listens, side 2 dials it, and the link is up. With the link's ids on both sides.
pub fn pair(listening: TransportConfig, dialing: TransportConfig) -> (Side, LinkId, Side, LinkId) {
    let (mut acceptor, mut dialer) = (Side::new(listening), Side::new(dialing));
    let dialed = dialer.dial(1, &acceptor);
    until([&mut acceptor, &mut dialer], "the link is up", |[acceptor, dialer]| {
        !acceptor.ups().is_empty() && !dialer.ups().is_empty()
    });
    let accepted = acceptor.ups()[0];
    acceptor.events.clear();
    dialer.events.clear();
    (acceptor, accepted, dialer, dialed)
}
