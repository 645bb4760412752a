//! Sets of replicas: as many bits as a membership can have replicas.

use pssmr_types::{REPLICAS_MAX, ReplicaId};

const _: () = assert!(REPLICAS_MAX <= 64, "a set has a bit for every replica");

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReplicaSet(u64);

impl ReplicaSet {
    pub(crate) const EMPTY: Self = Self(0);

    pub(crate) fn only(replica: ReplicaId) -> Self {
        let mut set = Self::EMPTY;
        set.insert(replica);
        set
    }

    pub(crate) fn insert(&mut self, replica: ReplicaId) {
        self.0 |= 1 << replica.0;
    }

    pub(crate) fn remove(&mut self, replica: ReplicaId) {
        self.0 &= !(1 << replica.0);
    }

    pub(crate) fn contains(self, replica: ReplicaId) -> bool {
        self.0 >> replica.0 & 1 == 1
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    pub(crate) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = ReplicaId> {
        (0..64u16).map(ReplicaId).filter(move |replica| self.contains(*replica))
    }
}

impl FromIterator<ReplicaId> for ReplicaSet {
    fn from_iter<T: IntoIterator<Item = ReplicaId>>(replicas: T) -> Self {
        let mut set = Self::EMPTY;
        replicas.into_iter().for_each(|replica| set.insert(replica));
        set
    }
}
