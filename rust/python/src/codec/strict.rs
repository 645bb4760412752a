//! Reading of MessagePack in its one canonical spelling, and the kinds of value that it tells apart.

use pssmr_execution::messagepack::{Malformed, Reader, Token};

use super::mismatch::CodecError;

/// The only NaN that is written and read.
pub(crate) const NAN_BITS: u64 = 0x7ff8_0000_0000_0000;

/// A set of kinds of value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kinds(u16);

impl Kinds {
    pub(crate) const NOTHING: Self = Self(0);
    pub(crate) const NIL: Self = Self(1);
    pub(crate) const BOOL: Self = Self(1 << 1);
    pub(crate) const INT: Self = Self(1 << 2);
    pub(crate) const FLOAT: Self = Self(1 << 3);
    pub(crate) const STR: Self = Self(1 << 4);
    pub(crate) const BYTES: Self = Self(1 << 5);
    pub(crate) const ARRAY: Self = Self(1 << 6);
    pub(crate) const MAP: Self = Self(1 << 7);
    pub(crate) const EXTENSION: Self = Self(1 << 8);

    pub(crate) fn of(token: &Token<'_>) -> Self {
        match token {
            Token::Nil => Self::NIL,
            Token::Bool(_) => Self::BOOL,
            Token::Negative(_) | Token::Unsigned(_) => Self::INT,
            Token::Float(_) => Self::FLOAT,
            Token::Str(_) => Self::STR,
            Token::Bin(_) => Self::BYTES,
            Token::Array(_) => Self::ARRAY,
            Token::Map(_) => Self::MAP,
            Token::Ext(..) => Self::EXTENSION,
        }
    }

    /// The kind of the value that these bytes begin with.
    pub(crate) fn of_encoding(bytes: &[u8]) -> Self {
        Reader::new(bytes).token().map_or(Self::NOTHING, |token| Self::of(&token))
    }

    pub(crate) fn bits(self) -> u64 {
        self.0.into()
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) fn overlaps(self, other: Self) -> bool {
        self.common(other) != Self::NOTHING
    }

    /// The names of the kinds, in Python's words where it has one.
    pub(crate) fn names(self) -> String {
        const NAMES: [&str; 9] = ["None", "bool", "int", "float", "str", "bytes", "array", "map", "extension"];
        let named = (0..).zip(NAMES).filter(|(bit, _)| self.0 & (1 << bit) != 0);
        named.map(|(_, name)| name).collect::<Vec<_>>().join(" or ")
    }
}

/// Reads a scalar or a header, and refuses any spelling of it but the shortest.
#[inline]
pub(crate) fn token<'a>(reader: &mut Reader<'a>) -> Result<Token<'a>, CodecError> {
    let before = reader.rest();
    let token = reader.token()?;
    let header = before.len() - reader.rest().len();
    // There is no shorter one.
    if header == 1 {
        return Ok(token);
    }
    let canonical = match token {
        Token::Nil | Token::Bool(_) => true,
        // There are forms with a sign of the same lengths.
        Token::Unsigned(value) => header == unsigned_length(value) && !matches!(before[0], 0xd0..=0xd3),
        Token::Negative(value) => header == negative_length(value),
        Token::Float(value) => header == 9 && (!value.is_nan() || value.to_bits() == NAN_BITS),
        Token::Str(text) => header - text.len() == length_length(text.len(), 0x20, true),
        Token::Bin(bytes) => header - bytes.len() == length_length(bytes.len(), 0, true),
        Token::Array(length) | Token::Map(length) => header == length_length(length as usize, 0x10, false),
        Token::Ext(..) => false,
    };
    if canonical { Ok(token) } else { Err(CodecError::mismatch("the value is not in its canonical encoding")) }
}

/// Reads an integer of 64 bits with a sign in its shortest spelling. Nothing is read if there is something else.
#[inline]
pub(crate) fn int(reader: &mut Reader<'_>) -> Option<i64> {
    let (value, length) = match *reader.rest() {
        [small @ 0x00..=0x7f, ..] => (i64::from(small), 1),
        [small @ 0xe0..=0xff, ..] => (i64::from(small.cast_signed()), 1),
        [0xcc, a, ..] => (i64::from(a), 2),
        [0xcd, a, b, ..] => (i64::from(u16::from_be_bytes([a, b])), 3),
        [0xce, a, b, c, d, ..] => (i64::from(u32::from_be_bytes([a, b, c, d])), 5),
        _ => return None,
    };
    let shortest = if value < 0 { negative_length(value) } else { unsigned_length(value.cast_unsigned()) };
    if length != shortest {
        return None;
    }
    reader.take(length).ok()?;
    Some(value)
}

fn unsigned_length(value: u64) -> usize {
    match value {
        0..=0x7f => 1,
        0x80..=0xff => 2,
        0x100..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        _ => 9,
    }
}

fn negative_length(value: i64) -> usize {
    match value {
        -0x20.. => 1,
        -0x80..=-0x21 => 2,
        -0x8000..=-0x81 => 3,
        -0x8000_0000..=-0x8001 => 5,
        _ => 9,
    }
}

/// The length of a header: one byte below `short`, and `byte` says whether there is a form with a length of one byte.
fn length_length(length: usize, short: usize, byte: bool) -> usize {
    match length {
        _ if length < short => 1,
        0..=0xff if byte => 2,
        0..=0xffff => 3,
        _ => 5,
    }
}

impl From<Malformed> for CodecError {
    fn from(malformed: Malformed) -> Self {
        Self::mismatch(malformed.to_string())
    }
}
