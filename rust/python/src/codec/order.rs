//! The order of encoded values: what people expect of sorted numbers, strings and tuples, the same at every replica.

use std::cmp::Ordering;

use pssmr_execution::messagepack::{Malformed, Reader, Token};

use super::strict::Kinds;

/// Compares two encodings by value: numbers by size, strings by code point, arrays element by element, and values of
/// different kinds by kind. Bytes that are not MessagePack compare as bytes, so the order is total.
pub(crate) fn compare(left: &[u8], right: &[u8]) -> Ordering {
    next(&mut Reader::new(left), &mut Reader::new(right)).unwrap_or_else(|_| left.cmp(right))
}

fn next(left: &mut Reader<'_>, right: &mut Reader<'_>) -> Result<Ordering, Malformed> {
    let tokens = (left.token()?, right.token()?);
    Ok(match tokens {
        (Token::Bool(left), Token::Bool(right)) => left.cmp(&right),
        (Token::Unsigned(left), Token::Unsigned(right)) => left.cmp(&right),
        (Token::Negative(left), Token::Negative(right)) => left.cmp(&right),
        (Token::Negative(_), Token::Unsigned(_)) => Ordering::Less,
        (Token::Unsigned(_), Token::Negative(_)) => Ordering::Greater,
        (Token::Float(left), Token::Float(right)) => left.total_cmp(&right),
        (Token::Str(left), Token::Str(right)) => left.cmp(right),
        (Token::Bin(left), Token::Bin(right)) => left.cmp(right),
        (Token::Array(length), Token::Array(other)) => elements(left, right, length, other)?,
        (Token::Map(length), Token::Map(other)) => {
            elements(left, right, length.saturating_mul(2), other.saturating_mul(2))?
        }
        (left, right) => Kinds::of(&left).cmp(&Kinds::of(&right)),
    })
}

fn elements(left: &mut Reader<'_>, right: &mut Reader<'_>, length: u32, other: u32) -> Result<Ordering, Malformed> {
    for _ in 0..length.min(other) {
        let ordering = next(left, right)?;
        if ordering.is_ne() {
            return Ok(ordering);
        }
    }
    Ok(length.cmp(&other))
}
