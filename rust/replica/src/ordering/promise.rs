//! The first promise of a replica's life: it must be remembered before it leaves.

use pssmr_ordering::Effect;
use pssmr_storage::{DataDirectory, StorageError};
use pssmr_types::PeerMessage;

/// Watches for effects by which the replica promises something.
#[derive(Debug)]
pub(crate) struct Promises {
    /// The data directory, as long as the first promise is to be noted there.
    unnoted: Option<DataDirectory>,
    /// Kept for its lock.
    noted: Option<DataDirectory>,
}

impl Promises {
    /// `directory` is where the first promise is noted; without one, it is not.
    pub(crate) fn new(directory: Option<DataDirectory>) -> Self {
        match directory {
            Some(directory) if directory.has_voted() => Self { unnoted: None, noted: Some(directory) },
            directory => Self { unnoted: directory, noted: None },
        }
    }

    /// Whether the effect is a promise, and the first one.
    pub(crate) fn is_new(&self, effect: &Effect) -> bool {
        self.unnoted.is_some()
            && match effect {
                Effect::Send { message, .. } | Effect::Broadcast(message) => is_promise(message),
                // A cluster of one sends nothing; what it executed, it promised.
                Effect::Deliver(_) => true,
                _ => false,
            }
    }

    /// Notes that there are promises. Returns when that is on disk.
    pub(crate) fn note(&mut self) -> Result<(), StorageError> {
        if let Some(directory) = &mut self.unnoted {
            directory.mark_voted()?;
            self.noted = self.unnoted.take();
        }
        Ok(())
    }
}

/// Whether a message binds its sender: it would break its word by saying another thing after a restart.
fn is_promise(message: &PeerMessage) -> bool {
    match message {
        PeerMessage::Propose(_)
        | PeerMessage::Write(_)
        | PeerMessage::Accept(_)
        | PeerMessage::Stop(_)
        | PeerMessage::StopData(_)
        | PeerMessage::Sync(_) => true,
        PeerMessage::Forward(_)
        | PeerMessage::Status(_)
        | PeerMessage::Fetch { .. }
        | PeerMessage::Entry(_)
        | PeerMessage::Truncated { .. }
        | PeerMessage::DigestRequest(_)
        | PeerMessage::DigestReply { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use pssmr_types::{ClusterId, ReplicaId, Slot, View};

    use super::*;

    #[test]
    fn the_first_promise_is_noted_and_only_that() {
        let root = tempfile::tempdir().unwrap();
        let open = || DataDirectory::open(root.path(), ClusterId([1; 16]), ReplicaId(0)).unwrap();
        let mut promises = Promises::new(Some(open()));
        let stop = Effect::Broadcast(PeerMessage::Stop(View(1)));
        assert!(!promises.is_new(&Effect::Broadcast(PeerMessage::DigestRequest(Slot(1)))));
        assert!(promises.is_new(&stop));
        promises.note().unwrap();
        assert!(!promises.is_new(&stop));
        drop(promises);
        let again = open();
        assert!(again.has_voted());
        assert!(!Promises::new(Some(again)).is_new(&stop));
    }

    #[test]
    fn without_a_directory_nothing_is_noted() {
        assert!(!Promises::new(None).is_new(&Effect::Broadcast(PeerMessage::Stop(View(1)))));
    }
}
