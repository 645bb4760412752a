//! The recording of what ordering is told: a file, and the thread that writes it.
//!
//! A recording is of one start of a replica, from its beginning, since the state of a core can't be written down in the
//! middle of its life: so it ends at its limit, and does not go round. Ordering never waits for it: what can't be written
//! in time ends it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use pssmr_recording::{End, Tape};

use crate::events::ReplicaEvent;
use crate::state::State;

/// Most bytes that wait to be written.
const WAITING_BYTES_MAX: usize = 64 << 20;

/// How many recordings of earlier starts are kept beside the last one.
const EARLIER_KEPT: u32 = 2;

/// Where to record what ordering is told, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordingConfig {
    /// The file. What was recorded there before is kept as `FILE.1` and `FILE.2`.
    pub file: PathBuf,
    /// The recording ends before it is longer than this, in bytes.
    pub bytes_max: u64,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// How many bytes were taken, all together.
    taken: u64,
    /// Why no more are taken.
    end: Option<End>,
    /// Writing has failed.
    has_failed: bool,
    /// The replica starts: nobody waits for its votes yet.
    is_starting: bool,
}

/// For the recording thread.
#[derive(Debug)]
pub(crate) struct RecordingInbox {
    bytes_max: u64,
    waiting: Mutex<Waiting>,
    came: Condvar,
    /// What waited is being written.
    went: Condvar,
}

impl RecordingInbox {
    fn new(bytes_max: u64) -> Self {
        let waiting = Mutex::new(Waiting { is_starting: true, ..Waiting::default() });
        Self { bytes_max, waiting, came: Condvar::new(), went: Condvar::new() }
    }

    /// The replica has started: from now on nothing waits for the disk.
    pub(crate) fn started(&self) {
        self.waiting.lock().is_starting = false;
    }

    /// The thread ends when all that waits is written.
    pub(crate) fn stop(&self) {
        self.waiting.lock().end.get_or_insert(End::Stopped);
        self.came.notify_one();
    }

    fn take(&self, bytes: &[u8]) -> bool {
        let mut waiting = self.waiting.lock();
        let is_crowded =
            |waiting: &Waiting| !waiting.bytes.is_empty() && waiting.bytes.len() + bytes.len() > WAITING_BYTES_MAX;
        while waiting.is_starting && !waiting.has_failed && is_crowded(&waiting) {
            self.went.wait(&mut waiting);
        }
        if waiting.has_failed || waiting.end.is_some() {
            return false;
        }
        let taken = waiting.taken.saturating_add(bytes.len() as u64);
        if taken > self.bytes_max {
            waiting.end = Some(End::Full);
        } else if is_crowded(&waiting) {
            waiting.end = Some(End::Behind);
        } else {
            waiting.taken = taken;
            waiting.bytes.extend_from_slice(bytes);
        }
        let goes_on = waiting.end.is_none();
        drop(waiting);
        self.came.notify_one();
        goes_on
    }
}

/// The end of a recording that ordering holds.
struct OrderingEnd(Arc<RecordingInbox>);

impl Tape for OrderingEnd {
    fn write(&mut self, bytes: &[u8]) -> bool {
        self.0.take(bytes)
    }
}

/// What the recording thread owns.
pub(crate) struct RecordingThread {
    file: File,
    path: PathBuf,
    inbox: Arc<RecordingInbox>,
}

/// Makes the file.
pub(crate) fn create(config: &RecordingConfig) -> io::Result<RecordingThread> {
    keep_earlier(&config.file)?;
    // It has the clients' requests in the clear.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&config.file)?;
    let inbox = Arc::new(RecordingInbox::new(config.bytes_max));
    Ok(RecordingThread { file, path: config.file.clone(), inbox })
}

/// `FILE.1` becomes `FILE.2`, and `FILE` becomes `FILE.1`.
fn keep_earlier(file: &Path) -> io::Result<()> {
    let name = |number: u32| {
        let mut name = file.as_os_str().to_owned();
        if number > 0 {
            name.push(format!(".{number}"));
        }
        PathBuf::from(name)
    };
    for number in (0..EARLIER_KEPT).rev() {
        match fs::rename(name(number), name(number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

impl RecordingThread {
    pub(crate) fn inbox(&self) -> Arc<RecordingInbox> {
        Arc::clone(&self.inbox)
    }

    pub(crate) fn tape(&self) -> Box<dyn Tape> {
        Box::new(OrderingEnd(self.inbox()))
    }

    /// The thread's life.
    pub(crate) fn run(mut self, state: &State) {
        let path = self.path.display().to_string();
        tracing::info!(file = path, "recording what ordering is told, clients' requests included");
        let reason = match self.work() {
            Ok(End::Stopped) => return,
            Ok(End::Full) => format!("it has reached its limit of {} bytes", self.inbox.bytes_max),
            Ok(End::Behind) => "the disk is too slow: too much waited to be written".to_owned(),
            Err(error) => error.to_string(),
        };
        let mut waiting = self.inbox.waiting.lock();
        waiting.has_failed = true;
        waiting.bytes = Vec::new();
        drop(waiting);
        self.inbox.went.notify_one();
        tracing::warn!(file = path, reason, "nothing more is recorded");
        state.tell(&ReplicaEvent::RecordingEnded { reason });
    }

    fn work(&mut self) -> io::Result<End> {
        let mut bytes = Vec::new();
        loop {
            let mut waiting = self.inbox.waiting.lock();
            while waiting.bytes.is_empty() && waiting.end.is_none() {
                self.inbox.came.wait(&mut waiting);
            }
            std::mem::swap(&mut waiting.bytes, &mut bytes);
            let end = waiting.end;
            drop(waiting);
            self.inbox.went.notify_one();
            if let Some(end) = end {
                end.put(&mut bytes);
            }
            self.file.write_all(&bytes)?;
            bytes.clear();
            if let Some(end) = end {
                return Ok(end);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<(String, String)> {
        let mut names: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap())
            })
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_earlier_starts_recorded_is_kept_for_two_of_them() {
        let directory = tempfile::tempdir().unwrap();
        let config = RecordingConfig { file: directory.path().join("r"), bytes_max: 100 };
        for start in ["first", "second", "third", "fourth"] {
            let mut thread = create(&config).unwrap();
            thread.file.write_all(start.as_bytes()).unwrap();
        }
        let expected = [("r", "fourth"), ("r.1", "third"), ("r.2", "second")];
        assert_eq!(names(directory.path()), expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
        let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(&config.file).unwrap());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn nothing_is_taken_beyond_the_limit_and_the_file_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let config = RecordingConfig { file: directory.path().join("r"), bytes_max: 10 };
        let mut thread = create(&config).unwrap();
        let mut tape = thread.tape();
        assert!(tape.write(b"12345"));
        assert!(!tape.write(b"678901"), "that would be 11");
        assert!(!tape.write(b"6"), "what ends does not begin again");
        assert_eq!(thread.work().unwrap(), End::Full);
        let mut expected = b"12345".to_vec();
        End::Full.put(&mut expected);
        assert_eq!(fs::read(&config.file).unwrap(), expected);
    }

    #[test]
    fn what_waits_is_bounded_and_only_a_start_waits_for_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        let config = RecordingConfig { file: directory.path().join("r"), bytes_max: u64::MAX };
        let mut thread = create(&config).unwrap();
        let (inbox, mut tape) = (thread.inbox(), thread.tape());
        let half = vec![0; WAITING_BYTES_MAX / 2];
        let worker = std::thread::spawn(move || thread.work());
        for _ in 0..4 {
            assert!(tape.write(&half), "it waits for room");
        }
        inbox.stop();
        assert_eq!(worker.join().unwrap().unwrap(), End::Stopped);

        let mut thread = create(&config).unwrap();
        let (inbox, mut tape) = (thread.inbox(), thread.tape());
        inbox.started();
        assert!(tape.write(&half) && tape.write(&half), "nobody writes, but there is room");
        assert!(!tape.write(b"1"));
        assert_eq!(thread.work().unwrap(), End::Behind);
    }
}
