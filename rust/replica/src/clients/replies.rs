//! The cached replies. They are a part of the replicated state, so what a snapshot holds of them is what they are after
//! exactly one slot: while one is awaited, whatever comes of later slots waits.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use pssmr_ordering::{CoreSnapshot, ReplyCache};
use pssmr_types::{ClientId, Slot};

use crate::inbox::{Notice, Taken};
use crate::snapshots::Frozen;

/// The cached replies of all sessions.
pub(super) struct Replies {
    cache: ReplyCache,
    /// The slot of the snapshot that the replica went on from: what was executed up to there is in it.
    restored: Slot,
    /// The checkpoint that is going to be taken.
    awaited: Option<Arc<CoreSnapshot>>,
    /// What came after it.
    deferred: VecDeque<Notice>,
    /// Sessions that end once their last slot is executed.
    evictions: VecDeque<(Slot, ClientId)>,
}

impl Replies {
    pub(super) fn new(bytes_per_session_max: usize) -> Self {
        Self {
            cache: ReplyCache::new(bytes_per_session_max),
            restored: Slot(0),
            awaited: None,
            deferred: VecDeque::new(),
            evictions: VecDeque::new(),
        }
    }

    pub(super) fn get(&self, client: ClientId, sequence: u64) -> Option<&Bytes> {
        self.cache.get(client, sequence)
    }

    /// Looks at notices before the completions that came with them are taken.
    pub(super) fn announce(&mut self, notices: &mut Vec<Notice>) {
        if let Some(at) = notices.iter().rposition(|notice| matches!(notice, Notice::Restored { .. })) {
            let later = notices.split_off(at + 1);
            let restored = notices.pop();
            // Of what came before, only what clients are to be told still matters.
            notices.retain(Notice::is_for_clients);
            notices.extend(later);
            if let Some(Notice::Restored { slot, replies }) = restored {
                *self = Self { cache: replies, restored: slot, ..Self::new(0) };
            }
        }
        if notices.iter().any(|notice| matches!(notice, Notice::Checkpoint(_))) {
            self.cache.hold_all();
        }
    }

    /// A command of this slot was executed.
    pub(super) fn insert(&mut self, slot: Slot, client: ClientId, sequence: u64, reply: Bytes) {
        if slot > self.restored {
            self.cache.insert(client, sequence, reply);
        }
    }

    /// Takes a notice that is not for clients.
    pub(super) fn take(&mut self, notice: Notice) {
        if self.awaited.is_some() {
            self.deferred.push_back(notice);
            return;
        }
        match notice {
            Notice::Acknowledged { client, below } => self.cache.acknowledge(client, below),
            Notice::Evicted { client, slot } => self.evictions.push_back((slot, client)),
            Notice::Checkpoint(core) => self.awaited = Some(core),
            Notice::Reply { .. } | Notice::ReadRefused { .. } | Notice::Leader { .. } | Notice::Restored { .. } => {
                unreachable!("looked at before")
            }
        }
    }

    /// The awaited checkpoint was taken of the application. All completions up to its slot were taken before. Gives what
    /// is to be written, if there is something.
    pub(super) fn taken(&mut self, taken: Taken) -> Option<Frozen> {
        let core = self.awaited.take_if(|core| core.slot == taken.slot)?;
        let frozen = match taken.source {
            Ok(service) => {
                let replies = self.cache.capture(&core);
                Some(Frozen { core, replies, service })
            }
            Err(error) => {
                tracing::warn!(slot = %taken.slot, %error, "no checkpoint");
                None
            }
        };
        while self.awaited.is_none()
            && let Some(notice) = self.deferred.pop_front()
        {
            self.take(notice);
        }
        if self.awaited.is_none() {
            self.cache.release();
        }
        frozen
    }

    /// Forgets sessions that have ended, once no result of theirs can follow.
    pub(super) fn end_sessions(&mut self, executed: Slot) {
        while let Some((slot, client)) = self.evictions.front().copied()
            && slot <= executed
        {
            self.evictions.pop_front();
            self.cache.evict(client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pssmr_execution::SnapshotError;
    use pssmr_types::{ClusterId, Digest, Epoch, FaultModel, Membership, Principal, SecretKey};

    const ANN: ClientId = ClientId { principal: Principal(1), session: 2 };

    fn checkpoint(slot: u64) -> Notice {
        let (slot, digest) = (Slot(slot), Digest::default());
        let key = SecretKey::from_seed([1; 32]).public();
        let membership =
            Membership::new(ClusterId::default(), Epoch(0), FaultModel::Crash, vec![key]).expect("one replica");
        let (timestamp, position, asked_at) = (0, 0, 0);
        let (number, sessions, upgraded) = (1, vec![], None);
        let snapshot =
            CoreSnapshot { slot, digest, timestamp, position, number, asked_at, membership, sessions, upgraded };
        Notice::Checkpoint(Arc::new(snapshot))
    }

    fn failed(slot: u64) -> Taken {
        Taken { slot: Slot(slot), source: Err(SnapshotError::Unsupported) }
    }

    fn inserted(replies: &mut Replies, slot: u64, sequence: u64) {
        replies.insert(Slot(slot), ANN, sequence, Bytes::from_static(b"reply"));
    }

    #[test]
    fn what_comes_after_an_awaited_checkpoint_waits_for_it() {
        let mut replies = Replies::new(1000);
        let mut notices = vec![checkpoint(1), Notice::Acknowledged { client: ANN, below: 2 }, checkpoint(3)];
        replies.announce(&mut notices);
        (1..=2).for_each(|sequence| inserted(&mut replies, 1, sequence));
        for notice in notices {
            replies.take(notice);
        }
        replies.take(Notice::Acknowledged { client: ANN, below: 3 });
        assert!(replies.get(ANN, 1).is_some(), "the snapshot has it");
        assert!(replies.taken(failed(2)).is_none(), "not the one that is awaited");
        assert!(replies.get(ANN, 1).is_some());
        assert!(replies.taken(failed(1)).is_none());
        assert!(replies.get(ANN, 1).is_none() && replies.get(ANN, 2).is_some(), "up to the next checkpoint");
        assert!(replies.taken(failed(3)).is_none());
        assert!(replies.get(ANN, 2).is_none());
    }

    #[test]
    fn a_snapshot_of_others_takes_the_place_of_all_that_was_before() {
        let mut replies = Replies::new(1000);
        inserted(&mut replies, 1, 1);
        replies.take(checkpoint(1));
        let mut restored = ReplyCache::new(1000);
        restored.insert(ANN, 7, Bytes::from_static(b"reply"));
        let evicted = Notice::Evicted { client: ANN, slot: Slot(2) };
        let mut notices = vec![evicted, Notice::Restored { slot: Slot(9), replies: restored }, checkpoint(10)];
        replies.announce(&mut notices);
        assert_eq!(notices.len(), 1);
        inserted(&mut replies, 8, 2);
        inserted(&mut replies, 10, 8);
        assert!(replies.get(ANN, 1).is_none() && replies.get(ANN, 2).is_none());
        assert!(replies.get(ANN, 7).is_some() && replies.get(ANN, 8).is_some());
        for notice in notices {
            replies.take(notice);
        }
        assert!(replies.taken(failed(1)).is_none());
        replies.end_sessions(Slot(9));
        assert!(replies.get(ANN, 7).is_some(), "the session goes on");
    }
}
