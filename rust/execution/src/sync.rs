//! The synchronisation primitives of the executor: the standard ones, or under unit tests those of shuttle, which
//! explores the interleavings of threads. Tests with real threads are in `tests/`.

#[cfg(not(test))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, atomic};
#[cfg(not(test))]
pub(crate) use std::thread;

#[cfg(test)]
pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard, atomic};
#[cfg(test)]
pub(crate) use shuttle::thread;

/// The stack of a worker, in bytes: of address space, memory is taken as it is used. Handlers in Python recurse through
/// native frames up to the interpreter's limit, which has to be reached before the end of the stack is.
#[cfg(not(test))]
const WORKER_STACK_BYTES: usize = 64 << 20;

/// A worker's thread, not yet started.
pub(crate) fn worker_thread(name: String) -> thread::Builder {
    let builder = thread::Builder::new().name(name);
    #[cfg(not(test))]
    let builder = builder.stack_size(WORKER_STACK_BYTES);
    builder
}

/// Whether a thread has ended. Shuttle does not say; a thread that has ended may also be joined later.
pub(crate) fn has_ended(thread: &thread::JoinHandle<()>) -> bool {
    #[cfg(not(test))]
    return thread.is_finished();
    #[cfg(test)]
    {
        let _ = thread;
        false
    }
}

/// Locks. A panic while a lock was held has left the executor in an unknown state, so it spreads.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no thread panics while it holds a lock of the executor")
}

/// Waits for a notification.
pub(crate) fn wait<'a, T>(condition: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condition.wait(guard).expect("no thread panics while it holds a lock of the executor")
}

/// A stopwatch that decides nothing but how many commands a worker takes at once. Shuttle has to be able to repeat a
/// run, so there it stands still.
#[derive(Debug)]
pub(crate) struct Stopwatch(#[cfg(not(test))] std::time::Instant);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(
            #[cfg(not(test))]
            std::time::Instant::now(),
        )
    }

    #[cfg_attr(test, allow(clippy::unused_self))]
    pub(crate) fn elapsed(&self) -> std::time::Duration {
        #[cfg(not(test))]
        return self.0.elapsed();
        #[cfg(test)]
        std::time::Duration::ZERO
    }
}
