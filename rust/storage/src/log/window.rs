//! Reading a file from front to back through a bounded buffer.

use std::io;

use crate::disk::{self, DiskFile};

/// How much is read at once.
const READ_BYTES: usize = 256 << 10;
/// How much is compared with zero at once.
const BLOCK_BYTES: usize = 4096;

/// A stretch of a file in memory, which moves forward with what is asked for.
#[derive(Debug)]
pub(crate) struct Window<'a> {
    file: &'a dyn DiskFile,
    length: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    pub(crate) fn new(file: &'a dyn DiskFile) -> io::Result<Self> {
        Ok(Self { file, length: file.length()?, start: 0, bytes: Vec::new() })
    }

    /// The file's length.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// The `length` bytes at `offset`; fewer where the file ends before.
    pub(crate) fn get(&mut self, offset: u64, length: usize) -> io::Result<&[u8]> {
        let length = self.length.saturating_sub(offset).min(length as u64) as usize;
        let held = self.start..self.start + self.bytes.len() as u64;
        if length > 0 && (offset < held.start || offset + length as u64 > held.end) {
            self.load(offset, length)?;
        }
        let from = offset.saturating_sub(self.start).min(self.bytes.len() as u64) as usize;
        Ok(&self.bytes[from..from + length])
    }

    fn load(&mut self, offset: u64, length: usize) -> io::Result<()> {
        let ahead = (self.length - offset).min(length.max(READ_BYTES) as u64) as usize;
        match self.read(offset, ahead) {
            // The sector that can't be read may be one that nobody asked for.
            Err(error) if disk::is_unreadable(&error) && ahead > length => self.read(offset, length),
            read => read,
        }
    }

    fn read(&mut self, offset: u64, length: usize) -> io::Result<()> {
        self.bytes.clear();
        self.bytes.resize(length, 0);
        let read = disk::read_full(self.file, &mut self.bytes, offset).inspect_err(|_| self.bytes.clear())?;
        if read < length {
            // The file is this process's alone; one that shrinks is no longer what it was.
            self.bytes.clear();
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.start = offset;
        Ok(())
    }

    /// The first byte from `offset` on that is not zero.
    pub(crate) fn first_nonzero(&mut self, mut offset: u64) -> io::Result<Option<u64>> {
        while offset < self.length {
            let bytes = self.get(offset, READ_BYTES)?;
            // Whole blocks first: reserved space is long, and this takes many bytes at once.
            let block = bytes.chunks(BLOCK_BYTES).position(|block| block.iter().fold(0, |all, byte| all | byte) != 0);
            if let Some(block) = block {
                let start = block * BLOCK_BYTES;
                let within = bytes[start..].iter().position(|&byte| byte != 0).expect("the block has one");
                return Ok(Some(offset + (start + within) as u64));
            }
            offset += bytes.len() as u64;
        }
        Ok(None)
    }
}
