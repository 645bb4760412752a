//! A model checker of the real core: every order of events in a cluster so small that all of them can be tried.
//!
//! # The model
//!
//! A state of the cluster is one local state of each node: a core, and what it has sent. Messages are never taken off the
//! network: each may arrive at any time, any number of times, or never. That is all that an asynchronous network can do,
//! and a replica that crashes is one that hears nothing any more. A node's time-out may fire whenever it waits for
//! something, so many times at most; nothing else depends on time. With a log, a node may also crash and come back, with
//! its last step's records kept or lost (what waits for the disk has not left then).
//!
//! A Byzantine replica is two cores with one key (Twins: Bano et al., OPODIS'21) that got the clients' requests in
//! different orders, and so equivocate in everything that they say. It also votes for whatever anybody votes for, wishes
//! for every view that anybody wishes for, and at a view change says, besides what its cores say, that it knows nothing and
//! what any other one says of itself.
//!
//! # How it is searched
//!
//! Local states are numbered, and a step of a core is taken once for each local state and input, however many states of
//! the cluster have it. A state of the cluster is the numbers of its local states.
//!
//! A node takes messages in *bursts*: the smallest sets of those that can arrive whose arrival makes it say or decide
//! something or change its view. What a node has heard without that, nobody can tell from what is still under way; so no
//! behaviour is lost that another node could see. (It is the reduction by quorum transitions of Bokor et al., DSN'11.)
//!
//! # What is checked
//!
//! Of two correct nodes' decisions one is a prefix of the other's; no correct core halts or panics; what comes back from
//! a log decides again what it had decided.

mod local;
mod network;
mod search;
mod store;

use std::fmt;

use pssmr_types::FaultModel;

pub use search::check;

/// What is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The fault model.
    pub model: FaultModel,
    /// The number of replicas.
    pub replicas: usize,
    /// The replica that is Byzantine, if one is.
    pub byzantine: Option<u16>,
    /// Requests that clients send, one to a slot: at most 3.
    pub slots: u64,
    /// The number of views: nobody's time-out fires in the last one.
    pub views: u64,
    /// How often each node may crash and come back from its log; without a log, if 0.
    pub restarts: u8,
}

impl Setting {
    /// The clusters that are searched, from the smallest on: by name.
    pub const NAMED: [(&'static str, Self); 7] = [
        ("cft3-small", Self::crash(1, 2, 0)),
        ("cft3", Self::crash(2, 3, 0)),
        ("cft3-restarts", Self::crash(1, 2, 1)),
        ("bft4-silent-small", Self::byzantine(None, 1, 2)),
        ("bft4-silent", Self::byzantine(None, 2, 3)),
        ("bft4-leader", Self::byzantine(Some(0), 2, 3)),
        ("bft4-next-leader", Self::byzantine(Some(1), 2, 3)),
    ];

    const fn crash(slots: u64, views: u64, restarts: u8) -> Self {
        Self { model: FaultModel::Crash, replicas: 3, byzantine: None, slots, views, restarts }
    }

    const fn byzantine(byzantine: Option<u16>, slots: u64, views: u64) -> Self {
        Self { model: FaultModel::Byzantine, replicas: 4, byzantine, slots, views, restarts: 0 }
    }

    /// The setting of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMED.into_iter().find(|(known, _)| *known == name).map(|(_, setting)| setting)
    }
}

/// In what order states are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The nearest to the beginning first: a violation is found by one of its shortest ways.
    Breadth,
    /// Ways from the beginning to an end, chosen by the seed, and all that is one step off them: gets deep soon.
    Walks {
        /// Of the choice.
        seed: u64,
    },
}

/// What was searched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Different states of the cluster.
    pub states: u64,
    /// Steps from one of them to another, or back to one that was known.
    pub transitions: u64,
    /// Different states of single nodes.
    pub local_states: u64,
    /// Steps that cores took.
    pub steps: u64,
    /// Different messages.
    pub messages: u64,
    /// The most steps from the beginning to a state that was looked at.
    pub depth: u64,
    /// Whether all states were looked at.
    pub is_complete: bool,
    /// States in which some correct node has decided all slots.
    pub decided: u64,
    /// By view, states in which some correct node decided in it last.
    pub views: [u64; 4],
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = if self.is_complete { "all" } else { "the first" };
        write!(
            f,
            "{all} {} states, {} transitions, depth {}, {} local states, {} steps of cores, {} messages, all slots \
             decided in {} states, views active {:?}",
            self.states,
            self.transitions,
            self.depth,
            self.local_states,
            self.steps,
            self.messages,
            self.decided,
            self.views
        )
    }
}

/// What must not be, and how it came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What is wrong.
    pub what: String,
    /// The steps that lead there.
    pub trace: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, after", self.what)?;
        for (number, step) in self.trace.iter().enumerate() {
            writeln!(f, "{:4} {step}", number + 1)?;
        }
        Ok(())
    }
}
