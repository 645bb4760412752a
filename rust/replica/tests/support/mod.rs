//! Clusters in this process, on free ports of the loopback, and clients that wait for what they ask.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use pssmr_client::{Client, ClientConfig, Completion, RequestError, Response, Submission, Work};
use pssmr_execution::messagepack::{self, Reader, Token};
use pssmr_execution::{Reply, payload};
use pssmr_replica::{AcceptKeys, Observer, Replica, ReplicaConfig, ReplicaStatus, Service, Silent};
use pssmr_types::{ClusterId, Digest, Epoch, FaultModel, Member, Membership, PublicKey, ReplicaId, SecretKey};

pub(crate) const CLUSTER: ClusterId = ClusterId([3; 16]);

/// Long enough for a machine that does other things too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn replica_secret(id: u16) -> SecretKey {
    SecretKey::from_seed([id as u8; 32])
}

pub(crate) fn client_secret(name: u8) -> SecretKey {
    SecretKey::from_seed([100 + name; 32])
}

/// Replicas that run in this process.
pub(crate) struct Cluster {
    pub(crate) model: FaultModel,
    pub(crate) configs: Vec<ReplicaConfig>,
    pub(crate) replicas: Vec<Option<Replica>>,
    /// As clients see them.
    members: Vec<pssmr_types::Member>,
    make_service: Box<dyn Fn() -> Arc<dyn Service>>,
}

impl Cluster {
    pub(crate) fn start<S: Service>(model: FaultModel, n: u16, make_service: impl Fn() -> S + 'static) -> Self {
        Self::start_with(model, n, make_service, |_| {})
    }

    /// `change` is applied to each replica's configuration.
    pub(crate) fn start_with<S: Service>(
        model: FaultModel,
        n: u16,
        make_service: impl Fn() -> S + 'static,
        change: impl Fn(&mut ReplicaConfig),
    ) -> Self {
        let mut cluster = Self {
            model,
            configs: configs(model, n),
            replicas: Vec::new(),
            members: Vec::new(),
            make_service: Box::new(move || Arc::new(make_service())),
        };
        for id in 0..n {
            change(&mut cluster.configs[usize::from(id)]);
            cluster.replicas.push(None);
            cluster.start_replica(id, Arc::new(Silent));
            let replica = cluster.replica(id);
            let (peers, clients) = (replica.peer_address(), replica.client_address());
            let key = replica_secret(id).public();
            let (peer_address, client_address) = (peers.to_string(), clients.to_string());
            cluster.members.push(Member { id: ReplicaId(id), key, peer_address, client_address });
            for config in &mut cluster.configs {
                config.peer_addresses.insert(key, peers.to_string());
            }
            // A replica that is started again listens where it did.
            let config = &mut cluster.configs[usize::from(id)];
            (config.listen_peers, config.listen_clients) = (peers, clients);
        }
        cluster
    }

    pub(crate) fn start_replica(&mut self, id: u16, observer: Arc<dyn Observer>) {
        let config = &self.configs[usize::from(id)];
        let replica = Replica::start(config, (self.make_service)(), observer).expect("the replica starts");
        self.replicas[usize::from(id)] = Some(replica);
    }

    pub(crate) fn replica(&self, id: u16) -> &Replica {
        self.replicas[usize::from(id)].as_ref().expect("the replica runs")
    }

    pub(crate) fn stop_replica(&mut self, id: u16) {
        self.replicas[usize::from(id)].take().expect("the replica runs").stop();
    }

    pub(crate) fn status(&self, id: u16) -> ReplicaStatus {
        self.replica(id).status()
    }

    pub(crate) fn membership(&self) -> Membership {
        Membership::of(CLUSTER, Epoch(0), self.model, self.members.clone()).expect("the replicas are different ones")
    }

    pub(crate) fn client_config(&self, name: u8) -> ClientConfig {
        let mut config = ClientConfig::new(self.membership(), client_secret(name));
        config.request_timeout = PATIENCE;
        config.agreed_settings = Some(self.configs[0].agreed_settings());
        config
    }

    pub(crate) fn client(&self, name: u8) -> TestClient {
        TestClient::connect(&self.client_config(name))
    }
}

/// Configurations of a cluster's replicas, without addresses.
pub(crate) fn configs(model: FaultModel, n: u16) -> Vec<ReplicaConfig> {
    let members: Vec<_> = (0..n).map(|id| member(id, replica_secret(id).public())).collect();
    let config = |id| {
        let mut config = ReplicaConfig::new(CLUSTER, model, members.clone(), ReplicaId(id), replica_secret(id));
        config.clients = AcceptKeys::only((0..4).map(|name| client_secret(name).public()));
        config.execution.workers = 2;
        config
    };
    (0..n).map(config).collect()
}

/// A replica whose addresses are said elsewhere: they are not known before it listens.
pub(crate) fn member(id: u16, key: PublicKey) -> Member {
    Member { id: ReplicaId(id), key, peer_address: String::new(), client_address: String::new() }
}

/// A client that waits.
pub(crate) struct TestClient {
    pub(crate) client: Client,
    completions: Receiver<Vec<Completion>>,
    submitted: Cell<u64>,
}

impl TestClient {
    pub(crate) fn connect(config: &ClientConfig) -> Self {
        let (sender, completions) = channel();
        let client = Client::connect(config, sender).expect("the configuration is good");
        Self { client, completions, submitted: Cell::new(0) }
    }

    /// Submits all at once and waits for all: what became of each, in their order.
    pub(crate) fn call_all(&self, payloads: Vec<Bytes>) -> Vec<Result<Response, RequestError>> {
        self.do_all(payloads.into_iter().map(Work::Command).collect())
    }

    pub(crate) fn do_all(&self, work: Vec<Work>) -> Vec<Result<Response, RequestError>> {
        let tokens = self.submit(work);
        self.wait_for(tokens)
    }

    /// Submits all at once. Returns their tokens.
    pub(crate) fn submit(&self, work: Vec<Work>) -> Range<u64> {
        let first = self.submitted.get();
        let submission = |(work, token)| Submission { token, work, timeout: None, trace: None };
        let mut submissions: Vec<_> = work.into_iter().zip(first..).map(submission).collect();
        self.submitted.set(first + submissions.len() as u64);
        self.client.submit_many(&mut submissions).expect("there is room");
        first..self.submitted.get()
    }

    /// Waits for the completions of all that was submitted and is not complete: these, in their order.
    pub(crate) fn wait_for(&self, tokens: Range<u64>) -> Vec<Result<Response, RequestError>> {
        let mut results = HashMap::new();
        while (results.len() as u64) < tokens.end - tokens.start {
            for completion in self.completions.recv_timeout(2 * PATIENCE).expect("each submission has a completion") {
                let before = results.insert(completion.token, completion.result);
                assert_eq!(before, None, "a submission completes once");
            }
        }
        tokens.map(|token| results.remove(&token).expect("the tokens are those that were submitted")).collect()
    }

    pub(crate) fn call(&self, payload: Bytes) -> Result<Response, RequestError> {
        self.call_all(vec![payload]).remove(0)
    }

    /// The replicas' state digests at one position.
    pub(crate) fn state_digests(&self) -> BTreeMap<ReplicaId, Digest> {
        match self.do_all(vec![Work::StateDigests]).remove(0) {
            Ok(Response::StateDigests(digests)) => digests,
            other => panic!("{other:?}"),
        }
    }

    /// Has all replicas take a checkpoint now, whatever they think of its pace.
    pub(crate) fn checkpoint(&self) {
        let done = self.do_all(vec![Work::Checkpoint]).remove(0);
        assert!(matches!(done, Ok(Response::StateDigests(_))), "{done:?}");
    }
}

/// Waits until `condition` holds.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn text(value: &str) -> Vec<u8> {
    let mut out = Vec::new();
    messagepack::write_str(&mut out, value);
    out
}

/// Commands of the key-value store.
pub(crate) fn add(key: &str, amount: i64) -> Bytes {
    let mut value = Vec::new();
    messagepack::write_signed(&mut value, amount);
    payload("add", &[&text(key), &value])
}

pub(crate) fn put(key: &str, value: &str) -> Bytes {
    payload("put", &[&text(key), &text(value)])
}

pub(crate) fn get(key: &str) -> Bytes {
    payload("get", &[&text(key)])
}

/// The `MessagePack` value that a command returned.
pub(crate) fn value_of(result: Result<Response, RequestError>) -> Bytes {
    match result {
        Ok(Response::Result(reply)) => match Reply::decode(&reply) {
            Ok(Reply::Result(value)) => value,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

/// The number that a command returned.
pub(crate) fn number_of(result: Result<Response, RequestError>) -> i64 {
    match Reader::new(&value_of(result)).token() {
        Ok(Token::Unsigned(number)) => i64::try_from(number).expect("a small number"),
        Ok(Token::Negative(number)) => number,
        other => panic!("{other:?}"),
    }
}
