//! From bytes to Python objects.
//!
//! Bytes come from the network: nothing here panics on them, each length is checked against the bytes that are there,
//! and the number of values is bounded. How deep values nest is bounded by the type.

use pssmr_execution::messagepack::{Reader, Token};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyFrozenSet, PyList, PySet, PyString, PyTuple};

use super::VALUES_MAX;
use super::mismatch::{CodecError, Step};
use super::order::compare;
use super::strict::{Kinds, int, token};
use super::types::{Choice, Record, Type, Union};
use crate::errors::is_fatal;

/// Decodes values one after the other. The messages of its errors depend on types and bytes alone.
pub(crate) struct Decoder<'a, 'py> {
    py: Python<'py>,
    reader: Reader<'a>,
    values: usize,
    /// Within a key or an element of a set, where two encodings of one value would be two.
    in_key: bool,
}

/// Decodes the one value that `bytes` are.
///
/// # Errors
/// If they are not the canonical encoding of a value of the type.
pub(crate) fn decode<'py>(kind: &Type, py: Python<'py>, bytes: &[u8]) -> Result<Bound<'py, PyAny>, CodecError> {
    let mut decoder = Decoder::new(py, bytes);
    let value = decoder.value(kind)?;
    decoder.finish()?;
    Ok(value)
}

impl<'a, 'py> Decoder<'a, 'py> {
    pub(crate) fn new(py: Python<'py>, bytes: &'a [u8]) -> Self {
        Self { py, reader: Reader::new(bytes), values: 0, in_key: false }
    }

    /// Ends the reading: nothing may be left.
    pub(crate) fn finish(&self) -> Result<(), CodecError> {
        Ok(self.reader.finish()?)
    }

    /// Reads the header of an array; its elements are to be read next.
    pub(crate) fn array(&mut self, kind: &str) -> Result<usize, CodecError> {
        match self.token()? {
            Token::Array(length) => Ok(length as usize),
            other => Err(unexpected(kind, &other)),
        }
    }

    #[inline]
    fn token(&mut self) -> Result<Token<'a>, CodecError> {
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(CodecError::mismatch(format!("more than {VALUES_MAX} values")));
        }
        token(&mut self.reader)
    }

    /// Reads an int of 64 bits with a sign.
    #[inline]
    pub(crate) fn int(&mut self) -> Result<i64, CodecError> {
        // Most are short; what is not, or is wrong, is looked at closely.
        if self.values < VALUES_MAX
            && let Some(value) = int(&mut self.reader)
        {
            self.values += 1;
            return Ok(value);
        }
        self.any_int()
    }

    fn any_int(&mut self) -> Result<i64, CodecError> {
        match self.token()? {
            Token::Negative(value) => Ok(value),
            Token::Unsigned(value) => i64::try_from(value)
                .map_err(|_| CodecError::mismatch(format!("{value} is beyond 64 bits with a sign, which arrays have"))),
            other => Err(unexpected(&Type::Int.describe(), &other)),
        }
    }

    /// Reads a float.
    pub(crate) fn float(&mut self) -> Result<f64, CodecError> {
        match self.token()? {
            Token::Float(value) => Ok(value),
            other => Err(unexpected(&Type::Float.describe(), &other)),
        }
    }

    /// Reads a bool.
    pub(crate) fn bool(&mut self) -> Result<bool, CodecError> {
        match self.token()? {
            Token::Bool(value) => Ok(value),
            other => Err(unexpected(&Type::Bool.describe(), &other)),
        }
    }

    /// Reads the next value.
    pub(crate) fn value(&mut self, kind: &Type) -> Result<Bound<'py, PyAny>, CodecError> {
        match kind {
            Type::List(_) | Type::TupleOf(_) | Type::Tuple(_) | Type::Set { .. } | Type::Dict { .. } => {
                self.container(kind)
            }
            Type::Choice(choice) => self.choice(choice),
            Type::Record(record) => {
                let given = self.array(&record.name)?;
                self.record(record, given)
            }
            Type::Union(union) => self.union(kind, union),
            Type::None | Type::Bool | Type::Int | Type::Float | Type::Str | Type::Bytes => {
                let token = self.token()?;
                let fits = kind.kinds() == Kinds::of(&token);
                let value = if fits { scalar(self.py, &token)? } else { None };
                value.ok_or_else(|| unexpected(&kind.describe(), &token))
            }
        }
    }

    fn container(&mut self, kind: &Type) -> Result<Bound<'py, PyAny>, CodecError> {
        let py = self.py;
        if let Type::Dict { key, value } = kind {
            return self.dict(kind, key, value);
        }
        let length = self.array(&kind.describe())?;
        Ok(match kind {
            Type::List(element) => PyList::new(py, self.elements(element, length)?)?.into_any(),
            Type::TupleOf(element) => PyTuple::new(py, self.elements(element, length)?)?.into_any(),
            Type::Tuple(elements) if elements.len() == length => {
                let mut values = Vec::with_capacity(length);
                for (index, element) in elements.iter().enumerate() {
                    values.push(self.value(element).map_err(|error| error.within(|| Step::Index(index)))?);
                }
                PyTuple::new(py, values)?.into_any()
            }
            Type::Set { element, frozen } => {
                let values = self.ascending(element, length)?;
                if *frozen { PyFrozenSet::new(py, values)?.into_any() } else { PySet::new(py, values)?.into_any() }
            }
            _ => {
                return Err(CodecError::mismatch(format!("expected {}, got an array of {length}", kind.describe())));
            }
        })
    }

    fn elements(&mut self, element: &Type, length: usize) -> Result<Vec<Bound<'py, PyAny>>, CodecError> {
        // The header was refused if the bytes that follow can't hold as many elements.
        let mut values = Vec::with_capacity(length.min(VALUES_MAX));
        for index in 0..length {
            values.push(self.value(element).map_err(|error| error.within(|| Step::Index(index)))?);
        }
        Ok(values)
    }

    /// The elements of a set, which must come in ascending order.
    fn ascending(&mut self, element: &Type, length: usize) -> Result<Vec<Bound<'py, PyAny>>, CodecError> {
        let mut values = Vec::with_capacity(length.min(VALUES_MAX));
        let mut previous: Option<&[u8]> = None;
        for _ in 0..length {
            let before = self.reader.rest();
            values.push(self.key(element).map_err(|error| error.within(|| Step::Element))?);
            previous = Some(self.after(previous, before)?);
        }
        Ok(values)
    }

    fn dict(&mut self, kind: &Type, key: &Type, value: &Type) -> Result<Bound<'py, PyAny>, CodecError> {
        let length = match self.token()? {
            Token::Map(length) => length,
            other => return Err(unexpected(&kind.describe(), &other)),
        };
        let dict = PyDict::new(self.py);
        let mut previous: Option<&[u8]> = None;
        for _ in 0..length {
            let before = self.reader.rest();
            let name = self.key(key).map_err(|error| error.within(|| Step::Key))?;
            previous = Some(self.after(previous, before)?);
            let item = self.value(value).map_err(|error| error.within(|| Step::Value))?;
            dict.set_item(name, item)?;
        }
        Ok(dict.into_any())
    }

    fn key(&mut self, kind: &Type) -> Result<Bound<'py, PyAny>, CodecError> {
        let outer = std::mem::replace(&mut self.in_key, true);
        let value = self.value(kind);
        self.in_key = outer;
        value
    }

    /// The bytes read since `before`, if they sort after `previous`.
    fn after(&self, previous: Option<&[u8]>, before: &'a [u8]) -> Result<&'a [u8], CodecError> {
        let bytes = &before[..before.len() - self.reader.rest().len()];
        match previous {
            Some(previous) if compare(previous, bytes).is_ge() => {
                Err(CodecError::mismatch("the elements are not in ascending order"))
            }
            _ => Ok(bytes),
        }
    }

    fn choice(&mut self, choice: &Choice) -> Result<Bound<'py, PyAny>, CodecError> {
        let before = self.reader.rest();
        self.token()?;
        let bytes = &before[..before.len() - self.reader.rest().len()];
        match choice.members.binary_search_by(|(encoding, _)| encoding.as_slice().cmp(bytes)) {
            Ok(index) => Ok(choice.members[index].1.bind(self.py).clone()),
            Err(_) => Err(CodecError::mismatch(format!("expected {}, got another value", choice.name))),
        }
    }

    /// A dataclass of which `given` fields follow: all, or those that it had before it grew by fields with defaults.
    fn record(&mut self, record: &Record, given: usize) -> Result<Bound<'py, PyAny>, CodecError> {
        let py = self.py;
        let fewest = if self.in_key { record.fields.len() } else { record.required() };
        if given < fewest || given > record.fields.len() {
            return Err(CodecError::mismatch(format!("expected {}, got an array of {given}", record.name)));
        }
        let mut positional = Vec::with_capacity(given);
        let keywords = PyDict::new(py);
        for field in &record.fields[..given] {
            let name = field.name.bind(py);
            let value = self.value(&field.value).map_err(|error| error.within(|| Step::Field(name.to_string())))?;
            if field.keyword_only {
                keywords.set_item(name, value)?;
            } else {
                positional.push(value);
            }
        }
        let keywords = if keywords.is_empty() { None } else { Some(&keywords) };
        record.class.bind(py).call(PyTuple::new(py, positional)?, keywords).map_err(|error| {
            // What `__post_init__` says of the fields is the class's own check of its values.
            if is_fatal(py, &error) {
                return CodecError::Raised(error);
            }
            let name = error.get_type(py).name().map_or_else(|_| "an exception".to_owned(), |name| name.to_string());
            CodecError::mismatch(format!("{} refused its fields with {name}", record.name))
        })
    }

    fn union(&mut self, kind: &Type, union: &Union) -> Result<Bound<'py, PyAny>, CodecError> {
        let next = token(&mut self.reader.clone())?;
        let kinds = Kinds::of(&next);
        if union.tagged
            && let Token::Array(length) = next
        {
            return self.tagged(kind, union, length as usize);
        }
        let member = union.members.iter().find(|member| member.kinds().overlaps(kinds));
        self.value(member.ok_or_else(|| unexpected(&kind.describe(), &next))?)
    }

    fn tagged(&mut self, kind: &Type, union: &Union, length: usize) -> Result<Bound<'py, PyAny>, CodecError> {
        self.token()?;
        let unknown = || CodecError::mismatch(format!("expected {}", kind.describe()));
        let given = length.checked_sub(1).ok_or_else(unknown)?;
        let Token::Str(name) = self.token()? else { return Err(unknown()) };
        let record = union.members.iter().filter_map(|member| member.as_record()).find(|record| record.name == name);
        self.record(record.ok_or_else(unknown)?, given)
    }
}

/// The object that a scalar is; `None` for what is no scalar.
pub(crate) fn scalar<'py>(py: Python<'py>, token: &Token<'_>) -> PyResult<Option<Bound<'py, PyAny>>> {
    Ok(Some(match *token {
        Token::Nil => py.None().into_bound(py),
        Token::Bool(value) => PyBool::new(py, value).to_owned().into_any(),
        Token::Unsigned(value) => value.into_pyobject(py)?.into_any(),
        Token::Negative(value) => value.into_pyobject(py)?.into_any(),
        Token::Float(value) => PyFloat::new(py, value).into_any(),
        Token::Str(text) => PyString::new(py, text).into_any(),
        Token::Bin(bytes) => PyBytes::new(py, bytes).into_any(),
        Token::Array(_) | Token::Map(_) | Token::Ext(..) => return Ok(None),
    }))
}

fn unexpected(kind: &str, token: &Token<'_>) -> CodecError {
    CodecError::mismatch(format!("expected {kind}, got {}", Kinds::of(token).names()))
}
