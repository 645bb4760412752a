//! Mappings: which lanes run the commands of a class, and the rules that make a mapping safe.

use std::collections::BTreeSet;

use crate::footprint::{Claim, Footprint, Mode, Scope};

/// How the state is divided. A whole table, or all state, is all partitions that may have a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partitioning {
    /// By table: its id is the number of the partition.
    Tables,
    /// By key: the hash of the key decides, of whatever table.
    Keys,
}

impl Partitioning {
    /// What a command with this footprint touches of so many partitions, in the order of its claims; `None` if that
    /// could be state in no partition.
    pub fn touched(self, partitions: usize, footprint: &Footprint) -> Option<Vec<(usize, Mode)>> {
        let everywhere = |mode| (0..partitions).map(move |partition| (partition, mode));
        let mut touched = Vec::new();
        match (footprint.scope(), self) {
            (Scope::Claims, _) => {}
            (Scope::ReadAll, Self::Keys) => touched.extend(everywhere(Mode::Read)),
            // There may be tables that are in no partition.
            (Scope::ReadAll, Self::Tables) | (Scope::Exclusive, _) => return None,
        }
        for claim in footprint.claims() {
            match self.partition_of(partitions, claim) {
                Some(partition) => touched.push((partition, claim.mode())),
                None => touched.extend(everywhere(claim.mode())),
            }
        }
        Some(touched)
    }

    /// The partition that the claim is in, or `None` if it is in all.
    fn partition_of(self, partitions: usize, claim: &Claim) -> Option<usize> {
        match self {
            Self::Tables => Some(claim.table_id().index()),
            Self::Keys => claim.key_hash().map(|hash| (hash.0 % partitions as u64) as usize),
        }
    }
}

/// Whether the commands of a class run beside each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synchronisation {
    /// Each command goes to one of the lanes.
    Concurrent,
    /// Each command goes to all of the lanes, and runs when it is at the front of each.
    Synchronised,
}

/// A class of commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// Its name, for people.
    pub name: String,
    /// What its commands may touch: partitions, each in a mode.
    pub touches: Vec<(usize, Mode)>,
    /// The lanes that run its commands.
    pub lanes: Vec<usize>,
    /// How they do.
    pub synchronisation: Synchronisation,
}

impl Class {
    fn mode_at(&self, partition: usize) -> Option<Mode> {
        let modes = self.touches.iter().filter(|(touched, _)| *touched == partition).map(|(_, mode)| *mode);
        modes.reduce(Mode::join)
    }

    fn covers(&self, partition: usize, mode: Mode) -> bool {
        self.mode_at(partition).is_some_and(|held| held == mode || held == Mode::Write)
    }

    fn conflicts(&self, other: &Self) -> bool {
        let conflict =
            |&(partition, mode): &(usize, Mode)| other.mode_at(partition).is_some_and(|held| held.conflicts(mode));
        self.touches.iter().any(conflict)
    }

    fn is_synchronised(&self) -> bool {
        self.synchronisation == Synchronisation::Synchronised
    }
}

/// Why a mapping is refused. R1 to R5 are the rules of early scheduling (Alchieri et al., 2018).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// There is no lane, or no partition.
    #[error("a mapping needs a lane and a partition")]
    Empty,
    /// A class has a lane that is not there.
    #[error("class {class} has lane {lane}, but there are lanes 0 to {last}")]
    NoSuchLane {
        /// The class.
        class: String,
        /// The lane.
        lane: usize,
        /// The last lane.
        last: usize,
    },
    /// A class has a lane twice.
    #[error("class {class} has lane {lane} twice")]
    LaneTwice {
        /// The class.
        class: String,
        /// The lane.
        lane: usize,
    },
    /// A class touches a partition that is not there.
    #[error("class {class} touches partition {partition}, but there are partitions 0 to {last}")]
    NoSuchPartition {
        /// The class.
        class: String,
        /// The partition.
        partition: usize,
        /// The last partition.
        last: usize,
    },
    /// R1: nobody would run the commands of the class.
    #[error("class {class} has no lane")]
    NoLanes {
        /// The class.
        class: String,
    },
    /// R2: commands of one class conflict, and would run beside each other.
    #[error("commands of class {class} conflict with each other: it has to be synchronised, or to have one lane")]
    ConflictsWithItself {
        /// The class.
        class: String,
    },
    /// R3: commands of two classes conflict, and nothing makes one wait for the other.
    #[error("classes {first} and {second} conflict: one of them has to be synchronised")]
    NeitherSynchronised {
        /// One of the two.
        first: String,
        /// The other.
        second: String,
    },
    /// R4: a command of a concurrent class could run in a lane that a conflicting one does not stop.
    #[error("class {concurrent} has lane {lane}, but class {synchronised}, which conflicts with it, does not")]
    LaneNotStopped {
        /// The concurrent class.
        concurrent: String,
        /// The synchronised class.
        synchronised: String,
        /// The lane.
        lane: usize,
    },
    /// R5: two conflicting synchronised classes meet nowhere.
    #[error("classes {first} and {second} conflict and have no lane in common")]
    NoCommonLane {
        /// One of the two.
        first: String,
        /// The other.
        second: String,
    },
}

/// A class's place in the list of classes; two that need no declaration follow.
pub(super) type ClassId = usize;

/// Which lanes run the commands of which class.
///
/// A command belongs to the first class that covers what it touches. One that no class covers is exclusive: it goes to
/// all lanes. One that touches nothing goes to any lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    classes: Vec<Class>,
    partitioning: Partitioning,
    partitions: usize,
    every_lane: Vec<usize>,
    /// The class of a command that touches one partition in one mode.
    simple: Vec<[ClassId; 3]>,
}

impl Mapping {
    /// A mapping that keeps the rules.
    ///
    /// # Errors
    /// The first rule that is broken, and by whom.
    pub fn new(
        partitioning: Partitioning,
        partitions: usize,
        lanes: usize,
        classes: Vec<Class>,
    ) -> Result<Self, MappingError> {
        if partitions == 0 || lanes == 0 {
            return Err(MappingError::Empty);
        }
        check(&classes, partitions, lanes)?;
        let every_lane = (0..lanes).collect();
        let mut mapping = Self { classes, partitioning, partitions, every_lane, simple: Vec::new() };
        let class_at =
            |partition| [Mode::Read, Mode::Commute, Mode::Write].map(|mode| mapping.covering(&[(partition, mode)]));
        mapping.simple = (0..partitions).map(class_at).collect();
        Ok(mapping)
    }

    /// One partition of the keys for each lane. What touches one partition only runs in its lane.
    ///
    /// # Panics
    /// If there are no lanes.
    pub fn by_key(lanes: usize) -> Self {
        let class = |lane| Class {
            name: format!("partition {lane}"),
            touches: vec![(lane, Mode::Write)],
            lanes: vec![lane],
            synchronisation: Synchronisation::Concurrent,
        };
        let mapping = Self::new(Partitioning::Keys, lanes, lanes, (0..lanes).map(class).collect());
        mapping.expect("the classes touch different partitions")
    }

    /// The number of lanes.
    pub fn lanes(&self) -> usize {
        self.every_lane.len()
    }

    /// The classes, as they were given.
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// Those of commands that touch nothing, and of exclusive ones, included.
    pub(super) fn class_count(&self) -> usize {
        self.classes.len() + 2
    }

    fn nothing(&self) -> ClassId {
        self.classes.len()
    }

    fn exclusive(&self) -> ClassId {
        self.classes.len() + 1
    }

    pub(super) fn lanes_of(&self, class: ClassId) -> &[usize] {
        self.classes.get(class).map_or(&self.every_lane, |class| &class.lanes)
    }

    pub(super) fn is_synchronised(&self, class: ClassId) -> bool {
        self.classes.get(class).map_or(class == self.exclusive(), Class::is_synchronised)
    }

    pub(super) fn class_of(&self, footprint: &Footprint) -> ClassId {
        match (footprint.scope(), footprint.claims()) {
            (Scope::Exclusive, _) => self.exclusive(),
            (Scope::Claims, []) => self.nothing(),
            (Scope::Claims, [claim]) => match self.partitioning.partition_of(self.partitions, claim) {
                Some(partition) if partition < self.partitions => self.simple[partition][claim.mode() as usize],
                _ => self.covering_claims(footprint),
            },
            _ => self.covering_claims(footprint),
        }
    }

    fn covering_claims(&self, footprint: &Footprint) -> ClassId {
        let touched = self.partitioning.touched(self.partitions, footprint);
        touched.map_or(self.exclusive(), |touched| self.covering(&touched))
    }

    /// The first class that covers all of this.
    fn covering(&self, touched: &[(usize, Mode)]) -> ClassId {
        let covers = |class: &Class| touched.iter().all(|(partition, mode)| class.covers(*partition, *mode));
        self.classes.iter().position(covers).unwrap_or(self.exclusive())
    }
}

fn check(classes: &[Class], partitions: usize, lanes: usize) -> Result<(), MappingError> {
    for class in classes {
        let name = || class.name.clone();
        if class.lanes.is_empty() {
            return Err(MappingError::NoLanes { class: name() });
        }
        let mut seen = BTreeSet::new();
        for &lane in &class.lanes {
            if lane >= lanes {
                return Err(MappingError::NoSuchLane { class: name(), lane, last: lanes - 1 });
            }
            if !seen.insert(lane) {
                return Err(MappingError::LaneTwice { class: name(), lane });
            }
        }
        if let Some(&(partition, _)) = class.touches.iter().find(|(partition, _)| *partition >= partitions) {
            return Err(MappingError::NoSuchPartition { class: name(), partition, last: partitions - 1 });
        }
        if class.conflicts(class) && !class.is_synchronised() && class.lanes.len() > 1 {
            return Err(MappingError::ConflictsWithItself { class: name() });
        }
    }
    for (index, first) in classes.iter().enumerate() {
        for second in classes[index + 1..].iter().filter(|second| first.conflicts(second)) {
            check_pair(first, second)?;
        }
    }
    Ok(())
}

fn check_pair(first: &Class, second: &Class) -> Result<(), MappingError> {
    let names = || (first.name.clone(), second.name.clone());
    let (concurrent, synchronised) = match (first.is_synchronised(), second.is_synchronised()) {
        (false, false) => {
            let (first, second) = names();
            return Err(MappingError::NeitherSynchronised { first, second });
        }
        (true, true) => {
            if first.lanes.iter().any(|lane| second.lanes.contains(lane)) {
                return Ok(());
            }
            let (first, second) = names();
            return Err(MappingError::NoCommonLane { first, second });
        }
        (false, true) => (first, second),
        (true, false) => (second, first),
    };
    match concurrent.lanes.iter().find(|lane| !synchronised.lanes.contains(lane)) {
        None => Ok(()),
        Some(&lane) => {
            let (concurrent, synchronised) = (concurrent.name.clone(), synchronised.name.clone());
            Err(MappingError::LaneNotStopped { concurrent, synchronised, lane })
        }
    }
}
