//! Frames on a link that is up.

mod support;

use std::time::Duration;

use pssmr_transport::{CloseReason, DownReason, Event, SendError, TransportConfig};
use support::{Side, config, key, listening, pair, until};

#[test]
fn a_link_is_up_on_both_sides_with_the_keys_that_were_proved() {
    let (mut acceptor, mut dialer) = (Side::new(listening(1, [2])), Side::new(config(2)));
    let dialed = dialer.dial(1, &acceptor);
    until([&mut acceptor, &mut dialer], "both are up", |[acceptor, dialer]| {
        !acceptor.events.is_empty() && !dialer.events.is_empty()
    });
    assert!(matches!(acceptor.events[0], Event::Up { key: proved, dialed: false, .. } if proved == key(2).public()));
    assert!(matches!(dialer.events[0], Event::Up { link, key: proved, dialed: true }
        if link == dialed && proved == key(1).public()));
}

#[test]
fn frames_of_all_sizes_arrive_intact_and_in_order_both_ways() {
    let max = 300_000;
    let bounds = |config| TransportConfig { frame_bytes_max: max, ..config };
    let (mut acceptor, accepted, mut dialer, dialed) = pair(bounds(listening(1, [2])), bounds(config(2)));
    let sizes = [1, 2, 3, 4, 5, 100, 4095, 4096, 4097, 16_383, 16_384, 16_385, 65_535, 65_536, 65_537, max - 1, max];
    let sent: Vec<Vec<u8>> =
        sizes.iter().enumerate().map(|(n, size)| (0..*size).map(|at| (at * 31 + n) as u8).collect()).collect();
    for frame in &sent {
        acceptor.transport.send(accepted, frame).unwrap();
        dialer.transport.send_with(dialed, |queue| queue.extend_from_slice(frame)).unwrap();
    }
    until([&mut acceptor, &mut dialer], "all frames are there", |[acceptor, dialer]| {
        acceptor.frames(accepted).len() == sent.len() && dialer.frames(dialed).len() == sent.len()
    });
    assert_eq!(acceptor.frames(accepted), sent);
    assert_eq!(dialer.frames(dialed), sent);
}

#[test]
fn thousands_of_small_frames_arrive_in_order() {
    let (mut acceptor, accepted, mut dialer, dialed) = pair(listening(1, [2]), config(2));
    let count = 50_000u32;
    for n in 0..count {
        dialer.transport.send(dialed, &n.to_le_bytes()).unwrap();
        if n % 1000 == 0 {
            dialer.transport.flush();
        }
    }
    until([&mut acceptor, &mut dialer], "all frames are there", |[acceptor, _]| {
        acceptor.events.len() == count as usize
    });
    for (n, frame) in (0..count).zip(acceptor.frames(accepted)) {
        assert_eq!(frame, n.to_le_bytes());
    }
}

#[test]
fn a_frame_out_of_bounds_is_not_sent() {
    let bounds = TransportConfig { frame_bytes_max: 100, ..config(2) };
    let (_acceptor, _, mut dialer, dialed) = pair(listening(1, [2]), bounds);
    let refused = |bytes| Err(SendError::FrameLength { bytes, bytes_max: 100 });
    assert_eq!(dialer.transport.send(dialed, &[]), refused(0));
    assert_eq!(dialer.transport.send(dialed, &[0; 101]), refused(101));
    assert_eq!(dialer.transport.send_with(dialed, |queue| queue.resize(queue.len() + 101, 0)), refused(101));
    assert_eq!(dialer.transport.queued_bytes(dialed), 0);
    assert_eq!(dialer.transport.send(dialed, &[0; 100]), Ok(()));
}

#[test]
fn a_closed_link_is_down_on_both_sides_and_takes_no_frames() {
    let (mut acceptor, accepted, mut dialer, dialed) = pair(listening(1, [2]), config(2));
    acceptor.transport.send(accepted, b"last words").unwrap();
    acceptor.transport.close(accepted, CloseReason::Finished);
    assert_eq!(acceptor.transport.send(accepted, b"more"), Err(SendError::NotConnected));
    until([&mut acceptor, &mut dialer], "both know", |[acceptor, dialer]| {
        acceptor.failure(accepted).is_some() && dialer.failure(dialed).is_some()
    });
    assert_eq!(dialer.frames(dialed), [b"last words"]);
    assert!(matches!(acceptor.failure(accepted), Some(DownReason::ClosedHere(CloseReason::Finished))));
    assert!(matches!(dialer.failure(dialed), Some(DownReason::ClosedByPeer)));
}

#[test]
fn shutdown_lets_the_last_frames_out() {
    let (acceptor, accepted, mut dialer, dialed) = pair(listening(1, [2]), config(2));
    let mut acceptor = acceptor;
    let frame = vec![7; 1 << 20];
    for _ in 0..8 {
        acceptor.transport.send(accepted, &frame).unwrap();
    }
    let transport = acceptor.transport;
    let ending = std::thread::spawn(move || transport.shutdown(Duration::from_secs(30)));
    until([&mut dialer], "the end", |[dialer]| dialer.failure(dialed).is_some());
    ending.join().unwrap().unwrap();
    assert_eq!(dialer.frames(dialed).len(), 8);
}
