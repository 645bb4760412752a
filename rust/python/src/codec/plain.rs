//! Values whose type is not declared: the arguments of an application's errors, members of enumerations.

use pssmr_execution::messagepack::{Reader, Token, write_array};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyFloat, PyInt, PyString, PyTuple};

use super::decode::scalar;
use super::encode::encode;
use super::mismatch::CodecError;
use super::strict::token;
use super::types::Type;

/// Deepest nesting of tuples.
const PLAIN_DEPTH_MAX: usize = 8;

/// Appends the encoding of a scalar, of the type that the value itself has.
pub(crate) fn encode_scalar(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let kind = if value.is_none() {
        Type::None
    } else if value.is_instance_of::<PyBool>() {
        Type::Bool
    } else if value.is_instance_of::<PyInt>() {
        Type::Int
    } else if value.is_instance_of::<PyFloat>() {
        Type::Float
    } else if value.is_instance_of::<PyString>() {
        Type::Str
    } else if value.is_instance_of::<PyBytes>() {
        Type::Bytes
    } else {
        let class = value.get_type().name().map_or_else(|_| "an object".to_owned(), |name| name.to_string());
        return Err(CodecError::mismatch(format!("expected None, bool, int, float, str or bytes, got {class}")));
    };
    encode(&kind, value, out)
}

/// Appends the encoding of a tuple of scalars and tuples.
pub(crate) fn encode_plain(values: &Bound<'_, PyTuple>, out: &mut Vec<u8>) -> Result<(), CodecError> {
    encode_tuple(values, out, PLAIN_DEPTH_MAX)
}

fn encode_tuple(values: &Bound<'_, PyTuple>, out: &mut Vec<u8>, depth: usize) -> Result<(), CodecError> {
    let depth = depth.checked_sub(1).ok_or_else(too_deep)?;
    write_array(out, values.len() as u32);
    for value in values {
        match value.cast::<PyTuple>() {
            Ok(tuple) => encode_tuple(tuple, out, depth)?,
            Err(_) => encode_scalar(&value, out)?,
        }
    }
    Ok(())
}

/// What [`encode_plain`] encoded.
pub(crate) fn decode_plain<'py>(py: Python<'py>, bytes: &[u8]) -> Result<Bound<'py, PyAny>, CodecError> {
    let mut reader = Reader::new(bytes);
    let value = decode_next(py, &mut reader, PLAIN_DEPTH_MAX)?;
    reader.finish()?;
    Ok(value)
}

fn decode_next<'py>(py: Python<'py>, reader: &mut Reader<'_>, depth: usize) -> Result<Bound<'py, PyAny>, CodecError> {
    match token(reader)? {
        Token::Array(length) => {
            let depth = depth.checked_sub(1).ok_or_else(too_deep)?;
            let mut values = Vec::new();
            for _ in 0..length {
                values.push(decode_next(py, reader, depth)?);
            }
            Ok(PyTuple::new(py, values)?.into_any())
        }
        token => scalar(py, &token)?.ok_or_else(|| CodecError::mismatch("expected a scalar or a tuple")),
    }
}

fn too_deep() -> CodecError {
    CodecError::mismatch(format!("tuples nest deeper than {PLAIN_DEPTH_MAX}"))
}
