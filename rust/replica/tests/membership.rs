//! Replicas that come and go while clients go on.

#[allow(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use pssmr_client::{Response, Work};
use pssmr_execution::services::KeyValue;
use pssmr_ordering::Durability;
use pssmr_replica::{Replica, ReplicaConfig, Role, Silent, StartError};
use pssmr_types::{Change, Epoch, FaultModel, Member, Membership, Reconfiguration, ReplicaId, SecretKey};
use tempfile::TempDir;

use support::{CLUSTER, Cluster, TestClient, add, client_secret, eventually, get, member, number_of, replica_secret};

fn administrator() -> SecretKey {
    SecretKey::from_seed([77; 32])
}

/// An address that nobody listens at.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("there are free ports")
}

/// A cluster whose membership changes.
struct Changing {
    cluster: Cluster,
    /// As the replicas agreed on it.
    membership: Membership,
    root: TempDir,
}

impl Changing {
    fn start(model: FaultModel, n: u16, durability: Durability) -> Self {
        let root = tempfile::tempdir().expect("there is a place for temporary files");
        let path = root.path().to_owned();
        let cluster = Cluster::start_with(model, n, KeyValue::new, move |config| {
            config.ordering.durability = durability;
            config.ordering.administrator = Some(administrator().public());
            config.data_directory = Some(path.join(config.me.to_string()));
        });
        let membership = cluster.configs[0].check().expect("the configuration is good");
        Self { cluster, membership, root }
    }

    /// Has the administrator change the membership, and waits until the running members have followed.
    fn change(&mut self, client: &TestClient, change: Change) {
        let next = self.membership.changed(&change).expect("the change can be made");
        assert_eq!(ask(client, self.membership.epoch(), change, &administrator()), None);
        self.membership = next;
        self.await_epoch();
        eventually("the client knows", || client.client.membership().epoch() == self.membership.epoch());
    }

    fn await_epoch(&self) {
        let ids: Vec<_> = self.membership.replicas().collect();
        for id in ids {
            if self.cluster.replicas.get(id.index()).is_some_and(Option::is_some) {
                eventually("the replica is in the epoch", || {
                    self.cluster.status(id.0).epoch == self.membership.epoch().0
                });
            }
        }
    }

    /// The configuration of a replica that is to join with the next change, and what it is then.
    fn newcomer(&self, id: u16, secret: SecretKey) -> (Member, ReplicaConfig) {
        let (peers, clients) = (free_address(), free_address());
        let (peer_address, client_address) = (peers.to_string(), clients.to_string());
        let new = Member { peer_address, client_address, ..member(id, secret.public()) };
        let mut config = ReplicaConfig { me: ReplicaId(id), secret, ..self.cluster.configs[0].clone() };
        (config.listen_peers, config.listen_clients) = (peers, clients);
        config.data_directory = Some(self.root.path().join(config.secret.public().to_string()));
        (new, config)
    }

    /// Starts a replica that has joined, with the membership of now.
    fn welcome(&mut self, mut config: ReplicaConfig) {
        let at = config.me.index();
        (config.epoch, config.members) = (self.membership.epoch(), self.membership.members().to_vec());
        self.cluster.replicas.resize_with(self.cluster.replicas.len().max(at + 1), || None);
        if self.cluster.configs.len() == at {
            self.cluster.configs.push(config);
        } else {
            self.cluster.configs[at] = config;
        }
        self.cluster.start_replica(at as u16, Arc::new(Silent));
    }

    /// Waits until all members vote and have the same state.
    fn settle(&self, client: &TestClient) {
        for id in self.membership.replicas() {
            eventually("the replica votes", || matches!(self.cluster.status(id.0).role, Role::Leader | Role::Follower));
        }
        let n = self.membership.members().len();
        let mut states = BTreeSet::new();
        eventually("all replicas tell their state", || {
            let digests = client.state_digests();
            states = digests.values().copied().collect();
            digests.len() == n
        });
        assert_eq!(states.len(), 1, "{states:?}");
    }
}

/// Asks for a change. Gives why it was not made.
fn ask(client: &TestClient, epoch: Epoch, change: Change, secret: &SecretKey) -> Option<String> {
    let signed = Reconfiguration::sign(CLUSTER, epoch, change, secret);
    match client.do_all(vec![Work::Reconfigure(signed.encode().into())]).remove(0) {
        Ok(Response::Result(refusal)) => {
            (!refusal.is_empty()).then(|| String::from_utf8(refusal.to_vec()).expect("text"))
        }
        other => panic!("{other:?}"),
    }
}

fn add_many(client: &TestClient, sum: &mut i64) {
    assert!(client.call_all(vec![add("sum", 1); 100]).iter().all(Result::is_ok));
    *sum += 100;
    assert_eq!(number_of(client.call(get("sum"))), *sum);
}

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32])
}

#[test]
fn a_replica_that_joins_gets_the_state_and_a_vote() {
    let mut changing = Changing::start(FaultModel::Byzantine, 4, Durability::Async);
    let (client, mut sum) = (changing.cluster.client(0), 0);
    add_many(&client, &mut sum);
    let (new, config) = changing.newcomer(4, key(50));
    changing.change(&client, Change::Add(new));
    // Before it is there.
    add_many(&client, &mut sum);
    changing.welcome(config);
    changing.settle(&client);
    // Four of five are a quorum: it is needed now.
    changing.cluster.stop_replica(0);
    add_many(&client, &mut sum);
    changing.cluster.start_replica(0, Arc::new(Silent));
    changing.settle(&client);
    changing.change(&client, Change::Remove(ReplicaId(2)));
    add_many(&client, &mut sum);
    eventually("the one that was removed knows it", || changing.cluster.status(2).role == Role::Retired);
    changing.settle(&client);
    // A client that knows the first membership only learns the others.
    let late = changing.cluster.client(1);
    assert_eq!(number_of(late.call(get("sum"))), sum);
    eventually("it knows", || *late.client.membership() == *client.client.membership());
}

fn all_replicas_are_replaced_one_after_another(model: FaultModel, n: u16, durability: Durability) {
    let mut changing = Changing::start(model, n, durability);
    let (client, mut sum) = (changing.cluster.client(0), 0);
    let mut away = None;
    for id in 0..n {
        add_many(&client, &mut sum);
        let secret = key(50 + id as u8);
        changing.cluster.stop_replica(id);
        if id + 1 == n {
            // When it connects, one of those that it knows is left.
            away = Some(changing.cluster.client(1));
            changing.cluster.start_replica(id, Arc::new(Silent));
            assert_eq!(number_of(away.as_ref().expect("just made").call(get("sum"))), sum);
            changing.cluster.stop_replica(id);
        }
        let (new, config) = changing.newcomer(id, secret);
        changing.change(&client, Change::Replace { old: ReplicaId(id), new });
        changing.welcome(config);
        changing.settle(&client);
    }
    add_many(&client, &mut sum);
    let away = away.expect("it is there since the last but one");
    assert_eq!(number_of(away.call(get("sum"))), sum);
    // All of them, from their disks.
    (0..n).for_each(|id| changing.cluster.stop_replica(id));
    (0..n).for_each(|id| changing.cluster.start_replica(id, Arc::new(Silent)));
    changing.await_epoch();
    assert_eq!(number_of(client.call(get("sum"))), sum);
    changing.settle(&client);
}

#[test]
fn with_crash_faults_no_replica_is_there_for_ever() {
    all_replicas_are_replaced_one_after_another(FaultModel::Crash, 3, Durability::Sync);
}

#[test]
fn with_byzantine_faults_no_replica_is_there_for_ever() {
    all_replicas_are_replaced_one_after_another(FaultModel::Byzantine, 4, Durability::Async);
}

#[test]
fn a_replica_that_was_away_learns_of_all_changes_or_that_it_is_none_any_more() {
    let mut changing = Changing::start(FaultModel::Byzantine, 4, Durability::Async);
    let (client, mut sum) = (changing.cluster.client(0), 0);
    add_many(&client, &mut sum);
    let (first, config) = changing.newcomer(4, key(50));
    changing.change(&client, Change::Add(first));
    changing.welcome(config);
    changing.settle(&client);
    changing.cluster.stop_replica(3);
    let (second, config) = changing.newcomer(5, key(51));
    changing.change(&client, Change::Replace { old: ReplicaId(1), new: second });
    changing.welcome(config);
    add_many(&client, &mut sum);
    let stays =
        |changing: &Changing, id: u16| matches!(changing.cluster.status(id).role, Role::Leader | Role::Follower);
    eventually("the newcomer votes", || stays(&changing, 5));
    changing.cluster.start_replica(3, Arc::new(Silent));
    changing.settle(&client);
    // The one with the lowest id dials nobody.
    changing.cluster.stop_replica(0);
    changing.change(&client, Change::Remove(ReplicaId(0)));
    changing.cluster.start_replica(0, Arc::new(Silent));
    for id in [0, 1] {
        eventually("the replica knows that it is none", || changing.cluster.status(id).role == Role::Retired);
    }
    add_many(&client, &mut sum);
    changing.settle(&client);
}

#[test]
fn only_the_administrator_changes_the_membership() {
    let changing = Changing::start(FaultModel::Byzantine, 4, Durability::Memory);
    let client = changing.cluster.client(0);
    let now = Epoch(0);
    let refused = |epoch, change: &Change, secret: &SecretKey| {
        ask(&client, epoch, change.clone(), secret).expect("the change is not made")
    };
    let removal = Change::Remove(ReplicaId(1));
    for stranger in [client_secret(0), replica_secret(0)] {
        assert!(refused(now, &removal, &stranger).contains("not signed by the cluster's administrator"));
    }
    assert!(refused(now, &Change::Remove(ReplicaId(9)), &administrator()).contains("no replica 9"));
    let twice = Change::Add(member(7, replica_secret(2).public()));
    assert!(refused(now, &twice, &administrator()).contains("same key"));
    assert_eq!(ask(&client, now, removal.clone(), &administrator()), None);
    assert!(refused(now, &Change::Remove(ReplicaId(2)), &administrator()).contains("one of epoch 0, which is over"));
    eventually("the replicas are three", || changing.cluster.status(0).members.len() == 3);
}

#[test]
fn one_that_takes_the_place_of_another_does_not_begin_with_its_directory() {
    let mut changing = Changing::start(FaultModel::Byzantine, 4, Durability::Async);
    changing.cluster.stop_replica(1);
    let new = key(50);
    let replace =
        |member: &Member| if member.id == ReplicaId(1) { support::member(1, new.public()) } else { member.clone() };
    let mut config = changing.cluster.configs[1].clone();
    (config.epoch, config.members) = (Epoch(1), config.members.iter().map(replace).collect());
    config.secret = new.clone();
    let refused = Replica::start(&config, Arc::new(KeyValue::new()), Arc::new(Silent)).err();
    assert!(matches!(&refused, Some(StartError::OtherMember { me: ReplicaId(1), .. })), "{refused:?}");
    assert!(refused.expect("it was just there").to_string().contains("empty directory"));
}

#[test]
fn a_replica_that_is_none_any_more_starts_again_and_says_so() {
    for durability in [Durability::Memory, Durability::Async] {
        let mut changing = Changing::start(FaultModel::Byzantine, 4, durability);
        let client = changing.cluster.client(0);
        changing.change(&client, Change::Remove(ReplicaId(2)));
        eventually("it knows", || changing.cluster.status(2).role == Role::Retired);
        changing.cluster.stop_replica(2);
        changing.cluster.start_replica(2, Arc::new(Silent));
        eventually("it knows again", || changing.cluster.status(2).role == Role::Retired);
    }
}
