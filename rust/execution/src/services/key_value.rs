//! A key-value store on the core's tables.

use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use pssmr_types::Digest;

use crate::access::{Access, AccessError};
use crate::declaration::{ArgumentSpec, CommandSpec, KeyDeclaration};
use crate::extract::{CommandTable, Refusal, arguments_of};
use crate::footprint::{Footprint, FootprintBuilder, Mode, TableId};
use crate::key;
use crate::messagepack::{self, Reader, Token};
use crate::reply;
use crate::service::{Extraction, Service, Task, WorkerId};
use crate::snapshot::{RestoreError, SnapshotError, SnapshotReader, SnapshotSource};
use crate::table::Tables;

const VALUES: TableId = TableId(0);

// The handlers, in the order of the declarations.
const GET: u32 = 0;
const PUT: u32 = 1;
const ADD: u32 = 2;
const CAS: u32 = 3;
const DELETE: u32 = 4;

/// A map from keys to any values.
///
/// | command | returns |
/// |---|---|
/// | `get(key)`, a query | the value, or `nil` |
/// | `put(key, value)` | `nil` |
/// | `add(key, amount)`, commutes with itself | `nil` |
/// | `cas(key, expected, value)`: puts if the value, or `nil` for none, has the bytes of `expected` | whether it has put |
/// | `delete(key)` | whether the key was there |
#[derive(Debug)]
pub struct KeyValue {
    commands: CommandTable,
    tables: Arc<Tables>,
}

impl Default for KeyValue {
    fn default() -> Self {
        let command = |name: &str, arguments: &[&str], mode| CommandSpec {
            name: name.into(),
            query: mode == Mode::Read,
            arguments: arguments.iter().map(|name| ArgumentSpec { name: (*name).into(), default: None }).collect(),
            keys: vec![KeyDeclaration { argument: 0, path: Vec::new(), table: VALUES, mode }],
            ..CommandSpec::default()
        };
        let commands = CommandTable::new(vec![
            command("get", &["key"], Mode::Read),
            command("put", &["key", "value"], Mode::Write),
            command("add", &["key", "amount"], Mode::Commute),
            command("cas", &["key", "expected", "value"], Mode::Write),
            command("delete", &["key"], Mode::Write),
        ]);
        Self { commands: commands.expect("the declarations are correct"), tables: Arc::new(Tables::new(["values"])) }
    }
}

/// Why a command has not succeeded: the reply says it in the words that a Python handler would use.
enum Failure {
    Access(AccessError),
    Type,
}

impl From<AccessError> for Failure {
    fn from(error: AccessError) -> Self {
        Self::Access(error)
    }
}

impl KeyValue {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Its tables: one, `values`.
    pub fn tables(&self) -> &Arc<Tables> {
        &self.tables
    }

    /// Executes one command and sets its reply; whether it ended well.
    fn execute_one(access: &mut Access, task: &mut Task, key: &mut Vec<u8>) -> bool {
        let called = Self::call(access, task.handler, arguments_of(&task.command.payload), key);
        let ended_well = called.is_ok();
        task.reply = match called {
            Ok(value) => reply::result(&value),
            Err(Failure::Access(AccessError::NotAnInteger) | Failure::Type) => reply::handler_failed("TypeError"),
            Err(Failure::Access(_)) => reply::handler_failed("UndeclaredAccess"),
        };
        ended_well
    }

    /// Executes one command; what it returns is a `MessagePack` value.
    fn call(access: &mut Access, handler: u32, mut arguments: Reader<'_>, key: &mut Vec<u8>) -> Result<Bytes, Failure> {
        const CHECKED: &str = "the arguments were checked when the footprint was extracted";
        key.clear();
        key::encode_next(&mut arguments, key).expect(CHECKED);
        let mut next = || arguments.value().expect(CHECKED);
        let out = match handler {
            GET => access.get(VALUES, key)?.unwrap_or_else(nil),
            PUT => {
                access.put(VALUES, key, Bytes::copy_from_slice(next()))?;
                nil()
            }
            ADD => {
                let amount = match Reader::new(next()).token() {
                    Ok(Token::Negative(amount)) => amount,
                    Ok(Token::Unsigned(amount)) => i64::try_from(amount).map_err(|_| Failure::Type)?,
                    _ => return Err(Failure::Type),
                };
                access.add(VALUES, key, amount)?;
                nil()
            }
            CAS => {
                let held = access.get(VALUES, key)?.unwrap_or_else(nil);
                let equal = held == next();
                if equal {
                    access.put(VALUES, key, Bytes::copy_from_slice(next()))?;
                }
                boolean(equal)
            }
            DELETE => boolean(access.remove(VALUES, key)?.is_some()),
            _ => unreachable!("the command table has no other handler"),
        };
        Ok(out)
    }
}

fn nil() -> Bytes {
    Bytes::from_static(&[0xc0])
}

fn boolean(value: bool) -> Bytes {
    let mut out = Vec::with_capacity(1);
    messagepack::write_bool(&mut out, value);
    Bytes::from(out)
}

impl Service for KeyValue {
    fn footprint(&self, payload: &[u8], out: &mut FootprintBuilder) -> Result<Extraction, Refusal> {
        self.commands.extract(payload, out)
    }

    fn execute(&self, _: WorkerId, run: &mut [Task]) {
        let mut access = Access::new(self.tables.clone());
        let mut key = Vec::new();
        for task in run {
            access.begin(&task.footprint);
            if Self::execute_one(&mut access, task, &mut key) { access.commit() } else { access.rollback() }
        }
    }

    fn execute_transaction(&self, _: WorkerId, footprint: &Footprint, operations: &mut [Task]) -> Result<(), usize> {
        let mut access = Access::new(self.tables.clone());
        let mut key = Vec::new();
        access.begin(footprint);
        for (place, task) in operations.iter_mut().enumerate() {
            access.begin_operation(&task.footprint);
            if !Self::execute_one(&mut access, task, &mut key) {
                access.rollback();
                return Err(place);
            }
        }
        access.commit();
        Ok(())
    }

    fn is_readable(&self, handler: u32) -> bool {
        self.commands.is_query(handler)
    }

    fn state_digest(&self) -> Digest {
        self.tables.digest()
    }

    fn can_snapshot(&self) -> Result<(), SnapshotError> {
        Ok(())
    }

    fn snapshot(&self) -> Result<Box<dyn SnapshotSource>, SnapshotError> {
        Ok(Box::new(self.tables.snapshot_all()))
    }

    fn restore(&self, source: &mut dyn Read) -> Result<(), RestoreError> {
        self.tables.restore_all(source)?;
        SnapshotReader(source).end()
    }
}
