//! Exactly once: which sequences of which session were executed. Part of the replicated state: it changes only with
//! what is delivered, so it is the same at every replica at the same slot.

use std::collections::BTreeSet;

use pssmr_types::{ClientId, Operation, Principal, Request};

use crate::hash::HashMap;
use crate::snapshot::{CoreSnapshot, SessionSnapshot};

/// How far a session's sequences may spread: from the lowest without a reply at the client to the highest sent.
pub const SESSION_WINDOW: u64 = 4096;

pub(crate) const WORDS: usize = SESSION_WINDOW as usize / 64;

/// What delivering a request means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// It is new: execute it.
    Execute,
    /// It was executed before.
    Duplicate,
    /// It opened this session, and perhaps evicted another one.
    Opened { session: u64, evicted: Option<ClientId> },
    /// Its session is not open.
    Expired,
    /// Its sequence is outside the session's window.
    OutsideWindow,
}

/// What is known of a request before it is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It may be new.
    New,
    /// It was executed.
    Executed,
    /// Its session is not open any more.
    Expired,
    /// Its sequence is outside the session's window.
    OutsideWindow,
}

#[derive(Clone, Debug)]
struct Session {
    /// All sequences below are settled: executed, or never to be.
    low: u64,
    /// Which sequences in `low..low + SESSION_WINDOW` were executed, by sequence modulo the window.
    executed: Box<[u64; WORDS]>,
    /// The position of the last command delivered in it.
    last_active: u64,
}

impl Session {
    fn is_executed(&self, sequence: u64) -> bool {
        let bit = (sequence % SESSION_WINDOW) as usize;
        self.executed[bit / 64] >> (bit % 64) & 1 == 1
    }

    fn set_executed(&mut self, sequence: u64) {
        let bit = (sequence % SESSION_WINDOW) as usize;
        self.executed[bit / 64] |= 1 << (bit % 64);
    }

    fn raise_low(&mut self, low: u64) {
        if low <= self.low {
            return;
        }
        if low - self.low >= SESSION_WINDOW {
            self.executed.fill(0);
        } else {
            for sequence in self.low..low {
                let bit = (sequence % SESSION_WINDOW) as usize;
                self.executed[bit / 64] &= !(1 << (bit % 64));
            }
        }
        self.low = low;
    }
}

/// All open sessions.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    per_client_max: usize,
    open: HashMap<ClientId, Session>,
    by_client: HashMap<Principal, BTreeSet<u64>>,
    /// The position of the last delivered command.
    position: u64,
}

impl Sessions {
    pub(crate) fn new(per_client_max: usize) -> Self {
        Self { per_client_max, open: HashMap::default(), by_client: HashMap::default(), position: 0 }
    }

    /// The sessions of a snapshot.
    pub(crate) fn restored(per_client_max: usize, snapshot: &CoreSnapshot) -> Self {
        let mut sessions = Self { position: snapshot.position, ..Self::new(per_client_max) };
        for SessionSnapshot { client, low, last_active, executed } in &snapshot.sessions {
            sessions.by_client.entry(client.principal).or_default().insert(client.session);
            let session = Session { low: *low, executed: executed.clone(), last_active: *last_active };
            sessions.open.insert(*client, session);
        }
        sessions
    }

    /// All sessions, ascending by client.
    pub(crate) fn snapshot(&self) -> Vec<SessionSnapshot> {
        let of = |(client, session): (&ClientId, &Session)| SessionSnapshot {
            client: *client,
            low: session.low,
            last_active: session.last_active,
            executed: session.executed.clone(),
        };
        let mut sessions: Vec<_> = self.open.iter().map(of).collect();
        sessions.sort_unstable_by_key(|session| session.client);
        sessions
    }

    /// The position of the last command delivered.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// How many sessions are open.
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// What is known of a request that has not been delivered here. A replica that lags knows less than others do: what
    /// the request says of its session counts, since delivering the request moves the session's window there.
    pub(crate) fn standing(&self, request: &Request) -> Standing {
        if request.operation == Operation::OpenSession {
            return Standing::New;
        }
        let sequence = request.sequence;
        match self.open.get(&request.client) {
            None if request.client.session > self.position => Standing::New,
            None => Standing::Expired,
            Some(session) if sequence < session.low => Standing::OutsideWindow,
            Some(session) if sequence - session.low.max(request.acknowledged) >= SESSION_WINDOW => {
                Standing::OutsideWindow
            }
            Some(session) if sequence - session.low >= SESSION_WINDOW => Standing::New,
            Some(session) if session.is_executed(sequence) => Standing::Executed,
            Some(_) => Standing::New,
        }
    }

    /// Delivers a request: the only way in which sessions change.
    pub(crate) fn apply(&mut self, request: &Request) -> Applied {
        if request.operation == Operation::OpenSession {
            self.position += 1;
            return self.open(request.client.principal);
        }
        let Some(session) = self.open.get_mut(&request.client) else { return Applied::Expired };
        session.raise_low(request.acknowledged);
        if request.sequence < session.low || request.sequence - session.low >= SESSION_WINDOW {
            return Applied::OutsideWindow;
        }
        if session.is_executed(request.sequence) {
            return Applied::Duplicate;
        }
        session.set_executed(request.sequence);
        self.position += 1;
        session.last_active = self.position;
        Applied::Execute
    }

    fn open(&mut self, principal: Principal) -> Applied {
        let session = self.position;
        let of_client = self.by_client.entry(principal).or_default();
        let mut evicted = None;
        if of_client.len() >= self.per_client_max {
            let oldest = of_client
                .iter()
                .map(|session| ClientId { principal, session: *session })
                .min_by_key(|client| (self.open[client].last_active, client.session))
                .expect("a full table has a session");
            of_client.remove(&oldest.session);
            self.open.remove(&oldest);
            evicted = Some(oldest);
        }
        of_client.insert(session);
        let new = Session { low: 1, executed: Box::new([0; WORDS]), last_active: session };
        self.open.insert(ClientId { principal, session }, new);
        Applied::Opened { session, evicted }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: Principal = Principal(1);

    fn open(sessions: &mut Sessions) -> ClientId {
        let request = Request::new(ClientId { principal: ANN, session: 0 }, 99, 0, Operation::OpenSession, b"");
        match sessions.apply(&request) {
            Applied::Opened { session, .. } => ClientId { principal: ANN, session },
            other => panic!("{other:?}"),
        }
    }

    fn command(client: ClientId, sequence: u64, acknowledged: u64) -> Request {
        Request::new(client, sequence, acknowledged, Operation::Command, b"")
    }

    #[test]
    fn a_sequence_executes_once_in_any_order() {
        let mut sessions = Sessions::new(10);
        let client = open(&mut sessions);
        for sequence in [3, 1, 2] {
            assert_eq!(sessions.apply(&command(client, sequence, 1)), Applied::Execute);
            assert_eq!(sessions.apply(&command(client, sequence, 1)), Applied::Duplicate);
        }
        assert_eq!(sessions.position(), 4);
    }

    #[test]
    fn what_the_client_acknowledged_is_not_executed_again() {
        let mut sessions = Sessions::new(10);
        let client = open(&mut sessions);
        assert_eq!(sessions.apply(&command(client, 5, 5)), Applied::Execute);
        assert_eq!(sessions.apply(&command(client, 4, 1)), Applied::OutsideWindow);
        assert_eq!(sessions.standing(&command(client, 4, 1)), Standing::OutsideWindow);
    }

    #[test]
    fn the_window_moves_and_is_reused() {
        let mut sessions = Sessions::new(10);
        let client = open(&mut sessions);
        assert_eq!(sessions.apply(&command(client, SESSION_WINDOW + 1, 1)), Applied::OutsideWindow);
        for sequence in 1..=3 * SESSION_WINDOW {
            let acknowledged = sequence.saturating_sub(10).max(1);
            assert_eq!(sessions.apply(&command(client, sequence, acknowledged)), Applied::Execute);
            assert_eq!(sessions.apply(&command(client, sequence, acknowledged)), Applied::Duplicate);
        }
    }

    /// It gave up on all before, or a replica that lags has not heard of them: no replica may call it too far ahead, or
    /// the session would never go on.
    #[test]
    fn a_client_that_is_far_ahead_of_a_replica_takes_its_window_along() {
        let mut sessions = Sessions::new(10);
        let client = open(&mut sessions);
        let far = 1000 * SESSION_WINDOW;
        let next = command(client, far, far - SESSION_WINDOW + 1);
        assert_eq!(sessions.standing(&next), Standing::New);
        assert_eq!(sessions.standing(&command(client, far, far - SESSION_WINDOW)), Standing::OutsideWindow);
        assert_eq!(sessions.apply(&next), Applied::Execute);
        assert_eq!(sessions.standing(&next), Standing::Executed);
        assert_eq!(sessions.standing(&command(client, far - SESSION_WINDOW, 1)), Standing::OutsideWindow);
    }

    #[test]
    fn an_evicted_session_never_executes_again() {
        let mut sessions = Sessions::new(2);
        let (first, second) = (open(&mut sessions), open(&mut sessions));
        assert_eq!(sessions.apply(&command(first, 1, 1)), Applied::Execute);
        let request = Request::new(ClientId { principal: ANN, session: 0 }, 7, 0, Operation::OpenSession, b"");
        assert!(
            matches!(sessions.apply(&request), Applied::Opened { evicted: Some(evicted), .. } if evicted == second)
        );
        assert_eq!(sessions.apply(&command(second, 1, 1)), Applied::Expired);
        assert_eq!(sessions.standing(&command(second, 1, 1)), Standing::Expired);
        assert_eq!(sessions.len(), 2);
    }

    #[test]
    fn sessions_go_on_from_a_snapshot_as_if_nothing_had_happened() {
        let mut sessions = Sessions::new(2);
        let (first, second) = (open(&mut sessions), open(&mut sessions));
        for sequence in [1, 2, 5, 70, 4000] {
            sessions.apply(&command(first, sequence, 1));
        }
        sessions.apply(&command(second, 3, 3));
        let snapshot = CoreSnapshot {
            slot: pssmr_types::Slot(9),
            digest: pssmr_types::Digest([3; 32]),
            timestamp: 77,
            position: sessions.position(),
            number: 5,
            asked_at: 70,
            membership: crate::snapshot::tests::membership(),
            sessions: sessions.snapshot(),
            upgraded: None,
        };
        let decoded = CoreSnapshot::decode(snapshot.encode().into()).unwrap();
        assert_eq!(decoded, snapshot);
        assert_eq!(decoded.sessions[0].unacknowledged().collect::<Vec<_>>(), [4000, 70, 5, 2, 1]);
        let mut restored = Sessions::restored(2, &decoded);
        for sessions in [&mut sessions, &mut restored] {
            assert_eq!(sessions.apply(&command(first, 70, 1)), Applied::Duplicate);
            assert_eq!(sessions.apply(&command(first, 71, 1)), Applied::Execute);
            assert_eq!(sessions.apply(&command(second, 2, 1)), Applied::OutsideWindow);
            open(sessions);
        }
        assert_eq!(restored.snapshot(), sessions.snapshot());
        assert_eq!(restored.position(), sessions.position());
        let bytes = snapshot.encode();
        assert!((0..bytes.len()).all(|length| CoreSnapshot::decode(bytes[..length].to_vec().into()).is_err()));
    }

    #[test]
    fn a_session_that_others_may_have_opened_is_not_called_expired() {
        let sessions = Sessions::new(2);
        let ahead = ClientId { principal: ANN, session: 17 };
        assert_eq!(sessions.standing(&command(ahead, 1, 1)), Standing::New);
    }
}
