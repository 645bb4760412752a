//! The openings of sessions that were delivered lately.
//!
//! A request in a session is known to be executed by its sequence. An opening has no session, so one that comes late from its
//! client would look new; a leader that proposed it again would wait in vain for the others, to which it is over. Not a
//! part of the agreed state: whoever has forgotten an opening opens one session more, as if the client had asked twice.

use std::collections::VecDeque;

use crate::hash::HashMap;
use crate::pool::Key;

/// Most openings that are remembered; the oldest are forgotten first.
const OPENINGS_MAX: usize = 4096;

/// What became of openings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Openings {
    sessions: HashMap<Key, u64>,
    delivered: VecDeque<Key>,
}

impl Openings {
    /// It was delivered, and opened this session.
    pub(crate) fn opened(&mut self, key: Key, session: u64) {
        if self.sessions.insert(key, session).is_none() {
            self.delivered.push_back(key);
        }
        if self.delivered.len() > OPENINGS_MAX {
            let oldest = self.delivered.pop_front().expect("there are too many");
            self.sessions.remove(&oldest);
        }
    }

    /// The session that an opening has opened.
    pub(crate) fn session_of(&self, key: &Key) -> Option<u64> {
        // A request in a session opens none: nothing is looked up for commands.
        if key.0.session == 0 { self.sessions.get(key).copied() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use pssmr_types::{ClientId, Principal};

    use super::*;

    #[test]
    fn the_latest_openings_are_remembered_and_no_more_than_there_is_room_for() {
        let key = |nonce| (ClientId { principal: Principal(7), session: 0 }, nonce);
        let mut openings = Openings::default();
        for nonce in 1..=2 * OPENINGS_MAX as u64 {
            openings.opened(key(nonce), 10 * nonce);
        }
        assert_eq!(openings.session_of(&key(OPENINGS_MAX as u64)), None);
        assert_eq!(openings.session_of(&key(2 * OPENINGS_MAX as u64)), Some(20 * OPENINGS_MAX as u64));
        assert_eq!((openings.sessions.len(), openings.delivered.len()), (OPENINGS_MAX, OPENINGS_MAX));
        openings.opened(key(2 * OPENINGS_MAX as u64), 5);
        assert_eq!(openings.session_of(&key(2 * OPENINGS_MAX as u64)), Some(5), "opened again");
        assert_eq!((openings.sessions.len(), openings.delivered.len()), (OPENINGS_MAX, OPENINGS_MAX));
    }
}
