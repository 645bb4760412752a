//! `_core.Method`: one command or query, compiled. Binds and encodes calls, decodes them, and decodes replies.

use std::cell::Cell;

use bytes::Bytes;
use pssmr_execution::messagepack::write_array;
use pssmr_execution::{ArgumentSpec, Refusal, Reply, reply};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};

use crate::codec::{self, CodecError, Decoder, Schema, Type};
use crate::errors;
use crate::interface::arguments_of;
use crate::replies;
use crate::running;
use crate::state::State;

/// The most bytes that a thread keeps to encode the next result in.
const SPACE_BYTES_MAX: usize = 1 << 16;

/// One command or query of a service, compiled.
#[pyclass(frozen, module = "pssmr._core")]
#[derive(Debug)]
pub(crate) struct Method {
    pub(crate) name: String,
    pub(crate) query: bool,
    /// Whether the function takes a context as its first argument.
    pub(crate) context: bool,
    /// Whether the function takes many commands at once: an array for each parameter.
    pub(crate) vectorized: bool,
    /// The version of the service that it came with.
    pub(crate) since: u32,
    pub(crate) function: Py<PyAny>,
    pub(crate) parameters: Vec<Parameter>,
    /// How many of the parameters can be given by position.
    positional: usize,
    pub(crate) result: Schema,
}

#[derive(Debug)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    keyword: Py<PyString>,
    pub(crate) schema: Schema,
    /// The encoding of the default.
    pub(crate) default: Option<Bytes>,
}

/// A parameter as Python gives it: name, type, default in a tuple of one, whether it is keyword-only.
type ParameterSpec<'py> = (Bound<'py, PyString>, PyRef<'py, Schema>, Option<(Bound<'py, PyAny>,)>, bool);

/// The arguments of one call, decoded.
pub(crate) struct Arguments<'py> {
    pub(crate) positional: Vec<Bound<'py, PyAny>>,
    pub(crate) keywords: Option<Bound<'py, PyDict>>,
}

#[pymethods]
impl Method {
    #[new]
    #[pyo3(signature = (name, function, query, context, parameters, result, vectorized=false, since=1))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        name: String,
        function: Py<PyAny>,
        query: bool,
        context: bool,
        parameters: Vec<ParameterSpec<'_>>,
        result: &Schema,
        vectorized: bool,
        since: u32,
    ) -> PyResult<Self> {
        let positional = parameters.iter().take_while(|(_, _, _, keyword_only)| !keyword_only).count();
        let mut compiled = Vec::with_capacity(parameters.len());
        for (keyword, schema, default, _) in parameters {
            let default = match default {
                Some((value,)) => {
                    let mut out = Vec::new();
                    codec::encode(&schema.0, &value, &mut out)
                        .map_err(|error| error.raise(PyTypeError::new_err, &format!("the default of '{keyword}'")))?;
                    Some(Bytes::from(out))
                }
                None => None,
            };
            let (name, schema) = (keyword.to_string(), schema.clone());
            compiled.push(Parameter { name, keyword: keyword.unbind(), schema, default });
        }
        Ok(Self {
            name,
            query,
            context,
            vectorized,
            since,
            function,
            parameters: compiled,
            positional,
            result: result.clone(),
        })
    }

    /// The command's name.
    #[getter(name)]
    fn get_name(&self) -> &str {
        &self.name
    }

    /// Whether it is a query.
    #[getter(query)]
    fn get_query(&self) -> bool {
        self.query
    }

    /// Whether it can be answered without being ordered: a query that takes no context.
    #[getter(readable)]
    fn get_readable(&self) -> bool {
        self.is_readable()
    }

    /// The version of the service that it came with.
    #[getter(since)]
    fn get_since(&self) -> u32 {
        self.since
    }

    /// The payload of a request that calls the command with these arguments.
    ///
    /// Raises pssmr.ArgumentError if they don't fit.
    #[pyo3(signature = (args, kwargs=None))]
    pub(crate) fn encode_call<'py>(
        &self,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(args.py(), &self.payload(args, kwargs)?))
    }

    /// The arguments of the request with this payload, by position and by keyword: what `encode_call` was given, and
    /// defaults.
    ///
    /// Raises pssmr.ArgumentError if they don't fit.
    fn decode_call<'py>(&self, py: Python<'py>, payload: &[u8]) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyDict>)> {
        let decoded = self.decode_arguments(py, arguments_of(payload)).map_err(|error| match error {
            ArgumentsError::Mismatch(text) => errors::argument_error(py, format!("{}: {text}", self.name)),
            ArgumentsError::Raised(error) => error,
        })?;
        Ok((PyTuple::new(py, decoded.positional)?, decoded.keywords.unwrap_or_else(|| PyDict::new(py))))
    }

    /// The result that a reply carries.
    ///
    /// Raises what the command raised, or why it was refused.
    fn decode_reply<'py>(&self, py: Python<'py>, data: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        match replies::decode(data)? {
            Reply::Result(result) => self.decode_result(py, &result),
            // Code that is older does not know the command: all replicas say the same.
            Reply::Refused { code, .. } if code == Refusal::UnknownCommand.code() && self.since > 1 => {
                let (name, since) = (&self.name, self.since);
                let message = format!(
                    "{name} came with version {since} of the service, and an older one is in force: `pssmr upgrade` has the \
                     replicas go over to it, once all of them run code that has it"
                );
                Err(errors::version_not_in_force(py, message))
            }
            other => Err(replies::error_of(py, &self.name, other)),
        }
    }

    fn __repr__(&self) -> String {
        format!("<Method {}>", self.name)
    }
}

impl Method {
    /// Whether it changes nothing, and is not told of its place in the order.
    pub(crate) fn is_readable(&self) -> bool {
        self.query && !self.context
    }

    pub(crate) fn argument_specs(&self) -> Vec<ArgumentSpec> {
        let spec =
            |parameter: &Parameter| ArgumentSpec { name: parameter.name.clone(), default: parameter.default.clone() };
        self.parameters.iter().map(spec).collect()
    }

    /// The types of arguments and result.
    pub(crate) fn describe(&self) -> String {
        let types: Vec<_> = self.parameters.iter().map(|parameter| parameter.schema.0.describe()).collect();
        format!("({}) -> {}", types.join(", "), self.result.0.describe())
    }

    /// `u8 length of the name ‖ name ‖ array of arguments`.
    pub(crate) fn payload(&self, args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<Vec<u8>> {
        let py = args.py();
        if args.len() > self.positional {
            let (most, given) = (self.positional, args.len());
            let message = format!("{} takes {most} arguments by position, {given} were given", self.name);
            return Err(errors::argument_error(py, message));
        }
        let mut out = Vec::with_capacity(64);
        out.push(self.name.len() as u8);
        out.extend_from_slice(self.name.as_bytes());
        write_array(&mut out, self.parameters.len() as u32);
        let mut keywords_used = 0;
        for (index, parameter) in self.parameters.iter().enumerate() {
            let keyword = match kwargs {
                Some(kwargs) => kwargs.get_item(&parameter.keyword)?,
                None => None,
            };
            keywords_used += usize::from(keyword.is_some());
            let value = if index < args.len() {
                if keyword.is_some() {
                    let message = format!("{}: argument '{}' is given twice", self.name, parameter.name);
                    return Err(errors::argument_error(py, message));
                }
                Some(args.get_item(index)?)
            } else {
                keyword
            };
            match (value, &parameter.default) {
                (Some(value), _) => codec::encode(&parameter.schema.0, &value, &mut out).map_err(|error| {
                    let whole = format!("{}: argument '{}'", self.name, parameter.name);
                    error.raise(|text| errors::argument_error(py, text), &whole)
                })?,
                (None, Some(default)) => out.extend_from_slice(default),
                (None, None) => {
                    let message = format!("{}: argument '{}' is missing", self.name, parameter.name);
                    return Err(errors::argument_error(py, message));
                }
            }
        }
        if let Some(kwargs) = kwargs
            && kwargs.len() > keywords_used
        {
            let known = |name: &str| self.parameters.iter().any(|parameter| parameter.name == name);
            let names: Vec<_> = kwargs.keys().iter().map(|name| name.to_string()).filter(|name| !known(name)).collect();
            let message = format!("{} has no argument '{}'", self.name, names.join("', '"));
            return Err(errors::argument_error(py, message));
        }
        Ok(out)
    }

    /// Decodes an array of arguments. Those that are missing at the end take their defaults.
    ///
    /// # Errors
    /// A mismatch with its place, as text that is the same at every replica; or what Python raised.
    pub(crate) fn decode_arguments<'py>(
        &self,
        py: Python<'py>,
        arguments: &[u8],
    ) -> Result<Arguments<'py>, ArgumentsError> {
        let mut decoder = Decoder::new(py, arguments);
        let whole = |error| ArgumentsError::of(error, "the arguments");
        let given = decoder.array("an array").map_err(whole)?;
        if given > self.parameters.len() {
            return Err(whole(CodecError::mismatch("there are too many")));
        }
        // With room for the service and a context.
        let mut positional = Vec::with_capacity(self.positional + 2);
        let mut keywords = None;
        for (index, parameter) in self.parameters.iter().enumerate() {
            let error = |error| ArgumentsError::of(error, &format!("argument '{}'", parameter.name));
            let value = if index < given {
                decoder.value(&parameter.schema.0).map_err(error)?
            } else if let Some(default) = &parameter.default {
                codec::decode(&parameter.schema.0, py, default).map_err(error)?
            } else {
                return Err(error(CodecError::mismatch("is missing")));
            };
            if index < self.positional {
                positional.push(value);
            } else {
                let keywords = keywords.get_or_insert_with(|| PyDict::new(py));
                keywords.set_item(&parameter.keyword, value).map_err(ArgumentsError::Raised)?;
            }
        }
        decoder.finish().map_err(whole)?;
        Ok(Arguments { positional, keywords })
    }

    /// Runs the handler, as the command that runs on this thread.
    pub(crate) fn run<'py>(
        &self,
        py: Python<'py>,
        state: &State,
        service: Bound<'py, PyAny>,
        mut arguments: Arguments<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if self.context
            && let Some(context) = running::context(py, state)?
        {
            arguments.positional.insert(0, context.into_bound(py).into_any());
        }
        arguments.positional.insert(0, service);
        arguments.call(self.function.bind(py))
    }

    /// The reply with this result.
    pub(crate) fn encode_result(&self, result: &Bound<'_, PyAny>) -> Result<Bytes, CodecError> {
        thread_local! {
            /// Taken while it is used: what is encoded may run Python code, and that other commands.
            static SPACE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
        }
        if result.is_none() && matches!(*self.result.0, Type::None) {
            return Ok(reply::nil());
        }
        let mut space = SPACE.take();
        space.clear();
        let reply = codec::encode(&self.result.0, result, &mut space).map(|()| reply::result(&space));
        if space.capacity() <= SPACE_BYTES_MAX {
            SPACE.set(space);
        }
        reply
    }

    /// The result in a reply that holds one.
    pub(crate) fn decode_result<'py>(&self, py: Python<'py>, result: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        codec::decode(&self.result.0, py, result)
            .map_err(|error| error.raise(PyTypeError::new_err, &format!("{}: the result", self.name)))
    }
}

impl<'py> Arguments<'py> {
    /// Calls a function with the arguments.
    pub(crate) fn call(self, function: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let Self { positional, keywords: None } = self else {
            return function.call(PyTuple::new(function.py(), self.positional)?, self.keywords.as_ref());
        };
        // A few are passed as they are, without a tuple that holds them.
        let positional = match <[_; 1]>::try_from(positional) {
            Ok([service]) => return function.call1((service,)),
            Err(positional) => positional,
        };
        let positional = match <[_; 2]>::try_from(positional) {
            Ok([service, first]) => return function.call1((service, first)),
            Err(positional) => positional,
        };
        match <[_; 3]>::try_from(positional) {
            Ok([service, first, second]) => function.call1((service, first, second)),
            Err(positional) => function.call1(PyTuple::new(function.py(), positional)?),
        }
    }
}

/// Why a command's arguments were not decoded.
pub(crate) enum ArgumentsError {
    /// They don't fit: the same at every replica.
    Mismatch(String),
    /// Python raised something else.
    Raised(PyErr),
}

impl ArgumentsError {
    pub(crate) fn of(error: CodecError, whole: &str) -> Self {
        match error {
            CodecError::Mismatch(mismatch) => Self::Mismatch(mismatch.describe(whole)),
            CodecError::Raised(error) => Self::Raised(error),
        }
    }
}
