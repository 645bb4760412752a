//! Small files that are there whole or not at all, whenever the machine stops.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::error::StorageError;

pub(crate) fn failed<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> StorageError + 'a {
    move |source| StorageError::Io { doing, path: path.to_owned(), source }
}

/// Makes `name` in `directory` contain `bytes`. After it returns, they survive a power cut; before, the file has its
/// old content or is absent.
pub(crate) fn write(directory: &Path, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
    let (new, path) = (directory.join(format!("{name}.new")), directory.join(name));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)
        .map_err(failed("create", &new))?;
    file.write_all(bytes).map_err(failed("write", &new))?;
    file.sync_all().map_err(failed("sync", &new))?;
    fs::rename(&new, &path).map_err(failed("rename to", &path))?;
    sync_directory(directory)
}

/// Makes the names in `directory` survive a power cut.
pub(crate) fn sync_directory(directory: &Path) -> Result<(), StorageError> {
    let opened = File::open(directory).map_err(failed("open", directory))?;
    opened.sync_all().map_err(failed("sync", directory))
}

/// The content of `path`, at most `bytes_max` of it and one more; `None` if there is no such file.
pub(crate) fn read(path: &Path, bytes_max: usize) -> Result<Option<Vec<u8>>, StorageError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed("open", path))?,
    };
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, bytes_max as u64 + 1), &mut bytes).map_err(failed("read", path))?;
    Ok(Some(bytes))
}
