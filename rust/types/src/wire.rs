//! The wire format: little-endian, fixed layout, canonical (one value has one encoding), every length bounded before
//! anything is allocated. Byte strings are slices of the received frame, so payloads are never copied, and digests are
//! computed over the bytes that came in, not over a re-encoding.

use bytes::{Buf, Bytes};

use crate::digest::Digest;
use crate::ids::{ClientId, Epoch, Principal, ReplicaId, Slot, View};
use crate::keys::Signature;

/// The version of everything in this crate that crosses a link. Peers with another one are refused at connection.
pub const PROTOCOL_VERSION: u32 = 1;

/// Why a frame is not a message. The link that it came on is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The frame ends inside a field.
    #[error("the frame ends inside {0}")]
    Truncated(&'static str),
    /// Bytes are left over after the message.
    #[error("{0} bytes are left over after the message")]
    Trailing(usize),
    /// A tag that names no variant.
    #[error("{1} is not a kind of {0}")]
    UnknownTag(&'static str, u8),
    /// A count or length above its bound.
    #[error("{what} is {got}, the limit is {limit}")]
    TooLarge {
        /// The field.
        what: &'static str,
        /// What the frame says.
        got: u64,
        /// The bound.
        limit: u64,
    },
    /// A value that the field can't have.
    #[error("{0} has a value that it can't have")]
    Invalid(&'static str),
}

/// Reads fields off a frame, front to back.
#[derive(Debug)]
pub struct Reader {
    rest: Bytes,
}

macro_rules! read_number {
    ($name:ident, $type:ty, $get:ident) => {
        #[doc = concat!("Reads a `", stringify!($type), "`.\n\n# Errors\n[`DecodeError::Truncated`], naming `what`.")]
        pub fn $name(&mut self, what: &'static str) -> Result<$type, DecodeError> {
            if self.rest.len() < size_of::<$type>() {
                return Err(DecodeError::Truncated(what));
            }
            Ok(self.rest.$get())
        }
    };
}

impl Reader {
    /// A reader of all of `frame`.
    pub fn new(frame: Bytes) -> Self {
        Self { rest: frame }
    }

    read_number!(u8, u8, get_u8);
    read_number!(u16, u16, get_u16_le);
    read_number!(u32, u32, get_u32_le);
    read_number!(u64, u64, get_u64_le);

    /// Reads a count, refusing one above `limit`.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] or [`DecodeError::TooLarge`].
    pub fn count(&mut self, what: &'static str, limit: usize) -> Result<usize, DecodeError> {
        let got = self.u32(what)?;
        if got as usize > limit {
            return Err(DecodeError::TooLarge { what, got: u64::from(got), limit: limit as u64 });
        }
        Ok(got as usize)
    }

    /// Reads a fixed number of bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        if self.rest.len() < N {
            return Err(DecodeError::Truncated(what));
        }
        let mut array = [0u8; N];
        self.rest.copy_to_slice(&mut array);
        Ok(array)
    }

    /// Takes the next `length` bytes as a slice of the frame.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn take(&mut self, length: usize, what: &'static str) -> Result<Bytes, DecodeError> {
        if self.rest.len() < length {
            return Err(DecodeError::Truncated(what));
        }
        Ok(self.rest.split_to(length))
    }

    /// Reads a byte string with its length, refusing one above `limit`.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] or [`DecodeError::TooLarge`].
    pub fn bytes(&mut self, what: &'static str, limit: usize) -> Result<Bytes, DecodeError> {
        let length = self.count(what, limit)?;
        self.take(length, what)
    }

    /// Reads a digest.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn digest(&mut self, what: &'static str) -> Result<Digest, DecodeError> {
        self.array(what).map(Digest)
    }

    /// Reads a signature.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn signature(&mut self, what: &'static str) -> Result<Signature, DecodeError> {
        self.array(what).map(Signature)
    }

    /// Reads an epoch.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn epoch(&mut self) -> Result<Epoch, DecodeError> {
        self.u64("epoch").map(Epoch)
    }

    /// Reads a view.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn view(&mut self) -> Result<View, DecodeError> {
        self.u64("view").map(View)
    }

    /// Reads yes or no: a byte of 1 or 0.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn flag(&mut self, what: &'static str) -> Result<bool, DecodeError> {
        match self.u8(what)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(DecodeError::UnknownTag(what, other)),
        }
    }

    /// Reads a slot.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn slot(&mut self, what: &'static str) -> Result<Slot, DecodeError> {
        self.u64(what).map(Slot)
    }

    /// Reads a replica's id.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn replica(&mut self) -> Result<ReplicaId, DecodeError> {
        self.u16("replica").map(ReplicaId)
    }

    /// Reads a client's session.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn client(&mut self) -> Result<ClientId, DecodeError> {
        Ok(ClientId { principal: Principal(self.u64("principal")?), session: self.u64("session")? })
    }

    /// What is left, without taking it.
    pub fn rest(&self) -> &Bytes {
        &self.rest
    }

    /// Ends the reading: nothing may be left.
    ///
    /// # Errors
    /// [`DecodeError::Trailing`].
    pub fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing(self.rest.len())) }
    }
}

/// Writes fields into a buffer that the caller keeps: [`Reader`]'s other half.
pub trait Writer {
    /// Appends raw bytes, without a length.
    fn put(&mut self, bytes: &[u8]);

    /// Appends one byte.
    fn put_u8(&mut self, value: u8) {
        self.put(&[value]);
    }
    /// Appends a 16-bit number.
    fn put_u16(&mut self, value: u16) {
        self.put(&value.to_le_bytes());
    }
    /// Appends a 32-bit number.
    fn put_u32(&mut self, value: u32) {
        self.put(&value.to_le_bytes());
    }
    /// Appends a 64-bit number.
    fn put_u64(&mut self, value: u64) {
        self.put(&value.to_le_bytes());
    }
    /// Appends a count.
    ///
    /// # Panics
    /// Above 2³² − 1: counts are bounded where they arise.
    fn put_count(&mut self, value: usize) {
        self.put_u32(u32::try_from(value).expect("counts on the wire are bounded"));
    }
    /// Appends a byte string with its length.
    fn put_bytes(&mut self, bytes: &[u8]) {
        self.put_count(bytes.len());
        self.put(bytes);
    }
    /// Appends a digest.
    fn put_digest(&mut self, digest: &Digest) {
        self.put(&digest.0);
    }
    /// Appends a client's session.
    fn put_client(&mut self, client: ClientId) {
        self.put_u64(client.principal.0);
        self.put_u64(client.session);
    }
}

impl Writer for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl Writer for bytes::BytesMut {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_checked_before_anything_is_taken() {
        let mut frame = Vec::new();
        frame.put_u32(u32::MAX);
        let error = Reader::new(frame.into()).bytes("payload", 100).unwrap_err();
        assert_eq!(error, DecodeError::TooLarge { what: "payload", got: u64::from(u32::MAX), limit: 100 });
    }

    #[test]
    fn a_short_frame_names_the_field_it_ends_in() {
        let error = Reader::new(Bytes::from_static(&[1, 2, 3])).u64("session").unwrap_err();
        assert_eq!(error, DecodeError::Truncated("session"));
    }

    #[test]
    fn left_over_bytes_are_an_error() {
        let reader = Reader::new(Bytes::from_static(&[1]));
        assert_eq!(reader.finish(), Err(DecodeError::Trailing(1)));
    }

    #[test]
    fn byte_strings_are_slices_of_the_frame() {
        let mut frame = Vec::new();
        frame.put_bytes(b"payload");
        let frame = Bytes::from(frame);
        let slice = Reader::new(frame.clone()).bytes("payload", 100).unwrap();
        assert_eq!(slice.as_ptr(), frame[4..].as_ptr());
    }
}
