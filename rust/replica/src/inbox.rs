//! What the replica's threads hand to each other: in bursts, bounded, and waking only who sleeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use pssmr_execution::{Completion, SnapshotError, SnapshotSource};
use pssmr_ordering::{CoreSnapshot, Input, Promise, ReplyCache};
use pssmr_transport::Waker;
use pssmr_types::{ClientId, Outcome, ReplicaId, Request, Slot, View};

use crate::reads::TakenRead;
use crate::step_down::Wishes;

/// For the ordering thread.
#[derive(Debug)]
pub(crate) struct OrderingInbox {
    requests: Mutex<Requests>,
    requests_max: usize,
    bytes_max: usize,
    executed: AtomicU64,
    durable: AtomicU64,
    promised: Mutex<Option<Promise>>,
    /// What became of snapshots.
    told: Mutex<Vec<Input>>,
    /// The ordering thread wants to know at once when execution has advanced.
    pub(crate) awaits_execution: AtomicBool,
    /// Who wants the replica to step down.
    pub(crate) step_downs: Wishes,
    failure: Mutex<Option<String>>,
    stopping: AtomicBool,
    waker: Waker,
}

#[derive(Debug, Default)]
struct Requests {
    burst: Vec<Request>,
    bytes: usize,
    reads: Vec<TakenRead>,
    /// Nobody takes requests any more.
    closed: bool,
}

impl OrderingInbox {
    pub(crate) fn new(requests_max: usize, bytes_max: usize, waker: Waker) -> Self {
        Self {
            requests: Mutex::default(),
            requests_max,
            bytes_max,
            executed: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            promised: Mutex::default(),
            told: Mutex::default(),
            awaits_execution: AtomicBool::new(false),
            step_downs: Wishes::default(),
            failure: Mutex::default(),
            stopping: AtomicBool::new(false),
            waker,
        }
    }

    /// Takes requests off the front of `burst`. What stays has no room.
    pub(crate) fn offer(&self, burst: &mut Vec<Request>) {
        if burst.is_empty() {
            return;
        }
        let mut requests = self.requests.lock();
        if requests.closed {
            return;
        }
        let room = self.requests_max.saturating_sub(requests.burst.len());
        let mut bytes = requests.bytes;
        let mut taken = 0;
        for request in burst.iter().take(room) {
            if bytes + request.batch_bytes() > self.bytes_max {
                break;
            }
            bytes += request.batch_bytes();
            taken += 1;
        }
        requests.bytes = bytes;
        if taken == burst.len() && requests.burst.is_empty() {
            std::mem::swap(&mut requests.burst, burst);
        } else {
            requests.burst.extend(burst.drain(..taken));
        }
        drop(requests);
        if taken > 0 {
            self.waker.wake();
        }
    }

    /// Takes reads, of which clients have a bounded number under way. If nobody takes any more, they stay in `burst`.
    pub(crate) fn offer_reads(&self, burst: &mut Vec<TakenRead>) {
        let mut requests = self.requests.lock();
        if burst.is_empty() || requests.closed {
            return;
        }
        requests.reads.append(burst);
        drop(requests);
        self.waker.wake();
    }

    /// Moves all requests to `to` and all reads to `reads`, which are empty.
    pub(crate) fn take_requests(&self, to: &mut Vec<Request>, reads: &mut Vec<TakenRead>) {
        assert!(to.is_empty() && reads.is_empty(), "the last burst was used up");
        let mut requests = self.requests.lock();
        std::mem::swap(&mut requests.burst, to);
        std::mem::swap(&mut requests.reads, reads);
        requests.bytes = 0;
    }

    /// How many requests wait to be taken.
    pub(crate) fn waiting_requests(&self) -> usize {
        self.requests.lock().burst.len()
    }

    /// From now on no request is taken, and no wish granted.
    pub(crate) fn close(&self) {
        self.step_downs.close();
        let mut requests = self.requests.lock();
        *requests = Requests { closed: true, ..Requests::default() };
    }

    /// Every slot up to `slot` is executed.
    pub(crate) fn executed(&self, slot: Slot) {
        self.executed.fetch_max(slot.0, Ordering::Release);
        if self.awaits_execution.load(Ordering::SeqCst) {
            self.waker.wake();
        }
    }

    pub(crate) fn executed_slot(&self) -> Slot {
        Slot(self.executed.load(Ordering::Acquire))
    }

    /// So many records are kept.
    pub(crate) fn durable(&self, records: u64) {
        if self.durable.fetch_max(records, Ordering::Release) < records {
            self.waker.wake();
        }
    }

    pub(crate) fn durable_records(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// A promise is kept.
    pub(crate) fn promised(&self, promise: Promise) {
        *self.promised.lock() = Some(promise);
        self.waker.wake();
    }

    pub(crate) fn take_promised(&self) -> Option<Promise> {
        self.promised.lock().take()
    }

    /// Something that the core is to know.
    pub(crate) fn tell(&self, input: Input) {
        self.told.lock().push(input);
        self.waker.wake();
    }

    /// Moves what the core is to know to `to`.
    pub(crate) fn take_told(&self, to: &mut Vec<Input>) {
        to.append(&mut self.told.lock());
    }

    /// Something waits to be sent.
    pub(crate) fn wake(&self) {
        self.waker.wake();
    }

    /// The replica can't go on.
    pub(crate) fn fail(&self, reason: String) {
        self.failure.lock().get_or_insert(reason);
        self.waker.wake();
    }

    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.lock().clone()
    }

    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.waker.wake();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

/// What ordering has to say to clients.
#[derive(Debug)]
pub(crate) enum Notice {
    /// What became of a request, other than its result.
    Reply { client: ClientId, sequence: u64, outcome: Outcome },
    /// The read with this ticket is not executed.
    ReadRefused { ticket: u64 },
    /// The view has its base here.
    Leader { view: View, leader: ReplicaId },
    /// The client has the replies to all sequences below this one.
    Acknowledged { client: ClientId, below: u64 },
    /// The session ended in this slot.
    Evicted { client: ClientId, slot: Slot },
    /// A snapshot of the state after exactly what came before this is going to be taken.
    Checkpoint(Arc<CoreSnapshot>),
    /// The replica goes on from a snapshot of this slot, with these replies.
    Restored { slot: Slot, replies: ReplyCache },
}

impl Notice {
    /// Whether clients wait for what it says.
    pub(crate) fn is_for_clients(&self) -> bool {
        matches!(self, Self::Reply { .. } | Self::ReadRefused { .. } | Self::Leader { .. })
    }
}

/// A snapshot command was executed: the application's state after this slot, or why there is none.
pub(crate) struct Taken {
    pub(crate) slot: Slot,
    pub(crate) source: Result<Box<dyn SnapshotSource>, SnapshotError>,
}

/// For the client thread.
pub(crate) struct ClientInbox {
    /// At most what is executed between two turns of the client thread: bounded by the slots that ordering lets wait.
    completions: Mutex<Vec<Completion>>,
    notices: Mutex<Vec<Notice>>,
    taken: Mutex<Vec<Taken>>,
    stopping: AtomicBool,
    waker: Waker,
}

impl ClientInbox {
    pub(crate) fn new(waker: Waker) -> Self {
        Self {
            completions: Mutex::default(),
            notices: Mutex::default(),
            taken: Mutex::default(),
            stopping: AtomicBool::new(false),
            waker,
        }
    }

    /// Has the client thread look around.
    pub(crate) fn wake(&self) {
        self.waker.wake();
    }

    /// Takes all completions.
    pub(crate) fn completed(&self, completions: &mut Vec<Completion>) {
        if completions.is_empty() {
            return;
        }
        self.completions.lock().append(completions);
        self.waker.wake();
    }

    /// Takes all notices.
    pub(crate) fn notify(&self, notices: &mut Vec<Notice>) {
        if notices.is_empty() {
            return;
        }
        // Cached replies can wait for their end until there is something for a client.
        let urgent = notices.iter().any(Notice::is_for_clients);
        let mut waiting = self.notices.lock();
        waiting.append(notices);
        let many = waiting.len() >= 4096;
        drop(waiting);
        if urgent || many {
            self.waker.wake();
        }
    }

    /// How many completions wait to be taken.
    pub(crate) fn waiting_results(&self) -> usize {
        self.completions.lock().len()
    }

    /// A snapshot command was executed. All completions of commands before it came before this.
    pub(crate) fn taken(&self, taken: Taken) {
        self.taken.lock().push(taken);
        self.waker.wake();
    }

    /// Moves all that waits to `taken`, `completions` and `notices`, which are empty.
    ///
    /// In this order: with a snapshot come all completions before it, and with these all notices that were given before
    /// their commands began.
    pub(crate) fn take(&self, taken: &mut Vec<Taken>, completions: &mut Vec<Completion>, notices: &mut Vec<Notice>) {
        assert!(taken.is_empty() && completions.is_empty() && notices.is_empty(), "the last burst was used up");
        std::mem::swap(&mut *self.taken.lock(), taken);
        std::mem::swap(&mut *self.completions.lock(), completions);
        std::mem::swap(&mut *self.notices.lock(), notices);
    }

    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.waker.wake();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}
