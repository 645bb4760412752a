//! What strangers, broken clients, broken replicas and broken services may not do.

#[allow(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use pssmr_client::Work;
use pssmr_execution::footprint::FootprintBuilder;
use pssmr_execution::services::KeyValue;
use pssmr_execution::{Extraction, Refusal, Task};
use pssmr_replica::{Replica, ReplicaEvent, Role, Service, Silent};
use pssmr_transport::{Event, LinkId, Transport, TransportConfig};
use pssmr_types::{
    Change, ClientId, ClientMessage, Digest, Epoch, FaultModel, Hello, Operation, Outcome, PROTOCOL_VERSION, Principal,
    PublicKey, Read as ClientRead, Reconfiguration, ReplicaId, ReplicaMessage, Request, SecretKey,
};

use support::{CLUSTER, Cluster, TestClient, add, client_secret, eventually, get, number_of, put, replica_secret};

/// A link that says what a test wants.
struct RawLink {
    transport: Transport,
    link: LinkId,
}

impl RawLink {
    fn dial(secret: SecretKey, alpn: &'static [u8], key: PublicKey, address: SocketAddr) -> Self {
        let mut transport = Transport::new(TransportConfig::new(secret, alpn)).unwrap();
        let link = transport.dial(key, address.to_string()).unwrap();
        let mut raw = Self { transport, link };
        raw.wait(|event| matches!(event, Event::Up { .. }));
        raw
    }

    fn send(&mut self, frame: &[u8]) {
        self.transport.send(self.link, frame).unwrap();
        self.transport.flush();
    }

    fn greet(&mut self, agreed_settings: Digest) {
        // Of the membership of another epoch, nothing is compared.
        self.greet_as_of(Epoch(7), agreed_settings);
    }

    fn greet_as_of(&mut self, epoch: Epoch, agreed_settings: Digest) {
        let mut frame = Vec::new();
        Hello::new(CLUSTER, agreed_settings, epoch, Digest::default()).encode(&mut frame);
        self.send(&frame);
    }

    fn wait(&mut self, wanted: impl Fn(&Event) -> bool) {
        eventually("the awaited event", || {
            let mut events = Vec::new();
            self.transport.poll(Some(Duration::from_millis(100)), &mut events).unwrap();
            events.iter().any(&wanted)
        });
    }

    /// Sends requests in one frame, and waits for the replica's word on each.
    fn ask_all(&mut self, requests: Vec<Request>) -> Vec<Outcome> {
        let sequences: Vec<_> = requests.iter().map(|request| request.sequence).collect();
        let mut frame = Vec::new();
        ClientMessage::Requests { full_replies: false, requests }.encode(&mut frame);
        self.send(&frame);
        let mut outcomes = HashMap::new();
        eventually("all replies", || {
            let mut events = Vec::new();
            self.transport.poll(Some(Duration::from_millis(100)), &mut events).unwrap();
            for event in events {
                let Event::Frame { frame, .. } = event else { continue };
                // The greeting is no message.
                let Ok(ReplicaMessage::Replies(replies)) = ReplicaMessage::decode(frame, 1000) else { continue };
                outcomes.extend(replies.into_iter().map(|reply| (reply.sequence, reply.outcome)));
            }
            sequences.iter().all(|sequence| outcomes.contains_key(sequence))
        });
        sequences.iter().map(|sequence| outcomes[sequence].clone()).collect()
    }

    fn ask(&mut self, request: &Request) -> Outcome {
        self.ask_all(vec![request.clone()]).remove(0)
    }

    fn open_session(&mut self, principal: Principal) -> ClientId {
        let opening = Request::new(ClientId { principal, session: 0 }, 77, 0, Operation::OpenSession, b"");
        let Outcome::SessionOpened(session) = self.ask(&opening) else { panic!("no session") };
        ClientId { principal, session }
    }

    /// Waits until the other side has closed the connection.
    fn wait_for_close(&mut self) {
        self.wait(|event| matches!(event, Event::Down { .. }));
    }
}

#[test]
fn garbage_on_both_ports_disturbs_nobody() {
    let cluster = Cluster::start(FaultModel::Byzantine, 4, KeyValue::new);
    let client = cluster.client(0);
    client.call(add("sum", 1)).unwrap();
    for id in 0..4 {
        for address in [cluster.replica(id).peer_address(), cluster.replica(id).client_address()] {
            for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xFF; 10_000], &[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 9]] {
                let mut stream = TcpStream::connect(address).unwrap();
                // The replica may have closed the connection before it has all.
                let _ = stream.write_all(garbage);
                let _ = stream.set_read_timeout(Some(Duration::from_secs(30)));
                let _ = stream.shutdown(std::net::Shutdown::Write);
                let _ = stream.read_to_end(&mut Vec::new());
            }
        }
    }
    assert!(client.call_all(vec![add("sum", 1); 100]).iter().all(Result::is_ok));
    assert_eq!(number_of(client.call(get("sum"))), 101);
}

#[test]
fn a_client_that_sends_no_message_loses_its_link_and_others_keep_theirs() {
    let cluster = Cluster::start(FaultModel::Crash, 1, KeyValue::new);
    let client = cluster.client(0);
    client.call(put("a", "1")).unwrap();
    let replica = cluster.replica(0);
    let settings = replica.agreed_settings();
    let dial = || {
        let key = replica_secret(0).public();
        RawLink::dial(client_secret(1), b"pssmr-client/1", key, replica.client_address())
    };
    let requests = [&[1, 0xFF, 0xFF, 0xFF, 0xFF][..], &[1, 1, 0, 0, 0]];
    let reads = [&[5, 0xFF, 0xFF, 0xFF, 0xFF][..], &[6, 1, 0, 0, 0, 7]];
    for frame in [&b"\xFFgarbage"[..]].into_iter().chain(requests).chain(reads) {
        let mut raw = dial();
        raw.greet(settings);
        raw.send(frame);
        raw.wait_for_close();
    }
    let mut ungreeted = dial();
    ungreeted.send(b"requests without a greeting");
    ungreeted.wait_for_close();
    let mut stranger = dial();
    stranger.greet(Digest([9; 32]));
    stranger.wait_for_close();
    eventually("the bad frames are counted", || replica.status().counters.bad_frames == 7);
    assert!(replica.status().clients.last_error.unwrap().contains("settings"));
    assert!(client.call(get("a")).is_ok());
    assert!(client.client.status().links[&ReplicaId(0)].last_error.is_none(), "its link was never lost");
}

#[test]
fn a_replica_has_no_queries() {
    let cluster = Cluster::start(FaultModel::Crash, 3, KeyValue::new);
    let replica = cluster.replica(0);
    let mut frame = Vec::new();
    let reads = vec![ClientRead { number: 1, payload: get("a") }];
    ClientMessage::Reads { full_replies: false, reads }.encode(&mut frame);
    let mut other =
        RawLink::dial(replica_secret(1), b"pssmr-client/1", replica_secret(0).public(), replica.client_address());
    other.greet(replica.agreed_settings());
    other.send(&frame);
    other.wait_for_close();
    eventually("it says why", || replica.status().clients.last_error.is_some_and(|why| why.contains("queries")));
}

#[test]
fn a_client_may_claim_to_know_any_epoch() {
    let administrator = SecretKey::from_seed([77; 32]);
    let key = administrator.public();
    let cluster = Cluster::start_with(FaultModel::Crash, 3, KeyValue::new, move |config| {
        config.ordering.administrator = Some(key);
    });
    let client = cluster.client(0);
    let removal = Reconfiguration::sign(CLUSTER, Epoch(0), Change::Remove(ReplicaId(2)), &administrator);
    client.do_all(vec![Work::Reconfigure(removal.encode().into())]).remove(0).unwrap();
    eventually("there is a handover to tell of", || cluster.status(0).epoch == 1);
    let replica = cluster.replica(0);
    for epoch in [Epoch(u64::MAX), Epoch(u64::MAX - 1), Epoch(2), Epoch(0)] {
        let secret = replica_secret(0).public();
        let mut raw = RawLink::dial(client_secret(1), b"pssmr-client/1", secret, replica.client_address());
        raw.greet_as_of(epoch, replica.agreed_settings());
        // What is answered by the end of the link shows that what came before it was read.
        raw.send(b"\xFFgarbage");
        raw.wait_for_close();
    }
    assert!(client.call_all(vec![add("sum", 1); 100]).iter().all(Result::is_ok));
    assert_eq!(replica.halted(), None);
}

/// A greeted link of client 1.
fn client_link(replica: &Replica) -> RawLink {
    let key = replica_secret(0).public();
    let mut raw = RawLink::dial(client_secret(1), b"pssmr-client/1", key, replica.client_address());
    raw.greet(Digest::default());
    raw
}

#[test]
fn requests_for_which_there_is_no_room_are_refused_aloud() {
    let cluster = Cluster::start_with(FaultModel::Crash, 1, KeyValue::new, |config| {
        config.limits.queued_requests_max = 1;
    });
    let mut raw = client_link(cluster.replica(0));
    let client = raw.open_session(client_secret(1).public().principal());
    let additions = (1..=10).map(|sequence| Request::new(client, sequence, 1, Operation::Command, &add("sum", 1)));
    let outcomes = raw.ask_all(additions.collect());
    assert!(matches!(outcomes[0], Outcome::Result(_)), "{outcomes:?}");
    assert_eq!(outcomes[1..], vec![Outcome::Busy; 9]);
}

#[test]
fn a_request_that_comes_again_is_answered_again_and_not_executed_again() {
    let cluster = Cluster::start(FaultModel::Crash, 1, KeyValue::new);
    let replica = cluster.replica(0);
    let mut raw = client_link(replica);
    let client = raw.open_session(client_secret(1).public().principal());
    let addition = Request::new(client, 1, 1, Operation::Command, &add("sum", 1));
    let first = raw.ask(&addition);
    assert_eq!(raw.ask(&addition), first);
    eventually("it came from the cache", || replica.status().counters.replies_from_cache == 1);
    assert_eq!(number_of(cluster.client(0).call(get("sum"))), 1);
    // Once the client has acknowledged the reply, it is forgotten.
    raw.ask(&Request::new(client, 2, 2, Operation::Command, &add("sum", 1)));
    eventually("it is forgotten", || raw.ask(&addition) == Outcome::OutsideWindow);
    assert_eq!(number_of(cluster.client(0).call(get("sum"))), 2);
}

#[test]
fn a_replica_that_sends_no_message_is_cut_off_and_the_others_go_on() {
    // Replica 3 is the test itself.
    let mut cluster = Cluster::start(FaultModel::Byzantine, 4, KeyValue::new);
    cluster.stop_replica(3);
    let replica = cluster.replica(0);
    let mut raw = RawLink::dial(replica_secret(3), b"pssmr-peer/1", replica_secret(0).public(), replica.peer_address());
    raw.greet(replica.agreed_settings());
    eventually("its link is up", || replica.status().peers[2].up);
    raw.send(&[77; 1000]);
    raw.wait_for_close();
    eventually("its link is down", || !replica.status().peers[2].up);
    assert_eq!(replica.status().peers[2].last_error.as_deref(), Some("it sent a frame that is no message"));
    let client = cluster.client(0);
    assert!(client.call_all(vec![add("sum", 1); 100]).iter().all(Result::is_ok));
}

#[test]
fn a_replica_of_another_version_of_the_protocol_is_not_talked_to_and_the_status_names_both() {
    let mut cluster = Cluster::start(FaultModel::Byzantine, 4, KeyValue::new);
    cluster.stop_replica(3);
    let first = cluster.replica(0);
    let mut newer = RawLink::dial(replica_secret(3), b"pssmr-peer/1", replica_secret(0).public(), first.peer_address());
    newer.send(&[b"pssmr", &(PROTOCOL_VERSION + 1).to_le_bytes()[..], b"and what is new there"].concat());
    newer.wait_for_close();
    eventually("the status names both versions", || {
        let error = first.status().peers[2].last_error.clone();
        let versions = [PROTOCOL_VERSION, PROTOCOL_VERSION + 1].map(|version| format!("version {version}"));
        error.is_some_and(|error| versions.iter().all(|version| error.contains(version)))
    });
}

#[test]
fn a_replica_with_other_settings_is_not_talked_to_and_the_status_says_why() {
    let mut cluster = Cluster::start(FaultModel::Byzantine, 4, KeyValue::new);
    cluster.stop_replica(3);
    cluster.configs[3].ordering.window += 1;
    cluster.start_replica(3, Arc::new(Silent));
    let explains = |id: u16, peer: usize| {
        let peer = &cluster.status(id).peers[peer];
        !peer.up && peer.last_error.as_ref().is_some_and(|error| error.contains("settings differ"))
    };
    eventually("replica 3 knows why", || explains(3, 0));
    eventually("replica 0 knows why", || explains(0, 2));
    cluster.client(0).call(put("a", "1")).unwrap();
}

/// Panics when it is told to, but only on the replica that it is made for.
struct Fragile(bool);

impl Service for Fragile {
    fn footprint(&self, _: &[u8], _: &mut FootprintBuilder) -> Result<Extraction, Refusal> {
        Ok(Extraction::default())
    }

    fn execute(&self, _: usize, run: &mut [Task]) {
        assert!(!(self.0 && run.iter().any(|task| &task.command.payload[..] == b"panic")), "told to");
    }

    fn state_digest(&self) -> Digest {
        Digest::default()
    }
}

#[test]
fn a_service_that_panics_halts_its_replica_which_says_so_and_the_others_go_on() {
    let made = Mutex::new(0);
    let mut cluster = Cluster::start(FaultModel::Byzantine, 4, move || {
        *made.lock() += 1;
        // The last of the four, and each one after it.
        Fragile(*made.lock() >= 4)
    });
    cluster.stop_replica(3);
    let (sender, events) = channel();
    let sender = Mutex::new(sender);
    let observer = move |event: &ReplicaEvent| drop(sender.lock().send(event.clone()));
    cluster.start_replica(3, Arc::new(observer));
    let client = cluster.client(0);
    client.call(Bytes::from_static(b"panic")).unwrap();
    let replica: &Replica = cluster.replica(3);
    let reason = replica.wait().expect("it has halted");
    assert!(reason.contains("told to"), "{reason}");
    assert_eq!(replica.halted().as_ref(), Some(&reason));
    let status = replica.status();
    assert_eq!((status.role, status.halted.as_ref()), (Role::Halted, Some(&reason)));
    assert!(events.iter().any(|event| event == ReplicaEvent::Halted { reason: reason.clone() }));
    assert!(client.call_all(vec![Bytes::from_static(b"go on"); 100]).iter().all(Result::is_ok));
    let queried = client.do_all(vec![pssmr_client::Work::Status(ReplicaId(3))]).remove(0);
    assert!(queried.is_ok(), "a halted replica still says how it is");
}

#[test]
fn a_port_that_is_taken_and_a_directory_that_is_in_use_are_refused_with_their_names() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("data");
    let cluster = Cluster::start_with(FaultModel::Crash, 1, KeyValue::new, |config| {
        config.data_directory = Some(path.clone());
    });
    let start =
        |config| Replica::start(&config, Arc::new(KeyValue::new()), Arc::new(Silent)).err().unwrap().to_string();
    let mut same_directory = cluster.configs[0].clone();
    let refused = start(same_directory.clone());
    assert!(refused.contains("in use") && refused.contains(path.to_str().unwrap()), "{refused}");
    same_directory.data_directory = None;
    let refused = start(same_directory);
    assert!(refused.contains(&cluster.replica(0).peer_address().to_string()), "{refused}");
}

#[test]
fn a_replica_may_ask_all_for_a_checkpoint_and_may_send_no_command() {
    let cluster = Cluster::start(FaultModel::Byzantine, 4, KeyValue::new);
    let mut config = cluster.client_config(0);
    config.secret = replica_secret(2);
    let replica = TestClient::connect(&config);
    replica.checkpoint();
    let written = replica.submit(vec![Work::Command(add("a", 1))]);
    for id in 0..4 {
        eventually("it is sent away", || {
            let why = cluster.status(id).clients.last_error;
            why.is_some_and(|why| why.contains("a replica may ask for checkpoints"))
        });
    }
    replica.client.close();
    assert!(replica.wait_for(written)[0].is_err());
    let client = cluster.client(0);
    client.call(add("a", 10)).unwrap();
    assert_eq!(number_of(client.call(get("a"))), 10, "nobody has executed the replica's command");
}
