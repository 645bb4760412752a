//! Results of executed commands, kept until the client has them: a retry is answered, not executed.

use std::collections::BTreeMap;

use bytes::Bytes;
use pssmr_types::ClientId;

use crate::hash::HashMap;

/// Cached results by session and sequence.
///
/// A session keeps at most `bytes_per_session_max` bytes of results; beyond that its oldest go first, and a retry of
/// such a command finds nothing here. The client's window bounds their number.
#[derive(Debug)]
pub struct ReplyCache {
    bytes_per_session_max: usize,
    sessions: HashMap<ClientId, Results>,
}

#[derive(Debug, Default)]
struct Results {
    by_sequence: BTreeMap<u64, Bytes>,
    bytes: usize,
}

impl ReplyCache {
    /// An empty cache.
    pub fn new(bytes_per_session_max: usize) -> Self {
        Self { bytes_per_session_max, sessions: HashMap::default() }
    }

    /// Keeps a result.
    pub fn insert(&mut self, client: ClientId, sequence: u64, result: Bytes) {
        let results = self.sessions.entry(client).or_default();
        results.bytes += result.len();
        if let Some(before) = results.by_sequence.insert(sequence, result) {
            results.bytes -= before.len();
        }
        while results.bytes > self.bytes_per_session_max && results.by_sequence.len() > 1 {
            let (_, oldest) = results.by_sequence.pop_first().expect("checked above");
            results.bytes -= oldest.len();
        }
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
}
