//! What the threads of a replica show of themselves.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};
use pssmr_execution::Executor;
use pssmr_ordering::{CoreStatus, Durability};
use pssmr_types::{Hello, Membership, ReplicaId};

use crate::events::{Observer, ReplicaEvent};
use crate::status::{ClientsStatus, Counters, ExecutionStatus, PeerStatus, ReplicaStatus, Role};

/// What the ordering thread shows.
#[derive(Clone, Debug)]
pub(crate) struct OrderingState {
    pub(crate) core: CoreStatus,
    pub(crate) peers: Vec<PeerStatus>,
    pub(crate) counters: Counters,
}

/// What the client thread shows.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientState {
    pub(crate) clients: ClientsStatus,
    pub(crate) counters: Counters,
}

/// Whether the replica runs.
#[derive(Debug, Default)]
struct Life {
    halted: Option<String>,
    stopped: bool,
}

/// What all threads of a replica know of it.
pub(crate) struct State {
    me: ReplicaId,
    membership: Membership,
    hello: Hello,
    started: Instant,
    observer: Arc<dyn Observer>,
    durability: Durability,
    pub(crate) ordering: Mutex<OrderingState>,
    pub(crate) clients: Mutex<ClientState>,
    /// Why the log can't be written at the moment.
    log_error: Mutex<Option<String>>,
    life: Mutex<Life>,
    life_changed: Condvar,
}

impl State {
    pub(crate) fn new(
        me: ReplicaId,
        membership: Membership,
        hello: Hello,
        observer: Arc<dyn Observer>,
        durability: Durability,
        ordering: OrderingState,
    ) -> Self {
        Self {
            me,
            membership,
            hello,
            started: Instant::now(),
            observer,
            durability,
            ordering: Mutex::new(ordering),
            clients: Mutex::default(),
            log_error: Mutex::default(),
            life: Mutex::default(),
            life_changed: Condvar::new(),
        }
    }

    pub(crate) fn tell(&self, event: &ReplicaEvent) {
        self.observer.event(event);
    }

    /// Why the log can't be written, if it can't.
    pub(crate) fn log_error(&self, error: Option<String>) {
        *self.log_error.lock() = error;
    }

    /// The replica has stopped for good.
    pub(crate) fn halt(&self, reason: String) {
        tracing::error!(replica = %self.me, reason, "halted: this replica does nothing more");
        self.life.lock().halted = Some(reason.clone());
        self.life_changed.notify_all();
        self.tell(&ReplicaEvent::Halted { reason });
    }

    pub(crate) fn stopped(&self) {
        self.life.lock().stopped = true;
        self.life_changed.notify_all();
    }

    pub(crate) fn halted(&self) -> Option<String> {
        self.life.lock().halted.clone()
    }

    /// Waits until the replica has halted, and returns why, or was stopped.
    pub(crate) fn wait(&self) -> Option<String> {
        let mut life = self.life.lock();
        self.life_changed.wait_while(&mut life, |life| life.halted.is_none() && !life.stopped);
        life.halted.clone()
    }

    pub(crate) fn status(&self, executor: &Executor) -> ReplicaStatus {
        let OrderingState { core, peers, counters } = self.ordering.lock().clone();
        let clients = self.clients.lock().clone();
        let halted = self.halted();
        let stats = executor.stats();
        let role = match &halted {
            Some(_) => Role::Halted,
            None if core.learner => Role::Learner,
            None if core.leader == self.me => Role::Leader,
            None => Role::Follower,
        };
        let of_clients = clients.counters;
        ReplicaStatus {
            id: self.me.0,
            cluster: self.hello.cluster.to_string(),
            fault_model: self.membership.quorums().model().as_str(),
            replicas: self.membership.quorums().replicas(),
            view: core.view.0,
            leader: core.leader.0,
            role,
            active: core.active,
            decided: core.decided.0,
            digest: hexadecimal(&core.digest.0),
            executed: executor.executed().slot.0,
            head: core.head.0,
            oldest_kept: core.oldest_kept.0,
            position: core.position,
            pending: core.pending,
            sessions: core.sessions,
            peers,
            clients: clients.clients,
            execution: ExecutionStatus {
                submitted: stats.scheduler.submitted,
                completed: stats.scheduler.completed,
                delayed: stats.scheduler.delayed,
                runs: stats.runs,
            },
            counters: Counters {
                bad_frames: counters.bad_frames + of_clients.bad_frames,
                client_bytes_sent: of_clients.client_bytes_sent,
                client_bytes_received: of_clients.client_bytes_received,
                requests: of_clients.requests,
                requests_refused: of_clients.requests_refused,
                replies: of_clients.replies,
                replies_from_cache: of_clients.replies_from_cache,
                ..counters
            },
            agreed_settings: hexadecimal(&self.hello.agreed_settings.0),
            durability: self.durability.as_str(),
            log_error: self.log_error.lock().clone(),
            halted,
            uptime_ms: self.started.elapsed().as_millis() as u64,
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}
