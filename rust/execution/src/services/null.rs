//! The service that does nothing: what remains is the cost of replication.

use std::io::Read;

use bytes::Bytes;
use pssmr_types::Digest;

use crate::extract::Refusal;
use crate::footprint::{Footprint, FootprintBuilder};
use crate::messagepack;
use crate::reply;
use crate::service::{Extraction, Service, Task, WorkerId};
use crate::snapshot::{Encoded, RestoreError, SnapshotError, SnapshotReader, SnapshotSource};

/// What the state is written as.
const KIND: &str = "pssmr null 1";

/// Takes any payload, touches nothing, and answers with a byte string of a given length.
#[derive(Debug)]
pub struct Null {
    reply: Bytes,
}

impl Null {
    /// A service that answers with `length` bytes (and a few around them).
    pub fn new(length: usize) -> Self {
        let mut value = Vec::new();
        messagepack::write_bin(&mut value, &vec![0; length]);
        Self { reply: reply::result(&value) }
    }
}

impl Service for Null {
    fn footprint(&self, _: &[u8], _: &mut FootprintBuilder) -> Result<Extraction, Refusal> {
        Ok(Extraction::default())
    }

    /// Nothing is changed, so nothing has to be ordered.
    fn is_readable(&self, _: u32) -> bool {
        true
    }

    fn execute(&self, _: WorkerId, run: &mut [Task]) {
        for task in run {
            task.reply = self.reply.clone();
        }
    }

    fn execute_transaction(&self, worker: WorkerId, _: &Footprint, operations: &mut [Task]) -> Result<(), usize> {
        self.execute(worker, operations);
        Ok(())
    }

    fn state_digest(&self) -> Digest {
        Digest::of(KIND, &[])
    }

    fn can_snapshot(&self) -> Result<(), SnapshotError> {
        Ok(())
    }

    fn snapshot(&self) -> Result<Box<dyn SnapshotSource>, SnapshotError> {
        Ok(Box::new(Encoded(KIND.as_bytes().to_vec())))
    }

    fn restore(&self, source: &mut dyn Read) -> Result<(), RestoreError> {
        let mut reader = SnapshotReader(source);
        reader.literal(KIND)?;
        reader.end()
    }
}
