//! Requests of several operations: how they are written, and what tasks they become.
//!
//! A payload with an empty name, which no command has, is such a request: `0 ‖ MessagePack array`, whose first element is
//! 1 for a batch or 2 for a transaction, and whose others are byte strings, each the payload of one command.
//!
//! | | a batch | a transaction |
//! |---|---|---|
//! | is for the scheduler | as many tasks as it has operations, one after the other | one task, which touches all that they touch |
//! | operations that conflict | keep their order; other commands may come between them | keep their order, and nothing comes between them |
//! | an operation that fails | is its own affair | ends the transaction, and what it has changed is undone |
//!
//! A task takes far more memory than the bytes that ask for it. So a request of several operations stays as it was sent
//! until everything before it is scheduled; then a worker unfolds it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::executor::task_of;
use crate::extract::{ELEMENT_KEYS_MAX, Refusal};
use crate::footprint::FootprintBuilder;
use crate::messagepack::{self, Reader, Token};
use crate::reply;
use crate::service::{Command, Service, Task, WorkerId};

/// The most operations of one request.
pub const OPERATIONS_MAX: u32 = 1024;

/// The most keys and tables that a transaction touches: the scheduler looks at each.
pub const TRANSACTION_CLAIMS_MAX: usize = ELEMENT_KEYS_MAX as usize;

/// How the operations of a request belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Compound {
    /// Each is a command of its own; there is one reply when all are done.
    Batch = 1,
    /// They are one command.
    Transaction = 2,
}

impl Compound {
    /// The payload that asks for these operations.
    ///
    /// # Panics
    /// If there are 2^32 or more.
    pub fn payload(self, operations: &[&[u8]]) -> Bytes {
        let mut out = Vec::with_capacity(7 + operations.iter().map(|operation| operation.len() + 5).sum::<usize>());
        out.push(0);
        messagepack::write_array(&mut out, u32::try_from(operations.len() + 1).expect("below 2^32 operations"));
        messagepack::write_unsigned(&mut out, self as u64);
        for operation in operations {
            messagepack::write_bin(&mut out, operation);
        }
        Bytes::from(out)
    }

    /// Whether a payload is one of several operations.
    pub(crate) fn is_in(payload: &[u8]) -> bool {
        let Some((0, array)) = payload.split_first() else { return false };
        matches!(Reader::new(array).token(), Ok(Token::Array(_)))
    }

    /// What a payload of several operations asks for.
    ///
    /// # Errors
    /// It is malformed or too large.
    fn decode(payload: &Bytes) -> Result<(Self, Vec<Bytes>), Refusal> {
        let mut reader = Reader::new(&payload[1..]);
        let Token::Array(length) = reader.token()? else { unreachable!("it is one of several operations") };
        let Some(count @ 1..) = length.checked_sub(1) else {
            return Err(Refusal::Malformed("a request of no operations"));
        };
        if count > OPERATIONS_MAX {
            return Err(Refusal::TooLarge("a request has at most 1024 operations"));
        }
        let kind = match reader.token()? {
            Token::Unsigned(1) => Self::Batch,
            Token::Unsigned(2) => Self::Transaction,
            _ => return Err(Refusal::Malformed("neither a batch nor a transaction")),
        };
        let mut operations = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let Token::Bin(operation) = reader.token()? else {
                return Err(Refusal::Malformed("an operation is not a byte string"));
            };
            operations.push(payload.slice_ref(operation));
        }
        reader.finish()?;
        Ok((kind, operations))
    }
}

/// What a task is of a request of several operations.
#[derive(Debug)]
pub(crate) enum Part {
    /// One operation of a batch.
    OfBatch(Arc<Gathering>),
    /// A whole transaction: its operations.
    Transaction(Vec<Task>),
}

/// The replies to the operations of a batch.
#[derive(Debug)]
pub(crate) struct Gathering {
    replies: Box<[OnceLock<Bytes>]>,
    missing: AtomicUsize,
}

impl Gathering {
    fn new(operations: usize) -> Self {
        Self { replies: (0..operations).map(|_| OnceLock::new()).collect(), missing: AtomicUsize::new(operations) }
    }

    /// The operation at `place` has this reply. With the last one, the reply to the request.
    pub(crate) fn add(&self, place: u32, reply: Bytes) -> Option<Bytes> {
        self.replies[place as usize].set(reply).expect("an operation is executed once");
        // Whoever is the last sees what all others have set.
        if self.missing.fetch_sub(1, Ordering::AcqRel) > 1 {
            return None;
        }
        Some(reply::several(self.replies.iter().map(|reply| &reply.get().expect("none is missing")[..])))
    }
}

/// Completes the footprints of deferred tasks. One of a batch becomes the tasks of its operations, in its place.
pub(crate) fn unfold(service: &dyn Service, tasks: &mut Vec<Task>, builder: &mut FootprintBuilder) {
    let folded = std::mem::replace(tasks, Vec::with_capacity(tasks.len()));
    for mut task in folded {
        if !Compound::is_in(&task.command.payload) {
            task.compute_footprint(service, builder);
            tasks.push(task);
            continue;
        }
        task.deferred = false;
        match Compound::decode(&task.command.payload) {
            Err(refusal) => {
                task.refuse(refusal);
                tasks.push(task);
            }
            Ok((Compound::Batch, operations)) => {
                let gathering = Arc::new(Gathering::new(operations.len()));
                for operation in operations_of(service, &task, &operations, builder) {
                    let part = Some(Box::new(Part::OfBatch(gathering.clone())));
                    tasks.push(Task { part, ..operation });
                }
            }
            Ok((Compound::Transaction, operations)) => {
                let operations = operations_of(service, &task, &operations, builder).collect();
                task.part = Some(Box::new(Part::Transaction(operations)));
                task.unite(builder);
                tasks.push(task);
            }
        }
    }
}

/// The operations of a request, with their footprints, each by itself.
fn operations_of<'a>(
    service: &'a dyn Service,
    request: &'a Task,
    payloads: &'a [Bytes],
    builder: &'a mut FootprintBuilder,
) -> impl Iterator<Item = Task> + 'a {
    let Task { command, ordinal, .. } = request;
    (0..).zip(payloads).map(move |(operation, payload)| {
        let command = Command { payload: payload.clone(), ..command.clone() };
        // A request is no operation of another one, whatever the service says of its payload.
        let mut task = if Compound::is_in(payload) {
            Task { refused: Some(Refusal::UnknownCommand), ..Task::of(command) }
        } else {
            task_of(service, command, builder)
        };
        if task.deferred {
            task.compute_footprint(service, builder);
        }
        Task { operation, ordinal: *ordinal, ..task }
    })
}

impl Task {
    /// Whether it is a transaction.
    pub(crate) fn is_transaction(&self) -> bool {
        self.part.as_ref().is_some_and(|part| matches!(**part, Part::Transaction(_)))
    }

    /// How many operations of requests that were unfolded it is.
    pub(crate) fn operations(&self) -> usize {
        match self.part.as_deref() {
            None => 0,
            Some(Part::OfBatch(_)) => 1,
            Some(Part::Transaction(operations)) => operations.len(),
        }
    }

    /// Makes a transaction touch what its operations touch, or refuses it if it can't be executed.
    fn unite(&mut self, builder: &mut FootprintBuilder) {
        let Some(Part::Transaction(operations)) = self.part.as_deref_mut() else { return };
        builder.clear();
        for operation in operations {
            if let Some(refusal) = operation.refused.take() {
                let refusal = Refusal::Operation { place: operation.operation, refusal: Box::new(refusal) };
                return self.refuse(refusal);
            }
            builder.include(&operation.footprint);
        }
        self.footprint = builder.build();
        if self.footprint.claims().len() > TRANSACTION_CLAIMS_MAX {
            self.refuse(Refusal::TooLarge("a transaction touches at most 4096 keys"));
        }
    }

    fn compute_footprint(&mut self, service: &dyn Service, builder: &mut FootprintBuilder) {
        builder.clear();
        builder.include(&self.footprint);
        self.deferred = false;
        match service.compute_footprint(&self.command.payload, builder) {
            Ok(()) => {
                self.footprint = builder.build();
                self.only_reads();
            }
            Err(refusal) => self.refuse(refusal),
        }
    }

    /// Executes a transaction, and sets its reply.
    pub(crate) fn execute_transaction(&mut self, service: &dyn Service, worker: WorkerId) {
        let Some(Part::Transaction(operations)) = self.part.as_deref_mut() else {
            unreachable!("only transactions are executed so")
        };
        self.reply = match service.execute_transaction(worker, &self.footprint, operations) {
            Ok(()) => reply::several(operations.iter().map(Task::reply_or_nil)),
            Err(place) => reply::operation_failed(place, operations[place].reply_or_nil()),
        };
    }

    fn reply_or_nil(&self) -> &[u8] {
        if self.reply.is_empty() { reply::NIL } else { &self.reply }
    }
}
