//! Starting and stopping.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use parking_lot::Mutex;
use pssmr_execution::{Executor, Pending, Service};
use pssmr_ordering::Durability;
use pssmr_recording::RecordedCore;
use pssmr_storage::{DataDirectory, MembershipFile, Snapshots};
use pssmr_transport::{AcceptKeys, Transport, TransportConfig};
use pssmr_types::{Digest, Hello, Membership};

use crate::autoscaling::{self, AutoscalingEnd};
use crate::clients::{self, Admission, ClientThread};
use crate::config::ReplicaConfig;
use crate::error::{ConfigError, StartError};
use crate::events::Observer;
use crate::greeting::{CLIENT_ALPN, PEER_ALPN};
use crate::inbox::{ClientInbox, OrderingInbox};
use crate::log::{LogInbox, LogThread};
use crate::ordering::{self, Allowance, Checkpointing, OrderingThread, PeerLinks, clocks};
use crate::past::{Files, recall};
use crate::recording::{self, RecordingInbox, RecordingThread};
use crate::sink::Sink;
use crate::snapshots::{Pace, SnapshotInbox, SnapshotThread, WriterInbox, WriterThread, snapshot_options};
use crate::state::{OrderingState, State};
use crate::status::{Counters, ReplicaStatus};
use crate::step_down::{StepDownError, SteppedDown};
use crate::versions::Code;

/// A running replica. Dropping it stops it.
pub struct Replica {
    peer_address: SocketAddr,
    client_address: SocketAddr,
    agreed_settings: Digest,
    ordering_inbox: Arc<OrderingInbox>,
    client_inbox: Arc<ClientInbox>,
    log_inbox: Option<Arc<LogInbox>>,
    snapshot_inboxes: Option<(Arc<SnapshotInbox>, Arc<WriterInbox>)>,
    recording_inbox: Option<Arc<RecordingInbox>>,
    executor: Arc<Executor>,
    state: Arc<State>,
    autoscaling: Arc<AutoscalingEnd>,
    threads: Mutex<Threads>,
}

#[derive(Default)]
struct Threads {
    ordering: Option<JoinHandle<()>>,
    log: Option<JoinHandle<()>>,
    transfer: Option<JoinHandle<()>>,
    writer: Option<JoinHandle<()>>,
    clients: Option<JoinHandle<()>>,
    autoscaling: Option<JoinHandle<()>>,
    recording: Option<JoinHandle<()>>,
}

impl Replica {
    /// Starts a replica. It returns when both ports are open; the links to other replicas come up behind it.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub fn start(
        config: &ReplicaConfig,
        service: Arc<dyn Service>,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, StartError> {
        let configured = config.check()?;
        let directory = config
            .data_directory
            .as_ref()
            .map(|path| DataDirectory::open(path, config.cluster, config.me))
            .transpose()?;
        let membership_file = directory.as_ref().map(MembershipFile::new);
        let membership = root_membership(config, configured, membership_file.as_ref())?;
        let can_snapshot = match service.can_snapshot() {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, "no checkpoints: the log grows without end, and a replica that lags far can't come back");
                false
            }
        };
        let agreed_settings = config.agreed_settings();
        let hello = Hello::new(config.cluster, agreed_settings, membership.epoch(), membership.digest());

        let peers = Transport::new(peer_transport(config)).map_err(StartError::Peers)?;
        let links = PeerLinks::new(&membership, config.me, config.secret.public(), hello, config.addresses());
        let admission = Admission::new(config.clients.clone());
        let clients = client_transport(config, admission.keys(&membership));
        let clients = Transport::new(clients).map_err(StartError::Clients)?;
        let (peer_address, client_address) = (listening(&peers), listening(&clients));

        let limits = &config.limits;
        let ordering_inbox =
            Arc::new(OrderingInbox::new(limits.queued_requests_max, limits.queued_bytes_max, peers.waker()));
        let client_inbox = Arc::new(ClientInbox::new(clients.waker()));
        let sink = Sink { ordering: Arc::clone(&ordering_inbox), clients: Arc::clone(&client_inbox) };
        let code = Code::new(Arc::clone(&service));
        code.check_first(config.ordering.first_service_version)?;
        let executor =
            Arc::new(Executor::start(service, &config.execution, Arc::new(sink)).map_err(StartError::Thread)?);

        let origin = Instant::now();
        let recording = config.recording.as_ref().map(|config| {
            recording::create(config).map_err(|error| StartError::Recording { file: config.file.clone(), error })
        });
        let recording = recording.transpose()?;
        let recording_inbox = recording.as_ref().map(RecordingThread::inbox);
        let core = RecordedCore::new(
            config.ordering.clone(),
            membership.clone(),
            config.me,
            config.secret.clone(),
            clocks(origin),
            recording.as_ref().map(RecordingThread::tape),
        );
        let core = core.map_err(ConfigError::from)?;
        let shown = OrderingState {
            core: core.status(),
            peers: links.status(&[]),
            counters: Counters::default(),
            transport: peers.counters(),
        };
        let state = Arc::new(State::new(
            config.me,
            membership.clone(),
            hello,
            observer,
            config.ordering.durability,
            code,
            shown,
        ));

        let snapshots = directory.as_ref().map(|directory| Snapshots::open(directory, snapshot_options()));
        let snapshots = snapshots.transpose()?.map(Arc::new);
        let snapshot_inboxes =
            snapshots.as_ref().map(|_| (Arc::new(SnapshotInbox::new()), Arc::<WriterInbox>::default()));
        let checkpointing =
            snapshots.as_ref().zip(snapshot_inboxes.as_ref()).map(|(store, (inbox, writer))| Checkpointing {
                store: Arc::clone(store),
                inbox: Arc::clone(inbox),
                writer: Arc::clone(writer),
                pace: Pace::new(origin),
                is_possible: can_snapshot,
                cached_bytes_per_session_max: limits.cached_bytes_per_session_max,
                allowance: Allowance::new(limits.transfer_bytes_per_second as u64, origin),
            });
        let client_thread = ClientThread::new(clients::Parts {
            hello,
            me: config.me,
            admission,
            payload_bytes_max: config.payload_bytes_max(),
            result_bytes_max: limits.result_bytes_max,
            cached_bytes_per_session_max: limits.cached_bytes_per_session_max,
            ordering: Arc::clone(&ordering_inbox),
            inbox: Arc::clone(&client_inbox),
            snapshots: snapshot_inboxes.as_ref().map(|(_, writer)| Arc::clone(writer)),
            executor: Arc::clone(&executor),
            state: Arc::clone(&state),
            traces: config.traces.clone(),
        });
        let log_inbox = directory.is_some().then(Arc::<LogInbox>::default);
        let mut ordering_thread = OrderingThread::new(ordering::Parts {
            core,
            links,
            executor: Arc::clone(&executor),
            log: log_inbox.clone(),
            checkpointing,
            inbox: Arc::clone(&ordering_inbox),
            clients: Arc::clone(&client_inbox),
            state: Arc::clone(&state),
            limits: config.ordering.limits,
            root: membership,
            membership_file: membership_file
                .filter(|_| can_snapshot && config.ordering.durability == Durability::Memory),
            unexecuted_slots_max: config.ordering.unexecuted_slots_max,
            origin,
            traces: config.traces.clone(),
        });
        let replica = Self {
            peer_address,
            client_address,
            agreed_settings,
            ordering_inbox,
            client_inbox,
            log_inbox: log_inbox.clone(),
            snapshot_inboxes: snapshot_inboxes.clone(),
            recording_inbox: recording_inbox.clone(),
            executor,
            state: Arc::clone(&state),
            autoscaling: Arc::default(),
            threads: Mutex::default(),
        };
        // If one of them can't be started, dropping the replica ends the rest.
        let mut threads = replica.threads.lock();
        let started = || thread::Builder::new();
        if let Some(recording) = recording {
            let state = Arc::clone(&state);
            let thread = started().name("pssmr-record".to_owned()).spawn(move || recording.run(&state));
            threads.recording = Some(thread.map_err(StartError::Thread)?);
        }
        let clients = started().name("pssmr-clients".to_owned()).spawn(move || client_thread.run(clients));
        threads.clients = Some(clients.map_err(StartError::Thread)?);
        if let (Some(directory), Some(inbox), Some(snapshots)) = (directory, log_inbox, snapshots) {
            let Files { log, promises, has_forgotten, images } =
                recall(&directory, config.ordering.durability, &mut ordering_thread)?;
            let (transfer_inbox, writer_inbox) = replica.snapshot_inboxes.clone().expect("there is a directory");
            let writer_thread = WriterThread {
                snapshots: Arc::clone(&snapshots),
                inbox: writer_inbox,
                ordering: Arc::clone(&replica.ordering_inbox),
                state: Arc::clone(&state),
            };
            let writer = started().name("pssmr-write".to_owned()).spawn(move || writer_thread.run());
            threads.writer = Some(writer.map_err(StartError::Thread)?);
            let transfer_thread = SnapshotThread {
                snapshots,
                inbox: Arc::clone(&transfer_inbox),
                ordering: Arc::clone(&replica.ordering_inbox),
                log: log.is_some().then(|| Arc::clone(&inbox)),
                state: Arc::clone(&state),
                me: config.me,
            };
            let transfer = started().name("pssmr-transfer".to_owned()).spawn(move || transfer_thread.run());
            threads.transfer = Some(transfer.map_err(StartError::Thread)?);
            let log_thread = LogThread {
                images,
                snapshots: transfer_inbox,
                log,
                promises,
                has_forgotten,
                durability: config.ordering.durability,
                inbox,
                ordering: Arc::clone(&replica.ordering_inbox),
                state,
            };
            let log = started().name("pssmr-log".to_owned()).spawn(move || log_thread.run());
            threads.log = Some(log.map_err(StartError::Thread)?);
        }
        if let Some(inbox) = &recording_inbox {
            inbox.started();
        }
        if let Some(bounds) = config.worker_bounds {
            let (executor, end) = (Arc::clone(&replica.executor), Arc::clone(&replica.autoscaling));
            let state = Arc::clone(&replica.state);
            let run = move || autoscaling::run(bounds, &executor, &state, &end);
            let thread = started().name("pssmr-scale".to_owned()).spawn(run);
            threads.autoscaling = Some(thread.map_err(StartError::Thread)?);
        }
        let ordering = started().name("pssmr-order".to_owned()).spawn(move || ordering_thread.run(peers));
        threads.ordering = Some(ordering.map_err(StartError::Thread)?);
        drop(threads);
        tracing::info!(replica = %config.me, peers = %peer_address, clients = %client_address, "replica started");
        Ok(replica)
    }

    /// Where it listens for other replicas.
    pub fn peer_address(&self) -> SocketAddr {
        self.peer_address
    }

    /// Where it listens for clients.
    pub fn client_address(&self) -> SocketAddr {
        self.client_address
    }

    /// The digest of the settings that all replicas must agree on, for clients that want to check them.
    pub fn agreed_settings(&self) -> Digest {
        self.agreed_settings
    }

    /// How it is. Some milliseconds old at most.
    pub fn status(&self) -> ReplicaStatus {
        self.state.status(&self.executor, &self.ordering_inbox, &self.client_inbox)
    }

    /// Changes the number of workers, while they work. See [`Executor::resize`]. If the number follows the load, it goes on
    /// from there.
    ///
    /// # Errors
    /// If a thread can't be started: there are as many workers then as could be.
    ///
    /// # Panics
    /// If `workers` is 0.
    pub fn resize_workers(&self, workers: usize) -> io::Result<()> {
        self.executor.resize(workers)?;
        self.state.workers_resized(workers);
        Ok(())
    }

    /// Has the replica, if it leads, give up its view: the others leave it at once, without a time-out, and the next
    /// replica leads. Returns as soon as this one proposes nothing more.
    ///
    /// # Errors
    /// [`StepDownError`]. Only the leader steps down; another replica says who leads.
    pub fn step_down(&self) -> Result<SteppedDown, StepDownError> {
        let answer = self.ordering_inbox.step_downs.add()?;
        self.ordering_inbox.wake();
        // The wish is dropped without an answer only when the thread ends.
        Ok(answer.recv().map_err(|_| StepDownError::Stopped)??)
    }

    /// Why it has stopped for good, if it has.
    pub fn halted(&self) -> Option<String> {
        self.state.halted()
    }

    /// Waits until the replica has stopped for good, and returns why; or `None`, if somebody stopped it.
    pub fn wait(&self) -> Option<String> {
        self.state.wait()
    }

    /// Stops the replica and waits until its threads are gone, its ports closed and its data directory unlocked.
    /// Commands that have begun are finished. May be called twice.
    ///
    /// Never call it while holding what a command needs to finish (a Python thread state, say). From an [`Observer`]
    /// it only begins the end.
    pub fn stop(&self) {
        let Threads { ordering, log, transfer, writer, clients, autoscaling, recording } =
            std::mem::take(&mut *self.threads.lock());
        self.autoscaling.stop();
        join(autoscaling);
        self.ordering_inbox.stop();
        join(ordering);
        if let Some(inbox) = &self.recording_inbox {
            inbox.stop();
        }
        join(recording);
        if let Some(inbox) = &self.log_inbox {
            inbox.stop();
        }
        join(log);
        if let Some((transfer, writer)) = &self.snapshot_inboxes {
            transfer.stop();
            writer.stop();
        }
        join(transfer);
        join(writer);
        self.executor.shutdown(Pending::Drop);
        self.client_inbox.stop();
        join(clients);
        self.state.stopped();
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.stop();
    }
}

fn join(thread: Option<JoinHandle<()>>) {
    if let Some(thread) = thread
        && thread.thread().id() != thread::current().id()
        && thread.join().is_err()
    {
        tracing::error!("a thread of the replica panicked");
    }
}

fn listening(transport: &Transport) -> SocketAddr {
    transport.local_addr().expect("the transport listens")
}

/// The membership that the replica begins with: what its data directory says, or the configuration for the first time.
fn root_membership(
    config: &ReplicaConfig,
    configured: Membership,
    file: Option<&MembershipFile>,
) -> Result<Membership, StartError> {
    let Some(file) = file else { return Ok(configured) };
    let Some(root) = file.read()? else {
        file.write(&configured)?;
        return Ok(configured);
    };
    if root.key(config.me) != Some(&config.secret.public()) {
        let directory = config.data_directory.clone().expect("the file is in it");
        return Err(StartError::OtherMember { directory, me: config.me });
    }
    if root.epoch() != configured.epoch() {
        tracing::info!(
            data = %root.epoch(),
            configuration = %configured.epoch(),
            "the replica goes on with the membership in its data directory, and learns what came after it"
        );
    }
    Ok(root)
}

fn peer_transport(config: &ReplicaConfig) -> TransportConfig {
    let mut transport = TransportConfig::new(config.secret.clone(), PEER_ALPN);
    // The ordering thread says who may connect, before the first one can.
    transport.accept_keys = AcceptKeys::nobody();
    transport.listen = Some(config.listen_peers);
    transport.frame_bytes_max = config.peer_frame_bytes_max();
    transport.send_queue_bytes_max = 4 * config.peer_frame_bytes_max();
    transport.links_per_key_max = 1;
    transport
}

fn client_transport(config: &ReplicaConfig, accept_keys: AcceptKeys) -> TransportConfig {
    let limits = &config.limits;
    let mut transport = TransportConfig::new(config.secret.clone(), CLIENT_ALPN);
    transport.accept_keys = accept_keys;
    transport.listen = Some(config.listen_clients);
    transport.frame_bytes_max = config.client_frame_bytes_max();
    transport.send_queue_bytes_max = limits.client_send_queue_bytes_max;
    transport.links_max = limits.client_links_max;
    transport.links_per_key_max = limits.links_per_client_max;
    transport
}
