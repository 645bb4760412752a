//! Whoever may not have a link gets none, costs little, and disturbs nobody.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use pssmr_transport::{AcceptKeys, DownReason, Event, HandshakeFailure, LinkId, TransportConfig};
use support::raw::RawClient;
use support::{ALPN, Side, config, key, listening, pair, until};

/// A pair whose link must survive the test.
struct Bystanders {
    acceptor: Side,
    accepted: LinkId,
    dialer: Side,
    dialed: LinkId,
}

impl Bystanders {
    fn new(listening: TransportConfig) -> Self {
        let (acceptor, accepted, dialer, dialed) = pair(listening, config(2));
        Self { acceptor, accepted, dialer, dialed }
    }

    fn turn(&mut self) {
        self.acceptor.turn();
        self.dialer.turn();
    }

    /// The link still carries frames, and nothing else has happened on the acceptor.
    fn are_undisturbed(&mut self) {
        self.dialer.transport.send(self.dialed, b"still here").unwrap();
        let accepted = self.accepted;
        until([&mut self.acceptor, &mut self.dialer], "the frame", |[acceptor, _]| !acceptor.events.is_empty());
        assert_eq!(self.acceptor.frames(accepted), [b"still here"]);
        assert_eq!(self.acceptor.events.len(), 1, "{:?}", self.acceptor.events);
        assert_eq!(self.acceptor.transport.counters().links_up, 1);
    }
}

fn stranger(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nonblocking(true).unwrap();
    stream
}

/// Whether the other side has ended the connection; what it said before is dropped.
fn has_ended(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 4096]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

/// Says `bytes` to a listening transport and waits until it ends the connection.
fn refused_after(bytes: &[u8]) {
    let mut bystanders = Bystanders::new(listening(1, [2]));
    let mut stream = stranger(bystanders.acceptor.address());
    stream.write_all(bytes).unwrap();
    while !has_ended(&mut stream) {
        bystanders.turn();
    }
    assert_eq!(bystanders.acceptor.transport.counters().handshakes_refused, 1);
    bystanders.are_undisturbed();
}

#[test]
fn a_plain_http_request_is_refused() {
    refused_after(b"GET / HTTP/1.1\r\nHost: replica\r\n\r\n");
}

#[test]
fn garbage_is_refused() {
    let garbage: Vec<u8> = (0..1000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    refused_after(&garbage);
}

#[test]
fn a_frame_without_tls_is_refused() {
    refused_after(&[5, 0, 0, 0, 1, 2, 3, 4, 5]);
}

#[test]
fn tls_1_2_is_refused() {
    let mut hello = vec![3, 3];
    hello.extend_from_slice(&[0x42; 32]);
    hello.extend_from_slice(&[0, 0, 2, 0xC0, 0x2B, 1, 0]); // no session, ECDHE-ECDSA-AES128-GCM, no compression
    let extensions = [0, 10, 0, 4, 0, 2, 0, 29, 0, 13, 0, 4, 0, 2, 8, 7]; // X25519, Ed25519
    hello.extend_from_slice(&(extensions.len() as u16).to_be_bytes());
    hello.extend_from_slice(&extensions);
    let mut record = vec![22, 3, 1];
    record.extend_from_slice(&(hello.len() as u16 + 4).to_be_bytes());
    record.extend_from_slice(&[1, 0]);
    record.extend_from_slice(&(hello.len() as u16).to_be_bytes());
    record.extend_from_slice(&hello);
    refused_after(&record);
}

#[test]
fn more_bytes_than_a_handshake_has_are_refused() {
    // A handshake message that announces 60,000 bytes, in records that are well-formed.
    let mut bytes = Vec::new();
    for n in 0..20u8 {
        bytes.extend_from_slice(&[22, 3, 1, 0x03, 0xE8]);
        let mut fragment = [0; 1000];
        if n == 0 {
            fragment[..4].copy_from_slice(&[1, 0, 0xEA, 0x60]);
        }
        bytes.extend_from_slice(&fragment);
    }
    refused_after(&bytes);
}

#[test]
fn an_unlisted_key_is_refused_and_told_so() {
    let mut bystanders = Bystanders::new(listening(1, [2]));
    let mut intruder = Side::new(config(3));
    let link = intruder.dial(1, &bystanders.acceptor);
    until([&mut bystanders.acceptor, &mut intruder], "refused", |[_, intruder]| intruder.failure(link).is_some());
    let failure = intruder.failure(link).unwrap();
    assert!(matches!(failure, DownReason::Handshake(HandshakeFailure::KeyRefused)), "{failure:?}");
    assert!(intruder.ups().is_empty());
    bystanders.are_undisturbed();
}

#[test]
fn a_dialer_refuses_the_wrong_key_and_names_it() {
    let (mut acceptor, mut dialer) = (Side::new(listening(1, [2])), Side::new(config(2)));
    let link = dialer.dial(9, &acceptor);
    until([&mut acceptor, &mut dialer], "refused", |[_, dialer]| dialer.failure(link).is_some());
    let failure = dialer.failure(link).unwrap();
    assert!(
        matches!(failure, DownReason::Handshake(HandshakeFailure::UnexpectedKey(Some(found))) if *found == key(1).public()),
        "{failure:?}"
    );
    assert!(dialer.ups().is_empty() && acceptor.ups().is_empty());
}

#[test]
fn another_protocol_is_refused_and_told_so() {
    let (mut acceptor, mut dialer) =
        (Side::new(listening(1, [2])), Side::new(TransportConfig { alpn: b"pssmr-other/1", ..config(2) }));
    let link = dialer.dial(1, &acceptor);
    until([&mut acceptor, &mut dialer], "refused", |[_, dialer]| dialer.failure(link).is_some());
    let failure = dialer.failure(link).unwrap();
    assert!(matches!(failure, DownReason::Handshake(HandshakeFailure::WrongAlpn)), "{failure:?}");
    assert!(dialer.ups().is_empty() && acceptor.ups().is_empty());
}

#[test]
fn a_program_that_does_not_speak_tls_is_recognised() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut dialer = Side::new(config(2));
    let link = dialer.transport.dial(key(1).public(), listener.local_addr().unwrap().to_string()).unwrap();
    let (mut other, _) = {
        dialer.turn();
        listener.accept().unwrap()
    };
    other.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").unwrap();
    until([&mut dialer], "recognised", |[dialer]| dialer.failure(link).is_some());
    let failure = dialer.failure(link).unwrap();
    assert!(matches!(failure, DownReason::Handshake(HandshakeFailure::NotTls)), "{failure:?}");
}

/// A listed key that breaks the rules of the transport.
fn refused_client(secret: Option<u8>, alpn: &[&[u8]], words: &[u8]) {
    let mut bystanders = Bystanders::new(listening(1, [2, 3]));
    let mut client = RawClient::new(bystanders.acceptor.address(), secret.map(key).as_ref(), alpn);
    client.say(words);
    while !client.ended {
        client.turn();
        bystanders.turn();
    }
    assert_eq!(client.received, b"", "it was not made welcome");
    assert_eq!(bystanders.acceptor.transport.counters().handshakes_refused, 1);
    bystanders.are_undisturbed();
}

#[test]
fn a_client_without_a_key_is_refused() {
    refused_client(None, &[ALPN], b"");
}

#[test]
fn a_client_that_offers_no_protocol_is_refused() {
    refused_client(Some(3), &[], b"");
}

#[test]
fn a_client_that_speaks_before_it_is_welcome_is_refused() {
    refused_client(Some(3), &[ALPN], &[1, 0, 0, 0, 7]);
}

#[test]
fn an_empty_frame_closes_the_link_that_it_came_on() {
    let mut bystanders = Bystanders::new(listening(1, [2, 3]));
    let mut client = RawClient::new(bystanders.acceptor.address(), Some(&key(3)), &[ALPN]);
    while client.received.is_empty() {
        client.turn();
        bystanders.turn();
    }
    client.say(&[1, 0, 0, 0, 7, 0, 0, 0, 0, 1, 0, 0, 0, 8]);
    while !client.ended {
        client.turn();
        bystanders.turn();
    }
    let link = bystanders.acceptor.ups()[0];
    assert_eq!(bystanders.acceptor.frames(link), [[7]], "what came before is delivered, what comes after is not");
    assert!(matches!(bystanders.acceptor.failure(link), Some(DownReason::Frame(_))));
    assert!(bystanders.acceptor.transport.is_up(bystanders.accepted));
}

#[test]
fn a_frame_over_the_bound_closes_only_the_link_that_it_came_on() {
    let bounds = |config| TransportConfig { frame_bytes_max: 1000, ..config };
    let mut bystanders = Bystanders::new(bounds(listening(1, [2, 3])));
    let mut loud = Side::new(config(3));
    let link = loud.dial(1, &bystanders.acceptor);
    until([&mut bystanders.acceptor, &mut loud], "up", |[_, loud]| !loud.ups().is_empty());
    loud.transport.send(link, &[0; 1001]).unwrap();
    until([&mut bystanders.acceptor, &mut loud], "down", |[acceptor, loud]| {
        loud.failure(link).is_some() && acceptor.events.iter().any(|event| matches!(event, Event::Down { .. }))
    });
    let accepted = bystanders.acceptor.ups()[0];
    assert!(matches!(bystanders.acceptor.failure(accepted), Some(DownReason::Frame(_))));
    assert_eq!(bystanders.acceptor.transport.counters().links_violated, 1);
    assert!(bystanders.acceptor.transport.is_up(bystanders.accepted));
}

#[test]
fn who_is_slow_to_prove_a_key_is_dropped() {
    let slow = TransportConfig { handshake_timeout: Duration::from_millis(100), ..listening(1, [2]) };
    let mut bystanders = Bystanders::new(slow);
    let mut streams = [0; 3].map(|_| stranger(bystanders.acceptor.address()));
    let mut ended = [false; 3];
    let record = [22, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3];
    let mut said = 0;
    while ended != [true; 3] {
        bystanders.turn();
        if said < record.len() {
            // One stream is silent, one trickles, one has said a part.
            let _ = streams[1].write(&record[said..=said]);
            let _ = if said == 0 { streams[2].write(&record) } else { Ok(0) };
            said += 1;
        }
        for (ended, stream) in ended.iter_mut().zip(&mut streams) {
            *ended |= has_ended(stream);
        }
    }
    assert_eq!(bystanders.acceptor.transport.counters().handshakes_timed_out, 3);
    bystanders.are_undisturbed();
}

#[test]
fn a_crowd_of_strangers_is_bounded_and_neither_locks_out_nor_throws_out_anyone() {
    let few = TransportConfig { handshakes_max: 4, links_max: 2, ..listening(1, [2, 3]) };
    let mut bystanders = Bystanders::new(few);
    let mut streams: Vec<_> = (0..40).map(|_| stranger(bystanders.acceptor.address())).collect();
    let mut late = Side::new(config(3));
    let link = late.dial(1, &bystanders.acceptor);
    until([&mut bystanders.acceptor, &mut late], "the late one is up", |[_, late]| !late.ups().is_empty());
    assert!(late.transport.is_up(link));
    assert!(bystanders.acceptor.transport.is_up(bystanders.accepted));
    assert!(bystanders.acceptor.transport.counters().handshakes_evicted >= 36);
    let alive = streams.iter_mut().filter_map(|stream| (!has_ended(stream)).then_some(())).count();
    assert!(alive <= 4, "{alive} strangers are still there");
}

#[test]
fn handshakes_take_only_a_share_of_a_poll() {
    let mut acceptor = Side::new(listening(1, 2..14));
    let mut dialers: Vec<_> = (2..14).map(|n| Side::new(config(n))).collect();
    for dialer in &mut dialers {
        dialer.dial(1, &acceptor);
    }
    while acceptor.ups().len() < dialers.len() {
        for dialer in &mut dialers {
            dialer.turn();
        }
        let before = acceptor.events.len();
        acceptor.turn();
        assert!(acceptor.events.len() - before <= 4, "the other handshakes wait, frames do not");
    }
}

#[test]
fn a_key_beyond_the_limit_of_links_is_told_so_and_takes_nobodys_place() {
    let mut bystanders = Bystanders::new(TransportConfig { links_max: 1, ..listening(1, [2, 3]) });
    let mut late = Side::new(config(3));
    let link = late.dial(1, &bystanders.acceptor);
    until([&mut bystanders.acceptor, &mut late], "refused", |[_, late]| late.failure(link).is_some());
    let failure = late.failure(link).unwrap();
    assert!(matches!(failure, DownReason::Handshake(HandshakeFailure::Full)), "{failure:?}");
    assert!(bystanders.acceptor.transport.counters().links_refused >= 1);
    bystanders.are_undisturbed();
}

#[test]
fn a_key_that_comes_back_when_all_links_are_taken_replaces_its_own() {
    let mut bystanders = Bystanders::new(TransportConfig { links_max: 2, ..listening(1, [2, 3]) });
    let mut old = Side::new(config(3));
    old.dial(1, &bystanders.acceptor);
    until([&mut bystanders.acceptor, &mut old], "up", |[acceptor, _]| !acceptor.ups().is_empty());
    let replaced = bystanders.acceptor.ups()[0];
    let mut back = Side::new(config(3));
    let link = back.dial(1, &bystanders.acceptor);
    until([&mut bystanders.acceptor, &mut back], "back", |[_, back]| back.transport.is_up(link));
    assert!(matches!(bystanders.acceptor.failure(replaced), Some(DownReason::Replaced)));
    assert!(bystanders.acceptor.transport.is_up(bystanders.accepted));
}

#[test]
fn anyone_may_connect_where_any_key_is_accepted_and_is_known_by_it() {
    let open = TransportConfig { accept_keys: AcceptKeys::Any, ..listening(1, []) };
    let (mut acceptor, mut dialer) = (Side::new(open), Side::new(config(77)));
    dialer.dial(1, &acceptor);
    until([&mut acceptor, &mut dialer], "up", |[acceptor, _]| !acceptor.events.is_empty());
    assert!(matches!(acceptor.events[0], Event::Up { key: proved, .. } if proved == key(77).public()));
}
