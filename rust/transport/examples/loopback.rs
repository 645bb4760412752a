//! What a link costs on this machine: `cargo run --release -p pssmr-transport --example loopback`.
//!
//! Round trips of 64 bytes over a link, beside the same over a bare TCP socket; then streams of frames in batches.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use pssmr_transport::{AcceptKeys, Event, LinkId, Transport, TransportConfig};
use pssmr_types::SecretKey;

const ROUND_TRIPS: usize = 20_000;
/// The last frame of a stream; the receiver echoes it.
const LAST: u8 = 1;

fn main() {
    let bare = bare_tcp();
    println!("64 B round trip, bare TCP: {}", percentiles(bare));
    let (mut transport, link) = dial(start_echo());
    println!("64 B round trip, link:     {}", percentiles(link_round_trips(&mut transport, link)));
    for (bytes, batch, frames) in [(100, 64, 1_000_000), (100, 1, 200_000), (1024, 64, 300_000), (65_536, 4, 10_000)] {
        let (seconds, records) = stream(&mut transport, link, bytes, batch, frames);
        println!(
            "stream of {bytes} B frames, {batch} a flush: {:.0} frames/s, {:.0} MB/s of payload, {records:.1} wire bytes a frame",
            frames as f64 / seconds,
            (frames * bytes) as f64 / seconds / 1e6,
        );
    }
}

fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: usize| times[times.len() * share / 1000].as_nanos() as f64 / 1e3;
    format!("p50 {:.1} µs, p99 {:.1} µs, p99.9 {:.1} µs", at(500), at(990), at(999))
}

fn bare_tcp() -> Vec<Duration> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        let mut buffer = [0; 64];
        while stream.read_exact(&mut buffer).is_ok() && stream.write_all(&buffer).is_ok() {}
    });
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut buffer = [0; 64];
    let mut round_trip = || {
        let start = Instant::now();
        stream.write_all(&buffer).unwrap();
        stream.read_exact(&mut buffer).unwrap();
        start.elapsed()
    };
    (0..ROUND_TRIPS).map(|_| round_trip()).collect()
}

fn config(seed: u8) -> TransportConfig {
    TransportConfig::new(SecretKey::from_seed([seed; 32]), b"loopback")
}

/// Echoes every 64-byte frame and every last frame.
fn start_echo() -> SocketAddr {
    let accept_keys = AcceptKeys::only([SecretKey::from_seed([2; 32]).public()]);
    let listen = Some("127.0.0.1:0".parse().unwrap());
    let mut transport = Transport::new(TransportConfig { accept_keys, listen, ..config(1) }).unwrap();
    let address = transport.local_addr().unwrap();
    thread::spawn(move || {
        let mut events = Vec::new();
        loop {
            transport.poll(None, &mut events).unwrap();
            for event in events.drain(..) {
                if let Event::Frame { link, frame } = event
                    && (frame.len() == 64 || frame[0] == LAST)
                {
                    transport.send(link, &frame).unwrap();
                }
            }
            transport.flush();
        }
    });
    address
}

fn dial(address: SocketAddr) -> (Transport, LinkId) {
    let mut transport = Transport::new(config(2)).unwrap();
    let link = transport.dial(SecretKey::from_seed([1; 32]).public(), address.to_string()).unwrap();
    let mut events = Vec::new();
    while !transport.is_up(link) {
        transport.poll(None, &mut events).unwrap();
    }
    (transport, link)
}

fn await_frame(transport: &mut Transport, events: &mut Vec<Event>) {
    while !events.iter().any(|event| matches!(event, Event::Frame { .. })) {
        transport.poll(None, events).unwrap();
    }
    events.clear();
}

fn link_round_trips(transport: &mut Transport, link: LinkId) -> Vec<Duration> {
    let mut events = Vec::new();
    let mut round_trip = || {
        let start = Instant::now();
        transport.send(link, &[0; 64]).unwrap();
        transport.flush();
        await_frame(transport, &mut events);
        start.elapsed()
    };
    (0..ROUND_TRIPS).map(|_| round_trip()).collect()
}

/// Seconds until the receiver has taken all frames, and bytes on the wire per frame.
fn stream(transport: &mut Transport, link: LinkId, bytes: usize, batch: usize, frames: usize) -> (f64, f64) {
    let (start, bytes_before) = (Instant::now(), transport.counters().bytes_sent);
    let mut events = Vec::new();
    let mut sent = 0;
    while sent < frames {
        while transport.queued_bytes(link) > 1 << 20 {
            transport.poll(None, &mut events).unwrap();
        }
        for _ in 0..batch {
            sent += 1;
            let mark = u8::from(sent >= frames) * LAST;
            transport
                .send_with(link, |queue| {
                    let end = queue.len() + bytes;
                    queue.push(mark);
                    queue.resize(end, 0);
                })
                .unwrap();
        }
        transport.flush();
    }
    await_frame(transport, &mut events);
    (start.elapsed().as_secs_f64(), (transport.counters().bytes_sent - bytes_before) as f64 / frames as f64)
}
