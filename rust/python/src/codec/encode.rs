//! From Python objects to bytes.

use pssmr_execution::messagepack::{
    write_array, write_bin, write_bool, write_nil, write_signed, write_str, write_unsigned,
};
use pyo3::PyTypeCheck;
use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PySet, PyString, PyTuple, PyType};

use super::mismatch::{CodecError, Step};
use super::order::compare;
use super::plain::encode_scalar;
use super::strict::NAN_BITS;
use super::types::{Choice, Record, Type, Union};
use super::{BYTES_MAX, VALUES_MAX};

/// Appends the encoding of `value` to `out`.
///
/// # Errors
/// If the value does not fit the type; `out` then holds a part of it.
pub(crate) fn encode(kind: &Type, value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> Result<(), CodecError> {
    Encoder { out, values: 0 }.value(kind, value)
}

struct Encoder<'a> {
    out: &'a mut Vec<u8>,
    values: usize,
}

impl Encoder<'_> {
    fn value(&mut self, kind: &Type, value: &Bound<'_, PyAny>) -> Result<(), CodecError> {
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(CodecError::mismatch(format!("more than {VALUES_MAX} values")));
        }
        match kind {
            Type::None if value.is_none() => write_nil(self.out),
            Type::Bool => write_bool(self.out, cast::<PyBool>(kind, value)?.is_true()),
            Type::Int => self.int(kind, value)?,
            Type::Float => self.float(kind, value)?,
            Type::Str => {
                let text = cast::<PyString>(kind, value)?
                    .to_str()
                    .map_err(|_| CodecError::mismatch("the string has a lone surrogate, so it is not UTF-8"))?;
                self.room(text.len())?;
                write_str(self.out, text);
            }
            Type::Bytes => {
                let bytes = cast::<PyBytes>(kind, value)?.as_bytes();
                self.room(bytes.len())?;
                write_bin(self.out, bytes);
            }
            Type::List(element) => {
                // A copy, because reading a dataclass's fields can run code, and other threads can change the list.
                self.elements(element, &cast::<PyList>(kind, value)?.to_tuple())?;
            }
            Type::TupleOf(element) => self.elements(element, cast::<PyTuple>(kind, value)?)?,
            Type::Tuple(elements) => {
                let tuple = cast::<PyTuple>(kind, value)?;
                if tuple.len() != elements.len() {
                    return Err(CodecError::mismatch(format!(
                        "expected {}, got a tuple of {}",
                        kind.describe(),
                        tuple.len()
                    )));
                }
                self.array(elements.len())?;
                for (index, (element, value)) in elements.iter().zip(tuple.iter()).enumerate() {
                    self.value(element, &value).map_err(|error| error.within(|| Step::Index(index)))?;
                }
            }
            Type::Set { element, frozen: false } => self.sorted(element, cast::<PySet>(kind, value)?)?,
            Type::Set { element, frozen: true } => self.sorted(element, cast::<PyFrozenSet>(kind, value)?)?,
            Type::Dict { key, value: values } => self.dict(key, values, &cast::<PyDict>(kind, value)?.copy()?)?,
            Type::Choice(choice) => self.choice(kind, choice, value)?,
            Type::Record(record) => self.record(record, value, false)?,
            Type::Union(union) => self.union(kind, union, value)?,
            Type::None => return Err(expected(kind, value)),
        }
        Ok(())
    }

    fn room(&self, more: usize) -> Result<(), CodecError> {
        if self.out.len().saturating_add(more) > BYTES_MAX {
            return Err(CodecError::mismatch(format!("more than {BYTES_MAX} bytes")));
        }
        Ok(())
    }

    fn array(&mut self, length: usize) -> Result<(), CodecError> {
        // Checked before the elements are: a length above the limit has no encoding at all.
        if length > VALUES_MAX {
            return Err(CodecError::mismatch(format!("more than {VALUES_MAX} values")));
        }
        write_array(self.out, length as u32);
        Ok(())
    }

    fn int(&mut self, kind: &Type, value: &Bound<'_, PyAny>) -> Result<(), CodecError> {
        if value.is_instance_of::<PyBool>() {
            return Err(expected(kind, value));
        }
        let int = cast::<PyInt>(kind, value)?;
        match int.extract::<i64>() {
            Ok(value) => write_signed(self.out, value),
            Err(error) if !error.is_instance_of::<PyOverflowError>(value.py()) => return Err(error.into()),
            Err(_) => match int.extract::<u64>() {
                Ok(value) => write_unsigned(self.out, value),
                Err(_) => return Err(CodecError::mismatch("the int is beyond 64 bits (-2**63 to 2**64 - 1)")),
            },
        }
        Ok(())
    }

    fn float(&mut self, kind: &Type, value: &Bound<'_, PyAny>) -> Result<(), CodecError> {
        // As type checkers have it, an int will do where a float is expected.
        let float = if let Ok(float) = value.cast::<PyFloat>() {
            float.value()
        } else if value.is_instance_of::<PyInt>() && !value.is_instance_of::<PyBool>() {
            value.extract().map_err(|_| CodecError::mismatch("the int is too large for a float"))?
        } else {
            return Err(expected(kind, value));
        };
        let bits = if float.is_nan() { NAN_BITS } else { float.to_bits() };
        self.out.push(0xcb);
        self.out.extend_from_slice(&bits.to_be_bytes());
        Ok(())
    }

    fn elements(&mut self, element: &Type, values: &Bound<'_, PyTuple>) -> Result<(), CodecError> {
        self.array(values.len())?;
        for (index, value) in values.iter().enumerate() {
            self.value(element, &value).map_err(|error| error.within(|| Step::Index(index)))?;
        }
        Ok(())
    }

    /// The elements in the order of their values.
    fn sorted(&mut self, element: &Type, set: &Bound<'_, PyAny>) -> Result<(), CodecError> {
        let values = set.try_iter()?.collect::<PyResult<Vec<_>>>()?;
        self.array(values.len())?;
        let mut encodings = Vec::with_capacity(values.len());
        for value in values {
            encodings.push(
                self.aside(|encoder| encoder.value(element, &value).map_err(|error| error.within(|| Step::Element)))?,
            );
        }
        encodings.sort_unstable_by(|left, right| compare(left, right));
        if encodings.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(CodecError::mismatch("two elements have the same encoding"));
        }
        for encoding in encodings {
            self.out.extend_from_slice(&encoding);
        }
        Ok(())
    }

    fn dict(&mut self, key: &Type, value: &Type, dict: &Bound<'_, PyDict>) -> Result<(), CodecError> {
        let length = dict.len();
        if length > VALUES_MAX {
            return Err(CodecError::mismatch(format!("more than {VALUES_MAX} values")));
        }
        put_map(self.out, length as u32);
        let mut encodings = Vec::with_capacity(length);
        for (name, item) in dict.iter() {
            let mut key_length = 0;
            let encoding = self.aside(|encoder| {
                let start = encoder.out.len();
                encoder.value(key, &name).map_err(|error| error.within(|| Step::Key))?;
                key_length = encoder.out.len() - start;
                encoder.value(value, &item).map_err(|error| error.within(|| Step::of_key(&name)))
            })?;
            encodings.push((key_length, encoding));
        }
        encodings.sort_unstable_by(|(_, left), (_, right)| compare(left, right));
        if encodings.windows(2).any(|pair| pair[0].1[..pair[0].0] == pair[1].1[..pair[1].0]) {
            return Err(CodecError::mismatch("two keys have the same encoding"));
        }
        for (_, encoding) in encodings {
            self.out.extend_from_slice(&encoding);
        }
        Ok(())
    }

    /// What `write` appends, in bytes of its own.
    fn aside(&mut self, write: impl FnOnce(&mut Self) -> Result<(), CodecError>) -> Result<Vec<u8>, CodecError> {
        let start = self.out.len();
        write(self)?;
        Ok(self.out.split_off(start))
    }

    fn choice(&mut self, kind: &Type, choice: &Choice, value: &Bound<'_, PyAny>) -> Result<(), CodecError> {
        if choice.class.is_some() {
            // Members of an enumeration are single objects.
            let member = choice.members.iter().find(|(_, member)| member.is(value));
            let (encoding, _) = member.ok_or_else(|| expected(kind, value))?;
            self.out.extend_from_slice(encoding);
            return Ok(());
        }
        let mut plain = Vec::new();
        encode_scalar(value, &mut plain).map_err(|_| expected(kind, value))?;
        if choice.members.binary_search_by(|(encoding, _)| encoding.cmp(&plain)).is_err() {
            return Err(CodecError::mismatch(format!("expected {}", kind.describe())));
        }
        self.out.extend_from_slice(&plain);
        Ok(())
    }

    fn record(&mut self, record: &Record, value: &Bound<'_, PyAny>, tagged: bool) -> Result<(), CodecError> {
        let py = value.py();
        // Not a subclass either: its own fields would be lost.
        if !value.get_type().is(&record.class) {
            return Err(expected_text(&record.name, value));
        }
        self.array(record.fields.len() + usize::from(tagged))?;
        if tagged {
            write_str(self.out, &record.name);
        }
        for field in &record.fields {
            let part = value.getattr(&field.name)?;
            self.value(&field.value, &part)
                .map_err(|error| error.within(|| Step::Field(field.name.bind(py).to_string())))?;
        }
        Ok(())
    }

    fn union(&mut self, kind: &Type, union: &Union, value: &Bound<'_, PyAny>) -> Result<(), CodecError> {
        let exact = union.members.iter().find(|member| accepts(member, value));
        let float = || {
            let float = union.members.iter().find(|member| matches!(***member, Type::Float));
            float.filter(|_| accepts(&Type::Int, value) && union.takes_int_for_float())
        };
        let member = exact.or_else(float).ok_or_else(|| expected(kind, value))?;
        match &**member {
            Type::Record(record) => self.record(record, value, union.tagged),
            member => self.value(member, value),
        }
    }
}

/// Writes the header of a map; its keys, each with its value, are to follow.
fn put_map(out: &mut Vec<u8>, length: u32) {
    match length {
        0..=0x0f => out.push(0x80 | length as u8),
        0x10..=0xffff => {
            out.push(0xde);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(0xdf);
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
}

/// Whether the object is of this type on the outside: enough to choose among members that differ in kind.
fn accepts(kind: &Type, value: &Bound<'_, PyAny>) -> bool {
    let py = value.py();
    match kind {
        Type::None => value.is_none(),
        Type::Bool => value.is_instance_of::<PyBool>(),
        Type::Int => value.is_instance_of::<PyInt>() && !value.is_instance_of::<PyBool>(),
        Type::Float => value.is_instance_of::<PyFloat>(),
        Type::Str => value.is_instance_of::<PyString>(),
        Type::Bytes => value.is_instance_of::<PyBytes>(),
        Type::List(_) => value.is_instance_of::<PyList>(),
        Type::TupleOf(_) | Type::Tuple(_) => value.is_instance_of::<PyTuple>(),
        Type::Set { frozen: false, .. } => value.is_instance_of::<PySet>(),
        Type::Set { frozen: true, .. } => value.is_instance_of::<PyFrozenSet>(),
        Type::Dict { .. } => value.is_instance_of::<PyDict>(),
        Type::Choice(Choice { class: Some(class), .. }) => value.get_type().is(class.bind(py)),
        Type::Choice(choice) => {
            let mut plain = Vec::new();
            encode_scalar(value, &mut plain).is_ok()
                && choice.members.binary_search_by(|(encoding, _)| encoding.cmp(&plain)).is_ok()
        }
        Type::Record(record) => value.get_type().is(record.class.bind(py)),
        Type::Union(union) => union.members.iter().any(|member| accepts(member, value)),
    }
}

fn cast<'a, 'py, T: PyTypeCheck>(kind: &Type, value: &'a Bound<'py, PyAny>) -> Result<&'a Bound<'py, T>, CodecError> {
    value.cast::<T>().map_err(|_| expected(kind, value))
}

fn expected(kind: &Type, value: &Bound<'_, PyAny>) -> CodecError {
    expected_text(&kind.describe(), value)
}

fn expected_text(kind: &str, value: &Bound<'_, PyAny>) -> CodecError {
    CodecError::mismatch(format!("expected {kind}, got {}", type_name(&value.get_type())))
}

/// The name of a class as messages show it.
fn type_name(class: &Bound<'_, PyType>) -> String {
    class.name().map_or_else(|_| "an object".to_owned(), |name| name.to_string())
}
