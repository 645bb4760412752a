//! Requests that belong to somebody's trace, on their way through this replica.
//!
//! Beside the way of a request, not on it: a client says of a request which trace it belongs to, and that is looked up when
//! the request is decided and when it is executed. Nothing that replicas agree on depends on it, and it may be
//! forgotten at any time. While no client traces anything this costs a look at a counter for each slot and each run
//! of commands.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::{Condvar, Mutex};
use pssmr_types::{ClientId, Principal, RequestTrace, TraceContext};

/// Most requests that are followed at a time. The oldest is forgotten first.
const REQUESTS_MAX: usize = 4096;

/// Most commands that wait to be taken. More are not kept.
const COMMANDS_MAX: usize = 4096;

/// What is followed: a request, or a read by its ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Request(ClientId, u64),
    Read(u64),
}

/// A request that is not executed yet. Times are nanoseconds since the Unix epoch, by this machine's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TracedRequest {
    /// Where it belongs.
    pub context: TraceContext,
    /// When its client announced it.
    pub received: u64,
    /// When its slot was decided. None of a read, which has none.
    pub decided: Option<u64>,
}

/// A command that was executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracedCommand {
    /// The request.
    pub request: TracedRequest,
    /// The command's name.
    pub command: Arc<str>,
    /// When its handler began, in nanoseconds since the Unix epoch.
    pub started: u64,
    /// When it ended.
    pub ended: u64,
    /// Whether its writes were kept.
    pub is_kept: bool,
}

/// The requests that are traced, and what became of them.
#[derive(Debug)]
pub struct Traces {
    /// How many requests are followed: without the lock.
    count: AtomicUsize,
    requests: Mutex<Requests>,
    /// Whether anybody takes what has ended.
    is_exported: bool,
    ended: Mutex<Ended>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Requests {
    by_key: HashMap<Key, TracedRequest>,
    /// Those that were announced, oldest first; some are not followed any more.
    announced: VecDeque<Key>,
}

#[derive(Debug, Default)]
struct Ended {
    commands: Vec<TracedCommand>,
    is_closed: bool,
}

impl Traces {
    /// Nothing is traced. With `is_exported`, commands that were executed are kept for [`Traces::next`].
    pub fn new(is_exported: bool) -> Self {
        Self {
            count: AtomicUsize::new(0),
            requests: Mutex::default(),
            is_exported,
            ended: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Whether no request is followed.
    pub fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// A client says where requests of its own belong.
    pub(crate) fn announce(&self, principal: Principal, traces: &[RequestTrace]) {
        let keys = traces.iter().map(|RequestTrace { session, sequence, context }| {
            (Key::Request(ClientId { principal, session: *session }, *sequence), *context)
        });
        self.follow(keys);
    }

    /// A read that was taken belongs there.
    pub(crate) fn announce_read(&self, ticket: u64, context: TraceContext) {
        self.follow([(Key::Read(ticket), context)].into_iter());
    }

    fn follow(&self, keys: impl Iterator<Item = (Key, TraceContext)>) {
        let received = now();
        let mut requests = self.requests.lock();
        for (key, context) in keys {
            if requests.by_key.insert(key, TracedRequest { context, received, decided: None }).is_none() {
                requests.announced.push_back(key);
            }
            while requests.announced.len() > REQUESTS_MAX {
                let oldest = requests.announced.pop_front().expect("there are too many");
                requests.by_key.remove(&oldest);
            }
        }
        self.count.store(requests.by_key.len(), Ordering::Relaxed);
    }

    /// These requests are decided.
    pub(crate) fn decided(&self, requests: impl Iterator<Item = (ClientId, u64)>) {
        if self.is_empty() {
            return;
        }
        let decided = now();
        let mut followed = self.requests.lock();
        for (client, sequence) in requests {
            if let Some(request) = followed.by_key.get_mut(&Key::Request(client, sequence)) {
                request.decided = Some(decided);
            }
        }
    }

    /// The command of this request is about to be executed: what is known of it, once.
    pub fn take(&self, client: ClientId, sequence: u64) -> Option<TracedRequest> {
        self.take_key(Key::Request(client, sequence))
    }

    /// The same of a read, by its ticket; or it is not executed at all.
    pub fn take_read(&self, ticket: u64) -> Option<TracedRequest> {
        self.take_key(Key::Read(ticket))
    }

    fn take_key(&self, key: Key) -> Option<TracedRequest> {
        if self.is_empty() {
            return None;
        }
        let mut requests = self.requests.lock();
        let found = requests.by_key.remove(&key);
        self.count.store(requests.by_key.len(), Ordering::Relaxed);
        found
    }

    /// A command was executed.
    pub fn executed(&self, command: TracedCommand) {
        if !self.is_exported {
            return;
        }
        let mut ended = self.ended.lock();
        if ended.commands.len() < COMMANDS_MAX {
            ended.commands.push(command);
            self.changed.notify_one();
        }
    }

    /// Waits for commands that were executed, and takes them; `None` after the end.
    pub fn next(&self) -> Option<Vec<TracedCommand>> {
        let mut ended = self.ended.lock();
        while ended.commands.is_empty() && !ended.is_closed {
            self.changed.wait(&mut ended);
        }
        let commands = std::mem::take(&mut ended.commands);
        (!commands.is_empty()).then_some(commands)
    }

    /// Ends [`Traces::next`], once it has given what there is.
    pub fn close(&self) {
        self.ended.lock().is_closed = true;
        self.changed.notify_all();
    }
}

/// The time, in nanoseconds since the Unix epoch.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: ClientId = ClientId { principal: Principal(5), session: 7 };

    fn trace(sequence: u64) -> RequestTrace {
        let context = TraceContext { trace: [1; 16], span: [2; 8], flags: 1 };
        RequestTrace { session: CLIENT.session, sequence, context }
    }

    #[test]
    fn a_request_is_followed_from_its_announcement_to_its_execution() {
        let traces = Traces::new(true);
        traces.announce(CLIENT.principal, &[trace(1), trace(2)]);
        traces.decided([(CLIENT, 1), (CLIENT, 9)].into_iter());
        let request = traces.take(CLIENT, 1).expect("it was announced");
        assert_eq!(request.context, trace(1).context);
        assert!(request.decided >= Some(request.received));
        assert_eq!(traces.take(CLIENT, 1), None, "it is executed once");
        assert_eq!(traces.take(CLIENT, 2).expect("it was announced").decided, None);
        assert!(traces.is_empty());
        let command = TracedCommand { request, command: "add".into(), started: 1, ended: 2, is_kept: true };
        traces.executed(command.clone());
        traces.close();
        assert_eq!(traces.next(), Some(vec![command]));
        assert_eq!(traces.next(), None);
    }

    #[test]
    fn a_read_is_followed_by_its_ticket_and_is_no_request() {
        let traces = Traces::new(false);
        traces.announce_read(1, trace(1).context);
        traces.decided([(CLIENT, 1), (ClientId::default(), 1)].into_iter());
        assert_eq!(traces.take(ClientId::default(), 1), None);
        let read = traces.take_read(1).expect("it was announced");
        assert_eq!((read.context, read.decided), (trace(1).context, None));
        assert!(traces.is_empty());
    }

    #[test]
    fn a_client_says_nothing_of_what_others_send() {
        let traces = Traces::new(false);
        traces.announce(Principal(6), &[trace(1)]);
        assert_eq!(traces.take(CLIENT, 1), None);
    }

    #[test]
    fn what_is_announced_and_never_comes_is_forgotten() {
        let traces = Traces::new(false);
        for sequence in 1..=3 * REQUESTS_MAX as u64 {
            traces.announce(CLIENT.principal, &[trace(sequence), trace(sequence)]);
        }
        assert_eq!(traces.count.load(Ordering::Relaxed), REQUESTS_MAX);
        assert_eq!(traces.requests.lock().announced.len(), REQUESTS_MAX);
        assert_eq!(traces.take(CLIENT, 1), None);
    }

    #[test]
    fn commands_that_nobody_takes_are_bounded() {
        let traces = Traces::new(true);
        traces.announce(CLIENT.principal, &[trace(1)]);
        let request = traces.take(CLIENT, 1).expect("it was announced");
        for _ in 0..2 * COMMANDS_MAX {
            let command = "add".into();
            traces.executed(TracedCommand { request, command, started: 1, ended: 2, is_kept: true });
        }
        assert_eq!(traces.ended.lock().commands.len(), COMMANDS_MAX);
    }
}
