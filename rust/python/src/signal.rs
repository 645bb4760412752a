//! Wakes an asyncio loop from threads that never attach to Python.

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

/// A file descriptor that is readable while it is raised. A loop watches it with `add_reader`.
#[derive(Debug)]
pub(crate) struct Signal {
    raising: UnixStream,
    watched: UnixStream,
}

impl Signal {
    pub(crate) fn new() -> io::Result<Self> {
        let (raising, watched) = UnixStream::pair()?;
        raising.set_nonblocking(true)?;
        watched.set_nonblocking(true)?;
        Ok(Self { raising, watched })
    }

    pub(crate) fn fileno(&self) -> RawFd {
        self.watched.as_raw_fd()
    }

    /// Makes it readable. Does not block: if the socket's buffer is full, it is readable already.
    pub(crate) fn raise(&self) {
        let _ = (&self.raising).write(&[1]);
    }

    /// Makes it unreadable.
    pub(crate) fn lower(&self) {
        let mut bytes = [0; 64];
        while matches!((&self.watched).read(&mut bytes), Ok(64)) {}
    }
}
