//! The recordings of a run: one for each start of each replica.

use std::sync::{Arc, Mutex, PoisonError};

use pssmr_recording::Tape;
use pssmr_types::ReplicaId;

/// The recording of one start of a replica.
pub type Recording = (ReplicaId, Vec<u8>);

/// What the replicas of one run were told.
#[derive(Clone, Debug, Default)]
pub(super) struct Recordings(Arc<Mutex<Vec<Recording>>>);

/// The end of one of them.
struct End {
    all: Recordings,
    number: usize,
}

impl Recordings {
    fn with<T>(&self, look: impl FnOnce(&mut Vec<Recording>) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A new one.
    pub(super) fn begin(&self, of: ReplicaId) -> Box<dyn Tape> {
        let number = self.with(|all| {
            all.push((of, Vec::new()));
            all.len() - 1
        });
        Box::new(End { all: self.clone(), number })
    }

    /// All of them.
    pub(super) fn take(&self) -> Vec<Recording> {
        self.with(std::mem::take)
    }
}

impl Tape for End {
    fn write(&mut self, bytes: &[u8]) -> bool {
        self.all.with(|all| all[self.number].1.extend_from_slice(bytes));
        true
    }
}
