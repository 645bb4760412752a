//! Faults of machines and of the network, that come and go. Those of Byzantine replicas are in `adversary`.

use pssmr_types::ReplicaId;

use super::profile::{MILLISECOND, SECOND};
use crate::random::Random;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FaultKind {
    /// Some links carry nothing.
    Partition,
    /// A replica takes nothing in for a while, and then everything at once.
    Pause,
    /// A replica takes long for each step.
    Slow,
    /// A connection breaks and comes back.
    Reset,
    /// A clock is set.
    Clock,
    /// Byzantine replicas change their minds.
    Regroup,
    /// An operator wants another leader.
    StepDown,
    /// A replica's process is killed, and started again.
    Kill,
    /// A machine loses its power, and comes back.
    PowerCut,
    /// A replica loses its disk, and is started again with an empty one.
    DiskLoss,
    /// All of them do, at once.
    Blackout,
}

impl FaultKind {
    /// Those that take nothing from a replica that it has to remember.
    pub(super) const MILD: [Self; 7] =
        [Self::Partition, Self::Pause, Self::Slow, Self::Reset, Self::Clock, Self::Regroup, Self::StepDown];
}

/// A fault that is going to happen.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// One of a kind that comes again and again, on the average after `mean`.
    Recurring { kind: FaultKind, mean: u64 },
    /// A host stops for good.
    Crash { host: usize },
}

/// The time to the next fault of a kind.
pub(super) fn interval(random: &mut Random, mean: u64) -> u64 {
    random.between(mean / 4, 2 * mean)
}

/// How long a fault lasts.
pub(super) fn duration(random: &mut Random) -> u64 {
    random.magnitude(20 * MILLISECOND, 3 * SECOND)
}

/// Which directions a partition blocks.
pub(super) struct Partition {
    pub(super) blocked: Vec<(ReplicaId, ReplicaId)>,
    /// Some pair can talk one way only.
    pub(super) one_way: bool,
}

impl Partition {
    /// Draws one: a replica cut off, two sides, one side unheard by the other, or holes anywhere.
    pub(super) fn new(random: &mut Random, replicas: usize) -> Self {
        let ids = || (0..replicas as u16).map(ReplicaId);
        let shape = random.below(4);
        let one_way = random.chance(1, 3);
        let alone = ReplicaId(random.below(replicas as u64) as u16);
        let sides: Vec<bool> = ids().map(|id| if shape == 0 { id == alone } else { random.chance(1, 2) }).collect();
        let mut blocked = Vec::new();
        for from in ids() {
            for to in ids().filter(|to| *to != from) {
                let is_blocked = match shape {
                    0..=2 if one_way => sides[from.index()] && !sides[to.index()],
                    0..=2 => sides[from.index()] != sides[to.index()],
                    _ => random.chance(1, 4),
                };
                if is_blocked {
                    blocked.push((from, to));
                }
            }
        }
        let one_way = blocked.iter().any(|(from, to)| !blocked.contains(&(*to, *from)));
        Self { blocked, one_way }
    }
}
