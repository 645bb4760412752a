//! Asking the leader to give up its view.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use parking_lot::Mutex;
use pssmr_ordering::StepDownRefusal;

/// What became of a wish that the replica steps down.
pub(crate) type Answer = Result<SteppedDown, StepDownRefusal>;

/// Most wishes that wait for their answer: they take a turn of the ordering thread.
const WISHES_MAX: usize = 64;

/// A leader has given up its view, and the others leave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SteppedDown {
    /// The view that they leave for, counted from 0 in each epoch.
    pub view: u64,
    /// Its leader. If that is down, too, the one after it leads, a time-out later.
    pub leader: u16,
}

/// Why a replica does not step down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepDownError {
    /// The replica has said why.
    #[error(transparent)]
    Refused(#[from] StepDownRefusal),
    /// It does not run any more.
    #[error("it has stopped")]
    Stopped,
    /// Too many want it at the same time.
    #[error("it is being asked by too many")]
    Busy,
}

/// Who waits to hear what became of it.
#[derive(Debug)]
pub(crate) struct Wishes {
    /// `None` once nobody answers any more.
    waiting: Mutex<Option<Vec<SyncSender<Answer>>>>,
}

impl Default for Wishes {
    fn default() -> Self {
        Self { waiting: Mutex::new(Some(Vec::new())) }
    }
}

impl Wishes {
    /// One more. Whoever is to answer has to be woken then.
    pub(crate) fn add(&self) -> Result<Receiver<Answer>, StepDownError> {
        let mut waiting = self.waiting.lock();
        let wishes = waiting.as_mut().ok_or(StepDownError::Stopped)?;
        if wishes.len() == WISHES_MAX {
            return Err(StepDownError::Busy);
        }
        let (sender, receiver) = sync_channel(1);
        wishes.push(sender);
        Ok(receiver)
    }

    /// All that wait. They get one answer.
    pub(crate) fn take(&self) -> Vec<SyncSender<Answer>> {
        self.waiting.lock().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Nobody answers any more.
    pub(crate) fn close(&self) {
        *self.waiting.lock() = None;
    }
}
