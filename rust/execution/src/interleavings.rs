//! The executor under shuttle: the hand-off between the submitting thread and the workers, in many interleavings. A
//! lost wake-up shows as a deadlock.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use pssmr_types::{Digest, Slot};
use shuttle::sync::{Barrier, Mutex};
use shuttle::{check_pct, check_random, thread};

use crate::executor::{Executor, ExecutorConfig, Pending};
use crate::extract::Refusal;
use crate::footprint::{FootprintBuilder, Mode, TableId};
use crate::reply::{Reply, result};
use crate::scheduler::{Conflicts, GraphVariant, SchedulerConfig};
use crate::service::{
    Command, CommandKind, Completion, CompletionSink, Extraction, Fatal, Service, Task, Watermark, WorkerId,
};
use crate::snapshot::{Encoded, SnapshotError, SnapshotSource};
use crate::sync::lock;

/// Interleavings to try of each kind.
const ITERATIONS: usize = 100;

/// A payload is: a byte that says what is special, and the keys that are written.
struct Traced {
    /// For each key, the positions that wrote it, in order.
    written: Mutex<Vec<Vec<u64>>>,
    /// Where two commands meet.
    meeting: Barrier,
}

impl Traced {
    fn writes(&self) -> u8 {
        lock(&self.written).iter().map(Vec::len).sum::<usize>() as u8
    }
}

const PLAIN: u8 = 0;
const DEFERRED: u8 = 1;
const UNKNOWN: u8 = 2;
const PANICS: u8 = 3;
const MEETS: u8 = 4;

impl Service for Traced {
    fn footprint(&self, payload: &[u8], out: &mut FootprintBuilder) -> Result<Extraction, Refusal> {
        match payload[0] {
            UNKNOWN => return Err(Refusal::UnknownCommand),
            DEFERRED => return Ok(Extraction { handler: 0, deferred: true }),
            _ => {}
        }
        payload[1..].iter().for_each(|key| out.key(TableId(0), &[*key], Mode::Write));
        Ok(Extraction::default())
    }

    fn compute_footprint(&self, payload: &[u8], out: &mut FootprintBuilder) -> Result<(), Refusal> {
        thread::yield_now();
        payload[1..].iter().for_each(|key| out.key(TableId(0), &[*key], Mode::Write));
        Ok(())
    }

    fn execute(&self, _: WorkerId, run: &mut [Task]) {
        for task in run {
            assert_ne!(task.command.payload[0], PANICS, "told to");
            if task.command.payload[0] == MEETS {
                self.meeting.wait();
            }
            thread::yield_now();
            for key in &task.command.payload[1..] {
                lock(&self.written)[usize::from(*key)].push(task.command.position);
            }
            task.reply = result(&[0x01]);
        }
    }

    fn state_digest(&self) -> Digest {
        Digest::of("traced", &[self.writes()])
    }

    fn snapshot(&self) -> Result<Box<dyn SnapshotSource>, SnapshotError> {
        Ok(Box::new(Encoded(vec![self.writes()])))
    }
}

#[derive(Default)]
struct Recorder {
    completions: Mutex<Vec<Completion>>,
    watermark: Mutex<Watermark>,
    /// For each snapshot, the number of writes that it has.
    snapshots: Mutex<Vec<(u64, u8)>>,
    failures: AtomicUsize,
}

impl CompletionSink for Recorder {
    fn completed(&self, completions: &mut Vec<Completion>) {
        lock(&self.completions).append(completions);
    }

    fn snapshot(&self, _: Slot, position: u64, source: Result<Box<dyn SnapshotSource>, SnapshotError>) {
        let known = lock(&self.completions).iter().filter(|c| c.position <= position).count() as u64;
        assert_eq!(known, position, "replies come before the snapshot");
        let mut bytes = Vec::new();
        source.unwrap().write_to(&mut bytes).unwrap();
        lock(&self.snapshots).push((position, bytes[0]));
    }

    fn executed(&self, watermark: Watermark) {
        let known = lock(&self.completions).iter().filter(|c| c.position <= watermark.position).count() as u64;
        assert_eq!(known, watermark.position, "replies come before the watermark passes them");
        let mut highest = lock(&self.watermark);
        *highest = watermark.max(*highest);
    }

    fn failed(&self, _: Fatal) {
        assert_eq!(self.failures.fetch_add(1, Ordering::SeqCst), 0, "told once");
    }
}

struct Rig {
    service: Arc<Traced>,
    sink: Arc<Recorder>,
    executor: Executor,
}

fn rig(workers: usize, scheduler: SchedulerConfig) -> Rig {
    rig_with(workers, scheduler, 2)
}

fn rig_with(workers: usize, scheduler: SchedulerConfig, run_length_max: usize) -> Rig {
    let service = Arc::new(Traced { written: Mutex::new(vec![Vec::new(); 4]), meeting: Barrier::new(2) });
    let sink = Arc::new(Recorder::default());
    let config = ExecutorConfig { scheduler, workers, run_length_max, secret: 1, ..ExecutorConfig::default() };
    let executor = Executor::start(service.clone(), &config, sink.clone()).unwrap();
    Rig { service, sink, executor }
}

fn command(position: u64, payload: &'static [u8]) -> Command {
    let kind = if payload.is_empty() { CommandKind::StateDigest } else { CommandKind::Application };
    Command::alone(position, kind, Bytes::from_static(payload))
}

fn submit(rig: &Rig, first: u64, payloads: &[&'static [u8]]) {
    let commands = (first..).zip(payloads).map(|(position, payload)| command(position, payload));
    rig.executor.submit(commands, Slot(first + payloads.len() as u64 - 1));
}

/// Waits without helping: a shutdown would wake everybody.
fn wait_for(rig: &Rig, position: u64) {
    while rig.executor.executed().position < position {
        thread::yield_now();
    }
}

fn explore(scenario: impl Fn() + Send + Sync + Clone + 'static) {
    check_random(scenario.clone(), ITERATIONS);
    check_pct(scenario, ITERATIONS, 3);
}

fn all_are_executed(workers: usize, scheduler: SchedulerConfig) {
    explore(move || {
        let rig = rig(workers, scheduler.clone());
        submit(&rig, 1, &[&[PLAIN, 0], &[PLAIN, 1], &[PLAIN, 0, 1]]);
        thread::yield_now();
        submit(&rig, 4, &[&[PLAIN, 1], &[PLAIN, 2]]);
        rig.executor.shutdown(Pending::Execute);
        assert_eq!(*lock(&rig.sink.watermark), Watermark { position: 5, slot: Slot(5) });
        assert_eq!(rig.executor.executed(), Watermark { position: 5, slot: Slot(5) });
        assert_eq!(*lock(&rig.service.written), [vec![1, 3], vec![2, 3, 4], vec![5], vec![]]);
    });
}

const KEYED: SchedulerConfig = SchedulerConfig::Keyed { entries: 16 };

#[test]
fn every_command_is_executed_by_one_worker() {
    all_are_executed(1, KEYED);
}

#[test]
fn every_command_is_executed_by_two_workers() {
    all_are_executed(2, KEYED);
}

#[test]
fn every_command_is_executed_by_more_workers_than_there_is_work() {
    all_are_executed(4, KEYED);
}

#[test]
fn every_command_is_executed_in_sequence() {
    all_are_executed(2, SchedulerConfig::Sequential);
}

#[test]
fn every_command_is_executed_by_class() {
    all_are_executed(2, SchedulerConfig::Early { mapping: None });
}

#[test]
fn every_command_is_executed_by_the_lanes_of_its_keys() {
    all_are_executed(2, SchedulerConfig::Static { lanes: Some(3) });
}

fn graph(variant: GraphVariant, window: usize) -> SchedulerConfig {
    SchedulerConfig::Graph { variant, window, conflicts: Conflicts::default() }
}

#[test]
fn every_command_is_executed_off_a_graph_with_one_lock() {
    all_are_executed(2, graph(GraphVariant::Coarse, 4));
}

#[test]
fn every_command_is_executed_off_a_graph_with_many_locks() {
    all_are_executed(2, graph(GraphVariant::Fine, 4));
}

#[test]
fn every_command_is_executed_off_a_graph_without_locks() {
    all_are_executed(3, graph(GraphVariant::LockFree, 4));
}

#[test]
fn every_command_is_executed_off_a_graph_with_room_for_one() {
    all_are_executed(2, graph(GraphVariant::LockFree, 1));
}

#[test]
fn a_command_is_executed_though_nothing_follows_it() {
    explore(|| {
        let rig = rig(2, KEYED);
        for position in 1..=2 {
            submit(&rig, position, &[&[PLAIN, 0]]);
            wait_for(&rig, position);
        }
    });
}

fn two_that_meet_run_at_once(workers: usize, before: &'static [&'static [u8]], run_length_max: usize) {
    explore(move || {
        let rig = rig_with(workers, KEYED, run_length_max);
        let meet: [&'static [u8]; 2] = [&[MEETS, 1], &[MEETS, 2]];
        submit(&rig, 1, &[before, &meet].concat());
        wait_for(&rig, before.len() as u64 + 2);
    });
}

/// Each of the two waits inside of its handler for the other: if one is ready and a worker is idle, it must get it.
#[test]
fn no_worker_is_idle_beside_a_ready_command() {
    two_that_meet_run_at_once(2, &[], 1);
}

#[test]
fn one_worker_does_not_take_all_that_is_ready() {
    two_that_meet_run_at_once(2, &[], 2);
}

#[test]
fn no_worker_is_idle_beside_commands_that_become_ready_together() {
    two_that_meet_run_at_once(2, &[&[PLAIN, 1, 2]], 1);
}

#[test]
fn no_worker_is_idle_behind_a_deferred_footprint() {
    two_that_meet_run_at_once(3, &[&[DEFERRED, 0]], 1);
}

#[test]
fn what_one_worker_leaves_another_takes() {
    explore(|| {
        let rig = rig_with(2, KEYED, 2);
        let each: [&'static [u8]; 4] = [&[PLAIN, 0], &[PLAIN, 1], &[PLAIN, 2], &[PLAIN, 3]];
        submit(&rig, 1, &[each, each].concat());
        wait_for(&rig, 8);
    });
}

/// Each of the two waits for the other, so one worker alone would never end.
#[test]
fn a_worker_that_is_added_takes_what_is_ready() {
    explore(|| {
        let rig = rig_with(1, KEYED, 1);
        submit(&rig, 1, &[&[MEETS, 1], &[MEETS, 2]]);
        rig.executor.resize(2).unwrap();
        wait_for(&rig, 2);
    });
}

#[test]
fn a_worker_that_goes_leaves_nothing_behind() {
    for scheduler in [KEYED, graph(GraphVariant::LockFree, 2), SchedulerConfig::Early { mapping: None }] {
        explore(move || {
            let rig = rig_with(3, scheduler.clone(), 1);
            submit(&rig, 1, &[&[PLAIN, 0], &[DEFERRED, 1], &[PLAIN, 0]]);
            rig.executor.resize(1).unwrap();
            submit(&rig, 4, &[&[PLAIN, 0], &[PLAIN, 1]]);
            wait_for(&rig, 5);
            assert_eq!(*lock(&rig.service.written), [vec![1, 3, 4], vec![2, 5], vec![], vec![]]);
        });
    }
}

#[test]
fn workers_that_go_and_come_back_are_not_there_twice() {
    explore(|| {
        let rig = rig_with(2, KEYED, 1);
        submit(&rig, 1, &[&[PLAIN, 0], &[PLAIN, 1]]);
        rig.executor.resize(1).unwrap();
        rig.executor.resize(2).unwrap();
        submit(&rig, 3, &[&[MEETS, 2], &[MEETS, 3]]);
        wait_for(&rig, 4);
    });
}

#[test]
fn deferred_footprints_keep_the_order() {
    explore(|| {
        let rig = rig(2, KEYED);
        submit(&rig, 1, &[&[PLAIN, 0], &[DEFERRED, 0], &[PLAIN, 0], &[DEFERRED, 0]]);
        submit(&rig, 5, &[&[PLAIN, 0]]);
        rig.executor.shutdown(Pending::Execute);
        assert_eq!(lock(&rig.service.written)[0], [1, 2, 3, 4, 5]);
    });
}

#[test]
fn a_state_digest_is_that_of_its_position() {
    explore(|| {
        let rig = rig(2, KEYED);
        submit(&rig, 1, &[&[PLAIN, 0], &[PLAIN, 1], &[], &[PLAIN, 2]]);
        rig.executor.shutdown(Pending::Execute);
        let completions = lock(&rig.sink.completions);
        let digest = completions.iter().find(|completion| completion.kind == CommandKind::StateDigest).unwrap();
        assert_eq!(&digest.reply[..], &Digest::of("traced", &[2]).0);
    });
}

#[test]
fn a_snapshot_is_that_of_its_position_and_comes_after_the_replies_before_it() {
    explore(|| {
        let rig = rig(3, KEYED);
        let mut commands = [&[PLAIN, 0][..], &[PLAIN, 1], &[], &[PLAIN, 2]].map(|payload| command(1, payload));
        for (command, position) in commands.iter_mut().zip([1, 2, 2, 3]) {
            (command.position, command.slot) = (position, Slot(1));
        }
        commands[2].kind = CommandKind::Snapshot;
        rig.executor.submit(commands, Slot(1));
        rig.executor.shutdown(Pending::Execute);
        assert_eq!(*lock(&rig.sink.snapshots), [(2, 2)]);
        assert_eq!(lock(&rig.sink.completions).len(), 3);
    });
}

/// A batch whose operations write the keys 0, 1 and 0 again.
const BATCH: &[u8] = &[0, 0x94, 1, 0xc4, 2, PLAIN, 0, 0xc4, 2, DEFERRED, 1, 0xc4, 2, PLAIN, 0];

#[test]
fn a_batch_has_one_reply_when_its_last_operation_has_ended() {
    for scheduler in [KEYED, graph(GraphVariant::LockFree, 2)] {
        explore(move || {
            let rig = rig_with(3, scheduler.clone(), 1);
            submit(&rig, 1, &[&[PLAIN, 1], BATCH, &[PLAIN, 0]]);
            rig.executor.shutdown(Pending::Execute);
            assert_eq!(lock(&rig.service.written)[..2], [vec![2, 2, 3], vec![1, 2]]);
            let completions = lock(&rig.sink.completions);
            let replies: Vec<_> = completions.iter().filter(|completion| completion.position == 2).collect();
            let expected = Reply::Several(vec![result(&[0x01]); 3]);
            assert_eq!(replies.iter().map(|it| Reply::decode(&it.reply)).collect::<Vec<_>>(), [Ok(expected)]);
        });
    }
}

#[test]
fn a_refused_command_gets_its_reply_and_is_not_executed() {
    explore(|| {
        let rig = rig(2, KEYED);
        submit(&rig, 1, &[&[PLAIN, 0], &[UNKNOWN, 0], &[PLAIN, 0]]);
        rig.executor.shutdown(Pending::Execute);
        assert_eq!(lock(&rig.service.written)[0], [1, 3]);
        let completions = lock(&rig.sink.completions);
        let refused = completions.iter().find(|completion| completion.position == 2).unwrap();
        assert!(matches!(Reply::decode(&refused.reply), Ok(Reply::Refused { code: 2, .. })));
    });
}

#[test]
fn dropping_the_executor_ends_its_threads() {
    explore(|| {
        let rig = rig(2, KEYED);
        submit(&rig, 1, &[&[PLAIN, 0], &[PLAIN, 0], &[PLAIN, 1], &[DEFERRED, 1]]);
        drop(rig.executor);
        // Nothing is executed by halves, and what was executed is a prefix for each key.
        let written = lock(&rig.service.written);
        assert!([1, 2].starts_with(&written[0]) && [3, 4].starts_with(&written[1]));
    });
}

#[test]
fn a_panic_stops_everything_and_is_told_once() {
    explore(|| {
        let rig = rig(2, KEYED);
        submit(&rig, 1, &[&[PLAIN, 0], &[PANICS, 0], &[PANICS, 1], &[PLAIN, 0], &[DEFERRED, 2]]);
        rig.executor.shutdown(Pending::Execute);
        assert_eq!(rig.sink.failures.load(Ordering::SeqCst), 1);
        assert!(!lock(&rig.service.written)[0].contains(&4), "nothing runs after the panicked command it waits for");
        assert!(rig.executor.executed().position < 2);
        submit(&rig, 6, &[&[PLAIN, 0]]);
    });
}
