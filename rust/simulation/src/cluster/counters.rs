//! What happened, counted: a simulator that never loses a message tests no retransmission, so over many runs every one
//! of these has to be above zero.

use std::fmt;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident $text:literal,)*) => {
        /// Something that sometimes happens.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Sometimes { $($(#[$doc])* $name,)* }

        impl Sometimes {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its name, for people.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

counters! {
    /// A client got k equal replies.
    RequestCompleted "requests completed",
    /// A client sent a request again.
    RequestRetried "requests retried",
    /// A client got enough answers to a query that was not ordered.
    ReadCompleted "reads completed",
    /// A client gave up a query that was not ordered.
    ReadGivenUp "reads given up",
    /// A replica did not answer a query, as it did not vote.
    ReadRefused "reads refused",
    /// A replica was too busy for a request.
    Busy "requests refused as busy",
    /// A client opened a session.
    SessionOpened "sessions opened",
    /// A client was told that its session is gone.
    SessionExpired "sessions expired",
    /// A replica told what another one forgot.
    ReplyFromCache "replies from the cache",
    /// A slot was decided.
    SlotDecided "slots decided",
    /// A slot without commands was decided.
    EmptySlotDecided "empty slots decided",
    /// A replica wanted another leader.
    LeaderSuspected "leaders suspected",
    /// A replica wanted another leader, as its link to this one was lost.
    LeaderLost "leaders suspected by a lost link",
    /// A leader gave up its view because it was asked to.
    SteppedDown "leaders that stepped down",
    /// A view after the first got its base at a replica.
    ViewActivated "views activated",
    /// A view got a base other than the empty chain.
    BaseAboveGenesis "bases above the genesis",
    /// A replica asked for entries while its view had no base yet.
    BaseFetched "fetches during a view change",
    /// A replica learned from others what is decided.
    CaughtUp "replicas that lagged and caught up",
    /// A replica lagged behind what others keep.
    BeyondRetention "replicas that lagged too far",
    /// A checkpoint became stable at a replica.
    CheckpointStable "stable checkpoints",
    /// A replica went on from a snapshot of others.
    Installed "snapshots installed",
    /// Nobody had the snapshot that a replica wanted any more.
    TransferFailed "transfers that failed",
    /// The membership changed.
    MembershipChanged "changes of the membership",
    /// A replica entered an epoch by the votes of this one.
    EpochEntered "epochs entered",
    /// A replica was removed, and learned it.
    Retired "replicas that retired",
    /// A replica that was removed came back.
    Returned "replicas that came back to the membership",
    /// A replica that was away learned of several memberships at once.
    HandoversLearned "memberships learned from others",
    /// A replica took several inputs in one step.
    Burst "bursts of inputs",
    /// A message was lost.
    MessageLost "messages lost",
    /// A message came twice.
    MessageDuplicated "messages duplicated",
    /// A message overtook another one.
    MessageReordered "messages reordered",
    /// A connection broke, with all that was under way on it.
    LinkReset "links reset",
    /// A partition ended.
    PartitionHealed "partitions healed",
    /// One that hit one direction only.
    OneWayPartition "one-way partitions",
    /// A replica stood still for a while.
    Paused "replicas paused",
    /// A replica was slow for a while.
    Slowed "replicas slowed",
    /// A replica's clock was set.
    ClockSet "clocks set",
    /// A replica stopped for good.
    Crashed "replicas crashed",
    /// A replica's process was killed and came back.
    Killed "replicas killed and restarted",
    /// A replica's machine lost power and came back.
    PowerCut "power cuts",
    /// A replica came back with an empty disk.
    DiskLost "disks lost",
    /// A replica that remembered nothing learned that the cluster had begun.
    Forgotten "replicas that had forgotten everything",
    /// All machines lost power at once.
    Blackout "blackouts",
    /// A replica went down in the middle of a step.
    Struck "crashes in the middle of a step",
    /// A replica that had forgotten its votes votes again.
    Rejoined "replicas that forgot and rejoined",
    /// A Byzantine replica held a message back.
    Withheld "messages withheld",
    /// A Byzantine replica said something else than it should.
    Tampered "messages tampered with",
    /// A Byzantine replica sent different messages to different replicas where one was due to all.
    Equivocated "equivocations",
    /// A Byzantine replica voted for what it heard others vote for.
    Echoed "votes echoed",
    /// A Byzantine replica sent an old message again.
    Replayed "messages replayed",
    /// A Byzantine replica forwarded requests that no client sent.
    Flooded "floods of forged requests",
    /// The two selves of a Byzantine replica changed sides.
    TwinsRegrouped "twins regrouped",
    /// A Byzantine replica lied to a client.
    LiedToClient "lies to clients",
    /// A correct replica caught another one breaking the protocol.
    MisbehaviourSeen "misbehaviour seen",
    /// A message could not be decoded.
    Undecodable "messages refused by the decoder",
    /// A client sent different requests under one number.
    ClientEquivocated "equivocations of clients",
    /// A faulty client sent something to some replicas only.
    LeftOut "requests kept from a replica",
    /// A faulty client sent something old again.
    ClientReplayed "requests replayed by clients",
    /// A faulty client sent much at a time.
    ClientFlooded "floods of clients",
}

/// How often each thing happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters([u64; Sometimes::ALL.len()]);

impl Default for Counters {
    fn default() -> Self {
        Self([0; Sometimes::ALL.len()])
    }
}

impl Counters {
    /// It happened once more.
    pub fn count(&mut self, what: Sometimes) {
        self.0[what as usize] += 1;
    }

    /// How often it happened.
    pub fn of(&self, what: Sometimes) -> u64 {
        self.0[what as usize]
    }

    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        for (sum, more) in self.0.iter_mut().zip(&other.0) {
            *sum += more;
        }
    }

    /// What never happened.
    pub fn never(&self) -> Vec<Sometimes> {
        Sometimes::ALL.iter().copied().filter(|what| self.of(*what) == 0).collect()
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for what in Sometimes::ALL {
            writeln!(f, "  {:38} {}", what.name(), self.of(*what))?;
        }
        Ok(())
    }
}
