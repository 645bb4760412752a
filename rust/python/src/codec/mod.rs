//! Typed, canonical MessagePack: one value of a type has one encoding, whatever interpreter, hash seed or insertion
//! order it comes from.
//!
//! A [`Type`] is compiled once from Python annotations and then read by both directions. Decoding takes only what
//! encoding gives: other spellings of the same value are refused, so equal values have equal bytes, keys and digests.

mod decode;
mod encode;
mod mismatch;
mod order;
mod plain;
mod schema;
mod strict;
mod types;

pub(crate) use decode::{Decoder, decode};
pub(crate) use encode::encode;
pub(crate) use mismatch::CodecError;
pub(crate) use plain::{decode_plain, encode_plain};
pub(crate) use schema::Schema;
pub(crate) use types::Type;

/// Most values (scalars and containers) in one encoding. Bounds what a few hostile bytes can make a decoder allocate.
pub(crate) const VALUES_MAX: usize = 1 << 20;

/// Most bytes in one encoding.
pub(crate) const BYTES_MAX: usize = 64 << 20;

/// Deepest nesting of a type.
pub(crate) const DEPTH_MAX: usize = 16;
