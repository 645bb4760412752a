//! The parts of `MessagePack` that the core needs: reading headers, skipping values, writing small ones.
//!
//! Reading is strict and bounded: it never panics, never allocates, refuses what nests deeper than [`MAX_DEPTH`], and
//! checks every length against the bytes that are there. Strings must be UTF-8.

/// The deepest nesting of arrays and maps that is accepted.
pub const MAX_DEPTH: usize = 32;

/// Why bytes are not an acceptable `MessagePack` value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The bytes end inside a value.
    #[error("the value is cut short")]
    CutShort,
    /// Bytes follow the value.
    #[error("bytes follow the value")]
    Trailing,
    /// A byte that starts no value.
    #[error("an invalid type byte")]
    InvalidType,
    /// A string is not UTF-8.
    #[error("a string is not UTF-8")]
    NotUtf8,
    /// Arrays and maps nest deeper than [`MAX_DEPTH`].
    #[error("arrays and maps nest too deep")]
    TooDeep,
}

/// The start of a value: a whole scalar, or the header of an array or map whose elements follow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Token<'a> {
    /// `nil`.
    Nil,
    /// A boolean.
    Bool(bool),
    /// A negative integer.
    Negative(i64),
    /// A non-negative integer.
    Unsigned(u64),
    /// A float of 32 or 64 bits.
    Float(f64),
    /// A string.
    Str(&'a str),
    /// A byte string.
    Bin(&'a [u8]),
    /// An array of this many elements, which follow.
    Array(u32),
    /// A map of this many pairs of key and value, which follow.
    Map(u32),
    /// An extension: its type and its bytes.
    Ext(i8, &'a [u8]),
}

/// Reads values from the front of bytes.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What is not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// [`Malformed::Trailing`].
    pub fn finish(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed::Trailing) }
    }

    /// Reads `count` bytes as they are.
    ///
    /// # Errors
    /// [`Malformed::CutShort`].
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Malformed::CutShort)?;
        self.rest = rest;
        Ok(taken)
    }

    fn number<const N: usize>(&mut self) -> Result<u64, Malformed> {
        let mut wide = [0; 8];
        wide[8 - N..].copy_from_slice(self.take(N)?);
        Ok(u64::from_be_bytes(wide))
    }

    fn signed<const N: usize>(&mut self) -> Result<Token<'a>, Malformed> {
        let shift = 64 - 8 * N as u32;
        let value = (self.number::<N>()? << shift).cast_signed() >> shift;
        Ok(u64::try_from(value).map_or(Token::Negative(value), Token::Unsigned))
    }

    fn str(&mut self, length: u64) -> Result<Token<'a>, Malformed> {
        std::str::from_utf8(self.take(length as usize)?).map(Token::Str).map_err(|_| Malformed::NotUtf8)
    }

    fn bin(&mut self, length: u64) -> Result<Token<'a>, Malformed> {
        self.take(length as usize).map(Token::Bin)
    }

    fn ext(&mut self, length: u64) -> Result<Token<'a>, Malformed> {
        let kind = self.take(1)?[0].cast_signed();
        Ok(Token::Ext(kind, self.take(length as usize)?))
    }

    /// An array or map, each of whose elements takes at least one byte.
    fn container(&self, length: u64, bytes_min: u64, token: fn(u32) -> Token<'a>) -> Result<Token<'a>, Malformed> {
        if length * bytes_min > self.rest.len() as u64 {
            return Err(Malformed::CutShort);
        }
        Ok(token(length as u32))
    }

    /// Reads a scalar, or the header of an array or a map.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn token(&mut self) -> Result<Token<'a>, Malformed> {
        let first = self.take(1)?[0];
        match first {
            0x00..=0x7f => Ok(Token::Unsigned(u64::from(first))),
            0x80..=0x8f => self.container(u64::from(first & 0x0f), 2, Token::Map),
            0x90..=0x9f => self.container(u64::from(first & 0x0f), 1, Token::Array),
            0xa0..=0xbf => self.str(u64::from(first & 0x1f)),
            0xc0 => Ok(Token::Nil),
            0xc1 => Err(Malformed::InvalidType),
            0xc2 => Ok(Token::Bool(false)),
            0xc3 => Ok(Token::Bool(true)),
            0xc4 => self.number::<1>().and_then(|n| self.bin(n)),
            0xc5 => self.number::<2>().and_then(|n| self.bin(n)),
            0xc6 => self.number::<4>().and_then(|n| self.bin(n)),
            0xc7 => self.number::<1>().and_then(|n| self.ext(n)),
            0xc8 => self.number::<2>().and_then(|n| self.ext(n)),
            0xc9 => self.number::<4>().and_then(|n| self.ext(n)),
            0xca => Ok(Token::Float(f64::from(f32::from_bits(self.number::<4>()? as u32)))),
            0xcb => Ok(Token::Float(f64::from_bits(self.number::<8>()?))),
            0xcc => self.number::<1>().map(Token::Unsigned),
            0xcd => self.number::<2>().map(Token::Unsigned),
            0xce => self.number::<4>().map(Token::Unsigned),
            0xcf => self.number::<8>().map(Token::Unsigned),
            0xd0 => self.signed::<1>(),
            0xd1 => self.signed::<2>(),
            0xd2 => self.signed::<4>(),
            0xd3 => self.signed::<8>(),
            0xd4..=0xd8 => self.ext(1 << (first - 0xd4)),
            0xd9 => self.number::<1>().and_then(|n| self.str(n)),
            0xda => self.number::<2>().and_then(|n| self.str(n)),
            0xdb => self.number::<4>().and_then(|n| self.str(n)),
            0xdc => self.number::<2>().and_then(|n| self.container(n, 1, Token::Array)),
            0xdd => self.number::<4>().and_then(|n| self.container(n, 1, Token::Array)),
            0xde => self.number::<2>().and_then(|n| self.container(n, 2, Token::Map)),
            0xdf => self.number::<4>().and_then(|n| self.container(n, 2, Token::Map)),
            0xe0..=0xff => Ok(Token::Negative(i64::from(first.cast_signed()))),
        }
    }

    /// Reads one whole value and returns its bytes. All of it is checked.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn value(&mut self) -> Result<&'a [u8], Malformed> {
        let start = self.rest;
        self.skip(MAX_DEPTH)?;
        Ok(&start[..start.len() - self.rest.len()])
    }

    fn skip(&mut self, depth: usize) -> Result<(), Malformed> {
        let elements = match self.token()? {
            Token::Array(length) => u64::from(length),
            Token::Map(length) => 2 * u64::from(length),
            _ => return Ok(()),
        };
        self.skip_elements(elements, depth)
    }

    #[inline(never)]
    fn skip_elements(&mut self, elements: u64, depth: usize) -> Result<(), Malformed> {
        let depth = depth.checked_sub(1).ok_or(Malformed::TooDeep)?;
        for _ in 0..elements {
            self.skip(depth)?;
        }
        Ok(())
    }
}

/// Writes an integer in its shortest form.
pub fn write_unsigned(out: &mut Vec<u8>, value: u64) {
    let bytes = value.to_be_bytes();
    match value {
        0..=0x7f => out.push(bytes[7]),
        0x80..=0xff => out.extend_from_slice(&[0xcc, bytes[7]]),
        0x100..=0xffff => {
            out.push(0xcd);
            out.extend_from_slice(&bytes[6..]);
        }
        0x1_0000..=0xffff_ffff => {
            out.push(0xce);
            out.extend_from_slice(&bytes[4..]);
        }
        _ => {
            out.push(0xcf);
            out.extend_from_slice(&bytes);
        }
    }
}

/// Writes an integer in its shortest form.
pub fn write_signed(out: &mut Vec<u8>, value: i64) {
    let bytes = value.to_be_bytes();
    match value {
        0.. => write_unsigned(out, value.cast_unsigned()),
        -0x20..=-1 => out.push(bytes[7]),
        -0x80..=-0x21 => out.extend_from_slice(&[0xd0, bytes[7]]),
        -0x8000..=-0x81 => {
            out.push(0xd1);
            out.extend_from_slice(&bytes[6..]);
        }
        -0x8000_0000..=-0x8001 => {
            out.push(0xd2);
            out.extend_from_slice(&bytes[4..]);
        }
        _ => {
            out.push(0xd3);
            out.extend_from_slice(&bytes);
        }
    }
}

/// Writes `nil`.
pub fn write_nil(out: &mut Vec<u8>) {
    out.push(0xc0);
}

/// Writes a boolean.
pub fn write_bool(out: &mut Vec<u8>, value: bool) {
    out.push(if value { 0xc3 } else { 0xc2 });
}

/// Writes a string.
///
/// # Panics
/// If it has 2³² bytes or more.
pub fn write_str(out: &mut Vec<u8>, value: &str) {
    let length = length_of(value.len());
    match length {
        0..=0x1f => out.push(0xa0 | length as u8),
        0x20..=0xff => out.extend_from_slice(&[0xd9, length as u8]),
        _ => write_wide_length(out, 0xda, length),
    }
    out.extend_from_slice(value.as_bytes());
}

/// Writes a byte string.
///
/// # Panics
/// If it has 2³² bytes or more.
pub fn write_bin(out: &mut Vec<u8>, value: &[u8]) {
    let length = length_of(value.len());
    match length {
        0..=0xff => out.extend_from_slice(&[0xc4, length as u8]),
        _ => write_wide_length(out, 0xc5, length),
    }
    out.extend_from_slice(value);
}

/// Writes the header of an array; its elements are to follow.
pub fn write_array(out: &mut Vec<u8>, length: u32) {
    match length {
        0..=0x0f => out.push(0x90 | length as u8),
        _ => write_wide_length(out, 0xdc, length),
    }
}

/// A length of 2 bytes with this type byte, or of 4 with the next one.
fn write_wide_length(out: &mut Vec<u8>, type_byte: u8, length: u32) {
    if let Ok(short) = u16::try_from(length) {
        out.push(type_byte);
        out.extend_from_slice(&short.to_be_bytes());
    } else {
        out.push(type_byte + 1);
        out.extend_from_slice(&length.to_be_bytes());
    }
}

fn length_of(length: usize) -> u32 {
    u32::try_from(length).expect("a MessagePack length is below 2^32")
}
