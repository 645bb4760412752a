//! What the threads of a replica show of themselves.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use parking_lot::{Condvar, Mutex, RwLock};
use pssmr_execution::Executor;
use pssmr_ordering::{CoreStatus, Durability};
use pssmr_transport::Counters as LinkTotals;
use pssmr_types::{Epoch, Handover, Hello, Membership, ReplicaId};

use crate::events::{Observer, ReplicaEvent};
use crate::inbox::{ClientInbox, OrderingInbox};
use crate::meters::Meters;
use crate::status::{
    ClientsStatus, Counters, ExecutionStatus, HandlerStatus, HistogramStatus, LinkCounters, MemberStatus, PeerStatus,
    ReplicaStatus, Role, TransferStatus, WorkerStatus, hexadecimal,
};
use crate::versions::Code;

/// What the ordering thread shows.
#[derive(Clone, Debug)]
pub(crate) struct OrderingState {
    pub(crate) core: CoreStatus,
    pub(crate) peers: Vec<PeerStatus>,
    pub(crate) counters: Counters,
    pub(crate) transport: LinkTotals,
}

/// What the client thread shows.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientState {
    pub(crate) clients: ClientsStatus,
    pub(crate) counters: Counters,
    pub(crate) transport: LinkTotals,
}

/// Who the replicas are, and how that can be proved.
#[derive(Debug)]
struct Epochs {
    membership: Arc<Membership>,
    handovers: Arc<[Handover]>,
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
    epochs: RwLock<Epochs>,
    hello: Hello,
    started: Instant,
    observer: Arc<dyn Observer>,
    durability: Durability,
    pub(crate) code: Code,
    pub(crate) ordering: Mutex<OrderingState>,
    pub(crate) clients: Mutex<ClientState>,
    pub(crate) meters: Meters,
    /// How far the snapshot is that is being fetched.
    pub(crate) transfer: Mutex<Option<TransferStatus>>,
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
        code: Code,
        ordering: OrderingState,
    ) -> Self {
        Self {
            me,
            epochs: RwLock::new(Epochs { membership: Arc::new(membership), handovers: Arc::new([]) }),
            hello,
            started: Instant::now(),
            observer,
            durability,
            code,
            ordering: Mutex::new(ordering),
            clients: Mutex::default(),
            meters: Meters::default(),
            transfer: Mutex::default(),
            log_error: Mutex::default(),
            life: Mutex::default(),
            life_changed: Condvar::new(),
        }
    }

    pub(crate) fn tell(&self, event: &ReplicaEvent) {
        self.observer.event(event);
    }

    /// There are so many workers from now on.
    pub(crate) fn workers_resized(&self, workers: usize) {
        tracing::info!(workers, "the number of workers was changed");
        self.tell(&ReplicaEvent::WorkersResized { workers });
    }

    /// From now on these are the replicas.
    pub(crate) fn follow(&self, membership: &Membership, handovers: &[Handover]) {
        *self.epochs.write() = Epochs { membership: Arc::new(membership.clone()), handovers: handovers.into() };
    }

    /// The membership in force.
    pub(crate) fn membership(&self) -> Arc<Membership> {
        Arc::clone(&self.epochs.read().membership)
    }

    /// The proofs of the memberships after that of `epoch`; none if the first of them is not known.
    pub(crate) fn handovers_since(&self, epoch: Epoch) -> Vec<Handover> {
        let handovers = &self.epochs.read().handovers;
        // What a client claims to know may be any number.
        let first = handovers.iter().position(|handover| handover.next.epoch().0.checked_sub(1) == Some(epoch.0));
        first.map_or_else(Vec::new, |first| handovers[first..].to_vec())
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

    pub(crate) fn status(&self, executor: &Executor, requests: &OrderingInbox, results: &ClientInbox) -> ReplicaStatus {
        let OrderingState { core, peers, counters, transport } = self.ordering.lock().clone();
        let clients = self.clients.lock().clone();
        let (halted, membership) = (self.halted(), self.membership());
        let stats = executor.stats();
        let service = executor.service_reading();
        let executed = executor.executed().slot.0;
        let role = match &halted {
            Some(_) => Role::Halted,
            None if core.retired => Role::Retired,
            None if core.learner => Role::Learner,
            None if core.leader == self.me => Role::Leader,
            None => Role::Follower,
        };
        let of_clients = clients.counters;
        ReplicaStatus {
            id: self.me.0,
            cluster: self.hello.cluster.to_string(),
            fault_model: membership.quorums().model().as_str(),
            replicas: membership.quorums().replicas(),
            faults: membership.quorums().faults(),
            quorum: membership.quorums().quorum(),
            epoch: core.epoch.0,
            members: membership.members().iter().map(MemberStatus::from).collect(),
            view: core.view.number(),
            leader: core.leader.0,
            role,
            active: core.active,
            decided: core.decided.0,
            digest: hexadecimal(&core.digest.0),
            executed,
            lag: reached(&peers, membership.quorums().weak()).saturating_sub(executed),
            head: core.head.0,
            oldest_kept: core.oldest_kept.0,
            checkpoint: core.checkpoint.0,
            snapshots: self.meters.snapshots.status(),
            transfer: self.transfer.lock().clone(),
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
                pending: executor.pending() as u64,
                scheduler: stats.scheduler_name,
                workers: stats.workers,
                worker: stats.busy.iter().map(|busy| WorkerStatus { busy_ns: busy.as_nanos() as u64 }).collect(),
                interpreter_wait_ns: service.interpreter_wait.as_nanos() as u64,
            },
            service: self.code.status(core.service_version),
            handlers: service.handlers.into_iter().map(HandlerStatus::from).collect(),
            request_ns: HistogramStatus::of(&self.meters.request_ns.read()),
            slot_commands: HistogramStatus::of(&self.meters.slot_commands.read()),
            queued_requests: requests.waiting_requests(),
            queued_results: results.waiting_results(),
            log: self.meters.log.status(),
            peer_links: LinkCounters::from(transport),
            client_links: LinkCounters::from(clients.transport),
            counters: Counters {
                bad_frames: counters.bad_frames + of_clients.bad_frames,
                client_bytes_sent: of_clients.client_bytes_sent,
                client_bytes_received: of_clients.client_bytes_received,
                requests: of_clients.requests,
                requests_refused: of_clients.requests_refused,
                replies: of_clients.replies,
                replies_from_cache: of_clients.replies_from_cache,
                read_replies: of_clients.read_replies,
                reads_refused: of_clients.reads_refused,
                ..counters
            },
            agreed_settings: hexadecimal(&self.hello.agreed_settings.0),
            durability: self.durability.as_str(),
            log_error: self.log_error.lock().clone(),
            halted,
            uptime_ms: self.started.elapsed().as_millis() as u64,
            time_ms: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

/// The last slot that a correct replica has decided, going by what `weak` replicas say, one of whom is correct.
fn reached(peers: &[PeerStatus], weak: usize) -> u64 {
    let mut decided: Vec<_> = peers.iter().filter_map(|peer| peer.decided).collect();
    decided.sort_unstable_by(|a, b| b.cmp(a));
    decided.get(weak - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_than_a_weak_quorum_can_not_make_a_replica_look_late() {
        let peers = |decided: &[Option<u64>]| -> Vec<_> {
            decided.iter().map(|decided| PeerStatus { decided: *decided, ..PeerStatus::default() }).collect()
        };
        let honest_and_a_liar = peers(&[Some(70), Some(u64::MAX), Some(90)]);
        assert_eq!(reached(&honest_and_a_liar, 2), 90);
        assert_eq!(reached(&honest_and_a_liar, 1), u64::MAX, "with crash faults nobody lies");
        assert_eq!(reached(&peers(&[None, Some(70), None]), 2), 0);
        assert_eq!(reached(&[], 1), 0);
    }
}
