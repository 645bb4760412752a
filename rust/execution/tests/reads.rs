//! Reads: commands that are executed where they are submitted, without a place in the order.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use bytes::Bytes;
use pssmr_execution::services::KeyValue;
use pssmr_execution::{
    Command, CommandKind, Completion, CompletionSink, Compound, Executor, ExecutorConfig, Extraction, Fatal, Footprint,
    FootprintBuilder, Mode, Refusal, Reply, SchedulerConfig, Service, TableId, Task, Watermark, WorkerId, alone,
    messagepack, reply,
};
use pssmr_types::{Digest, Slot};

struct Sink(Sender<Completion>);

impl CompletionSink for Sink {
    fn completed(&self, completions: &mut Vec<Completion>) {
        completions.drain(..).for_each(|completion| drop(self.0.send(completion)));
    }

    fn executed(&self, _: Watermark) {}

    fn failed(&self, fatal: Fatal) {
        panic!("{fatal}");
    }
}

fn call(name: &str, arguments: &[u64]) -> Bytes {
    let mut payload = vec![name.len() as u8];
    payload.extend_from_slice(name.as_bytes());
    messagepack::write_array(&mut payload, arguments.len() as u32);
    for argument in arguments {
        messagepack::write_unsigned(&mut payload, *argument);
    }
    payload.into()
}

fn read(ticket: u64, slot: u64, payload: Bytes) -> Command {
    Command { slot: Slot(slot), sequence: ticket, ..Command::alone(0, CommandKind::Read, payload) }
}

/// A store that says of all its commands that they are readable, or of none.
struct Says {
    store: KeyValue,
    readable: bool,
}

impl Service for Says {
    fn footprint(&self, payload: &[u8], out: &mut FootprintBuilder) -> Result<Extraction, Refusal> {
        self.store.footprint(payload, out)
    }

    fn execute(&self, worker: WorkerId, run: &mut [Task]) {
        self.store.execute(worker, run);
    }

    fn is_readable(&self, _: u32) -> bool {
        self.readable
    }

    fn state_digest(&self) -> Digest {
        self.store.state_digest()
    }
}

/// Runs what `submit` submits, and gives the replies to reads by ticket.
fn reads(scheduler: SchedulerConfig, workers: usize, submit: impl FnOnce(&Executor)) -> Vec<(u64, Bytes)> {
    reads_of(KeyValue::new(), scheduler, workers, submit)
}

fn reads_of(
    service: impl Service,
    scheduler: SchedulerConfig,
    workers: usize,
    submit: impl FnOnce(&Executor),
) -> Vec<(u64, Bytes)> {
    let (sender, replies) = channel();
    let config = ExecutorConfig { scheduler, workers, ..ExecutorConfig::default() };
    let executor = Executor::start(Arc::new(service), &config, Arc::new(Sink(sender))).unwrap();
    submit(&executor);
    executor.shutdown(pssmr_execution::Pending::Execute);
    drop(executor);
    let mut reads: Vec<_> = replies
        .iter()
        .filter(|completion| completion.kind == CommandKind::Read)
        .map(|completion| (completion.sequence, completion.reply))
        .collect();
    reads.sort();
    reads
}

fn number(reply: &Bytes) -> Option<u64> {
    let Ok(Reply::Result(value)) = Reply::decode(reply) else { panic!("{reply:?} is no result") };
    match messagepack::Reader::new(&value).token().unwrap() {
        messagepack::Token::Unsigned(number) => Some(number),
        messagepack::Token::Nil => None,
        other => panic!("{other:?}"),
    }
}

fn schedulers() -> impl Iterator<Item = SchedulerConfig> {
    SchedulerConfig::NAMES.iter().map(|name| name.parse().unwrap())
}

#[test]
fn a_read_sees_all_that_was_submitted_before_it_and_nothing_after() {
    for scheduler in schedulers() {
        for workers in [1, 3] {
            let replies = reads(scheduler.clone(), workers, |executor| {
                for round in 1..=200 {
                    let put = Command::alone(round, CommandKind::Application, call("put", &[round % 3, round]));
                    executor.submit([put], Slot(round));
                    executor.submit([read(round, round, call("get", &[round % 3]))], Slot(round));
                }
            });
            let seen: Vec<_> = replies.iter().map(|(ticket, reply)| (*ticket, number(reply))).collect();
            assert_eq!(seen, (1..=200).map(|round| (round, Some(round))).collect::<Vec<_>>());
        }
    }
}

#[test]
fn reads_come_before_any_slot_and_many_in_one_place() {
    let replies = reads(SchedulerConfig::default(), 2, |executor| {
        executor.submit((1..=5).map(|ticket| read(ticket, 0, call("get", &[1]))), Slot(0));
        executor.submit([Command::alone(1, CommandKind::Application, call("put", &[1, 7]))], Slot(1));
        executor.submit((6..=9).map(|ticket| read(ticket, 1, call("get", &[1]))), Slot(1));
    });
    let values: Vec<_> = replies.iter().map(|(_, reply)| number(reply)).collect();
    assert_eq!(values, [[None; 5].as_slice(), &[Some(7); 4]].concat());
}

#[test]
fn what_changes_anything_is_not_executed_as_a_read() {
    let payloads = [
        call("put", &[1, 2]),
        call("add", &[1, 2]),
        call("delete", &[1]),
        Compound::Batch.payload(&[&call("get", &[1])]),
        Compound::Transaction.payload(&[&call("put", &[1, 2])]),
    ];
    let replies = reads(SchedulerConfig::default(), 2, |executor| {
        for (ticket, payload) in (1..).zip(payloads) {
            executor.submit([read(ticket, 0, payload)], Slot(0));
        }
        executor.submit([read(99, 0, call("get", &[1]))], Slot(0));
    });
    assert!(replies[..5].iter().all(|(_, reply)| reply.is_empty()), "{replies:?}");
    assert_eq!(number(&replies[5].1), None, "nothing was written");
}

#[test]
fn a_read_has_to_be_readable_and_to_declare_nothing_but_reads() {
    for readable in [true, false] {
        let service = Says { store: KeyValue::new(), readable };
        let replies = reads_of(service, SchedulerConfig::default(), 1, |executor| {
            executor.submit([read(1, 0, call("put", &[1, 2]))], Slot(0));
            executor.submit([read(2, 0, call("get", &[1]))], Slot(0));
        });
        assert!(replies[0].1.is_empty(), "whatever the service says");
        assert_eq!(replies[1].1.is_empty(), !readable);
    }
}

/// Says only late what a command touches: the key that it writes.
struct Late;

impl Service for Late {
    fn footprint(&self, _: &[u8], out: &mut FootprintBuilder) -> Result<Extraction, Refusal> {
        out.key(TableId(0), b"declared", Mode::Read);
        Ok(Extraction { handler: 0, deferred: true })
    }

    fn compute_footprint(&self, payload: &[u8], out: &mut FootprintBuilder) -> Result<(), Refusal> {
        if payload == b"refuse" {
            return Err(Refusal::Footprint("told to".into()));
        }
        let mode = if payload == b"write" { Mode::Write } else { Mode::Read };
        out.key(TableId(0), b"k", mode);
        Ok(())
    }

    fn execute(&self, _: WorkerId, run: &mut [Task]) {
        for task in run {
            task.reply = reply::nil();
        }
    }

    fn is_readable(&self, _: u32) -> bool {
        true
    }

    fn state_digest(&self) -> Digest {
        Digest::default()
    }
}

#[test]
fn a_read_of_which_a_worker_finds_out_that_it_writes_is_not_executed() {
    let replies = reads_of(Late, SchedulerConfig::default(), 2, |executor| {
        for (ticket, payload) in [(1, "write"), (2, "read")] {
            executor.submit([read(ticket, 0, Bytes::from_static(payload.as_bytes()))], Slot(0));
        }
    });
    assert_eq!(replies, [(1, Bytes::new()), (2, reply::nil())]);
}

fn touched(service: &dyn Service, payload: Bytes) -> Footprint {
    alone::footprint(service, Command::alone(1, CommandKind::Application, payload))
}

#[test]
fn what_is_refused_touches_nothing_even_if_a_key_was_found() {
    let put = [&call("put", &[1, 2])[..], b"trailing"].concat();
    assert_eq!(touched(&KeyValue::new(), put.into()), Footprint::nothing());
    assert_eq!(touched(&Late, Bytes::from_static(b"refuse")), Footprint::nothing());
}

#[test]
fn what_a_worker_finds_out_is_in_addition_to_what_is_declared() {
    let touched = touched(&Late, Bytes::from_static(b"write"));
    assert_eq!(touched.claims().iter().filter(|claim| claim.mode() == Mode::Read).count(), 1);
    assert_eq!(touched.claims().len(), 2);
}

#[test]
fn a_read_that_the_order_would_refuse_is_refused_alike() {
    let replies = reads(SchedulerConfig::default(), 1, |executor| {
        executor.submit([read(1, 0, call("nothing", &[]))], Slot(0));
        executor.submit([read(2, 0, call("get", &[]))], Slot(0));
    });
    assert!(replies.iter().all(|(_, reply)| matches!(Reply::decode(reply), Ok(Reply::Refused { .. }))), "{replies:?}");
}
