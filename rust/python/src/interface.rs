//! `_core.Interface`: what a service class declares, compiled: its tables, its commands, and what each one touches.

use std::fmt::Write as _;
use std::sync::Arc;

use pssmr_execution::{
    CommandSpec, CommandTable, FootprintBuilder, KeyDeclaration, Mode, Refusal, ScopeDeclaration, Step, TableId,
};
use pssmr_types::Digest;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::codec::{self, Schema};
use crate::errors;
use crate::failure;
use crate::method::{ArgumentsError, Method};
use crate::plan;

/// What a service class declares, compiled.
#[pyclass(frozen, module = "pssmr._core")]
#[derive(Debug)]
pub(crate) struct Interface {
    pub(crate) name: String,
    /// The tables with storage; a table's id is its place here. Resources have the ids that follow.
    pub(crate) tables: Vec<TableDeclaration>,
    pub(crate) commands: CommandTable,
    pub(crate) handlers: Vec<Handler>,
    /// The service class: what callables are given to name tables by.
    class: Py<PyType>,
}

/// A table with storage.
#[derive(Debug)]
pub(crate) struct TableDeclaration {
    pub(crate) name: String,
    pub(crate) key: Schema,
    pub(crate) value: Schema,
}

/// One command's handler, with the index of its declaration.
#[derive(Debug)]
pub(crate) struct Handler {
    pub(crate) name: Arc<str>,
    pub(crate) method: Py<Method>,
    /// Computes what the declaration can't say.
    conflicts: Option<Py<PyAny>>,
}

/// A key that a command touches, as Python gives it: argument, path of field indices (None: each element), table, mode.
type KeySpec = (usize, Vec<Option<u32>>, u16, String);

/// A scope that a command touches, as Python gives it: "exclusive", "nothing", or a mode with a table.
type ScopeSpec = (String, u16);

/// A command as Python gives it: method, keys, scopes, callable.
type CommandDeclaration<'py> = (Py<Method>, Vec<KeySpec>, Vec<ScopeSpec>, Option<Py<PyAny>>);

/// A claim that a callable makes: table, mode, key with its schema; without a key, the whole table.
type ClaimSpec<'py> = (u16, String, Option<(Bound<'py, PyAny>, PyRef<'py, Schema>)>);

#[pymethods]
impl Interface {
    #[new]
    fn new(
        py: Python<'_>,
        service: Bound<'_, PyType>,
        tables: Vec<(String, PyRef<'_, Schema>, PyRef<'_, Schema>)>,
        commands: Vec<CommandDeclaration<'_>>,
    ) -> PyResult<Self> {
        let mut specs = Vec::with_capacity(commands.len());
        let mut handlers = Vec::with_capacity(commands.len());
        for (method, keys, scopes, conflicts) in commands {
            let declared = method.get();
            specs.push(CommandSpec {
                name: declared.name.clone(),
                query: declared.query,
                arguments: declared.argument_specs(),
                keys: keys.into_iter().map(key_declaration).collect::<PyResult<_>>()?,
                scopes: scopes.iter().map(scope_declaration).collect::<PyResult<_>>()?,
                callable: conflicts.is_some(),
            });
            handlers.push(Handler { name: declared.name.as_str().into(), method, conflicts });
        }
        let name = service.name()?.to_string();
        let commands = CommandTable::new(specs)
            .map_err(|error| errors::declaration_error(py, format!("{name}.{}: {}", error.command, error.problem)))?;
        let tables = tables
            .into_iter()
            .map(|(name, key, value)| TableDeclaration { name, key: key.clone(), value: value.clone() })
            .collect();
        Ok(Self { name, tables, commands, handlers, class: service.unbind() })
    }

    /// The names of the commands and queries, in the order of their declaration.
    #[getter(commands)]
    fn names(&self) -> Vec<&str> {
        self.handlers.iter().map(|handler| &*handler.name).collect()
    }

    /// Which partitions the command with this payload touches, and how, in a plan for the scheduler `early`: partitions
    /// of "tables", by their ids, or of "keys", by their hashes. None if it may touch anything.
    ///
    /// Raises pssmr.CommandError for a payload that replicas refuse.
    fn touches(
        &self,
        py: Python<'_>,
        payload: &[u8],
        partitioning: &str,
        partitions: usize,
    ) -> PyResult<Option<Vec<(usize, &'static str)>>> {
        plan::touches(py, self, payload, partitioning, partitions)
    }

    fn __repr__(&self) -> String {
        format!("<Interface of {}>", self.name)
    }
}

pub(crate) fn mode_of(name: &str) -> PyResult<Mode> {
    match name {
        "read" => Ok(Mode::Read),
        "commute" => Ok(Mode::Commute),
        "write" => Ok(Mode::Write),
        _ => Err(PyValueError::new_err(format!("{name:?} is not a mode"))),
    }
}

fn key_declaration((argument, path, table, mode): KeySpec) -> PyResult<KeyDeclaration> {
    let path = path.into_iter().map(|step| step.map_or(Step::Each, Step::Index)).collect();
    Ok(KeyDeclaration { argument, path, table: TableId(table), mode: mode_of(&mode)? })
}

fn scope_declaration((scope, table): &ScopeSpec) -> PyResult<ScopeDeclaration> {
    Ok(match scope.as_str() {
        "exclusive" => ScopeDeclaration::Exclusive,
        "nothing" => ScopeDeclaration::Nothing,
        mode => ScopeDeclaration::Table(TableId(*table), mode_of(mode)?),
    })
}

impl Interface {
    /// The digest of what decides, beside the handlers' code, what a command does: names, types, tables, keys.
    pub(crate) fn digest(&self) -> Digest {
        let mut text = format!("{}\n", self.name);
        for table in &self.tables {
            let (key, value) = (table.key.0.describe(), table.value.0.describe());
            writeln!(text, "{} {key} {value}", table.name).expect("writing to a string");
        }
        for (spec, handler) in self.commands.commands().iter().zip(&self.handlers) {
            writeln!(text, "{spec:?} {}", handler.method.get().describe()).expect("writing to a string");
        }
        Digest::of("pssmr python interface 1", text.as_bytes())
    }

    /// Completes the footprint of a payload whose command declares a callable.
    ///
    /// # Errors
    /// A refusal, the same at every replica.
    pub(crate) fn compute_footprint(
        &self,
        py: Python<'_>,
        payload: &[u8],
        out: &mut FootprintBuilder,
    ) -> Result<(), Refusal> {
        let index = name_of(payload).and_then(|name| self.commands.index_of(name)).ok_or(Refusal::UnknownCommand)?;
        let handler = &self.handlers[index as usize];
        let Some(conflicts) = &handler.conflicts else { return Ok(()) };
        let method = handler.method.get();
        let mut arguments = match method.decode_arguments(py, arguments_of(payload)) {
            Ok(arguments) => arguments,
            Err(ArgumentsError::Mismatch(text)) => return Err(Refusal::Argument(text)),
            Err(ArgumentsError::Raised(error)) => return Err(self.failed(py, &handler.name, error)),
        };
        arguments.positional.insert(0, self.class.bind(py).clone().into_any());
        let claims = arguments.call(conflicts.bind(py)).and_then(|claims| {
            self.class.bind(py).call_method1(intern!(py, "_claims"), (claims,))?.extract::<Vec<ClaimSpec<'_>>>()
        });
        for (table, mode, key) in claims.map_err(|error| self.failed(py, &handler.name, error))? {
            let mode = mode_of(&mode).map_err(|error| self.failed(py, &handler.name, error))?;
            if method.query && mode != Mode::Read {
                return Err(Refusal::Footprint("a query may only read".to_owned()));
            }
            let Some((key, schema)) = key else {
                out.table(TableId(table), mode);
                continue;
            };
            let mut encoding = Vec::new();
            codec::encode(&schema.0, &key, &mut encoding)
                .map_err(|error| self.failed(py, &handler.name, error.raise(PyTypeError::new_err, "a key")))?;
            out.key_value(TableId(table), &encoding, mode).map_err(|error| Refusal::Footprint(error.to_string()))?;
        }
        Ok(())
    }

    /// The refusal of a command whose callable failed.
    fn failed(&self, py: Python<'_>, command: &str, error: PyErr) -> Refusal {
        let exception = errors::type_name(py, &error);
        failure::log(py, &format!("{}.{command}: its `conflicts`", self.name), error);
        Refusal::Footprint(exception)
    }
}

fn name_of(payload: &[u8]) -> Option<&str> {
    let (length, rest) = payload.split_first()?;
    std::str::from_utf8(rest.get(..usize::from(*length))?).ok()
}

/// The array of arguments in a payload; nothing, if the payload ends before it.
pub(crate) fn arguments_of(payload: &[u8]) -> &[u8] {
    payload.first().and_then(|length| payload.get(1 + usize::from(*length)..)).unwrap_or_default()
}
