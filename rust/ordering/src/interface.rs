//! The whole boundary of the core: what comes in, what goes out, and its settings.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pssmr_types::states::WINDOW_MAX;
use pssmr_types::{
    BatchLimits, Certificate, Checkpoint, ClientId, Digest, Epoch, Membership, Operation, Outcome, PeerMessage,
    PublicKey, ReplicaId, Request, Slot, View,
};

use crate::record::Record;
use crate::snapshot::CoreSnapshot;

/// The two clocks, as the caller reads them. The core has none of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Nanoseconds since any fixed instant, never going back. Only differences of it are used.
    pub monotonic: u64,
    /// Nanoseconds since the Unix epoch. Only a leader's proposals and the bound on their skew use it.
    pub wall: u64,
}

/// What a crash of the process or of the machine can take from a replica. *Agreed*: with a log, votes wait for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Nothing is kept. A replica that comes back has forgotten its votes.
    #[default]
    Memory,
    /// The log is written before votes leave, and synced in the background: a crash of the process loses nothing, a
    /// crash of the machine the last moments.
    Async,
    /// The log is synced before votes leave: no crash loses anything.
    Sync,
}

impl Durability {
    /// Its name in configurations.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Async => "async",
            Self::Sync => "sync",
        }
    }

    /// The durability of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Memory, Self::Async, Self::Sync].into_iter().find(|durability| durability.as_str() == name)
    }
}

/// Settings of the core. Those marked *agreed* must be the same at every replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What survives a crash. *Agreed*.
    pub durability: Durability,
    /// W: how many slots may be in flight, 1 to 128. *Agreed*.
    pub window: usize,
    /// Bounds on batches. *Agreed*.
    pub limits: BatchLimits,
    /// How long a request may wait without any slot being decided before the leader is suspected.
    pub request_timeout: Duration,
    /// The most that the time-out grows to while views pass without progress.
    pub request_timeout_max: Duration,
    /// How often a replica says where it is.
    pub heartbeat_interval: Duration,
    /// How long an unanswered message waits before it is sent again.
    pub retransmit_interval: Duration,
    /// How far ahead of this replica's clock a leader's timestamp may be.
    pub clock_skew_max: Duration,
    /// Most sessions that one client key can have open; opening another one evicts the least recently used. *Agreed*.
    pub sessions_per_client_max: usize,
    /// Most requests that wait to be decided.
    pub pending_requests_max: usize,
    /// Most bytes of requests that wait to be decided.
    pub pending_bytes_max: usize,
    /// Most slots that are decided but not yet executed before this replica takes no more proposals.
    pub unexecuted_slots_max: usize,
    /// A checkpoint is taken when so many slots were decided since the last one. *Agreed*.
    pub checkpoint_slots: u64,
    /// A checkpoint is taken when so many bytes of batches were decided since the last one. *Agreed*.
    pub checkpoint_bytes: u64,
    /// Most decided slots that are kept for replicas that lag.
    pub retained_slots_max: usize,
    /// Most bytes of decided batches that are kept for replicas that lag.
    pub retained_bytes_max: usize,
    /// The key that signs changes of the membership and upgrades of the service; without one there are none. *Agreed*.
    pub administrator: Option<PublicKey>,
    /// The version of the service that a new cluster begins with, from 1 on. *Agreed*.
    pub first_service_version: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            window: 16,
            limits: BatchLimits::default(),
            request_timeout: Duration::from_millis(500),
            request_timeout_max: Duration::from_secs(30),
            heartbeat_interval: Duration::from_millis(250),
            retransmit_interval: Duration::from_millis(100),
            clock_skew_max: Duration::from_secs(10),
            sessions_per_client_max: 1024,
            pending_requests_max: 100_000,
            pending_bytes_max: 256 << 20,
            unexecuted_slots_max: 256,
            checkpoint_slots: 50_000,
            checkpoint_bytes: 32 << 20,
            retained_slots_max: 100_000,
            retained_bytes_max: 64 << 20,
            administrator: None,
            first_service_version: 1,
        }
    }
}

/// A setting that can't be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}: {expected}")]
pub struct ConfigError {
    /// The setting.
    pub field: &'static str,
    /// Its value.
    pub value: u128,
    /// What it has to be.
    pub expected: &'static str,
}

impl Config {
    /// Checks every setting.
    ///
    /// # Errors
    /// The first setting that can't be, with what it has to be.
    pub fn check(&self) -> Result<(), ConfigError> {
        let is = |ok: bool, field, value: u128, expected| {
            if ok { Ok(()) } else { Err(ConfigError { field, value, expected }) }
        };
        let size = |value: usize| value as u128;
        is((1..=WINDOW_MAX / 2).contains(&self.window), "window", size(self.window), "1 to 128 slots")?;
        is(
            (1..=BatchLimits::WIDEST.requests_max).contains(&self.limits.requests_max),
            "batch_requests_max",
            size(self.limits.requests_max),
            "1 to 65536 requests",
        )?;
        is(
            (1024..=BatchLimits::WIDEST.bytes_max).contains(&self.limits.bytes_max),
            "batch_bytes_max",
            size(self.limits.bytes_max),
            "1 KiB to 64 MiB",
        )?;
        let millis = |d: Duration| d.as_millis();
        is(
            (10..=600_000).contains(&millis(self.request_timeout)),
            "request_timeout_ms",
            millis(self.request_timeout),
            "10 to 600000 ms",
        )?;
        is(
            self.request_timeout_max >= self.request_timeout,
            "request_timeout_max_ms",
            millis(self.request_timeout_max),
            "not below request_timeout_ms",
        )?;
        is(
            millis(self.heartbeat_interval) >= 10,
            "heartbeat_interval_ms",
            millis(self.heartbeat_interval),
            "10 ms or more",
        )?;
        is(
            millis(self.retransmit_interval) >= 5,
            "retransmit_interval_ms",
            millis(self.retransmit_interval),
            "5 ms or more",
        )?;
        is(
            (1..=1 << 20).contains(&self.sessions_per_client_max),
            "sessions_per_client_max",
            size(self.sessions_per_client_max),
            "1 to 1048576 sessions",
        )?;
        is(self.pending_requests_max >= 1, "pending_requests_max", size(self.pending_requests_max), "1 or more")?;
        is(
            self.pending_bytes_max >= self.limits.bytes_max,
            "pending_bytes_max",
            size(self.pending_bytes_max),
            "not below batch_bytes_max",
        )?;
        is(self.first_service_version >= 1, "first_service_version", self.first_service_version.into(), "1 or more")?;
        is(self.unexecuted_slots_max >= 1, "unexecuted_slots_max", size(self.unexecuted_slots_max), "1 or more")?;
        is(
            self.retained_slots_max >= 2 * self.window,
            "retained_slots_max",
            size(self.retained_slots_max),
            "two windows or more",
        )?;
        // A replica that is given a snapshot needs the slots above it, so those since the last checkpoint but one are kept.
        is(self.checkpoint_slots >= 1, "checkpoint_slots", self.checkpoint_slots.into(), "1 or more")?;
        is(
            self.checkpoint_slots.saturating_mul(2) <= self.retained_slots_max as u64,
            "checkpoint_slots",
            self.checkpoint_slots.into(),
            "at most half of retained_slots_max",
        )?;
        is(self.checkpoint_bytes >= 1, "checkpoint_bytes", self.checkpoint_bytes.into(), "1 or more")?;
        is(
            self.checkpoint_bytes.saturating_mul(2) <= self.retained_bytes_max as u64,
            "checkpoint_bytes",
            self.checkpoint_bytes.into(),
            "at most half of retained_bytes_max",
        )
    }
}

/// How far a replica may vote: what it can have forgotten, when it comes back and its log does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    /// It votes in no view above.
    pub view: View,
    /// It votes for no slot above.
    pub slot_limit: Slot,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A message from the replica that the link proves.
    Message {
        /// The sender.
        from: ReplicaId,
        /// The epoch that the message is bound to.
        epoch: Epoch,
        /// The message.
        message: PeerMessage,
    },
    /// A request from the client's own link.
    Request(Request),
    /// Execution of every slot up to this one has ended.
    Executed(Slot),
    /// So many of the records handed out by [`Effect::Persist`] since the start are kept: written, or synced, as
    /// [`Config::durability`] asks.
    Durable(u64),
    /// This promise is durable.
    Promised(Promise),
    /// Whether more records wait to be kept than the host has room for (its disk is full, say): no slot is taken meanwhile.
    LogBehind(bool),
    /// The link to this replica is up (again).
    Connected(ReplicaId),
    /// The link to this replica was up, and is lost: its process has ended, or either side or the network has broken the
    /// connection. A hint, which costs nothing but a view change if it is wrong, and a time-out if it does not come.
    Disconnected(ReplicaId),
    /// The snapshot of an [`Effect::Checkpoint`] is durable.
    CheckpointTaken(Checkpoint),
    /// What [`Effect::Transfer`] asked for is here and durable: its part of ordering.
    Transferred(Box<CoreSnapshot>),
    /// Nobody has what [`Effect::Transfer`] asked for.
    TransferFailed,
    /// The operator wants this replica, the leader, to give up its view. Answered with [`Effect::SteppedDown`].
    StepDown,
    /// Nothing but time.
    Tick,
}

/// Something to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Make this promise durable, and answer with [`Input::Promised`]. Only asked of a host that gave the core one.
    Promise(Promise),
    /// Append to the log. Never with [`Durability::Memory`].
    Persist(Record),
    /// Send to one replica, never to oneself.
    Send {
        /// The receiver.
        to: ReplicaId,
        /// The message.
        message: PeerMessage,
    },
    /// Send to every other replica.
    Broadcast(PeerMessage),
    /// Execute a slot. Slots come in order, each once.
    Deliver(Delivery),
    /// Tell a client what became of its request. Results of commands don't come this way, but from execution.
    Reply {
        /// The client's session.
        client: ClientId,
        /// The request's sequence.
        sequence: u64,
        /// What became of it.
        outcome: Outcome,
    },
    /// The session is gone: its cached replies can go too.
    SessionEvicted(ClientId),
    /// Take a snapshot of the state after exactly this slot, the one delivered last, make it durable, and answer with
    /// [`Input::CheckpointTaken`]. A host that can't take one leaves it; one that can't take all takes those whose number
    /// is a multiple of a power of two, so that hosts that can take different shares still have some in common.
    Checkpoint {
        /// Ordering's part of it.
        snapshot: Arc<CoreSnapshot>,
        /// A client has asked for it.
        is_asked: bool,
    },
    /// The checkpoint is stable, and its snapshot is this replica's own: the log before its [`Record::Image`] can go, and
    /// older snapshots once it has gone.
    Stable(Certificate),
    /// Fetch this snapshot from other replicas, and answer with [`Input::Transferred`] or [`Input::TransferFailed`].
    Transfer(Certificate),
    /// Replace the application's state and the cached replies by those of this snapshot, before anything that follows.
    Install(Slot),
    /// From here on messages are bound to this membership's epoch, and broadcasts go to its replicas.
    Reconfigured(Box<Membership>),
    /// What became of an [`Input::StepDown`]: the view that the replica asks the others to leave for, or why it does not.
    SteppedDown(Result<View, StepDownRefusal>),
    /// Something of interest to an operator.
    Event(Event),
    /// Stop for good: going on could break what replicas promise. Says why.
    Halt(String),
}

/// Why a replica does not step down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepDownRefusal {
    /// Another one leads.
    #[error("it does not lead: {leader} does")]
    NotLeading {
        /// The leader of the view that the replica is in.
        leader: ReplicaId,
    },
    /// It leads a view that has not begun, or is on its way out of it, or does not vote yet.
    #[error("it does not lead now: a view change is under way, or it does not vote yet")]
    NotNow,
    /// There is nobody else to lead.
    #[error("it is the only replica")]
    Alone,
}

/// Something of interest to an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The replica asks for a new leader.
    LeaderSuspected {
        /// The view asked for.
        view: View,
        /// The link to the leader is lost; if not, it does not do its work.
        is_lost: bool,
    },
    /// The replica gives up its view, as its operator wants, and asks for this one.
    SteppingDown {
        /// The view asked for.
        view: View,
    },
    /// The replica left for this view.
    ViewEntered {
        /// The view.
        view: View,
        /// Its leader.
        leader: ReplicaId,
    },
    /// The view has its base, and ordering goes on.
    ViewActive {
        /// The view.
        view: View,
        /// Its leader.
        leader: ReplicaId,
        /// The base.
        base: Slot,
    },
    /// The replica lags and fetches decided slots.
    CatchingUp {
        /// The last slot it decided.
        decided: Slot,
        /// The slot that others have decided.
        target: Slot,
    },
    /// The replica lags behind what others keep: it can't catch up slot by slot.
    BeyondRetention {
        /// The last slot it decided.
        decided: Slot,
        /// The oldest slot that a peer keeps.
        oldest: Slot,
    },
    /// Enough replicas have found the same state after this slot.
    CheckpointStable {
        /// The slot.
        slot: Slot,
    },
    /// The replica lags behind what others keep, and fetches a snapshot.
    Transferring {
        /// The snapshot's slot.
        slot: Slot,
    },
    /// The replica goes on from a snapshot of others.
    Installed {
        /// The snapshot's slot.
        slot: Slot,
    },
    /// The membership has changed.
    EpochEntered {
        /// The epoch.
        epoch: Epoch,
        /// The slot that it begins after.
        slot: Slot,
    },
    /// The replica is not one of the membership any more: it can be stopped for good.
    Retired {
        /// The epoch without it.
        epoch: Epoch,
    },
    /// The replica remembers nothing, but the cluster has begun before: it may have voted, and follows until that is settled.
    Forgotten {
        /// The slot from which on it can't have voted.
        bound: Slot,
    },
    /// A replica that had forgotten what it promised votes again, from this slot on.
    Rejoined {
        /// The slot.
        slot: Slot,
    },
    /// A replica broke the protocol.
    Misbehaviour {
        /// The replica.
        replica: ReplicaId,
        /// What it did.
        what: &'static str,
    },
}

/// A decided slot, to execute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The slot.
    pub slot: Slot,
    /// The chain digest there; also the slot's agreed seed.
    pub digest: Digest,
    /// The agreed time, in nanoseconds since the Unix epoch; never goes back from slot to slot.
    pub timestamp: u64,
    /// What to execute, in order. Requests executed before are not among them.
    pub commands: Vec<Command>,
}

/// One command to execute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The position in the total order: each command has its own, ascending. Session openings have positions too.
    pub position: u64,
    /// Whose it is.
    pub client: ClientId,
    /// Its sequence in the session.
    pub sequence: u64,
    /// Replies to the session's sequences below this are no longer wanted.
    pub acknowledged: u64,
    /// A command, a state digest or a checkpoint, which is answered as a state digest, a change of the membership, or an
    /// upgrade; never the opening of a session.
    pub operation: Operation,
    /// The version of the service that is in force for it; of an upgrade that is made, the one that it is to.
    pub version: u32,
    /// The argument; of a change of the membership and of an upgrade, the result: empty if it is made, and else why not.
    pub payload: Bytes,
}
