//! How results reach the one who submitted.

use std::collections::BTreeMap;
use std::sync::mpsc::Sender;

use bytes::Bytes;
use pssmr_types::{Digest, ReplicaId};

use crate::error::RequestError;

/// The end of a submission. Each has exactly one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The submission's token.
    pub token: u64,
    /// What became of it.
    pub result: Result<Response, RequestError>,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// A command's result.
    Result(Bytes),
    /// The digest of each replica's state at one position of the total order: of all replicas that answered in time.
    StateDigests(BTreeMap<ReplicaId, Digest>),
    /// How one replica is: a JSON object. Its own word, not agreed on.
    Status(Bytes),
}

/// Where completions go. Called on the client's thread, once per turn of its loop, with all that have ended in it; it
/// must not block.
pub trait CompletionSink: Send + 'static {
    /// Takes the completions; what is left in `completions` is dropped.
    fn completed(&mut self, completions: &mut Vec<Completion>);
}

/// Sends each burst down a channel. A closed channel drops them.
impl CompletionSink for Sender<Vec<Completion>> {
    fn completed(&mut self, completions: &mut Vec<Completion>) {
        // Whoever drops the receiver does not want the rest.
        let _ = self.send(std::mem::take(completions));
    }
}
