//! `_core.Schema`: a compiled type, as Python sees it.

use std::sync::Arc;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyType};

use super::DEPTH_MAX;
use super::decode::decode;
use super::encode::encode;
use super::mismatch::Mismatch;
use super::plain::encode_scalar;
use super::strict::Kinds;
use super::types::{Choice, Field, Record, Type, Union};

/// A compiled type: encodes its values to canonical bytes, and decodes those.
#[pyclass(frozen, skip_from_py_object, module = "pssmr._core")]
#[derive(Clone, Debug)]
pub(crate) struct Schema(pub(crate) Arc<Type>);

/// A field of a dataclass as Python gives it: name, type, whether it has a default, whether it is keyword-only.
type FieldSpec<'py> = (Bound<'py, PyString>, PyRef<'py, Schema>, bool, bool);

impl Schema {
    fn new(kind: Type) -> PyResult<Self> {
        if kind.depth() > DEPTH_MAX {
            return Err(PyTypeError::new_err(format!("{} nests deeper than {DEPTH_MAX}", kind.describe())));
        }
        Ok(Self(Arc::new(kind)))
    }
}

fn refused(mismatch: &Mismatch) -> PyErr {
    PyTypeError::new_err(mismatch.describe(""))
}

#[pymethods]
impl Schema {
    /// The schema of a scalar type: "None", "bool", "int", "float", "str" or "bytes".
    #[staticmethod]
    fn scalar(name: &str) -> PyResult<Self> {
        Self::new(match name {
            "None" => Type::None,
            "bool" => Type::Bool,
            "int" => Type::Int,
            "float" => Type::Float,
            "str" => Type::Str,
            "bytes" => Type::Bytes,
            _ => return Err(PyValueError::new_err(format!("{name:?} is not a scalar type"))),
        })
    }

    /// The schema of `list[element]`.
    #[staticmethod]
    fn list_of(element: &Self) -> PyResult<Self> {
        Self::new(Type::List(element.0.clone()))
    }

    /// The schema of `tuple[element, ...]`.
    #[staticmethod]
    fn tuple_of(element: &Self) -> PyResult<Self> {
        Self::new(Type::TupleOf(element.0.clone()))
    }

    /// The schema of `tuple[A, B, ...]` with as many elements as given.
    #[staticmethod]
    fn tuple_with(elements: Vec<PyRef<'_, Self>>) -> PyResult<Self> {
        Self::new(Type::Tuple(elements.iter().map(|element| element.0.clone()).collect()))
    }

    /// The schema of `set[element]` or `frozenset[element]`.
    #[staticmethod]
    fn set_of(element: &Self, frozen: bool) -> PyResult<Self> {
        Self::new(Type::Set { element: element.0.clone(), frozen })
    }

    /// The schema of `dict[key, value]`.
    #[staticmethod]
    fn dict_of(key: &Self, value: &Self) -> PyResult<Self> {
        Self::new(Type::Dict { key: key.0.clone(), value: value.0.clone() })
    }

    /// The schema of an enumeration or a `Literal`: `members` are pairs of the value that is encoded and the object.
    #[staticmethod]
    fn choice(
        name: String,
        enumeration: Option<Bound<'_, PyType>>,
        members: Vec<(Bound<'_, PyAny>, Bound<'_, PyAny>)>,
    ) -> PyResult<Self> {
        let mut encoded = Vec::with_capacity(members.len());
        let mut kinds = Kinds::NOTHING;
        for (value, object) in members {
            let mut bytes = Vec::new();
            encode_scalar(&value, &mut bytes).map_err(|error| error.raise(PyTypeError::new_err, &name))?;
            kinds = kinds.and(Kinds::of_encoding(&bytes));
            encoded.push((bytes, object.unbind()));
        }
        encoded.sort_by(|(left, _), (right, _)| left.cmp(right));
        if encoded.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(PyTypeError::new_err(format!("{name}: two members have the same value")));
        }
        Self::new(Type::Choice(Choice { name, class: enumeration.map(Bound::unbind), members: encoded, kinds }))
    }

    /// The schema of a dataclass.
    #[staticmethod]
    fn record(dataclass: Bound<'_, PyType>, fields: Vec<FieldSpec<'_>>) -> PyResult<Self> {
        let fields = fields.into_iter().map(|(name, value, has_default, keyword_only)| Field {
            name: name.unbind(),
            value: value.0.clone(),
            has_default,
            keyword_only,
        });
        let fields = fields.collect();
        Self::new(Type::Record(Record { name: dataclass.name()?.to_string(), class: dataclass.unbind(), fields }))
    }

    /// The schema of a union. Its members must be told apart by their encodings.
    #[staticmethod]
    fn union(members: Vec<PyRef<'_, Self>>) -> PyResult<Self> {
        let members = members.iter().map(|member| member.0.clone()).collect();
        Self::new(Type::Union(Union::new(members).map_err(|mismatch| refused(&mismatch))?))
    }

    /// The canonical encoding of a value.
    ///
    /// Raises TypeError if the value does not fit the type.
    fn encode<'py>(&self, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        let mut out = Vec::new();
        encode(&self.0, value, &mut out).map_err(|error| error.raise(PyTypeError::new_err, ""))?;
        Ok(PyBytes::new(value.py(), &out))
    }

    /// The value that these bytes encode.
    ///
    /// Raises ValueError if the bytes are not the canonical encoding of a value of the type.
    fn decode<'py>(&self, py: Python<'py>, data: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        decode(&self.0, py, data).map_err(|error| error.raise(PyValueError::new_err, ""))
    }

    /// Whether values of this type can be keys of tables.
    #[getter]
    fn is_key(&self) -> bool {
        self.0.is_key()
    }

    /// The schema of the elements of a list, a set, or a tuple of any length; None for other types.
    #[getter]
    fn element(&self) -> Option<Self> {
        match &*self.0 {
            Type::List(element) | Type::TupleOf(element) | Type::Set { element, .. } => Some(Self(element.clone())),
            _ => None,
        }
    }

    /// The index and the schema of a field of a dataclass; None if this is no dataclass or has no such field.
    fn field(&self, py: Python<'_>, name: &str) -> Option<(usize, Self)> {
        let (index, kind) = self.0.as_record()?.field(py, name)?;
        Some((index, Self(kind.clone())))
    }

    fn __eq__(&self, other: &Self) -> bool {
        self.0.same_as(&other.0)
    }

    fn __hash__(&self) -> u64 {
        // Equal types have equal kinds.
        self.0.kinds().bits()
    }

    fn __str__(&self) -> String {
        self.0.describe()
    }

    fn __repr__(&self) -> String {
        format!("<Schema of {}>", self.0.describe())
    }
}
