//! Results of executed commands, kept until the client has them: a retry is answered, not executed.

use std::collections::BTreeMap;

use bytes::Bytes;
use pssmr_types::ClientId;
use pssmr_types::wire::{DecodeError, Reader, Writer};

use crate::hash::HashMap;
use crate::snapshot::CoreSnapshot;

/// Cached results by session and sequence.
///
/// A session keeps at most `bytes_per_session_max` bytes of results; beyond that its oldest go first, and a retry of
/// such a command finds nothing here. The client's window bounds their number.
#[derive(Debug)]
pub struct ReplyCache {
    bytes_per_session_max: usize,
    /// No result goes for want of room meanwhile.
    holds_all: bool,
    sessions: HashMap<ClientId, Results>,
}

#[derive(Debug, Default)]
struct Results {
    by_sequence: BTreeMap<u64, Bytes>,
    bytes: usize,
}

impl Results {
    fn make_room(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max && self.by_sequence.len() > 1 {
            let (_, oldest) = self.by_sequence.pop_first().expect("more than one is kept");
            self.bytes -= oldest.len();
        }
    }
}

impl ReplyCache {
    /// An empty cache.
    pub fn new(bytes_per_session_max: usize) -> Self {
        Self { bytes_per_session_max, holds_all: false, sessions: HashMap::default() }
    }

    /// Keeps a result.
    pub fn insert(&mut self, client: ClientId, sequence: u64, result: Bytes) {
        let results = self.sessions.entry(client).or_default();
        results.bytes += result.len();
        if let Some(before) = results.by_sequence.insert(sequence, result) {
            results.bytes -= before.len();
        }
        if !self.holds_all {
            results.make_room(self.bytes_per_session_max);
        }
    }

    /// Until [`ReplyCache::release`], no result goes for want of room: those of the slot that is going to be captured are
    /// not to go for the sake of later ones.
    pub fn hold_all(&mut self) {
        self.holds_all = true;
    }

    /// The end of [`ReplyCache::hold_all`].
    pub fn release(&mut self) {
        self.holds_all = false;
        self.sessions.values_mut().for_each(|results| results.make_room(self.bytes_per_session_max));
    }

    /// The canonical encoding of the results that belong to the state after a slot: of each session those that the
    /// client has not acknowledged, the newest first, as far as they have room. Equal at all replicas, if all results up
    /// to the slot are here, no later acknowledgement, and what came later came after [`ReplyCache::hold_all`].
    ///
    /// What goes for want of room is never one of these: it went when more than fits came after it, and none of that can
    /// be acknowledged without it.
    pub fn capture(&self, snapshot: &CoreSnapshot) -> Vec<u8> {
        let mut out = Vec::new();
        for session in &snapshot.sessions {
            let Some(results) = self.sessions.get(&session.client) else { continue };
            let mut bytes = 0;
            let mut captured = Vec::new();
            for sequence in session.unacknowledged() {
                let Some(result) = results.by_sequence.get(&sequence) else { break };
                bytes += result.len();
                if bytes > self.bytes_per_session_max && !captured.is_empty() {
                    break;
                }
                captured.push((sequence, result));
            }
            if captured.is_empty() {
                continue;
            }
            out.put_client(session.client);
            out.put_count(captured.len());
            for (sequence, result) in captured.into_iter().rev() {
                out.put_u64(sequence);
                out.put_bytes(result);
            }
        }
        out
    }

    /// The cache that [`ReplyCache::capture`] captured.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn restored(bytes_per_session_max: usize, captured: Bytes) -> Result<Self, DecodeError> {
        let mut cache = Self::new(bytes_per_session_max);
        let mut reader = Reader::new(captured);
        while !reader.rest().is_empty() {
            let client = reader.client()?;
            let count = reader.count("replies", reader.rest().len())?;
            for _ in 0..count {
                let sequence = reader.u64("sequence")?;
                let result = reader.bytes("reply", reader.rest().len())?;
                cache.insert(client, sequence, Bytes::copy_from_slice(&result));
            }
        }
        Ok(cache)
    }

    /// The result of a command, if it was executed and is still kept.
    pub fn get(&self, client: ClientId, sequence: u64) -> Option<&Bytes> {
        self.sessions.get(&client)?.by_sequence.get(&sequence)
    }

    /// The client has the replies to all sequences below this one.
    pub fn acknowledge(&mut self, client: ClientId, below: u64) {
        if let Some(results) = self.sessions.get_mut(&client) {
            while let Some(first) = results.by_sequence.first_entry()
                && *first.key() < below
            {
                results.bytes -= first.remove().len();
            }
        }
    }

    /// Forgets a session.
    pub fn evict(&mut self, client: ClientId) {
        self.sessions.remove(&client);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pssmr_types::Principal;

    const ANN: ClientId = ClientId { principal: Principal(1), session: 2 };

    #[test]
    fn a_result_stays_until_it_is_acknowledged() {
        let mut cache = ReplyCache::new(1000);
        for sequence in 1..=3 {
            cache.insert(ANN, sequence, Bytes::from(vec![sequence as u8]));
        }
        cache.acknowledge(ANN, 3);
        assert_eq!(cache.get(ANN, 2), None);
        assert_eq!(cache.get(ANN, 3), Some(&Bytes::from_static(&[3])));
        cache.evict(ANN);
        assert_eq!(cache.get(ANN, 3), None);
    }

    #[test]
    fn a_session_keeps_a_bounded_number_of_bytes() {
        let mut cache = ReplyCache::new(100);
        for sequence in 1..=50 {
            cache.insert(ANN, sequence, Bytes::from(vec![0; 30]));
        }
        assert_eq!(cache.get(ANN, 47), None);
        assert!((48..=50).all(|sequence| cache.get(ANN, sequence).is_some()));
        cache.insert(ANN, 51, Bytes::from(vec![0; 500]));
        assert!(cache.get(ANN, 51).is_some(), "the newest is always kept");
    }

    fn snapshot(executed: &[u64], low: u64) -> CoreSnapshot {
        let mut words = Box::new([0; crate::sessions::WORDS]);
        for sequence in executed {
            words[*sequence as usize / 64] |= 1 << (sequence % 64);
        }
        let session = crate::snapshot::SessionSnapshot { client: ANN, low, last_active: 1, executed: words };
        let (slot, digest) = (pssmr_types::Slot(1), pssmr_types::Digest::default());
        let (membership, sessions) = (crate::snapshot::tests::membership(), vec![session]);
        CoreSnapshot {
            slot,
            digest,
            timestamp: 0,
            position: 9,
            number: 1,
            asked_at: 0,
            membership,
            sessions,
            upgraded: None,
        }
    }

    #[test]
    fn what_is_captured_does_not_depend_on_the_order_of_execution_nor_on_what_came_later() {
        let result = |sequence: u64| Bytes::from(vec![sequence as u8; [10, 60, 60, 30][sequence as usize - 1]]);
        let mut captured = Vec::new();
        for order in [[1, 2, 3, 4], [4, 3, 2, 1], [2, 3, 1, 4], [3, 2, 4, 1]] {
            let mut cache = ReplyCache::new(100);
            for sequence in order {
                cache.insert(ANN, sequence, result(sequence));
            }
            cache.hold_all();
            cache.insert(ANN, 5, Bytes::from(vec![5; 90]));
            captured.push(cache.capture(&snapshot(&[1, 2, 3, 4], 1)));
            cache.release();
            assert_eq!(cache.get(ANN, 4), None, "what came later has its room after that");
        }
        captured.dedup();
        assert_eq!(captured.len(), 1);
        let restored = ReplyCache::restored(100, captured.remove(0).into()).unwrap();
        assert_eq!([3, 4].map(|sequence| restored.get(ANN, sequence)), [Some(&result(3)), Some(&result(4))]);
        assert_eq!(restored.get(ANN, 2), None);
    }

    #[test]
    fn what_was_acknowledged_is_not_captured() {
        let mut cache = ReplyCache::new(1000);
        for sequence in 1..=3 {
            cache.insert(ANN, sequence, Bytes::from(vec![sequence as u8]));
        }
        let restored = ReplyCache::restored(1000, cache.capture(&snapshot(&[3], 3)).into()).unwrap();
        assert_eq!(restored.get(ANN, 2), None);
        assert!(restored.get(ANN, 3).is_some());
    }
}
