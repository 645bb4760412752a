//! The tree that a Python annotation compiles to.

use std::fmt::Write as _;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyString, PyType};

use super::mismatch::Mismatch;
use super::strict::Kinds;

/// A type of value that can be encoded.
#[derive(Debug)]
pub(crate) enum Type {
    None,
    Bool,
    Int,
    Float,
    Str,
    Bytes,
    List(Arc<Type>),
    /// Of one element type, of any length.
    TupleOf(Arc<Type>),
    /// Of fixed length.
    Tuple(Vec<Arc<Type>>),
    Set {
        element: Arc<Type>,
        frozen: bool,
    },
    Dict {
        key: Arc<Type>,
        value: Arc<Type>,
    },
    /// An enumeration or a `Literal`.
    Choice(Choice),
    /// A dataclass.
    Record(Record),
    Union(Union),
}

/// One of a few values.
#[derive(Debug)]
pub(crate) struct Choice {
    /// How messages call it.
    pub(crate) name: String,
    /// The enumeration's class; `None` for a `Literal`.
    pub(crate) class: Option<Py<PyType>>,
    /// The objects with their encodings, sorted by encoding.
    pub(crate) members: Vec<(Vec<u8>, Py<PyAny>)>,
    pub(crate) kinds: Kinds,
}

/// A dataclass: an array of its fields. Trailing fields that have defaults may be missing, so that a class can grow.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) name: String,
    pub(crate) class: Py<PyType>,
    pub(crate) fields: Vec<Field>,
}

#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: Py<PyString>,
    pub(crate) value: Arc<Type>,
    pub(crate) has_default: bool,
    pub(crate) keyword_only: bool,
}

/// One of several types, told apart by the kind of their encoding.
#[derive(Debug)]
pub(crate) struct Union {
    pub(crate) members: Vec<Arc<Type>>,
    /// Several members are dataclasses: their arrays begin with the class's name.
    pub(crate) tagged: bool,
}

impl Record {
    /// The number of fields that an encoding has at least.
    pub(crate) fn required(&self) -> usize {
        self.fields.iter().rposition(|field| !field.has_default).map_or(0, |last| last + 1)
    }

    /// The index and type of the field with this name.
    pub(crate) fn field(&self, py: Python<'_>, name: &str) -> Option<(usize, &Arc<Type>)> {
        let index = self.fields.iter().position(|field| field.name.bind(py) == name)?;
        Some((index, &self.fields[index].value))
    }
}

impl Union {
    /// A union of these types.
    ///
    /// # Errors
    /// If two of them can't be told apart by their bytes.
    pub(crate) fn new(members: Vec<Arc<Type>>) -> Result<Self, Mismatch> {
        let records: Vec<_> = members.iter().filter_map(|member| member.as_record()).collect();
        let tagged = records.len() > 1;
        for (index, record) in records.iter().enumerate() {
            if records[..index].iter().any(|earlier| earlier.name == record.name) {
                return Err(Mismatch::new(format!("two dataclasses of the union are called {}", record.name)));
            }
        }
        let mut seen = Kinds::NOTHING;
        let mut records_seen = false;
        for member in &members {
            let is_record = member.as_record().is_some();
            let kinds = member.kinds();
            if !(is_record && records_seen) {
                if kinds.overlaps(seen) {
                    let both = kinds.common(seen).names();
                    return Err(Mismatch::new(format!(
                        "{} has members that are both encoded as {both} and can't be told apart; \
                         wrap them in dataclasses",
                        describe_members(&members)
                    )));
                }
                seen = seen.and(kinds);
            }
            records_seen |= is_record;
        }
        Ok(Self { members, tagged })
    }

    /// Whether an int stands for a float here: only if nothing else takes ints.
    pub(crate) fn takes_int_for_float(&self) -> bool {
        !self.members.iter().any(|member| member.kinds().overlaps(Kinds::INT))
    }
}

impl Type {
    /// The kinds of value that an encoding can be.
    pub(crate) fn kinds(&self) -> Kinds {
        match self {
            Self::None => Kinds::NIL,
            Self::Bool => Kinds::BOOL,
            Self::Int => Kinds::INT,
            Self::Float => Kinds::FLOAT,
            Self::Str => Kinds::STR,
            Self::Bytes => Kinds::BYTES,
            Self::List(_) | Self::TupleOf(_) | Self::Tuple(_) | Self::Set { .. } | Self::Record(_) => Kinds::ARRAY,
            Self::Dict { .. } => Kinds::MAP,
            Self::Choice(choice) => choice.kinds,
            Self::Union(union) => union.members.iter().fold(Kinds::NOTHING, |kinds, member| kinds.and(member.kinds())),
        }
    }

    pub(crate) fn as_record(&self) -> Option<&Record> {
        match self {
            Self::Record(record) => Some(record),
            _ => None,
        }
    }

    /// How deep the values of this type nest.
    pub(crate) fn depth(&self) -> usize {
        let parts = |parts: &[Arc<Self>]| parts.iter().map(|part| part.depth()).max().unwrap_or(0);
        match self {
            Self::List(element) | Self::TupleOf(element) | Self::Set { element, .. } => 1 + element.depth(),
            Self::Tuple(elements) => 1 + parts(elements),
            Self::Dict { key, value } => 1 + key.depth().max(value.depth()),
            Self::Record(record) => 1 + record.fields.iter().map(|field| field.value.depth()).max().unwrap_or(0),
            Self::Union(union) => parts(&union.members),
            _ => 0,
        }
    }

    /// Whether values of this type can be keys of tables: those whose equality and order are plain.
    pub(crate) fn is_key(&self) -> bool {
        match self {
            Self::None | Self::Bool | Self::Int | Self::Str | Self::Bytes | Self::Choice(_) => true,
            Self::TupleOf(element) => element.is_key(),
            Self::Tuple(elements) => elements.iter().all(|element| element.is_key()),
            Self::Union(union) => union.members.iter().all(|member| member.is_key()),
            _ => false,
        }
    }

    /// Whether two types have the same values and encodings.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        let all = |left: &[Arc<Self>], right: &[Arc<Self>]| {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| left.same_as(right))
        };
        match (self, other) {
            (Self::None, Self::None)
            | (Self::Bool, Self::Bool)
            | (Self::Int, Self::Int)
            | (Self::Float, Self::Float)
            | (Self::Str, Self::Str)
            | (Self::Bytes, Self::Bytes) => true,
            (Self::List(left), Self::List(right)) | (Self::TupleOf(left), Self::TupleOf(right)) => left.same_as(right),
            (Self::Tuple(left), Self::Tuple(right)) => all(left, right),
            (Self::Set { element, frozen }, Self::Set { element: other, frozen: other_frozen }) => {
                frozen == other_frozen && element.same_as(other)
            }
            (Self::Dict { key, value }, Self::Dict { key: other_key, value: other_value }) => {
                key.same_as(other_key) && value.same_as(other_value)
            }
            (Self::Choice(left), Self::Choice(right)) => {
                let class = |choice: &Choice| choice.class.as_ref().map(Py::as_ptr);
                class(left) == class(right)
                    && left.members.iter().map(|(bytes, _)| bytes).eq(right.members.iter().map(|(bytes, _)| bytes))
            }
            (Self::Record(left), Self::Record(right)) => left.class.is(&right.class),
            (Self::Union(left), Self::Union(right)) => all(&left.members, &right.members),
            _ => false,
        }
    }

    /// The type in Python's words.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::None => "None".into(),
            Self::Bool => "bool".into(),
            Self::Int => "int".into(),
            Self::Float => "float".into(),
            Self::Str => "str".into(),
            Self::Bytes => "bytes".into(),
            Self::List(element) => format!("list[{}]", element.describe()),
            Self::TupleOf(element) => format!("tuple[{}, ...]", element.describe()),
            Self::Tuple(elements) if elements.is_empty() => "tuple[()]".into(),
            Self::Tuple(elements) => {
                let elements: Vec<_> = elements.iter().map(|element| element.describe()).collect();
                format!("tuple[{}]", elements.join(", "))
            }
            Self::Set { element, frozen: false } => format!("set[{}]", element.describe()),
            Self::Set { element, frozen: true } => format!("frozenset[{}]", element.describe()),
            Self::Dict { key, value } => format!("dict[{}, {}]", key.describe(), value.describe()),
            Self::Choice(choice) => choice.name.clone(),
            Self::Record(record) => record.name.clone(),
            Self::Union(union) => describe_members(&union.members),
        }
    }
}

fn describe_members(members: &[Arc<Type>]) -> String {
    let mut text = String::new();
    for (index, member) in members.iter().enumerate() {
        let separator = if index == 0 { "" } else { " | " };
        write!(text, "{separator}{}", member.describe()).expect("writing to a string");
    }
    text
}
