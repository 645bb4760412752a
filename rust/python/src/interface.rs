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
    /// The latest version of the service.
    pub(crate) latest: u32,
    /// The version that each resource came with, in the order of their ids.
    resources_since: Vec<u32>,
    /// Some command came with a version after the first.
    has_later_commands: bool,
    /// The service class: what callables are given to name tables by.
    class: Py<PyType>,
}

/// A table with storage.
#[derive(Debug)]
pub(crate) struct TableDeclaration {
    pub(crate) name: String,
    pub(crate) key: Schema,
    pub(crate) value: Schema,
    /// The version of the service that it came with.
    pub(crate) since: u32,
}

/// A table with storage as Python gives it: name, types of keys and of values, the version that it came with.
type TableSpec<'py> = (String, PyRef<'py, Schema>, PyRef<'py, Schema>, u32);

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
    #[pyo3(signature = (service, tables, commands, resources_since, latest))]
    fn new(
        py: Python<'_>,
        service: Bound<'_, PyType>,
        tables: Vec<TableSpec<'_>>,
        commands: Vec<CommandDeclaration<'_>>,
        resources_since: Vec<u32>,
        latest: u32,
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
            .map(|(name, key, value, since)| TableDeclaration { name, key: key.clone(), value: value.clone(), since })
            .collect();
        let has_later_commands = handlers.iter().any(|handler| handler.method.get().since > 1);
        let class = service.unbind();
        Ok(Self { name, tables, commands, handlers, latest, resources_since, has_later_commands, class })
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
    /// The digest of what decides, beside the handlers' code, what a command does in a version: names, types, tables, keys.
    /// Code that has more versions, and so more commands and tables, gives the same.
    pub(crate) fn digest(&self, version: u32) -> Digest {
        let mut text = format!("{}\n", self.name);
        for table in self.tables.iter().filter(|table| table.since <= version) {
            let (key, value) = (table.key.0.describe(), table.value.0.describe());
            writeln!(text, "{} {key} {value}", table.name).expect("writing to a string");
        }
        let ids = self.ids_in(version);
        for (spec, handler) in self.commands.commands().iter().zip(&self.handlers) {
            let method = handler.method.get();
            if method.since <= version {
                let spec = renumbered(spec, &ids);
                writeln!(text, "{spec:?} {}", method.describe()).expect("writing to a string");
            }
        }
        Digest::of("pssmr python interface 1", text.as_bytes())
    }

    /// The ids that tables and resources have in code that goes up to this version, by the ids that they have here.
    fn ids_in(&self, version: u32) -> Vec<TableId> {
        let since = self.tables.iter().map(|table| table.since).chain(self.resources_since.iter().copied());
        let mut next = 0;
        since
            .map(|since| {
                let id = TableId(next);
                next += u16::from(since <= version);
                id
            })
            .collect()
    }

    /// Whether the command that a payload calls, if there is one, is there in a version.
    pub(crate) fn is_there(&self, payload: &[u8], version: u32) -> bool {
        if !self.has_later_commands {
            return true;
        }
        let index = name_of(payload).and_then(|name| self.commands.index_of(name));
        index.is_none_or(|index| self.handlers[index as usize].method.get().since <= version)
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

/// The command with other ids for what it touches; none of it came later than the command.
fn renumbered(spec: &CommandSpec, ids: &[TableId]) -> CommandSpec {
    let mut spec = spec.clone();
    for key in &mut spec.keys {
        key.table = ids[key.table.index()];
    }
    for scope in &mut spec.scopes {
        if let ScopeDeclaration::Table(table, _) = scope {
            *table = ids[table.index()];
        }
    }
    spec
}

fn name_of(payload: &[u8]) -> Option<&str> {
    let (length, rest) = payload.split_first()?;
    std::str::from_utf8(rest.get(..usize::from(*length))?).ok()
}

/// The array of arguments in a payload; nothing, if the payload ends before it.
pub(crate) fn arguments_of(payload: &[u8]) -> &[u8] {
    payload.first().and_then(|length| payload.get(1 + usize::from(*length)..)).unwrap_or_default()
}
