//! The file: a preamble, and frames with checksums.
//!
//! | bytes | field |
//! |---|---|
//! | 0..8 | `pssmrrec` |
//! | 8..12 | version of the format |
//!
//! Then frames up to the end. Numbers are little-endian.
//!
//! | bytes | field |
//! |---|---|
//! | 0..4 | length of the body, 1 to [`BODY_BYTES_MAX`] |
//! | 4..8 | the same with all bits inverted |
//! | 8..12 | checksum of the body: the first bytes of its BLAKE3 digest |
//! | 12..13 | kind, the first byte of the body |
//! | 13.. | the rest of the body |
//!
//! A process that is killed leaves the beginning of a frame at the end, which is no damage. A length or a checksum that is
//! wrong is.

use std::io::{self, Read};

use bytes::Bytes;
use pssmr_types::{Digest, Writer};

use crate::error::PlaybackError;

const MAGIC: [u8; 8] = *b"pssmrrec";

/// The version of the format: also of what the frames have in them.
const FORMAT: u32 = 1;

/// The longest body: larger than any message or record can be.
pub(crate) const BODY_BYTES_MAX: usize = 256 << 20;

const HEAD_BYTES: usize = 12;

/// What a frame has in it.
pub(crate) mod kind {
    pub(crate) const HEADER: u8 = 1;
    pub(crate) const INPUTS: u8 = 2;
    pub(crate) const STEP: u8 = 3;
    pub(crate) const RESTORE: u8 = 4;
    pub(crate) const REPLAY: u8 = 5;
    pub(crate) const SET_STABLE: u8 = 6;
    pub(crate) const SET_PROMISE: u8 = 7;
    pub(crate) const SET_NEWBORN: u8 = 8;
    pub(crate) const SET_FORGOTTEN: u8 = 9;
    pub(crate) const SET_LEARNER: u8 = 10;
    pub(crate) const RESUME: u8 = 11;
    pub(crate) const ANSWER: u8 = 12;
    pub(crate) const END: u8 = 13;
}

fn checksum(body: &[u8]) -> [u8; 4] {
    let digest = Digest::of("pssmr recording frame 1", body).0;
    [digest[0], digest[1], digest[2], digest[3]]
}

/// Appends what a file begins with.
pub(crate) fn put_preamble(out: &mut Vec<u8>) {
    out.put(&MAGIC);
    out.put_u32(FORMAT);
}

/// Appends a frame whose body, after its kind, `write` writes.
pub(crate) fn put_frame(out: &mut Vec<u8>, kind: u8, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.put(&[0; HEAD_BYTES]);
    out.put_u8(kind);
    write(out);
    let (length, checksum) = {
        let body = &out[start + HEAD_BYTES..];
        (u32::try_from(body.len()).unwrap_or(u32::MAX), checksum(body))
    };
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    out[start + 4..start + 8].copy_from_slice(&(!length).to_le_bytes());
    out[start + 8..start + HEAD_BYTES].copy_from_slice(&checksum);
}

/// What is next in the file.
pub(crate) enum Next {
    /// A frame: its kind, and the rest of its body.
    Frame(u8, Bytes),
    /// The end of the file, after a frame.
    End,
    /// The end of the file, within a frame.
    Torn,
}

/// Reads frames, one after the other.
pub(crate) struct Frames<R> {
    source: R,
    /// Where in the file the next frame begins.
    offset: u64,
}

impl<R: Read> Frames<R> {
    /// Reads the preamble.
    pub(crate) fn open(mut source: R) -> Result<Self, PlaybackError> {
        let mut preamble = [0; 12];
        let length = read_up_to(&mut source, &mut preamble)?;
        if length < preamble.len() || preamble[..8] != MAGIC {
            return Err(PlaybackError::NotARecording);
        }
        let format = u32::from_le_bytes([preamble[8], preamble[9], preamble[10], preamble[11]]);
        if format != FORMAT {
            return Err(PlaybackError::Format { found: format, known: FORMAT });
        }
        Ok(Self { source, offset: preamble.len() as u64 })
    }

    /// Where in the file the next frame begins.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) fn next(&mut self) -> Result<Next, PlaybackError> {
        let mut head = [0; HEAD_BYTES];
        match read_up_to(&mut self.source, &mut head)? {
            0 => return Ok(Next::End),
            HEAD_BYTES => {}
            _ => return Ok(Next::Torn),
        }
        let damaged = |what| PlaybackError::Damaged { offset: self.offset, what };
        let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let length = number(0) as usize;
        if length == 0 || length > BODY_BYTES_MAX || number(4) != !number(0) {
            return Err(damaged("the length of a frame can't be".to_owned()));
        }
        // Grows with what really comes.
        let mut body = Vec::new();
        (&mut self.source).take(length as u64).read_to_end(&mut body).map_err(PlaybackError::Io)?;
        if body.len() < length {
            return Ok(Next::Torn);
        }
        if checksum(&body) != head[8..] {
            return Err(damaged("the checksum of a frame is wrong".to_owned()));
        }
        self.offset += (HEAD_BYTES + length) as u64;
        let mut body = Bytes::from(body);
        let kind = body.split_to(1)[0];
        Ok(Next::Frame(kind, body))
    }
}

fn read_up_to(source: &mut impl Read, buffer: &mut [u8]) -> Result<usize, PlaybackError> {
    let mut length = 0;
    while length < buffer.len() {
        match source.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(PlaybackError::Io(error)),
        }
    }
    Ok(length)
}
