//! All thresholds, from one place.

/// What a faulty replica may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultModel {
    /// It stops (`cft`, n ≥ 2f + 1).
    Crash,
    /// It does anything at all (`bft`, n ≥ 3f + 1).
    Byzantine,
}

impl FaultModel {
    /// The configuration's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Crash => "cft",
            Self::Byzantine => "bft",
        }
    }
}

/// The number of replicas and every threshold that follows from it. Nothing else in the workspace computes one.
///
/// Only crashes: f = ⌊(n − 1)/2⌋, a quorum is more than n/2, one vote is enough to know that a correct replica cast it.
/// Byzantine: f = ⌊(n − 1)/3⌋, a quorum is more than (n + f)/2, f + 1 votes hold a correct one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quorums {
    model: FaultModel,
    n: u16,
}

/// The most replicas that a membership can have.
pub const REPLICAS_MAX: usize = 64;

impl Quorums {
    /// The thresholds for `n` replicas, 1 to [`REPLICAS_MAX`]; `None` for another number.
    pub fn new(model: FaultModel, n: usize) -> Option<Self> {
        (1..=REPLICAS_MAX).contains(&n).then_some(Self { model, n: n as u16 })
    }

    /// The fault model.
    pub fn model(&self) -> FaultModel {
        self.model
    }

    /// n: how many replicas there are.
    pub fn replicas(&self) -> usize {
        usize::from(self.n)
    }

    /// f: how many may be faulty.
    pub fn faults(&self) -> usize {
        match self.model {
            FaultModel::Crash => (self.replicas() - 1) / 2,
            FaultModel::Byzantine => (self.replicas() - 1) / 3,
        }
    }

    /// Q: any two quorums share a correct replica.
    pub fn quorum(&self) -> usize {
        match self.model {
            FaultModel::Crash => self.replicas() / 2 + 1,
            FaultModel::Byzantine => usize::midpoint(self.replicas(), self.faults()) + 1,
        }
    }

    /// k: enough that at least one of them is correct.
    pub fn weak(&self) -> usize {
        match self.model {
            FaultModel::Crash => 1,
            FaultModel::Byzantine => self.faults() + 1,
        }
    }

    /// Whether replicas exchange WRITEs before they accept: only a leader that can equivocate makes it necessary.
    pub fn has_write_phase(&self) -> bool {
        self.model == FaultModel::Byzantine
    }

    /// Whether a leader's word on what clients sent must be checked.
    pub fn must_authenticate_requests(&self) -> bool {
        self.model == FaultModel::Byzantine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = Quorums> {
        [FaultModel::Crash, FaultModel::Byzantine]
            .into_iter()
            .flat_map(|model| (1..=REPLICAS_MAX).map(move |n| Quorums::new(model, n).unwrap()))
    }

    #[test]
    fn two_quorums_share_a_correct_replica() {
        for q in all() {
            let byzantine = if q.model() == FaultModel::Byzantine { q.faults() } else { 0 };
            assert!(2 * q.quorum() > q.replicas() + byzantine, "{q:?}");
        }
    }

    #[test]
    fn the_correct_replicas_alone_are_a_quorum() {
        for q in all() {
            assert!(q.replicas() - q.faults() >= q.quorum(), "{q:?}");
        }
    }

    #[test]
    fn known_sizes() {
        let table = |model, n| {
            let q = Quorums::new(model, n).unwrap();
            (q.faults(), q.quorum(), q.weak())
        };
        assert_eq!(table(FaultModel::Crash, 1), (0, 1, 1));
        assert_eq!(table(FaultModel::Crash, 3), (1, 2, 1));
        assert_eq!(table(FaultModel::Crash, 5), (2, 3, 1));
        assert_eq!(table(FaultModel::Byzantine, 1), (0, 1, 1));
        assert_eq!(table(FaultModel::Byzantine, 4), (1, 3, 2));
        assert_eq!(table(FaultModel::Byzantine, 6), (1, 4, 2));
        assert_eq!(table(FaultModel::Byzantine, 7), (2, 5, 3));
        assert_eq!(Quorums::new(FaultModel::Crash, 0), None);
        assert_eq!(Quorums::new(FaultModel::Crash, 65), None);
    }
}
