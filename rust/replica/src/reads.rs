//! Reads on their way through the replica: from the client thread to the ordering thread, which says when they may be
//! executed, and as commands to the executor.

use std::collections::VecDeque;

use bytes::Bytes;
use pssmr_execution::{Command, CommandKind, Completion, Executor};
use pssmr_ordering::Core;
use pssmr_types::{ClientId, Epoch, Slot};

use crate::inbox::Notice;

/// A read that the client thread has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TakenRead {
    /// The client thread's number for it.
    pub(crate) ticket: u64,
    pub(crate) payload: Bytes,
}

/// Reads that wait until the slots are delivered that they must see.
#[derive(Debug, Default)]
pub(crate) struct AwaitedReads {
    /// Bursts, each with the last slot that it must see. It never falls from one burst to the next.
    bursts: VecDeque<(Slot, Vec<TakenRead>)>,
}

impl AwaitedReads {
    /// Takes a burst that came before the core's next step. A replica that can't answer says so.
    pub(crate) fn take(&mut self, core: &Core, burst: &mut Vec<TakenRead>, notices: &mut Vec<Notice>) {
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
        if self.bursts.is_empty() {
            return;
        }
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
                executor.submit(burst.into_iter().map(|read| command(read, epoch, decided, version)), decided);
            }
        }
    }
}

fn refuse(burst: impl Iterator<Item = TakenRead>, notices: &mut Vec<Notice>) {
    notices.extend(burst.map(|read| Notice::ReadRefused { ticket: read.ticket }));
}

/// What the executor gets. The epoch comes back in the place of a session, and the ticket in that of a sequence.
fn command(read: TakenRead, epoch: Epoch, slot: Slot, version: u32) -> Command {
    let client = ClientId { session: epoch.0, ..ClientId::default() };
    Command { slot, client, sequence: read.ticket, version, ..Command::alone(0, CommandKind::Read, read.payload) }
}

/// The ticket of a read that was executed, and the epoch and slot that it was executed in.
pub(crate) fn ticket_of(completion: &Completion) -> (u64, Epoch, Slot) {
    (completion.sequence, Epoch(completion.client.session), completion.slot)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use pssmr_execution::services::KeyValue;
    use pssmr_execution::{CompletionSink, ExecutorConfig, Fatal, Pending, Watermark};
    use pssmr_ordering::{Config, Effect, Input, Now};
    use pssmr_types::{
        Batch, ClusterId, FaultModel, Membership, PeerMessage, Propose, ReplicaId, SecretKey, View, genesis,
    };

    use super::*;

    #[derive(Default)]
    struct Sink(Mutex<Vec<Completion>>);

    impl CompletionSink for Sink {
        fn completed(&self, completions: &mut Vec<Completion>) {
            self.0.lock().append(completions);
        }

        fn executed(&self, _: Watermark) {}

        fn failed(&self, fatal: Fatal) {
            panic!("{fatal}");
        }
    }

    /// A follower of three, with crash faults.
    fn follower() -> Core {
        let secrets: Vec<_> = (0..3).map(|seed| SecretKey::from_seed([seed; 32])).collect();
        let keys = secrets.iter().map(SecretKey::public).collect();
        let membership = Membership::new(ClusterId([1; 16]), Epoch(0), FaultModel::Crash, keys).unwrap();
        Core::new(Config::default(), membership, ReplicaId(1), secrets[1].clone(), Now::default()).unwrap()
    }

    fn step(core: &mut Core, message: PeerMessage) -> Vec<Effect> {
        let mut effects = Vec::new();
        core.step(Now::default(), [Input::Message { from: ReplicaId(0), epoch: Epoch(0), message }], &mut effects);
        effects
    }

    fn burst() -> Vec<TakenRead> {
        vec![TakenRead { ticket: 7, payload: Bytes::from_static(b"\x03get\x91\x01") }]
    }

    #[test]
    fn a_read_waits_for_what_the_replica_has_voted_for_and_says_where_it_was_executed() {
        let (mut core, mut reads, mut notices) = (follower(), AwaitedReads::default(), Vec::new());
        let sink = Arc::new(Sink::default());
        let executor =
            Executor::start(Arc::new(KeyValue::new()), &ExecutorConfig::default(), Arc::clone(&sink) as _).unwrap();
        let parent = genesis(core.membership().cluster());
        let propose = Propose { view: View(0), slot: Slot(1), parent, batch: Batch::new(0, vec![]) };
        let said = step(&mut core, PeerMessage::Propose(propose));
        assert_eq!((core.decided(), core.head()), (Slot(0), Slot(1)));
        reads.take(&core, &mut burst(), &mut notices);
        reads.release(&core, &executor, &mut notices);
        assert_eq!((executor.pending(), reads.bursts.len()), (0, 1));
        // The leader says the same.
        let accept = said.into_iter().find_map(|effect| match effect {
            Effect::Broadcast(accept @ PeerMessage::Accept(_)) => Some(accept),
            _ => None,
        });
        step(&mut core, accept.unwrap());
        assert_eq!(core.decided(), Slot(1));
        executor.submit([], Slot(1));
        reads.release(&core, &executor, &mut notices);
        executor.shutdown(Pending::Execute);
        let done: Vec<_> = sink.0.lock().iter().map(ticket_of).collect();
        assert_eq!(done, [(7, Epoch(0), Slot(1))]);
        assert!(notices.is_empty());
    }

    #[test]
    fn a_replica_that_does_not_vote_refuses() {
        let (mut core, mut reads, mut notices) = (follower(), AwaitedReads::default(), Vec::new());
        core.set_learner(true);
        reads.take(&core, &mut burst(), &mut notices);
        assert!(matches!(notices[..], [Notice::ReadRefused { ticket: 7 }]));
    }
}
