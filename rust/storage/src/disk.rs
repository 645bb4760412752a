//! The operations on files that this crate is made of, behind a trait, so that a disk can be made to fail.

use std::fmt::Debug;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock};
use rustix::io::Errno;

/// A disk: directories and files. What is done to a name survives a power cut once the directory is synced, what is
/// done to a file's content once the file is.
pub trait Disk: Debug + Send + Sync {
    /// Makes `path` and its parents, for their owner alone; nothing if it is there.
    ///
    /// # Errors
    /// The system's.
    fn create_directory(&self, path: &Path) -> io::Result<()>;

    /// The names in `path`, in no order.
    ///
    /// # Errors
    /// The system's.
    fn names(&self, path: &Path) -> io::Result<Vec<String>>;

    /// Makes an empty file, to be read and written; one that is there is emptied.
    ///
    /// # Errors
    /// The system's.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file, to be read and written.
    ///
    /// # Errors
    /// The system's; `NotFound` if there is none.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Gives a file another name, at once for whoever looks. A file that had the name goes.
    ///
    /// # Errors
    /// The system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// The system's.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in `path` durable.
    ///
    /// # Errors
    /// The system's.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;

    /// Tries to take the lock that `path` stands for; it is held until what comes back is dropped, or the process dies.
    ///
    /// # Errors
    /// The system's.
    fn lock(&self, path: &Path) -> io::Result<LockAttempt>;
}

/// What came of [`Disk::lock`].
#[derive(Debug)]
pub enum LockAttempt {
    /// It is held until this is dropped.
    Taken(Box<dyn Held>),
    /// Another process has it: its pid, if it could be read.
    Refused(Option<u32>),
}

/// A lock that goes when it is dropped.
pub trait Held: Debug + Send + Sync {}

/// An open file.
pub trait DiskFile: Debug + Send + Sync {
    /// Its length in bytes.
    ///
    /// # Errors
    /// The system's.
    fn length(&self) -> io::Result<u64>;

    /// Reads at `offset`; fewer bytes than asked for, or none, at the end of the file.
    ///
    /// # Errors
    /// The system's.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes at `offset`, perhaps fewer bytes than asked for: how many.
    ///
    /// # Errors
    /// The system's.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Makes the file at least `length` bytes long and reserves the space, which reads as zeros. Whether the disk can.
    ///
    /// # Errors
    /// The system's.
    fn reserve(&self, length: u64) -> io::Result<bool>;

    /// Cuts the file off at `length`.
    ///
    /// # Errors
    /// The system's.
    fn truncate(&self, length: u64) -> io::Result<()>;

    /// Makes the content and the length durable.
    ///
    /// # Errors
    /// The system's. What was written since the last sync may be lost then even if a later sync succeeds.
    fn sync(&self) -> io::Result<()>;
}

/// The operating system's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemDisk;

impl Disk for SystemDisk {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    fn names(&self, path: &Path) -> io::Result<Vec<String>> {
        // A name that is not UTF-8 is none of ours.
        Ok(fs::read_dir(path)?
            .collect::<io::Result<Vec<_>>>()?
            .into_iter()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)?;
        Ok(Box::new(SystemFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(SystemFile(OpenOptions::new().read(true).write(true).open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<LockAttempt> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut text = String::new();
                // The pid is only told; a lock file that can't be read is as locked as any.
                let _ = Read::take(&mut file, 16).read_to_string(&mut text);
                return Ok(LockAttempt::Refused(text.trim().parse().ok()));
            }
            Err(error) => return Err(error.into()),
        }
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(format!("{}\n", std::process::id()).as_bytes())?;
        Ok(LockAttempt::Taken(Box::new(SystemLock { _file: file })))
    }
}

/// The lock goes when the descriptor is closed, so also when the process dies.
#[derive(Debug)]
struct SystemLock {
    _file: File,
}

impl Held for SystemLock {}

#[derive(Debug)]
struct SystemFile(File);

impl DiskFile for SystemFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        retry(|| self.0.read_at(into, offset))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        retry(|| self.0.write_at(bytes, offset))
    }

    fn reserve(&self, length: u64) -> io::Result<bool> {
        match fallocate(&self.0, FallocateFlags::empty(), 0, length) {
            Ok(()) => Ok(true),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

fn retry(mut operation: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match operation() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Writes all of `bytes` at `offset`.
pub(crate) fn write_all(file: &dyn DiskFile, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = file.write_at(bytes, offset)?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[written..];
        offset += written as u64;
    }
    Ok(())
}

/// Reads at `offset` until `into` is full or the file ends: how much was read.
pub(crate) fn read_full(file: &dyn DiskFile, into: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < into.len() {
        match file.read_at(&mut into[filled..], offset + filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// Whether the disk failed to deliver a sector, as opposed to an operation that was refused.
pub(crate) fn is_unreadable(error: &io::Error) -> bool {
    // EILSEQ and EUCLEAN are what file systems with checksums of their own say.
    [Errno::IO, Errno::ILSEQ, Errno::UCLEAN].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
