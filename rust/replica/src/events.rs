//! What an operator may want to know when it happens.

use serde::Serialize;

/// Something that happened at a replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ReplicaEvent {
    /// The replica asks for a new leader, in this view.
    LeaderSuspected {
        /// The view, counted from 0 in each epoch.
        view: u64,
        /// The link to the leader is lost; if not, it does not do its work.
        is_lost: bool,
    },
    /// The replica, the leader, gives up its view because it was asked to, and asks for this one.
    SteppingDown {
        /// The view asked for, counted from 0 in each epoch.
        view: u64,
    },
    /// The replica left for this view.
    ViewEntered {
        /// The view.
        view: u64,
        /// Its leader.
        leader: u16,
    },
    /// Ordering goes on in this view.
    ViewActive {
        /// The view.
        view: u64,
        /// Its leader.
        leader: u16,
    },
    /// The membership has changed. Views count from 0 again.
    EpochEntered {
        /// The epoch.
        epoch: u64,
        /// The slot that it begins after.
        slot: u64,
        /// The replicas, ascending.
        replicas: Vec<u16>,
    },
    /// The service has gone over to a later version.
    ServiceUpgraded {
        /// The version that is in force.
        version: u32,
        /// The slot that it begins in.
        slot: u64,
    },
    /// The replica is not one of the membership any more: it can be stopped for good.
    Retired {
        /// The epoch without it.
        epoch: u64,
    },
    /// The replica lags and fetches decided slots.
    CatchingUp {
        /// The last slot it decided.
        decided: u64,
        /// The slot that others have decided.
        target: u64,
    },
    /// The replica lags behind what others keep: it can't catch up slot by slot.
    BeyondRetention {
        /// The last slot it decided.
        decided: u64,
        /// The oldest slot that others keep.
        oldest: u64,
    },
    /// The replica has nothing, but the cluster has begun before: it follows, and votes when what is decided is beyond all that
    /// it can have voted for.
    Forgotten {
        /// The slot from which on it can't have voted.
        slot: u64,
    },
    /// The replica had forgotten what it promised, and votes again from this slot on.
    Rejoined {
        /// The slot.
        slot: u64,
    },
    /// Enough replicas have found the same state after this slot: the log before it is not needed any more.
    CheckpointStable {
        /// The slot.
        slot: u64,
    },
    /// A snapshot could not be written: the log is not cut off there.
    SnapshotFailed {
        /// The slot.
        slot: u64,
        /// Why.
        reason: String,
    },
    /// The replica fetches a snapshot from others.
    Transferring {
        /// Its slot.
        slot: u64,
    },
    /// The replica goes on from a snapshot of others.
    Installed {
        /// Its slot.
        slot: u64,
    },
    /// Another replica broke the protocol.
    Misbehaviour {
        /// The replica.
        replica: u16,
        /// What it did.
        what: &'static str,
    },
    /// The link to another replica is up.
    PeerUp {
        /// The replica.
        replica: u16,
    },
    /// The link to another replica is down.
    PeerDown {
        /// The replica.
        replica: u16,
        /// Why.
        reason: String,
    },
    /// The disk is full: the replica does not vote until there is room.
    DiskFull {
        /// What the system refused.
        reason: String,
    },
    /// There is room on the disk again.
    DiskHasRoom,
    /// Nothing more is recorded of what ordering is told.
    RecordingEnded {
        /// Why.
        reason: String,
    },
    /// There are so many workers from now on.
    WorkersResized {
        /// How many.
        workers: usize,
    },
    /// The replica has stopped for good.
    Halted {
        /// Why.
        reason: String,
    },
}

/// Who is told. Called on the replica's threads: it must return soon, and must not wait for the replica.
pub trait Observer: Send + Sync + 'static {
    /// Something happened.
    fn event(&self, event: &ReplicaEvent);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _event: &ReplicaEvent) {}
}

impl<F: Fn(&ReplicaEvent) + Send + Sync + 'static> Observer for F {
    fn event(&self, event: &ReplicaEvent) {
        self(event);
    }
}
