//! A disk in memory that fails as disks do: for tests and the simulator.
//!
//! The model: a write is in the cache at once, for whoever reads, and on the medium after a sync of the file; a name is on the
//! medium after a sync of its directory. When the power goes, each sector of [`SECTOR_BYTES`] that was not synced is on the medium
//! as it was or as it should be, and each change of a name is or is not, as a seed says. A failed sync forgets what it should
//! have written: the cache shows it until the power goes, and a later sync doesn't write it.

mod medium;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{Disk, DiskFile, Held, LockAttempt};
use medium::{Content, NameChange, Random, State};

/// What the medium writes whole or not at all.
pub const SECTOR_BYTES: usize = 512;

const EIO: i32 = 5;

/// How one operation goes wrong. What only a write can have, no other operation has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails and does nothing; a sync forgets what it should have written.
    Io,
    /// It is done, and reported as failed.
    DoneButFailed,
    /// It fails, since no space is left.
    NoSpace,
    /// A write writes so many bytes only, and says so.
    Short(usize),
    /// A write lands so many bytes after its place, and says that all is well.
    Misdirected(u64),
    /// A write does nothing, and says that all is well.
    Lost,
}

/// What of the unsynced is lost when the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// All.
    Everything,
    /// Nothing: the system had written it all by chance.
    Nothing,
    /// Each sector and each change of a name or is not, as the seed says.
    Some {
        /// Of the choice.
        seed: u64,
    },
}

/// The disk. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct FaultyDisk {
    state: Arc<Mutex<State>>,
}

impl FaultyDisk {
    /// An empty disk without faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Another disk, which is as this one is now. Nothing is open on it.
    #[must_use]
    pub fn fork(&self) -> Self {
        let mut state = self.state().clone();
        state.end_process();
        Self { state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many operations that change something there were so far: the number of the next one, from 0.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Makes the operation of this number go wrong.
    pub fn fail_at(&self, operation: u64, fault: Fault) {
        self.state().faults.insert(operation, fault);
    }

    /// Forgets the faults to come.
    pub fn heal(&self) {
        self.state().faults.clear();
    }

    /// Lets the power go in the middle of the operation of this number: a write may be on the medium afterwards, wholly or in
    /// part. All operations fail until [`power_on`](Self::power_on).
    pub fn power_off_at(&self, operation: u64) {
        self.state().power_off_at = Some(operation);
    }

    /// Whether the power is off.
    pub fn is_off(&self) -> bool {
        self.state().is_off
    }

    /// Lets the power go, if it has not, and come back: the unsynced is lost as `loss` says, the process has ended.
    pub fn power_on(&self, loss: Loss) {
        let mut state = self.state();
        let state = &mut *state;
        let mut random = Random(if let Loss::Some { seed } = loss { seed } else { 0 });
        for change in std::mem::take(&mut state.renamed) {
            let is_kept = match loss {
                Loss::Everything => false,
                Loss::Nothing => true,
                Loss::Some { .. } => random.coin(),
            };
            if is_kept {
                change.apply(&mut state.durable_names);
            }
        }
        state.names.clone_from(&state.durable_names);
        for content in &mut state.contents {
            content.lose_power(loss, &mut random);
        }
        state.is_off = false;
        state.power_off_at = None;
        state.end_process();
    }

    /// Ends the process: what it opened is closed, its locks are free, what it wrote stays as it is.
    pub fn kill(&self) {
        self.state().end_process();
    }

    /// Limits the bytes of all files together.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// Makes a disk that can't reserve space.
    pub fn stop_reserving(&self) {
        self.state().cannot_reserve = true;
    }

    /// How many bytes all files have together.
    pub fn used(&self) -> u64 {
        self.state().used()
    }

    /// All files.
    pub fn files(&self) -> Vec<PathBuf> {
        self.state().names.keys().cloned().collect()
    }

    /// What a file contains, if it is there.
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        Some(state.contents[*state.names.get(path)?].cache.clone())
    }

    /// Gives a file this content, durably.
    pub fn set_contents(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.state();
        let content = Content { cache: bytes.to_vec(), medium: bytes.to_vec(), ..Content::default() };
        state.contents.push(content);
        let number = state.contents.len() - 1;
        state.names.insert(path.to_owned(), number);
        state.durable_names.insert(path.to_owned(), number);
    }

    /// Takes a file away, durably.
    pub fn lose(&self, path: &Path) {
        let mut state = self.state();
        state.names.remove(path);
        state.durable_names.remove(path);
    }

    /// Flips bits of a byte of a file, in cache and medium.
    ///
    /// # Panics
    /// If there is no such byte.
    pub fn flip(&self, path: &Path, offset: usize, bits: u8) {
        let mut state = self.state();
        let number = state.names[path];
        let content = &mut state.contents[number];
        content.cache[offset] ^= bits;
        if let Some(byte) = content.medium.get_mut(offset) {
            *byte ^= bits;
        }
    }

    /// Makes the sector with this byte of a file unreadable.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn make_unreadable(&self, path: &Path, offset: usize) {
        let mut state = self.state();
        let number = state.names[path];
        state.contents[number].unreadable.insert(offset / SECTOR_BYTES);
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> io::Result<T> {
        let mut state = self.state();
        let fault = state.begin_whole()?;
        let done = change(&mut state);
        state.end(fault)?;
        Ok(done)
    }
}

impl Disk for FaultyDisk {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.check_power()?;
        state.directories.extend(path.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn names(&self, path: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        state.check_power()?;
        let inside = state.names.keys().filter(|name| name.parent() == Some(path));
        Ok(inside.filter_map(|name| Some(name.file_name()?.to_str()?.to_owned())).collect())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        if path.parent().is_none_or(|parent| !self.state().directories.contains(parent)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.change(|state| {
            if let Some(&number) = state.names.get(path) {
                state.contents[number].cache.clear();
            } else {
                state.contents.push(Content::default());
                let content = state.contents.len() - 1;
                state.names.insert(path.to_owned(), content);
                state.renamed.push(NameChange::Made { path: path.to_owned(), content });
            }
        })?;
        self.open(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let state = self.state();
        state.check_power()?;
        let file = FaultyFile { disk: self.clone(), content: state.find(path)?, process: state.process };
        Ok(Box::new(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let content = self.state().find(from)?;
        self.change(|state| {
            let change = NameChange::Renamed { from: from.to_owned(), to: to.to_owned(), content };
            change.clone().apply(&mut state.names);
            state.renamed.push(change);
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.state().find(path)?;
        self.change(|state| {
            let change = NameChange::Removed { path: path.to_owned() };
            change.clone().apply(&mut state.names);
            state.renamed.push(change);
        })
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let state = &mut *state;
        let fault = state.begin_whole()?;
        state.end(None)?;
        let (now, later) =
            std::mem::take(&mut state.renamed).into_iter().partition(|change| change.directory() == Some(path));
        state.renamed = later;
        let now: Vec<NameChange> = now;
        for change in now {
            change.apply(&mut state.durable_names);
        }
        state.end(fault)
    }

    fn lock(&self, path: &Path) -> io::Result<LockAttempt> {
        let mut state = self.state();
        state.check_power()?;
        if !state.locks.insert(path.to_owned()) {
            return Ok(LockAttempt::Refused(None));
        }
        let held = FaultyLock { disk: self.clone(), path: path.to_owned(), process: state.process };
        Ok(LockAttempt::Taken(Box::new(held)))
    }
}

#[derive(Debug)]
struct FaultyLock {
    disk: FaultyDisk,
    path: PathBuf,
    process: u64,
}

impl Held for FaultyLock {}

impl Drop for FaultyLock {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.process == self.process {
            state.locks.remove(&self.path);
        }
    }
}

#[derive(Debug)]
struct FaultyFile {
    disk: FaultyDisk,
    content: usize,
    process: u64,
}

impl FaultyFile {
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.state();
        state.check_power()?;
        if state.process == self.process { Ok(state) } else { Err(io::Error::other("the process has ended")) }
    }
}

impl DiskFile for FaultyFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.state()?.contents[self.content].cache.len() as u64)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.state()?;
        let content = &state.contents[self.content];
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(content.cache.len());
        let end = start.saturating_add(into.len()).min(content.cache.len());
        if content.unreadable.range(start / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES)).next().is_some() {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        into[..end - start].copy_from_slice(&content.cache[start..end]);
        Ok(end - start)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = self.state()?;
        let (mut length, mut at) = (bytes.len(), offset);
        let fault = state.begin()?;
        match fault {
            None | Some(Fault::DoneButFailed) => {}
            Some(Fault::Short(bytes_max)) => length = length.min(bytes_max),
            Some(Fault::Misdirected(by)) => at += by,
            Some(Fault::Lost) => return Ok(length),
            Some(fault @ (Fault::Io | Fault::NoSpace)) => return Err(fault.error()),
        }
        let limit = state.growth_max(state.contents[self.content].cache.len() as u64);
        length = length.min(usize::try_from(limit.saturating_sub(at)).unwrap_or(usize::MAX));
        if length == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let at = usize::try_from(at).expect("files in memory are small");
        state.contents[self.content].write(&bytes[..length], at);
        state.end(fault)?;
        Ok(length)
    }

    fn reserve(&self, length: u64) -> io::Result<bool> {
        let mut state = self.state()?;
        let fault = state.begin_whole()?;
        if state.cannot_reserve {
            return Ok(false);
        }
        let old = state.contents[self.content].cache.len() as u64;
        if length > old && length > state.growth_max(old) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let length = usize::try_from(length.max(old)).expect("files in memory are small");
        state.contents[self.content].cache.resize(length, 0);
        state.end(fault).map(|()| true)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let mut state = self.state()?;
        let fault = state.begin_whole()?;
        let content = &mut state.contents[self.content];
        content.cache.truncate(usize::try_from(length).expect("files in memory are small"));
        state.end(fault)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state()?;
        let fault = state.begin_whole().inspect_err(|_| state.contents[self.content].dirty.clear())?;
        state.end(None)?;
        state.contents[self.content].sync();
        state.end(fault)
    }
}
