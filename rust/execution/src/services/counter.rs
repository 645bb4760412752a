//! One counter: all its increments conflict.

use std::io::Read;
use std::sync::atomic::{AtomicI64, Ordering};

use pssmr_types::Digest;

use crate::declaration::{ArgumentSpec, CommandSpec, ScopeDeclaration};
use crate::extract::{CommandTable, Refusal, arguments_of};
use crate::footprint::{Footprint, FootprintBuilder, Mode, TableId};
use crate::messagepack::{self, Token};
use crate::reply;
use crate::service::{Extraction, Service, Task, WorkerId};
use crate::snapshot::{Encoded, RestoreError, SnapshotError, SnapshotReader, SnapshotSource};

/// Begins what a counter's state is written as.
const KIND: &str = "pssmr counter 1";

const INCREMENT: u32 = 0;

/// Commands: `increment(by)` adds, wrapping around at 64 bits, and returns the sum; the query `value()` returns it.
#[derive(Debug)]
pub struct Counter {
    commands: CommandTable,
    // Relaxed is enough: the executor orders what conflicts, with its lock.
    value: AtomicI64,
}

impl Default for Counter {
    fn default() -> Self {
        let touches = |mode| vec![ScopeDeclaration::Table(TableId(0), mode)];
        let commands = CommandTable::new(vec![
            CommandSpec {
                name: "increment".into(),
                arguments: vec![ArgumentSpec { name: "by".into(), default: None }],
                scopes: touches(Mode::Write),
                ..CommandSpec::default()
            },
            CommandSpec { name: "value".into(), query: true, scopes: touches(Mode::Read), ..CommandSpec::default() },
        ]);
        Self { commands: commands.expect("the declarations are correct"), value: AtomicI64::new(0) }
    }
}

impl Counter {
    /// A counter at 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the command ended well.
    fn execute_one(&self, task: &mut Task) -> bool {
        let mut value = self.value.load(Ordering::Relaxed);
        if task.handler == INCREMENT {
            let by = match arguments_of(&task.command.payload).token() {
                Ok(Token::Negative(by)) => by,
                Ok(Token::Unsigned(by)) if i64::try_from(by).is_ok() => by.cast_signed(),
                _ => {
                    task.reply = reply::handler_failed("TypeError");
                    return false;
                }
            };
            value = value.wrapping_add(by);
            self.value.store(value, Ordering::Relaxed);
        }
        let mut out = Vec::new();
        messagepack::write_signed(&mut out, value);
        task.reply = reply::result(&out);
        true
    }
}

impl Service for Counter {
    fn footprint(&self, payload: &[u8], out: &mut FootprintBuilder) -> Result<Extraction, Refusal> {
        self.commands.extract(payload, out)
    }

    fn execute(&self, _: WorkerId, run: &mut [Task]) {
        for task in run {
            self.execute_one(task);
        }
    }

    fn execute_transaction(&self, _: WorkerId, _: &Footprint, operations: &mut [Task]) -> Result<(), usize> {
        let before = self.value.load(Ordering::Relaxed);
        let failed = operations.iter_mut().position(|task| !self.execute_one(task));
        let Some(place) = failed else { return Ok(()) };
        self.value.store(before, Ordering::Relaxed);
        Err(place)
    }

    fn is_readable(&self, handler: u32) -> bool {
        self.commands.is_query(handler)
    }

    fn state_digest(&self) -> Digest {
        Digest::of(KIND, &self.value.load(Ordering::Relaxed).to_le_bytes())
    }

    fn can_snapshot(&self) -> Result<(), SnapshotError> {
        Ok(())
    }

    fn snapshot(&self) -> Result<Box<dyn SnapshotSource>, SnapshotError> {
        let value = self.value.load(Ordering::Relaxed).to_le_bytes();
        Ok(Box::new(Encoded([KIND.as_bytes(), &value].concat())))
    }

    fn restore(&self, source: &mut dyn Read) -> Result<(), RestoreError> {
        let mut reader = SnapshotReader(source);
        reader.literal(KIND)?;
        let value = i64::from_le_bytes(reader.array()?);
        reader.end()?;
        self.value.store(value, Ordering::Relaxed);
        Ok(())
    }
}
