//! Keys: an encoding of key values whose byte order is the order of the values.
//!
//! Footprints hash these bytes and tables are sorted by them, so that a command and a table agree on what a key is. A
//! value has exactly one encoding, however wide its `MessagePack` form was.
//!
//! | value | bytes |
//! |---|---|
//! | `None` | `01` |
//! | `False`, `True` | `02`, `03` |
//! | integer −n | `14` − w, then w bytes, big endian, of 2^(8w) − 1 − n |
//! | integer 0 | `14` |
//! | integer n | `14` + w, then w bytes, big endian, of n; w as small as can be |
//! | string | `20`, its UTF-8 with `00` written as `00 ff`, then `00` |
//! | bytes | `21`, the same |
//! | tuple | `30`, its elements, then `00` |
//!
//! Values of different kinds sort in the order of this table. Integers are those of `MessagePack`: −2⁶³ to 2⁶⁴ − 1.
//! Floats are not keys: equal ones can differ in bytes, and rounding makes a poor identity.

use crate::messagepack::{self, Malformed, Reader, Token};

/// The longest encoded key, in bytes.
pub const MAX_KEY_LENGTH: usize = 4096;

/// The deepest nesting of tuples in a key.
pub const MAX_KEY_DEPTH: usize = 8;

const END: u8 = 0x00;
const NIL: u8 = 0x01;
const FALSE: u8 = 0x02;
const TRUE: u8 = 0x03;
const ZERO: u8 = 0x14;
const STR: u8 = 0x20;
const BYTES: u8 = 0x21;
const TUPLE: u8 = 0x30;
const ESCAPED: u8 = 0xff;

/// Why a value is not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The `MessagePack` is malformed.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A float, a map or an extension.
    #[error("not a kind of value that can be a key: use None, bool, int, str, bytes, or a tuple of those")]
    Kind,
    /// Longer than [`MAX_KEY_LENGTH`] when encoded.
    #[error("the key is longer than {MAX_KEY_LENGTH} bytes")]
    TooLong,
    /// Tuples nest deeper than [`MAX_KEY_DEPTH`].
    #[error("the key nests tuples deeper than {MAX_KEY_DEPTH}")]
    TooDeep,
    /// The bytes are not the encoding of a key.
    #[error("not the encoding of a key")]
    NotAKey,
}

/// Appends to `out` the encoding of the one `MessagePack` value that `value` is.
///
/// # Errors
/// [`KeyError`]; `out` then holds a part of the key.
pub fn encode(value: &[u8], out: &mut Vec<u8>) -> Result<(), KeyError> {
    let mut reader = Reader::new(value);
    encode_next(&mut reader, out)?;
    reader.finish()?;
    Ok(())
}

/// Appends to `out` the encoding of the next value of `reader`.
///
/// # Errors
/// [`KeyError`]; `out` then holds a part of the key.
pub fn encode_next(reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), KeyError> {
    let start = out.len();
    encode_value(reader, out, start, MAX_KEY_DEPTH)
}

fn encode_value(reader: &mut Reader<'_>, out: &mut Vec<u8>, start: usize, depth: usize) -> Result<(), KeyError> {
    match reader.token()? {
        Token::Nil => out.push(NIL),
        Token::Bool(false) => out.push(FALSE),
        Token::Bool(true) => out.push(TRUE),
        Token::Unsigned(value) => {
            let width = width(value);
            out.push(ZERO + width as u8);
            out.extend_from_slice(&value.to_be_bytes()[8 - width..]);
        }
        Token::Negative(value) => {
            let magnitude = value.unsigned_abs();
            let width = width(magnitude);
            out.push(ZERO - width as u8);
            out.extend_from_slice(&(!magnitude).to_be_bytes()[8 - width..]);
        }
        Token::Str(text) => encode_string(STR, text.as_bytes(), out, start)?,
        Token::Bin(bytes) => encode_string(BYTES, bytes, out, start)?,
        Token::Array(length) => {
            let depth = depth.checked_sub(1).ok_or(KeyError::TooDeep)?;
            out.push(TUPLE);
            for _ in 0..length {
                encode_value(reader, out, start, depth)?;
            }
            out.push(END);
        }
        Token::Float(_) | Token::Map(_) | Token::Ext(..) => return Err(KeyError::Kind),
    }
    if out.len() - start > MAX_KEY_LENGTH { Err(KeyError::TooLong) } else { Ok(()) }
}

fn encode_string(tag: u8, bytes: &[u8], out: &mut Vec<u8>, start: usize) -> Result<(), KeyError> {
    if out.len() - start + bytes.len() > MAX_KEY_LENGTH {
        return Err(KeyError::TooLong);
    }
    out.reserve(bytes.len() + 2);
    out.push(tag);
    let mut rest = bytes;
    while let Some(zero) = rest.iter().position(|&byte| byte == END) {
        out.extend_from_slice(&rest[..=zero]);
        out.push(ESCAPED);
        rest = &rest[zero + 1..];
    }
    out.extend_from_slice(rest);
    out.push(END);
    Ok(())
}

/// The number of bytes that `value` takes without leading zeros.
fn width(value: u64) -> usize {
    8 - value.leading_zeros() as usize / 8
}

/// Appends to `out` the `MessagePack` form, the shortest one, of the key whose encoding `key` is.
///
/// # Errors
/// [`KeyError::NotAKey`] if `key` is not what [`encode`] yields.
pub fn decode(key: &[u8], out: &mut Vec<u8>) -> Result<(), KeyError> {
    let rest = decode_value(key, out, MAX_KEY_DEPTH)?;
    if rest.is_empty() { Ok(()) } else { Err(KeyError::NotAKey) }
}

fn decode_value<'a>(key: &'a [u8], out: &mut Vec<u8>, depth: usize) -> Result<&'a [u8], KeyError> {
    let (&tag, rest) = key.split_first().ok_or(KeyError::NotAKey)?;
    match tag {
        NIL => messagepack::write_nil(out),
        FALSE | TRUE => messagepack::write_bool(out, tag == TRUE),
        0x0c..=0x1c => return decode_integer(tag, rest, out),
        STR => {
            let (bytes, rest) = decode_string(rest)?;
            messagepack::write_str(out, std::str::from_utf8(&bytes).map_err(|_| KeyError::NotAKey)?);
            return Ok(rest);
        }
        BYTES => {
            let (bytes, rest) = decode_string(rest)?;
            messagepack::write_bin(out, &bytes);
            return Ok(rest);
        }
        TUPLE => {
            let depth = depth.checked_sub(1).ok_or(KeyError::NotAKey)?;
            let (mut elements, mut count, mut rest) = (Vec::new(), 0, rest);
            while *rest.first().ok_or(KeyError::NotAKey)? != END {
                rest = decode_value(rest, &mut elements, depth)?;
                count += 1;
            }
            messagepack::write_array(out, count);
            out.extend_from_slice(&elements);
            return Ok(&rest[1..]);
        }
        _ => return Err(KeyError::NotAKey),
    }
    Ok(rest)
}

fn decode_integer<'a>(tag: u8, rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], KeyError> {
    let width_given = usize::from(tag.abs_diff(ZERO));
    let (digits, rest) = rest.split_at_checked(width_given).ok_or(KeyError::NotAKey)?;
    let negative = tag < ZERO;
    let mut wide = if negative { [0xff; 8] } else { [0; 8] };
    wide[8 - width_given..].copy_from_slice(digits);
    let magnitude = u64::from_be_bytes(wide) ^ if negative { u64::MAX } else { 0 };
    if width(magnitude) != width_given {
        return Err(KeyError::NotAKey);
    }
    if negative {
        messagepack::write_signed(out, 0i64.checked_sub_unsigned(magnitude).ok_or(KeyError::NotAKey)?);
    } else {
        messagepack::write_unsigned(out, magnitude);
    }
    Ok(rest)
}

/// The unescaped bytes before the end mark, and what follows it.
fn decode_string(bytes: &[u8]) -> Result<(Vec<u8>, &[u8]), KeyError> {
    let mut out = Vec::new();
    let mut rest = bytes;
    loop {
        let end = rest.iter().position(|&byte| byte == END).ok_or(KeyError::NotAKey)?;
        out.extend_from_slice(&rest[..end]);
        if rest.get(end + 1) != Some(&ESCAPED) {
            return Ok((out, &rest[end + 1..]));
        }
        out.push(END);
        rest = &rest[end + 2..];
    }
}
