//! What a replica is told when it is started.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use pssmr_execution::{ExecutorConfig, WorkerBounds};
use pssmr_ordering::{Config as OrderingConfig, Durability};
use pssmr_transport::AcceptKeys;
use pssmr_types::{ClusterId, Digest, Epoch, FaultModel, Member, Membership, PublicKey, ReplicaId, SecretKey, Writer};

use crate::error::ConfigError;
use crate::recording::RecordingConfig;
use crate::traces::Traces;

/// What a request takes in a batch beside its payload, at most.
const REQUEST_OVERHEAD_BYTES: usize = 64;

/// Bounds of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest result of a command, in bytes. A longer one becomes a failure of its handler. *Agreed*.
    pub result_bytes_max: usize,
    /// Most requests on their way from the clients' links to ordering.
    pub queued_requests_max: usize,
    /// Most bytes of them.
    pub queued_bytes_max: usize,
    /// Most clients' links.
    pub client_links_max: usize,
    /// Most links of one client key.
    pub links_per_client_max: usize,
    /// Most bytes that wait to be sent to one client.
    pub client_send_queue_bytes_max: usize,
    /// Most bytes of cached results per session; with the number of sessions, it bounds the cache. A retry of a command
    /// whose result had no room any more gets no answer. *Agreed*: cached results are a part of snapshots.
    pub cached_bytes_per_session_max: usize,
    /// Most bytes a second that this replica sends of snapshots to replicas that lag, all together.
    pub transfer_bytes_per_second: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            result_bytes_max: 8 << 20,
            queued_requests_max: 65_536,
            queued_bytes_max: 64 << 20,
            client_links_max: 4096,
            links_per_client_max: 64,
            client_send_queue_bytes_max: 64 << 20,
            cached_bytes_per_session_max: 4 << 20,
            transfer_bytes_per_second: 64 << 20,
        }
    }
}

/// What a replica is. Settings marked *agreed* must be the same at every replica; replicas compare them when they
/// connect.
#[derive(Clone, Debug)]
pub struct ReplicaConfig {
    /// The cluster. *Agreed*.
    pub cluster: ClusterId,
    /// What replicas may do. *Agreed*.
    pub model: FaultModel,
    /// The epoch of `members`. Above 0, this replica joins a cluster that has run before.
    pub epoch: Epoch,
    /// The replicas, by seniority: at epoch 0 in any order that is the same everywhere. Replicas of one epoch compare them
    /// when they connect. One that has run before goes on with what its data directory says, and learns the rest.
    pub members: Vec<Member>,
    /// Where replicas are reached, by key, if not where their membership says.
    pub peer_addresses: HashMap<PublicKey, String>,
    /// Which of them this one is.
    pub me: ReplicaId,
    /// This replica's key.
    pub secret: SecretKey,
    /// Where to listen for other replicas. Port 0 takes a free port.
    pub listen_peers: SocketAddr,
    /// Where to listen for clients. Port 0 takes a free port.
    pub listen_clients: SocketAddr,
    /// The keys of the clients.
    pub clients: AcceptKeys,
    /// Settings of ordering, some *agreed*.
    pub ordering: OrderingConfig,
    /// How to execute.
    pub execution: ExecutorConfig,
    /// Between how many and how many workers there are, if their number is to follow the load.
    pub worker_bounds: Option<WorkerBounds>,
    /// The digest of what the service's commands are and mean in the version that a new cluster begins with. *Agreed*.
    pub service_schema: Digest,
    /// Where the replica keeps its log and its promises. Without it durability can only be `memory`, and a replica that is
    /// started again must have another key.
    pub data_directory: Option<PathBuf>,
    /// Where what ordering is told is recorded; `None` if it is not. It has the clients' requests in the clear.
    pub recording: Option<RecordingConfig>,
    /// Bounds.
    pub limits: Limits,
    /// Where the traces of requests are looked at; `None` if nobody does.
    pub traces: Option<Arc<Traces>>,
}

impl ReplicaConfig {
    /// A replica with default settings that listens on free ports of this machine alone.
    pub fn new(cluster: ClusterId, model: FaultModel, members: Vec<Member>, me: ReplicaId, secret: SecretKey) -> Self {
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            cluster,
            model,
            epoch: Epoch(0),
            members,
            peer_addresses: HashMap::new(),
            me,
            secret,
            listen_peers: local,
            listen_clients: local,
            clients: AcceptKeys::nobody(),
            ordering: OrderingConfig::default(),
            execution: ExecutorConfig::default(),
            worker_bounds: None,
            service_schema: Digest::default(),
            data_directory: None,
            recording: None,
            traces: None,
            limits: Limits::default(),
        }
    }

    /// The digest of all settings that must be the same at every replica, in every epoch.
    pub fn agreed_settings(&self) -> Digest {
        let mut bytes = Vec::new();
        bytes.put(&self.cluster.0);
        bytes.put_bytes(self.model.as_str().as_bytes());
        let ordering = &self.ordering;
        for setting in [
            ordering.window,
            ordering.limits.requests_max,
            ordering.limits.bytes_max,
            ordering.sessions_per_client_max,
            self.limits.result_bytes_max,
            self.limits.cached_bytes_per_session_max,
        ] {
            bytes.put_u64(setting as u64);
        }
        bytes.put_u64(ordering.checkpoint_slots);
        bytes.put_u64(ordering.checkpoint_bytes);
        bytes.put_bytes(ordering.durability.as_str().as_bytes());
        bytes.put_u8(u8::from(ordering.administrator.is_some()));
        if let Some(administrator) = &ordering.administrator {
            bytes.put(administrator.as_bytes());
        }
        bytes.put_digest(&self.service_schema);
        // Only where it says something: replicas that know of no versions agree with those that begin with the first.
        if ordering.first_service_version > 1 {
            bytes.put_u32(ordering.first_service_version);
        }
        Digest::of("pssmr agreed settings 1", &bytes)
    }

    /// Where replicas are reached, by key, if not where their membership says. That one's addresses are those of the time when
    /// it was agreed on.
    pub(crate) fn addresses(&self) -> HashMap<PublicKey, String> {
        let configured = self.members.iter().map(|member| (member.key, member.peer_address.clone()));
        configured.chain(self.peer_addresses.clone()).filter(|(_, address)| !address.is_empty()).collect()
    }

    /// The longest payload of a request, in bytes: what fits into a batch of its own.
    pub fn payload_bytes_max(&self) -> usize {
        self.ordering.limits.bytes_max.saturating_sub(REQUEST_OVERHEAD_BYTES)
    }

    /// Checks every setting, and gives the membership.
    ///
    /// # Errors
    /// The first setting that can't be, with what it has to be.
    pub fn check(&self) -> Result<Membership, ConfigError> {
        let membership = Membership::of(self.cluster, self.epoch, self.model, self.members.clone())?;
        match membership.key(self.me) {
            None => {
                let ids = membership.replicas().map(|id| id.to_string()).collect::<Vec<_>>().join(", ");
                return Err(ConfigError::NoSuchReplica { me: self.me, ids });
            }
            Some(key) if *key != self.secret.public() => {
                return Err(ConfigError::OtherKey { me: self.me, expected: *key, got: self.secret.public() });
            }
            Some(_) => {}
        }
        if let AcceptKeys::Only(keys) = &self.clients {
            let mut principals = HashMap::new();
            for key in keys {
                if let Some(other) = principals.insert(key.principal(), *key) {
                    return Err(ConfigError::SamePrincipal(other, *key));
                }
            }
        }
        self.ordering.check()?;
        if self.ordering.durability != Durability::Memory && self.data_directory.is_none() {
            return Err(ConfigError::NoDataDirectory { durability: self.ordering.durability.as_str() });
        }
        let limits = &self.limits;
        for (field, value, least) in [
            ("workers", self.execution.workers, self.worker_bounds.map_or(1, |bounds| bounds.min.max(1))),
            ("workers_max", self.worker_bounds.map_or(usize::MAX, |bounds| bounds.max), self.execution.workers),
            ("run_length_max", self.execution.run_length_max, 1),
            ("result_bytes_max", limits.result_bytes_max, 64),
            ("queued_requests_max", limits.queued_requests_max, 1),
            ("queued_bytes_max", limits.queued_bytes_max, self.ordering.limits.bytes_max),
            ("client_links_max", limits.client_links_max, 1),
            ("links_per_client_max", limits.links_per_client_max, 1),
            ("transfer_bytes_per_second", limits.transfer_bytes_per_second, 1 << 20),
            ("client_send_queue_bytes_max", limits.client_send_queue_bytes_max, self.client_frame_bytes_max() + 4),
        ] {
            if value < least {
                return Err(ConfigError::TooSmall { field, value, least });
            }
        }
        Ok(membership)
    }

    /// The longest frame on a client's link.
    pub(crate) fn client_frame_bytes_max(&self) -> usize {
        self.ordering.limits.bytes_max.max(self.limits.result_bytes_max) + (4 << 20)
    }

    /// The longest frame between replicas: a batch, or the proof of a view's base.
    pub(crate) fn peer_frame_bytes_max(&self) -> usize {
        (self.ordering.limits.bytes_max + (1 << 20)).max(64 << 20)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> ReplicaConfig {
        let key = |i| SecretKey::from_seed([i; 32]);
        let member = |i: u8| Member {
            id: ReplicaId(i.into()),
            key: key(i).public(),
            peer_address: String::new(),
            client_address: String::new(),
        };
        let members = (0..4).map(member).collect();
        ReplicaConfig::new(ClusterId([1; 16]), FaultModel::Byzantine, members, ReplicaId(2), key(2))
    }

    #[test]
    fn every_agreed_setting_changes_the_digest_and_no_other_does() {
        let base = config().agreed_settings();
        let change = |change: fn(&mut ReplicaConfig)| {
            let mut config = config();
            change(&mut config);
            config.agreed_settings()
        };
        for changed in [
            change(|c| c.cluster = ClusterId([2; 16])),
            change(|c| c.model = FaultModel::Crash),
            change(|c| c.ordering.window += 1),
            change(|c| c.ordering.durability = Durability::Sync),
            change(|c| c.ordering.limits.requests_max += 1),
            change(|c| c.ordering.limits.bytes_max += 1),
            change(|c| c.ordering.sessions_per_client_max += 1),
            change(|c| c.limits.result_bytes_max += 1),
            change(|c| c.limits.cached_bytes_per_session_max += 1),
            change(|c| c.ordering.checkpoint_slots += 1),
            change(|c| c.ordering.checkpoint_bytes += 1),
            change(|c| c.ordering.administrator = Some(SecretKey::from_seed([9; 32]).public())),
            change(|c| c.service_schema = Digest([9; 32])),
            change(|c| c.ordering.first_service_version += 1),
        ] {
            assert_ne!(changed, base);
        }
        for same in [
            change(|c| c.me = ReplicaId(0)),
            change(|c| c.members.truncate(3)),
            change(|c| c.epoch = Epoch(1)),
            change(|c| c.execution.workers += 1),
            change(|c| c.clients = AcceptKeys::Any),
        ] {
            assert_eq!(same, base);
        }
    }

    #[test]
    fn a_replica_needs_its_own_key() {
        let mut other = config();
        other.me = ReplicaId(1);
        assert!(matches!(other.check(), Err(ConfigError::OtherKey { me: ReplicaId(1), .. })));
        other.me = ReplicaId(4);
        assert!(matches!(other.check(), Err(ConfigError::NoSuchReplica { .. })));
        assert!(config().check().is_ok());
    }

    #[test]
    fn a_setting_that_cannot_be_is_named() {
        let mut config = config();
        config.limits.queued_requests_max = 0;
        let refused = config.check().unwrap_err();
        assert_eq!(refused, ConfigError::TooSmall { field: "queued_requests_max", value: 0, least: 1 });
    }
}
