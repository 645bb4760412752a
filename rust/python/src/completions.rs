//! The completions of a client, on their way to Python.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use pssmr_client::{Completion, CompletionSink, RequestError, Response};

use crate::signal::Signal;

pub(crate) type Outcome = Result<Response, RequestError>;

/// Where the client's thread leaves completions: for a loop that drains them in bursts, or for threads that each wait
/// for one. A client is used in one of the two ways.
#[derive(Debug)]
pub(crate) struct Completions {
    arrived: Mutex<Arrived>,
    changed: Condvar,
    /// Raised while a loop has something to drain; `None` if threads wait.
    signal: Option<Signal>,
}

#[derive(Debug, Default)]
struct Arrived {
    /// For a loop, in the order of arrival.
    queue: Vec<Completion>,
    raised: bool,
    /// For threads, by token.
    by_token: HashMap<u64, Outcome>,
    /// The tokens that threads wait for. What comes for any other is dropped: who gave up does not come back.
    awaited: HashSet<u64>,
}

/// The client's end.
pub(crate) struct Sink(pub(crate) Arc<Completions>);

impl CompletionSink for Sink {
    fn completed(&mut self, completions: &mut Vec<Completion>) {
        let mut arrived = self.0.arrived.lock();
        if let Some(signal) = &self.0.signal {
            arrived.queue.append(completions);
            if !std::mem::replace(&mut arrived.raised, true) {
                signal.raise();
            }
        } else {
            for completion in completions.drain(..) {
                if arrived.awaited.contains(&completion.token) {
                    arrived.by_token.insert(completion.token, completion.result);
                }
            }
            self.0.changed.notify_all();
        }
    }
}

impl Completions {
    /// For a loop.
    pub(crate) fn for_loop() -> io::Result<Self> {
        Ok(Self { arrived: Mutex::default(), changed: Condvar::new(), signal: Some(Signal::new()?) })
    }

    /// For threads.
    pub(crate) fn for_threads() -> Self {
        Self { arrived: Mutex::default(), changed: Condvar::new(), signal: None }
    }

    /// The file descriptor that a loop watches.
    pub(crate) fn fileno(&self) -> Option<RawFd> {
        self.signal.as_ref().map(Signal::fileno)
    }

    /// All that has arrived for the loop.
    pub(crate) fn drain(&self) -> Vec<Completion> {
        let mut arrived = self.arrived.lock();
        if let Some(signal) = &self.signal {
            signal.lower();
        }
        arrived.raised = false;
        std::mem::take(&mut arrived.queue)
    }

    /// A thread is going to wait for these.
    pub(crate) fn expect(&self, tokens: impl IntoIterator<Item = u64>) {
        self.arrived.lock().awaited.extend(tokens);
    }

    /// Nobody waits for these any more.
    pub(crate) fn forget(&self, tokens: impl IntoIterator<Item = u64>) {
        let mut arrived = self.arrived.lock();
        for token in tokens {
            arrived.awaited.remove(&token);
            arrived.by_token.remove(&token);
        }
    }

    /// The completion of a token that is expected, if it has arrived.
    pub(crate) fn take(&self, token: u64) -> Option<Outcome> {
        let mut arrived = self.arrived.lock();
        let outcome = arrived.by_token.remove(&token)?;
        arrived.awaited.remove(&token);
        Some(outcome)
    }

    /// Waits for the completion of a token that is expected, for `patience` at most.
    pub(crate) fn wait(&self, token: u64, patience: Duration) -> Option<Outcome> {
        let deadline = Instant::now() + patience;
        let mut arrived = self.arrived.lock();
        loop {
            if let Some(outcome) = arrived.by_token.remove(&token) {
                arrived.awaited.remove(&token);
                return Some(outcome);
            }
            if self.changed.wait_until(&mut arrived, deadline).timed_out() {
                return None;
            }
        }
    }
}
