//! Replicas that say what a test wants, on real links.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use pssmr_client::{Client, ClientConfig, Completion, RequestError, Response, Submission, Work};
use pssmr_transport::{AcceptKeys, Event, LinkId, Transport, TransportConfig, Waker};
use pssmr_types::{
    Change, ClientMessage, ClusterId, Digest, Epoch, FaultModel, Handover, HandoverVote, Hello, Member, Membership,
    Operation, Outcome, ReplicaId, ReplicaMessage, Reply, Request, SecretKey, Slot,
};

pub(crate) const CLUSTER: ClusterId = ClusterId([5; 16]);

/// Long enough for a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(60);

const SESSION: u64 = 7;

/// What a fake replica does, and what it has seen.
#[derive(Default)]
struct Script {
    /// Told to clients that greet with an older epoch.
    handovers: Vec<Handover>,
    /// The answer to each command and reconfiguration; without one they wait for it.
    answer: Option<Bytes>,
    unanswered: Vec<(LinkId, Request)>,
    /// Goes to all clients.
    to_say: Vec<ReplicaMessage>,
    /// The greeted links that are up.
    links: BTreeSet<LinkId>,
    /// The epochs that clients greeted with.
    greetings: Vec<Epoch>,
    operations: Vec<Operation>,
}

/// A replica that orders nothing.
pub(crate) struct FakeReplica {
    pub(crate) id: ReplicaId,
    secret: SecretKey,
    address: String,
    script: Arc<Mutex<Script>>,
    is_over: Arc<AtomicBool>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

impl FakeReplica {
    /// `seed` makes its key.
    pub(crate) fn start(id: u16, seed: u8) -> Self {
        let secret = SecretKey::from_seed([seed; 32]);
        let transport = Transport::new(TransportConfig {
            listen: Some("127.0.0.1:0".parse().unwrap()),
            accept_keys: AcceptKeys::Any,
            ..TransportConfig::new(secret.clone(), b"pssmr-client/1")
        });
        let transport = transport.unwrap();
        let (address, waker) = (transport.local_addr().unwrap().to_string(), transport.waker());
        let (script, is_over) = (Arc::<Mutex<Script>>::default(), Arc::<AtomicBool>::default());
        let its = (Arc::clone(&script), Arc::clone(&is_over));
        let thread = Some(std::thread::spawn(move || run(transport, &its.0, &its.1)));
        Self { id: ReplicaId(id), secret, address, script, is_over, waker, thread }
    }

    pub(crate) fn member(&self) -> Member {
        let (peer_address, client_address) = ("peers:1".to_owned(), self.address.clone());
        Member { id: self.id, key: self.secret.public(), peer_address, client_address }
    }

    /// Clients that greet with an older epoch are told of these from now on.
    pub(crate) fn knows(&self, handovers: &[Handover]) {
        self.script.lock().handovers = handovers.to_vec();
    }

    pub(crate) fn says(&self, message: ReplicaMessage) {
        self.script.lock().to_say.push(message);
        self.waker.wake();
    }

    pub(crate) fn hands_over(&self, handovers: &[Handover]) {
        self.says(ReplicaMessage::Handovers(handovers.to_vec()));
    }

    /// Answers what waits, and all that comes.
    pub(crate) fn answers(&self, result: &'static [u8]) {
        self.script.lock().answer = Some(Bytes::from_static(result));
        self.waker.wake();
    }

    pub(crate) fn links(&self) -> usize {
        self.script.lock().links.len()
    }

    pub(crate) fn greetings(&self) -> Vec<Epoch> {
        self.script.lock().greetings.clone()
    }

    pub(crate) fn operations(&self) -> Vec<Operation> {
        self.script.lock().operations.clone()
    }

    /// Whether it was sent something that it has not answered.
    pub(crate) fn is_waited_for(&self) -> bool {
        !self.script.lock().unanswered.is_empty()
    }
}

impl Drop for FakeReplica {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        self.waker.wake();
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            ended.expect("it runs until it is dropped").expect("a fake replica does not panic");
        }
    }
}

fn run(mut transport: Transport, script: &Mutex<Script>, is_over: &AtomicBool) {
    let mut events = Vec::new();
    while !is_over.load(Ordering::Acquire) {
        transport.poll(None, &mut events).unwrap();
        let mut script = script.lock();
        for event in events.drain(..) {
            match event {
                Event::Frame { link, frame } if script.links.contains(&link) => {
                    script.hear(&mut transport, link, frame);
                }
                Event::Frame { link, frame } => script.greet(&mut transport, link, frame),
                Event::Down { link, .. } => drop(script.links.remove(&link)),
                _ => {}
            }
        }
        script.answer_all(&mut transport);
        for message in std::mem::take(&mut script.to_say) {
            script.links.iter().for_each(|link| send(&mut transport, *link, &message));
        }
    }
}

fn send(transport: &mut Transport, link: LinkId, message: &ReplicaMessage) {
    // Clients go when they like.
    let _ = transport.send_with(link, |out| message.encode(out));
}

impl Script {
    fn greet(&mut self, transport: &mut Transport, link: LinkId, frame: Bytes) {
        let hello = Hello::decode(frame).unwrap();
        self.greetings.push(hello.epoch);
        self.links.insert(link);
        let answer = Hello::new(CLUSTER, Digest::default(), Epoch(0), Digest::default());
        let _ = transport.send_with(link, |out| answer.encode(out));
        let newer: Vec<_> = self.handovers.iter().filter(|next| next.next.epoch() > hello.epoch).cloned().collect();
        if !newer.is_empty() {
            send(transport, link, &ReplicaMessage::Handovers(newer));
        }
    }

    fn hear(&mut self, transport: &mut Transport, link: LinkId, frame: Bytes) {
        let principal = client_secret().public().principal();
        match ClientMessage::decode(principal, frame, 1 << 20).unwrap() {
            ClientMessage::StatusQuery => send(transport, link, &ReplicaMessage::Status(Bytes::from_static(b"{}"))),
            ClientMessage::Traces(_) | ClientMessage::Reads { .. } => {}
            ClientMessage::Requests { requests, .. } => {
                for request in requests {
                    self.operations.push(request.operation);
                    if request.operation == Operation::OpenSession {
                        let outcome = Outcome::SessionOpened(SESSION);
                        reply(transport, link, &request, outcome);
                    } else {
                        self.unanswered.push((link, request));
                    }
                }
            }
        }
    }

    fn answer_all(&mut self, transport: &mut Transport) {
        let Some(answer) = &self.answer else { return };
        for (link, request) in self.unanswered.drain(..) {
            reply(transport, link, &request, Outcome::Result(answer.clone()));
        }
    }
}

fn reply(transport: &mut Transport, link: LinkId, request: &Request, outcome: Outcome) {
    let reply = Reply { session: request.client.session, sequence: request.sequence, outcome };
    send(transport, link, &ReplicaMessage::Replies(vec![reply]));
}

/// Replicas with the ids and seeds from 0.
pub(crate) fn replicas(count: u16) -> Vec<FakeReplica> {
    (0..count).map(|id| FakeReplica::start(id, id as u8)).collect()
}

/// The membership that these begin with.
pub(crate) fn membership_of(replicas: &[FakeReplica]) -> Membership {
    let members = replicas.iter().map(FakeReplica::member).collect();
    Membership::of(CLUSTER, Epoch(0), FaultModel::Byzantine, members).unwrap()
}

/// The end of an epoch, as these have signed it.
pub(crate) fn handover(membership: &Membership, change: &Change, signers: &[&FakeReplica]) -> Handover {
    let next = membership.changed(change).unwrap();
    let (slot, digest) = (Slot(9), Digest([1; 32]));
    let sign = |signer: &&FakeReplica| {
        let vote = HandoverVote::sign(CLUSTER, membership.epoch(), slot, digest, next.digest(), &signer.secret);
        (signer.id, vote.signature)
    };
    let mut signatures: Vec<_> = signers.iter().map(sign).collect();
    signatures.sort_by_key(|(id, _)| *id);
    Handover { slot, digest, next, signatures }
}

pub(crate) fn client_secret() -> SecretKey {
    SecretKey::from_seed([200; 32])
}

/// A client, and what has completed.
pub(crate) struct TestClient {
    pub(crate) client: Client,
    completions: Receiver<Vec<Completion>>,
}

impl TestClient {
    pub(crate) fn connect(membership: &Membership) -> Self {
        let mut config = ClientConfig::new(membership.clone(), client_secret());
        config.request_timeout = PATIENCE;
        let (sender, completions) = channel();
        Self { client: Client::connect(&config, sender).unwrap(), completions }
    }

    pub(crate) fn submit(&self, work: Work) {
        self.client.submit_many(&mut vec![Submission { token: 1, work, timeout: None, trace: None }]).unwrap();
    }

    /// The end of the one submission that is under way.
    pub(crate) fn wait(&self) -> Result<Response, RequestError> {
        let mut completions = self.completions.recv_timeout(2 * PATIENCE).expect("each submission has a completion");
        assert_eq!(completions.len(), 1);
        completions.remove(0).result
    }

    pub(crate) fn call(&self) -> Result<Response, RequestError> {
        self.submit(Work::Command(Bytes::from_static(b"command")));
        self.wait()
    }

    pub(crate) fn is_up(&self, replica: u16) -> bool {
        self.client.status().links.get(&ReplicaId(replica)).is_some_and(|link| link.up)
    }

    /// Waits until the client knows the membership of this epoch.
    pub(crate) fn knows(&self, epoch: u64) {
        eventually("the client knows the membership", || self.client.membership().epoch() == Epoch(epoch));
    }
}

pub(crate) fn result(result: &'static [u8]) -> Response {
    Response::Result(Bytes::from_static(result))
}

/// Waits until `condition` holds.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
