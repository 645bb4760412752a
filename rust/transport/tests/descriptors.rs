//! File descriptors. Each test here runs in a process of its own, so that it counts only its own descriptors.
#![cfg(target_os = "linux")]

mod support;

use std::fs::{self, File};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use pssmr_transport::{CloseReason, TransportConfig};
use support::{Side, config, listening, pair, until};

/// Runs an ignored test of this file in a process that may have `descriptors_max` descriptors.
fn alone(test: &str, descriptors_max: u32) {
    let limited = format!("ulimit -n {descriptors_max} && exec \"$0\" --ignored --exact {test}");
    let output = Command::new("sh").arg("-c").arg(limited).arg(std::env::current_exe().unwrap()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn connecting_and_disconnecting_leaves_no_descriptors_behind() {
    alone("inside::fifty_connections_that_come_and_go", 256);
}

#[test]
fn without_descriptors_accepting_pauses_without_spinning_and_links_stay() {
    alone("inside::a_listener_without_descriptors", 64);
}

mod inside {
    use super::*;

    fn open_descriptors() -> usize {
        fs::read_dir("/proc/self/fd").unwrap().count()
    }

    #[test]
    #[ignore = "run by the test above, alone in a process"]
    fn fifty_connections_that_come_and_go() {
        let (mut acceptor, _, mut dialer, dialed) = pair(listening(1, [2]), config(2));
        let mut intruder = Side::new(config(3));
        let refused = intruder.dial(1, &acceptor);
        let before = open_descriptors();
        for _ in 0..50 {
            dialer.transport.close(dialed, CloseReason::Finished);
            drop(TcpStream::connect(acceptor.address()).unwrap());
            until([&mut acceptor, &mut dialer, &mut intruder], "up again", |[acceptor, dialer, intruder]| {
                !acceptor.ups().is_empty() && !dialer.ups().is_empty() && intruder.failure(refused).is_some()
            });
            for side in [&mut acceptor, &mut dialer, &mut intruder] {
                side.events.clear();
            }
        }
        intruder.transport.forget(refused);
        until([&mut acceptor], "all are counted", |[acceptor]| {
            let counters = acceptor.transport.counters();
            counters.accepted == counters.links_up + counters.handshakes_refused
        });
        assert!(open_descriptors() <= before, "{before} before, {} after", open_descriptors());
        drop((acceptor, dialer, intruder));
        assert!(open_descriptors() < before);
    }

    #[test]
    #[ignore = "run by the test above, alone in a process"]
    fn a_listener_without_descriptors() {
        let (mut acceptor, accepted, mut dialer, dialed) =
            pair(TransportConfig { handshakes_max: 1000, ..listening(1, [2]) }, config(2));
        let waiting: Vec<_> = (0..10).map(|_| TcpStream::connect(acceptor.address()).unwrap()).collect();
        let hoard: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        for _ in 0..1000 {
            acceptor.transport.poll(Some(Duration::ZERO), &mut acceptor.events).unwrap();
        }
        let pauses = acceptor.transport.counters().accept_pauses;
        assert!((1..500).contains(&pauses), "{pauses} attempts to accept in 1000 polls");
        let mut polls = 0;
        while acceptor.transport.counters().accept_pauses < pauses + 3 {
            acceptor.transport.poll(Some(Duration::from_secs(60)), &mut acceptor.events).unwrap();
            polls += 1;
        }
        assert!(polls < 50, "{polls} polls for 3 attempts to accept");
        dialer.transport.send(dialed, b"unmoved").unwrap();
        until([&mut acceptor, &mut dialer], "the frame", |[acceptor, _]| !acceptor.events.is_empty());
        assert_eq!(acceptor.frames(accepted), [b"unmoved"]);

        drop(hoard);
        until([&mut acceptor], "those who waited are accepted", |[acceptor]| {
            acceptor.transport.counters().accepted == 1 + waiting.len() as u64
        });
    }
}
