//! What threads hand to the client's thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use pssmr_types::{Membership, ReplicaId, TraceContext};

use crate::error::SubmitError;
use crate::status::ClientStatus;

/// Something to be done, and how the submitter recognises its completion.
#[derive(Clone, Debug)]
pub struct Submission {
    /// Comes back in the completion. Its meaning is the submitter's.
    pub token: u64,
    /// What to do.
    pub work: Work,
    /// How long it may take; `None` is as long as the configuration says.
    pub timeout: Option<Duration>,
    /// The trace that it belongs to. Replicas are told, and that is all.
    pub trace: Option<TraceContext>,
}

/// What a submission asks for.
#[derive(Clone, Debug)]
pub enum Work {
    /// Execute this command.
    Command(Bytes),
    /// Answer this query. It is ordered only if the replicas can't answer it otherwise; its result is the same either way: that
    /// of a place in the order after all that had completed anywhere before it was submitted.
    Read(Bytes),
    /// Compare the replicas' states, at one position of the total order.
    StateDigests,
    /// The same, and have a checkpoint taken there.
    Checkpoint,
    /// Change the membership: the encoding of a [`Reconfiguration`](pssmr_types::Reconfiguration). The result is empty if the
    /// change is made, and otherwise says why it is not, in UTF-8. The client itself learns of the new membership when k
    /// replicas have proved it, which may be later.
    Reconfigure(Bytes),
    /// Have the service go over to a later version: the encoding of an [`Upgrade`](pssmr_types::Upgrade). The result is empty
    /// if that version is in force then, and otherwise says why it is not, in UTF-8.
    Upgrade(Bytes),
    /// Ask one replica how it is.
    Status(ReplicaId),
}

impl Submission {
    pub(crate) fn payload_bytes(&self) -> usize {
        match &self.work {
            Work::Command(payload) | Work::Read(payload) | Work::Reconfigure(payload) | Work::Upgrade(payload) => {
                payload.len()
            }
            Work::StateDigests | Work::Checkpoint | Work::Status(_) => 0,
        }
    }
}

/// What the client's thread shares with the threads that use the client.
#[derive(Debug)]
pub(crate) struct Shared {
    submissions: Mutex<Vec<Submission>>,
    /// Submissions without a completion.
    under_way: AtomicUsize,
    /// Their payloads, in bytes.
    under_way_bytes: AtomicUsize,
    requests_max: usize,
    requests_bytes_max: usize,
    closed: AtomicBool,
    pub(crate) status: Mutex<ClientStatus>,
    /// The newest that is known.
    pub(crate) membership: Mutex<Arc<Membership>>,
}

impl Shared {
    pub(crate) fn new(membership: Membership, requests_max: usize, requests_bytes_max: usize) -> Self {
        Self {
            submissions: Mutex::default(),
            under_way: AtomicUsize::new(0),
            under_way_bytes: AtomicUsize::new(0),
            requests_max,
            requests_bytes_max,
            closed: AtomicBool::new(false),
            status: Mutex::default(),
            membership: Mutex::new(Arc::new(membership)),
        }
    }

    /// Takes submissions from the front of `batch` as long as there is room.
    pub(crate) fn submit(&self, batch: &mut Vec<Submission>) -> Result<(), SubmitError> {
        let mut submissions = self.submissions.lock();
        // Read under the lock: the thread sets it before it empties the inbox for the last time.
        if self.closed.load(Ordering::Acquire) {
            return Err(SubmitError::Closed);
        }
        let mut room = self.requests_max.saturating_sub(self.under_way.load(Ordering::Relaxed));
        let mut room_bytes = self.requests_bytes_max.saturating_sub(self.under_way_bytes.load(Ordering::Relaxed));
        let (mut taken, mut taken_bytes) = (0, 0);
        for submission in batch.iter() {
            let bytes = submission.payload_bytes();
            if room == 0 || bytes > room_bytes {
                break;
            }
            (room, room_bytes) = (room - 1, room_bytes - bytes);
            (taken, taken_bytes) = (taken + 1, taken_bytes + bytes);
        }
        self.under_way.fetch_add(taken, Ordering::Relaxed);
        self.under_way_bytes.fetch_add(taken_bytes, Ordering::Relaxed);
        submissions.extend(batch.drain(..taken));
        if batch.is_empty() { Ok(()) } else { Err(SubmitError::QueueFull) }
    }

    /// Moves all submissions to `to`.
    pub(crate) fn take(&self, to: &mut Vec<Submission>) {
        to.append(&mut self.submissions.lock());
    }

    /// Submissions of so many bytes have their completions.
    pub(crate) fn completed(&self, count: usize, bytes: usize) {
        self.under_way.fetch_sub(count, Ordering::Relaxed);
        self.under_way_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// From now on nothing is submitted.
    pub(crate) fn close(&self) {
        let _submissions = self.submissions.lock();
        self.closed.store(true, Ordering::Release);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use pssmr_types::{ClusterId, Epoch, FaultModel, SecretKey};

    use super::*;

    fn shared(requests_max: usize, requests_bytes_max: usize) -> Shared {
        let keys = vec![SecretKey::from_seed([1; 32]).public()];
        let membership = Membership::new(ClusterId::default(), Epoch(0), FaultModel::Crash, keys).unwrap();
        Shared::new(membership, requests_max, requests_bytes_max)
    }

    fn command(payload: &'static [u8]) -> Submission {
        Submission { token: 0, work: Work::Command(Bytes::from_static(payload)), timeout: None, trace: None }
    }

    #[test]
    fn what_is_under_way_is_bounded_in_number() {
        let shared = shared(2, 100);
        let mut batch = vec![command(b""), command(b""), command(b"")];
        assert_eq!(shared.submit(&mut batch), Err(SubmitError::QueueFull));
        assert_eq!(batch.len(), 1, "two were taken");
        shared.completed(1, 0);
        assert_eq!(shared.submit(&mut batch), Ok(()));
    }

    #[test]
    fn what_is_under_way_is_bounded_in_bytes() {
        let shared = shared(10, 5);
        let mut batch = vec![command(b"123"), command(b"456")];
        assert_eq!(shared.submit(&mut batch), Err(SubmitError::QueueFull));
        assert_eq!(batch.len(), 1);
        shared.completed(1, 3);
        assert_eq!(shared.submit(&mut batch), Ok(()));
    }

    #[test]
    fn nothing_is_taken_after_the_end() {
        let shared = shared(10, 10);
        shared.close();
        assert_eq!(shared.submit(&mut vec![command(b"")]), Err(SubmitError::Closed));
    }
}
