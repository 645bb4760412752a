//! Reads on their way through the replica: from the client thread to the ordering thread, which says when they may be
//! executed, and as commands to the executor.

use std::collections::VecDeque;

use bytes::Bytes;
use pssmr_execution::{Command, CommandKind, Completion, Executor};
use pssmr_ordering::Core;
use pssmr_types::{ClientId, Epoch, Slot};

use crate::inbox::Notice;

/// A query that is not ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnorderedQuery {
    /// The client thread's number for it.
    pub(crate) ticket: u64,
    pub(crate) payload: Bytes,
}

/// Reads that wait until the slots are delivered that they must see.
#[derive(Debug, Default)]
pub(crate) struct AwaitedReads {
    /// Bursts, each with the last slot that it must see. It never falls from one burst to the next.
    bursts: VecDeque<(Slot, Vec<UnorderedQuery>)>,
}

impl AwaitedReads {
    /// Takes a burst that came before the core's next step. A replica that can't answer says so.
    pub(crate) fn take(&mut self, core: &Core, burst: &mut Vec<UnorderedQuery>, notices: &mut Vec<Notice>) {
        if burst.is_empty() {
            return;
        }
        match core.read_floor() {
            Some(floor) => self.bursts.push_back((floor, std::mem::take(burst))),
            None => refuse(burst.drain(..), notices),
        }
    }

    /// Hands to the executor what may be executed: all that was decided is delivered.
    pub(crate) fn release(&mut self, core: &Core, executor: &Executor, notices: &mut Vec<Notice>) {
        let (decided, epoch) = (core.decided(), core.membership().epoch());
        // What is no longer on the chain may never be decided.
        let reachable = core.read_floor();
        while let Some((floor, _)) = self.bursts.front() {
            let is_hopeless = reachable.is_none_or(|head| *floor > head);
            if *floor > decided && !is_hopeless {
                return;
            }
            let (_, burst) = self.bursts.pop_front().expect("there is one");
            if is_hopeless {
                refuse(burst.into_iter(), notices);
            } else {
                let version = core.service_version();
                executor.submit(burst.into_iter().map(|query| command(query, epoch, decided, version)), decided);
            }
        }
    }
}

fn refuse(burst: impl Iterator<Item = UnorderedQuery>, notices: &mut Vec<Notice>) {
    notices.extend(burst.map(|query| Notice::NoRead { ticket: query.ticket }));
}

/// What the executor gets. The epoch comes back in the place of a session, and the ticket in that of a sequence.
fn command(query: UnorderedQuery, epoch: Epoch, slot: Slot, version: u32) -> Command {
    Command {
        position: 0,
        slot,
        client: ClientId { session: epoch.0, ..ClientId::default() },
        sequence: query.ticket,
        timestamp: 0,
        seed: [0; 32],
        version,
        kind: CommandKind::Read,
        payload: query.payload,
    }
}

/// The ticket of a read that was executed, and the epoch and slot that it was executed in.
pub(crate) fn ticket_of(completion: &Completion) -> (u64, Epoch, Slot) {
    (completion.sequence, Epoch(completion.client.session), completion.slot)
}
