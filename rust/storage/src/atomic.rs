//! Small files that are there whole or not at all, whenever the machine stops.

use std::io;
use std::path::Path;

use crate::disk::{self, Disk};
use crate::error::StorageError;

/// What a file is called until it is whole.
pub(crate) const UNFINISHED: &str = ".new";

pub(crate) fn failed<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> StorageError + 'a {
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            StorageError::NoSpace { doing, path: path.to_owned() }
        }
        _ => StorageError::Io { doing, path: path.to_owned(), source },
    }
}

/// Makes `name` in `directory` contain `bytes`. After it returns, they survive a power cut; before, the file has its
/// old content or is absent.
pub(crate) fn write(disk: &dyn Disk, directory: &Path, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
    let (new, path) = (directory.join(format!("{name}{UNFINISHED}")), directory.join(name));
    let file = disk.create(&new).map_err(failed("create", &new))?;
    disk::write_all(&*file, bytes, 0).map_err(failed("write", &new))?;
    file.sync().map_err(failed("sync", &new))?;
    disk.rename(&new, &path).map_err(failed("rename to", &path))?;
    sync_directory(disk, directory)
}

/// Makes the names in `directory` survive a power cut.
pub(crate) fn sync_directory(disk: &dyn Disk, directory: &Path) -> Result<(), StorageError> {
    disk.sync_directory(directory).map_err(failed("sync", directory))
}

/// Makes `directory` and its name survive a power cut.
pub(crate) fn create_directory(disk: &dyn Disk, directory: &Path) -> Result<(), StorageError> {
    disk.create_directory(directory).map_err(failed("create", directory))?;
    match directory.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => sync_directory(disk, parent),
        None => Ok(()),
    }
}

/// The content of `path`, at most `bytes_max` of it and one more; `None` if there is no such file.
pub(crate) fn read(disk: &dyn Disk, path: &Path, bytes_max: usize) -> Result<Option<Vec<u8>>, StorageError> {
    let file = match disk.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed("open", path))?,
    };
    let length = file.length().map_err(failed("read", path))?;
    let mut bytes = vec![0; usize::try_from(length).map_or(bytes_max + 1, |length| length.min(bytes_max + 1))];
    let read = disk::read_full(&*file, &mut bytes, 0).map_err(failed("read", path))?;
    bytes.truncate(read);
    Ok(Some(bytes))
}
