//! What is on the disk: names and contents, in the cache and on the medium.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use super::{EIO, Fault, Loss, SECTOR_BYTES};

#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) directories: BTreeSet<PathBuf>,
    pub(super) names: BTreeMap<PathBuf, usize>,
    pub(super) durable_names: BTreeMap<PathBuf, usize>,
    /// Changes of names that are not durable, in order.
    pub(super) renamed: Vec<NameChange>,
    pub(super) contents: Vec<Content>,
    pub(super) locks: BTreeSet<PathBuf>,
    /// Changing operations so far.
    pub(super) operations: u64,
    pub(super) faults: BTreeMap<u64, Fault>,
    pub(super) power_off_at: Option<u64>,
    pub(super) is_off: bool,
    pub(super) capacity: Option<u64>,
    pub(super) cannot_reserve: bool,
    /// Processes so far; what an earlier one opened is closed.
    pub(super) process: u64,
}

#[derive(Clone, Debug)]
pub(super) enum NameChange {
    Made { path: PathBuf, content: usize },
    Renamed { from: PathBuf, to: PathBuf, content: usize },
    Removed { path: PathBuf },
}

impl NameChange {
    pub(super) fn directory(&self) -> Option<&Path> {
        match self {
            Self::Made { path, .. } | Self::Removed { path } | Self::Renamed { to: path, .. } => path.parent(),
        }
    }

    fn content(&self) -> Option<usize> {
        match self {
            Self::Made { content, .. } | Self::Renamed { content, .. } => Some(*content),
            Self::Removed { .. } => None,
        }
    }

    pub(super) fn apply(self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Made { path, content } => {
                names.insert(path, content);
            }
            Self::Renamed { from, to, content } => {
                names.remove(&from);
                names.insert(to, content);
            }
            Self::Removed { path } => {
                names.remove(&path);
            }
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    pub(super) cache: Vec<u8>,
    pub(super) medium: Vec<u8>,
    /// Sectors of the cache that a sync would write.
    pub(super) dirty: BTreeSet<usize>,
    /// Sectors that can't be read.
    pub(super) unreadable: BTreeSet<usize>,
}

impl Content {
    pub(super) fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        if end > self.cache.len() {
            self.cache.resize(end, 0);
        }
        self.cache[offset..end].copy_from_slice(bytes);
        self.dirty.extend(offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES));
    }

    pub(super) fn sync(&mut self) {
        self.medium.resize(self.cache.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            self.write_sector(sector);
        }
    }

    /// Brings one sector from the cache to the medium, as far as the medium is long.
    pub(super) fn write_sector(&mut self, sector: usize) {
        let start = sector * SECTOR_BYTES;
        let end = (start + SECTOR_BYTES).min(self.cache.len()).min(self.medium.len());
        if start < end {
            self.medium[start..end].copy_from_slice(&self.cache[start..end]);
        }
    }

    pub(super) fn lose_power(&mut self, loss: Loss, random: &mut Random) {
        match loss {
            Loss::Everything => {}
            Loss::Nothing => self.sync(),
            Loss::Some { .. } => {
                if random.coin() {
                    self.medium.resize(self.cache.len(), 0);
                }
                for sector in std::mem::take(&mut self.dirty) {
                    if random.coin() {
                        self.write_sector(sector);
                    }
                }
            }
        }
        self.dirty.clear();
        self.cache.clone_from(&self.medium);
    }
}

/// A small generator of reproducible choices.
#[derive(Clone, Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }
}

impl Fault {
    pub(super) fn error(self) -> io::Error {
        match self {
            Self::NoSpace => io::ErrorKind::StorageFull.into(),
            _ => io::Error::from_raw_os_error(EIO),
        }
    }
}

impl State {
    /// Counts an operation; the fault it is to have.
    pub(super) fn begin(&mut self) -> io::Result<Option<Fault>> {
        self.check_power()?;
        let number = self.operations;
        self.operations += 1;
        Ok(self.faults.remove(&number))
    }

    /// Counts an operation that is not a write: it fails or it doesn't. The fault to end it with.
    pub(super) fn begin_whole(&mut self) -> io::Result<Option<Fault>> {
        match self.begin()? {
            Some(fault @ (Fault::Io | Fault::NoSpace)) => Err(fault.error()),
            fault => Ok(fault),
        }
    }

    /// Ends an operation that was applied, which the power may not have outlasted.
    pub(super) fn end(&mut self, fault: Option<Fault>) -> io::Result<()> {
        if self.power_off_at.is_some_and(|at| at < self.operations) {
            self.is_off = true;
        }
        self.check_power()?;
        if fault == Some(Fault::DoneButFailed) { Err(Fault::DoneButFailed.error()) } else { Ok(()) }
    }

    pub(super) fn check_power(&self) -> io::Result<()> {
        if self.is_off { Err(io::Error::from_raw_os_error(EIO)) } else { Ok(()) }
    }

    pub(super) fn end_process(&mut self) {
        self.locks.clear();
        self.process += 1;
        // What has no name any more and is not open is gone.
        let named: BTreeSet<usize> = self.names.values().chain(self.durable_names.values()).copied().collect();
        let pending = self.renamed.iter().filter_map(NameChange::content).collect::<BTreeSet<_>>();
        for (number, content) in self.contents.iter_mut().enumerate() {
            if !named.contains(&number) && !pending.contains(&number) {
                *content = Content::default();
            }
        }
    }

    pub(super) fn used(&self) -> u64 {
        self.names.values().map(|&number| self.contents[number].cache.len() as u64).sum()
    }

    /// How far a file of `length` bytes may grow.
    pub(super) fn growth_max(&self, length: u64) -> u64 {
        self.capacity.map_or(u64::MAX, |capacity| length + capacity.saturating_sub(self.used()))
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}
