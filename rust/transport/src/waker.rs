//! Waking a sleeping poll from other threads.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

const AWAKE: u8 = 0;
const ASLEEP: u8 = 1;
const WOKEN: u8 = 2;

/// Wakes a transport's poll from any thread. The poll, or the next one, then yields
/// [`Event::Woken`](crate::Event::Woken).
///
/// Costs a system call only if the owner sleeps, and then only for the first who wakes it.
#[derive(Clone, Debug)]
pub struct Waker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: AtomicU8,
    poll: mio::Waker,
}

impl Waker {
    pub(crate) fn new(registry: &mio::Registry, token: mio::Token) -> io::Result<Self> {
        let poll = mio::Waker::new(registry, token)?;
        Ok(Self { shared: Arc::new(Shared { state: AtomicU8::new(AWAKE), poll }) })
    }

    /// Wakes the poll. What this thread wrote before is visible to the owner after `Woken`.
    pub fn wake(&self) {
        if self.shared.state.swap(WOKEN, Ordering::AcqRel) == ASLEEP
            && let Err(error) = self.shared.poll.wake()
        {
            // Writing to an eventfd fails only if it is closed, and the poll owns it as long as this lives.
            tracing::error!(%error, "cannot wake the transport");
        }
    }

    /// The owner is about to sleep. True if it must not, because it was woken meanwhile.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.shared.state.swap(ASLEEP, Ordering::AcqRel) == WOKEN
    }

    /// The owner has slept. True if it was woken.
    pub(crate) fn get_up(&self) -> bool {
        self.shared.state.swap(AWAKE, Ordering::AcqRel) == WOKEN
    }
}
