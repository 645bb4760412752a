//! Links over time: lost and made again, replaced, paused, woken.

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use pssmr_transport::{
    AcceptKeys, CloseReason, DownReason, Event, SendError, Transport, TransportConfig, TransportError,
};
use support::{Side, config, key, listening, pair, until};

/// An address of which no dialer takes a port for itself, so that a listener can come back to it.
fn restartable(config: TransportConfig) -> TransportConfig {
    TransportConfig { listen: Some("127.0.0.2:0".parse().unwrap()), ..config }
}

#[test]
fn a_dialed_link_comes_back_under_its_id_after_the_listener_has_restarted() {
    let (acceptor, _, mut dialer, dialed) = pair(restartable(listening(1, [2])), config(2));
    let address = acceptor.address();
    drop(acceptor);
    until([&mut dialer], "attempts fail", |[dialer]| {
        dialer.events.iter().any(|event| matches!(event, Event::DialFailed { .. }))
    });
    assert!(matches!(dialer.events[0], Event::Down { link, .. } if link == dialed));
    assert_eq!(dialer.transport.send(dialed, b"lost"), Err(SendError::NotConnected));
    dialer.events.clear();

    let mut acceptor = Side::new(TransportConfig { listen: Some(address), ..listening(1, [2]) });
    until([&mut acceptor, &mut dialer], "up again", |[_, dialer]| !dialer.ups().is_empty());
    assert_eq!(dialer.ups(), [dialed]);
    dialer.transport.send(dialed, b"anew").unwrap();
    until([&mut acceptor, &mut dialer], "the frame", |[acceptor, _]| acceptor.events.len() == 2);
    assert_eq!(acceptor.frames(acceptor.ups()[0]), [b"anew"]);
}

#[test]
fn a_dialed_link_that_is_closed_comes_back_and_one_that_is_forgotten_does_not() {
    let (mut acceptor, _, mut dialer, dialed) = pair(listening(1, [2]), config(2));
    dialer.transport.close(dialed, CloseReason::Violation("nonsense".into()));
    until([&mut acceptor, &mut dialer], "up again", |[_, dialer]| dialer.ups() == [dialed]);
    let failure = dialer.failure(dialed);
    assert!(matches!(failure, Some(DownReason::ClosedHere(CloseReason::Violation(text))) if text == "nonsense"));
    acceptor.events.clear();
    dialer.events.clear();

    dialer.transport.forget(dialed);
    until([&mut acceptor, &mut dialer], "down", |[acceptor, dialer]| {
        !dialer.events.is_empty() && !acceptor.events.is_empty()
    });
    let accepted = acceptor.transport.counters().accepted;
    for _ in 0..100 {
        acceptor.turn();
        dialer.turn();
    }
    assert_eq!(acceptor.transport.counters().accepted, accepted);
    assert_eq!(dialer.events.len(), 1);
}

#[test]
fn a_side_that_dies_right_after_a_frame_is_heard_and_then_down() {
    let (mut acceptor, accepted, mut dialer, dialed) = pair(listening(1, [2]), config(2));
    dialer.transport.send(dialed, b"last words").unwrap();
    dialer.transport.flush();
    drop(dialer);
    until([&mut acceptor], "down", |[acceptor]| acceptor.failure(accepted).is_some());
    assert_eq!(acceptor.frames(accepted), [b"last words"]);
    assert!(matches!(acceptor.failure(accepted), Some(DownReason::ClosedByPeer)));
}

#[test]
fn a_link_may_be_forgotten_while_it_is_being_made() {
    let (mut acceptor, mut dialer) = (Side::new(listening(1, [2])), Side::new(config(2)));
    for turns in 0..8 {
        let link = dialer.dial(1, &acceptor);
        for _ in 0..turns {
            dialer.turn();
            acceptor.turn();
        }
        dialer.transport.forget(link);
    }
    let last = dialer.dial(1, &acceptor);
    until([&mut acceptor, &mut dialer], "the last is up", |[_, dialer]| dialer.ups().contains(&last));
}

#[test]
fn an_accepted_link_never_has_the_id_of_an_earlier_one() {
    let (mut acceptor, first, mut dialer, dialed) = pair(listening(1, [2]), config(2));
    let mut seen = vec![first];
    for _ in 0..10 {
        dialer.transport.close(dialed, CloseReason::Finished);
        until([&mut acceptor, &mut dialer], "up again", |[acceptor, dialer]| {
            !acceptor.ups().is_empty() && !dialer.ups().is_empty()
        });
        let next = acceptor.ups()[0];
        assert!(!seen.contains(&next));
        assert_eq!(acceptor.transport.send(*seen.last().unwrap(), b"stale"), Err(SendError::NotConnected));
        seen.push(next);
        acceptor.events.clear();
        dialer.events.clear();
    }
}

#[test]
fn when_a_key_connects_too_often_its_oldest_link_goes() {
    let (mut acceptor, first, mut dialer, old) =
        pair(TransportConfig { links_per_key_max: 2, links_max: 2, ..listening(1, [2]) }, config(2));
    let middle = dialer.dial(1, &acceptor);
    until([&mut acceptor, &mut dialer], "two", |[_, dialer]| dialer.ups().contains(&middle));
    // The newcomer has the same key on another machine.
    let mut newcomer = Side::new(config(2));
    let new = newcomer.dial(1, &acceptor);
    until([&mut acceptor, &mut newcomer], "three", |[_, newcomer]| newcomer.ups().contains(&new));
    assert!(matches!(acceptor.failure(first), Some(DownReason::Replaced)));
    assert!(!acceptor.transport.is_up(first));
    assert!(dialer.transport.is_up(middle) && newcomer.transport.is_up(new));
    until([&mut dialer], "the old one knows", |[dialer]| dialer.failure(old).is_some());
}

#[test]
fn a_link_that_has_ended_makes_place_for_another() {
    let (mut acceptor, accepted, dialer, _) = pair(TransportConfig { links_max: 1, ..listening(1, [2, 3]) }, config(2));
    drop(dialer);
    until([&mut acceptor], "down", |[acceptor]| acceptor.failure(accepted).is_some());
    let mut other = Side::new(config(3));
    other.dial(1, &acceptor);
    until([&mut acceptor, &mut other], "the other is up", |[_, other]| !other.ups().is_empty());
    assert_eq!(acceptor.transport.counters().links_refused, 0);
}

#[test]
fn a_key_that_is_removed_loses_its_links() {
    let (mut acceptor, accepted, mut dialer, dialed) = pair(listening(1, [2, 3]), config(2));
    acceptor.transport.set_accept_keys(AcceptKeys::only([key(3).public()]));
    until([&mut acceptor, &mut dialer], "refused at its return", |[_, dialer]| {
        dialer.events.iter().any(|event| matches!(event, Event::DialFailed { .. }))
    });
    assert!(matches!(acceptor.failure(accepted), Some(DownReason::ClosedHere(CloseReason::KeyRemoved))));
    assert!(!dialer.transport.is_up(dialed));
    acceptor.transport.set_accept_keys(AcceptKeys::only([key(2).public()]));
    until([&mut acceptor, &mut dialer], "back", |[_, dialer]| !dialer.ups().is_empty());
}

#[test]
fn the_send_queue_is_bounded_and_nothing_that_was_queued_is_lost() {
    let max = 2 << 20;
    let bounds = TransportConfig { frame_bytes_max: 100_000, send_queue_bytes_max: max, ..config(2) };
    let (mut acceptor, accepted, mut dialer, dialed) = pair(listening(1, [2]), bounds);
    acceptor.transport.pause(accepted);
    let mut queued = 0u32;
    loop {
        let mut frame = vec![0; 50_000];
        frame[..4].copy_from_slice(&queued.to_le_bytes());
        match dialer.transport.send(dialed, &frame) {
            Ok(()) => queued += 1,
            Err(error) => break assert_eq!(error, SendError::QueueFull),
        }
        dialer.transport.flush();
        assert!(dialer.transport.queued_bytes(dialed) <= max);
        acceptor.turn();
    }
    assert_eq!(dialer.transport.counters().frames_refused, 1);
    assert!(acceptor.events.is_empty(), "a paused link delivers nothing");

    acceptor.transport.resume(accepted);
    until([&mut acceptor, &mut dialer], "all frames", |[acceptor, _]| acceptor.events.len() == queued as usize);
    for (n, frame) in (0..queued).zip(acceptor.frames(accepted)) {
        assert_eq!(frame[..4], n.to_le_bytes());
    }
    assert_eq!(dialer.transport.queued_bytes(dialed), 0);
}

#[test]
fn a_flooding_link_does_not_starve_another() {
    let (mut acceptor, flooded, mut flooder, flooding) = pair(listening(1, [2, 3]), config(2));
    let mut quiet = Side::new(config(3));
    let link = quiet.dial(1, &acceptor);
    until([&mut acceptor, &mut quiet], "up", |[_, quiet]| !quiet.ups().is_empty());
    acceptor.events.clear();
    for _ in 0..5000 {
        flooder.transport.send(flooding, &[0; 10_000]).unwrap();
    }
    // The kernel gives the flood a large window, which then fills.
    until([&mut acceptor, &mut flooder], "half of the flood", |[acceptor, _]| acceptor.events.len() >= 2500);
    acceptor.transport.pause(flooded);
    let mut queued = usize::MAX;
    while flooder.transport.queued_bytes(flooding) < queued {
        queued = flooder.transport.queued_bytes(flooding);
        flooder.turn();
    }
    acceptor.events.clear();
    quiet.transport.send(link, b"hello").unwrap();
    quiet.transport.flush();
    acceptor.transport.resume(flooded);
    until([&mut acceptor], "the quiet one is heard", |[acceptor]| {
        acceptor.events.iter().any(|event| matches!(event, Event::Frame { frame, .. } if frame.len() == 5))
    });
    let before = acceptor.frames(flooded).len();
    assert!((1..=20).contains(&before), "{before} frames of 10 kB came first");
}

#[test]
fn a_link_with_much_to_send_does_not_hold_up_another() {
    let (mut acceptor, bulk_in, mut dialer, bulk) = pair(listening(1, [2]), config(2));
    let short = dialer.dial(1, &acceptor);
    until([&mut acceptor, &mut dialer], "up", |[acceptor, dialer]| {
        !dialer.ups().is_empty() && !acceptor.ups().is_empty()
    });
    let short_in = acceptor.ups()[0];
    for _ in 0..32 {
        dialer.transport.send_with(bulk, |queue| queue.resize(queue.len() + (1 << 20), 0)).unwrap();
    }
    dialer.transport.send(short, b"vote").unwrap();
    let before = dialer.transport.counters().bytes_sent;
    dialer.transport.flush();
    assert!(dialer.transport.counters().bytes_sent - before < 1 << 20, "one flush writes a share of much");
    assert_eq!(dialer.transport.queued_bytes(short), 0);
    until([&mut acceptor], "the short frame", |[acceptor]| !acceptor.frames(short_in).is_empty());
    assert!(acceptor.frames(bulk_in).is_empty());
    until([&mut acceptor, &mut dialer], "all", |[acceptor, _]| acceptor.frames(bulk_in).len() == 32);
}

#[test]
fn a_wake_from_another_thread_ends_a_sleep() {
    let mut side = Side::new(config(1));
    let waker = side.transport.waker();
    let waking = thread::spawn(move || {
        // So that the other thread sleeps, most probably; if it does not yet, this is no harder to pass.
        thread::sleep(Duration::from_millis(100));
        waker.wake();
    });
    side.transport.poll(Some(Duration::from_secs(600)), &mut side.events).unwrap();
    waking.join().unwrap();
    assert!(matches!(side.events[..], [Event::Woken]));
}

#[test]
fn a_wake_before_the_sleep_is_not_lost_and_many_are_one() {
    let mut side = Side::new(config(1));
    let waker = side.transport.waker();
    for _ in 0..1000 {
        waker.wake();
    }
    side.transport.poll(None, &mut side.events).unwrap();
    assert!(matches!(side.events[..], [Event::Woken]));
    side.turn();
    assert_eq!(side.events.len(), 1);
}

#[test]
fn an_idle_accepted_link_is_closed_but_neither_a_busy_nor_a_paused_one() {
    let idle = TransportConfig { idle_timeout: Some(Duration::from_millis(300)), ..listening(1, [2, 3, 4]) };
    let (mut acceptor, busy, mut dialer, dialed) = pair(idle, config(2));
    let (mut silenced, mut lazy) = (Side::new(config(3)), Side::new(config(4)));
    silenced.dial(1, &acceptor);
    until([&mut acceptor, &mut silenced], "up", |[acceptor, _]| acceptor.ups().len() == 1);
    let paused = acceptor.ups()[0];
    acceptor.transport.pause(paused);
    let lazy_link = lazy.dial(1, &acceptor);
    until([&mut acceptor, &mut lazy], "up", |[acceptor, lazy]| !lazy.ups().is_empty() && acceptor.ups().len() == 2);
    let idle = acceptor.ups()[1];
    while acceptor.failure(idle).is_none() {
        dialer.transport.send(dialed, b"busy").unwrap();
        dialer.turn();
        acceptor.turn();
    }
    assert!(matches!(acceptor.failure(idle), Some(DownReason::TimedOut)));
    assert!(acceptor.transport.is_up(busy) && acceptor.transport.is_up(paused));
    until([&mut lazy], "the lazy one knows", |[lazy]| lazy.failure(lazy_link).is_some());
}

#[test]
fn a_name_is_resolved_and_one_that_cannot_be_is_reported_and_tried_again() {
    let (mut acceptor, mut dialer) = (Side::new(listening(1, [2])), Side::new(config(2)));
    let good = dialer.transport.dial(key(1).public(), format!("localhost:{}", acceptor.address().port())).unwrap();
    let bad = dialer.transport.dial(key(1).public(), "no port here").unwrap();
    until([&mut acceptor, &mut dialer], "both", |[_, dialer]| {
        let failures =
            dialer.events.iter().filter(|event| matches!(event, Event::DialFailed { link, .. } if *link == bad));
        dialer.ups().contains(&good) && failures.count() >= 3
    });
    let failure = dialer.failure(bad).unwrap();
    assert!(matches!(failure, DownReason::Unresolved { address, .. } if address == "no port here"), "{failure:?}");
}

#[test]
fn an_address_that_is_taken_is_named_with_a_remedy() {
    let taken = Side::new(listening(1, [])).transport.local_addr();
    let holder = Transport::new(TransportConfig { listen: taken, ..listening(1, []) }).unwrap();
    let error = Transport::new(TransportConfig { listen: taken, ..listening(1, []) }).err().unwrap();
    let text = error.to_string();
    assert!(text.contains(&taken.unwrap().to_string()) && text.contains("choose another port"), "{text}");
    drop(holder);
}

#[test]
fn a_configuration_out_of_range_is_refused_with_the_field() {
    let queue = TransportConfig { frame_bytes_max: 1000, send_queue_bytes_max: 1000, ..config(1) };
    let error = Transport::new(queue).err().unwrap();
    assert!(matches!(error, TransportError::Config { field: "send_queue_bytes_max", .. }), "{error}");
}

/// Forwards one connection to `target`, and flips a bit of what goes there once `corrupt` is set.
fn proxy(target: SocketAddr, corrupt: Arc<AtomicBool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let copy = |mut from: TcpStream, mut to: TcpStream, corrupt: Option<Arc<AtomicBool>>| {
        let mut buffer = [0; 16_384];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            if corrupt.as_ref().is_some_and(|corrupt| corrupt.load(Ordering::SeqCst)) {
                buffer[read / 2] ^= 1;
            }
            if to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    };
    thread::spawn(move || {
        let (near, _) = listener.accept().unwrap();
        let far = TcpStream::connect(target).unwrap();
        let (near_back, far_back) = (near.try_clone().unwrap(), far.try_clone().unwrap());
        thread::spawn(move || copy(far_back, near_back, None));
        copy(near, far, Some(corrupt));
    });
    address
}

#[test]
fn a_bit_flipped_on_the_wire_ends_the_link_and_reaches_nobody() {
    let (mut acceptor, mut dialer) = (Side::new(listening(1, [2])), Side::new(config(2)));
    let corrupt = Arc::new(AtomicBool::new(false));
    let address = proxy(acceptor.address(), Arc::clone(&corrupt));
    let dialed = dialer.transport.dial(key(1).public(), address.to_string()).unwrap();
    until([&mut acceptor, &mut dialer], "up", |[acceptor, dialer]| {
        !acceptor.ups().is_empty() && !dialer.ups().is_empty()
    });
    let accepted = acceptor.ups()[0];
    dialer.transport.send(dialed, &[1; 1000]).unwrap();
    until([&mut acceptor, &mut dialer], "the good frame", |[acceptor, _]| acceptor.frames(accepted).len() == 1);
    corrupt.store(true, Ordering::SeqCst);
    dialer.transport.send(dialed, &[2; 1000]).unwrap();
    until([&mut acceptor, &mut dialer], "down", |[acceptor, _]| acceptor.failure(accepted).is_some());
    let failure = acceptor.failure(accepted).unwrap();
    assert!(matches!(failure, DownReason::Garbage(_)), "{failure:?}");
    assert_eq!(acceptor.frames(accepted), [[1; 1000]]);
}
