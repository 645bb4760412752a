//! The executor with real threads: whatever the timing, replies and state are those of delivery order.

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use bytes::Bytes;
use proptest::prelude::*;
use pssmr_execution::scheduler::{Conflicts, GraphVariant, Mapping};
use pssmr_execution::{
    Command, CommandKind, Completion, CompletionSink, Executor, ExecutorConfig, Extraction, Fatal, Footprint,
    FootprintBuilder, Pending, Refusal, Reply, SchedulerConfig, Service, Task, Watermark, Worker, WorkerId,
};
use pssmr_types::{Digest, Slot};

use support::model::{State, any_footprint};

/// What happens at a position.
#[derive(Clone, Debug)]
enum Step {
    Command(Footprint),
    /// The footprint is computed by a worker.
    Deferred(Footprint),
    Refused,
    StateDigest,
}

/// Executes commands on the model. A command's payload is its place in the list of steps.
struct Model {
    steps: Vec<Step>,
    state: Mutex<State>,
    threads: AtomicUsize,
}

fn place(payload: &[u8]) -> usize {
    u32::from_le_bytes(payload.try_into().unwrap()) as usize
}

fn digest(state: &State) -> Digest {
    Digest::of("model", format!("{state:?}").as_bytes())
}

impl Service for Model {
    fn footprint(&self, payload: &[u8], out: &mut FootprintBuilder) -> Result<Extraction, Refusal> {
        match &self.steps[place(payload)] {
            Step::Command(footprint) => out.include(footprint),
            Step::Deferred(_) => return Ok(Extraction { handler: 0, deferred: true }),
            Step::Refused => return Err(Refusal::UnknownCommand),
            Step::StateDigest => unreachable!("not a command of the service"),
        }
        Ok(Extraction::default())
    }

    fn compute_footprint(&self, payload: &[u8], out: &mut FootprintBuilder) -> Result<(), Refusal> {
        let Step::Deferred(footprint) = &self.steps[place(payload)] else { unreachable!("it was not deferred") };
        out.include(footprint);
        Ok(())
    }

    fn execute(&self, _: WorkerId, run: &mut [Task]) {
        for task in run {
            let begun = self.state.lock().unwrap().begin(task.command.position, &task.footprint);
            for _ in 0..task.command.position % 3 {
                std::thread::yield_now();
            }
            let reply = self.state.lock().unwrap().end(begun, &task.footprint);
            task.reply = Bytes::copy_from_slice(&reply.to_le_bytes());
        }
    }

    fn state_digest(&self) -> Digest {
        digest(&self.state.lock().unwrap())
    }

    fn work(&self, worker: &mut Worker) {
        self.threads.fetch_add(1, Ordering::SeqCst);
        while worker.wait() {
            worker.execute();
        }
        self.threads.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Keeps what it is told, and lets one wait for it.
#[derive(Default)]
struct Recorder {
    told: Mutex<Told>,
    changed: Condvar,
}

#[derive(Default)]
struct Told {
    completions: Vec<Completion>,
    watermark: Watermark,
    fatal: Option<Fatal>,
}

impl CompletionSink for Recorder {
    fn completed(&self, completions: &mut Vec<Completion>) {
        self.told.lock().unwrap().completions.append(completions);
    }

    fn executed(&self, watermark: Watermark) {
        let mut told = self.told.lock().unwrap();
        let known = told.completions.iter().filter(|c| c.position <= watermark.position).count() as u64;
        assert_eq!(known, watermark.position, "replies come before the watermark passes them");
        told.watermark = told.watermark.max(watermark);
        self.changed.notify_all();
    }

    fn failed(&self, fatal: Fatal) {
        assert!(self.told.lock().unwrap().fatal.replace(fatal).is_none(), "told once");
        self.changed.notify_all();
    }
}

impl Recorder {
    /// Returns when everything up to `position` is executed, or the executor has failed.
    fn wait(&self, position: u64) {
        let told = self.told.lock().unwrap();
        let done = |told: &mut Told| told.watermark.position < position && told.fatal.is_none();
        drop(self.changed.wait_while(told, done).unwrap());
    }
}

fn command(position: u64, slot: u64, kind: CommandKind, payload: Bytes) -> Command {
    Command { slot: Slot(slot), ..Command::alone(position, kind, payload) }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        30 => any_footprint().prop_map(Step::Command),
        2 => any_footprint().prop_map(Step::Deferred),
        1 => Just(Step::Refused),
        1 => Just(Step::StateDigest),
    ]
}

/// The replies of sequential execution. Positions begin at 1.
fn expected(steps: &[Step]) -> Vec<Option<Vec<u8>>> {
    let mut state = State::default();
    let reply = |(place, step): (usize, &Step)| match step {
        Step::Command(footprint) | Step::Deferred(footprint) => {
            let begun = state.begin(place as u64 + 1, footprint);
            Some(state.end(begun, footprint).to_le_bytes().to_vec())
        }
        Step::Refused => None,
        Step::StateDigest => Some(digest(&state).0.to_vec()),
    };
    steps.iter().enumerate().map(reply).collect()
}

/// After the slot with this index, so many workers.
type Resizes = BTreeMap<usize, usize>;

fn check(steps: Vec<Step>, config: &ExecutorConfig, slot_length: usize, resizes: &Resizes) {
    let expected = expected(&steps);
    let count = steps.len() as u64;
    let model = Arc::new(Model { steps, state: Mutex::default(), threads: AtomicUsize::new(0) });
    let sink = Arc::new(Recorder::default());
    let executor = Executor::start(model.clone(), config, sink.clone()).unwrap();
    let mut slots = 0;
    for (slot, places) in (0..model.steps.len()).collect::<Vec<_>>().chunks(slot_length).enumerate() {
        slots = slot as u64 + 1;
        let commands = places.iter().map(|place| {
            let payload = Bytes::copy_from_slice(&(*place as u32).to_le_bytes());
            let kind = match model.steps[*place] {
                Step::StateDigest => CommandKind::StateDigest,
                _ => CommandKind::Application,
            };
            command(*place as u64 + 1, slots, kind, payload)
        });
        executor.submit(commands, Slot(slots));
        if let Some(workers) = resizes.get(&slot) {
            executor.resize(*workers).unwrap();
            assert_eq!(executor.workers(), *workers);
        }
    }
    sink.wait(count);
    executor.shutdown(Pending::Execute);
    assert_eq!(executor.executed(), Watermark { position: count, slot: Slot(slots) });
    assert_eq!((executor.pending(), executor.stats().scheduler.pending()), (0, 0));
    assert_eq!(model.threads.load(Ordering::SeqCst), 0, "every worker's loop has ended");
    let mut told = sink.told.lock().unwrap();
    told.completions.sort_by_key(|completion| completion.position);
    assert_eq!(told.completions.len(), expected.len(), "each command completes once");
    for (completion, expected) in told.completions.iter().zip(expected) {
        match expected {
            Some(reply) => assert_eq!(&completion.reply[..], reply, "position {}", completion.position),
            None => assert!(matches!(Reply::decode(&completion.reply), Ok(Reply::Refused { code: 2, .. }))),
        }
    }
}

/// Any scheduler. Graphs have small windows, so that commands wait for room.
fn scheduler() -> impl Strategy<Value = SchedulerConfig> {
    let variants = [GraphVariant::Coarse, GraphVariant::Fine, GraphVariant::LockFree];
    let graph = (prop::sample::select(variants.to_vec()), 1..=40usize);
    prop_oneof![
        prop::sample::select(vec![1usize, 1 << 10]).prop_map(|entries| SchedulerConfig::Keyed { entries }),
        graph.prop_map(|(variant, window)| {
            SchedulerConfig::Graph { variant, window, conflicts: Conflicts::default() }
        }),
        (1..=8usize).prop_map(|lanes| SchedulerConfig::Early { mapping: Some(Arc::new(Mapping::by_key(lanes))) }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]

    #[test]
    fn workers_give_the_replies_of_delivery_order(
        steps in prop::collection::vec(step(), 1..200),
        workers in 1..=8usize,
        run_length_max in 1..=64usize,
        slot_length in 1..=50usize,
        scheduler in scheduler(),
        resizes in prop::collection::btree_map(0..20usize, 1..=8usize, 0..4),
    ) {
        check(steps, &ExecutorConfig { scheduler, workers, run_length_max, secret: 7, ..ExecutorConfig::default() }, slot_length, &resizes);
    }

    #[test]
    fn sequential_workers_give_the_replies_of_delivery_order(
        steps in prop::collection::vec(step(), 1..100),
        workers in 1..=3usize,
        run_length_max in 1..=64usize,
    ) {
        let scheduler = SchedulerConfig::Sequential;
        check(steps, &ExecutorConfig { scheduler, workers, run_length_max, secret: 7, ..ExecutorConfig::default() }, 10, &Resizes::new());
    }
}

/// Does what the payload says.
struct Obedient {
    gate: Mutex<bool>,
    opened: Condvar,
}

impl Obedient {
    fn new() -> Arc<Self> {
        Arc::new(Self { gate: Mutex::new(false), opened: Condvar::new() })
    }

    fn open(&self) {
        *self.gate.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

impl Service for Obedient {
    fn footprint(&self, payload: &[u8], out: &mut FootprintBuilder) -> Result<Extraction, Refusal> {
        assert_ne!(payload, b"panic at delivery", "told to");
        if payload == b"exclusive" {
            out.exclusive();
        }
        Ok(Extraction::default())
    }

    fn execute(&self, _: WorkerId, run: &mut [Task]) {
        for task in run {
            match &task.command.payload[..] {
                b"panic" => panic!("told to"),
                b"wait" => drop(self.opened.wait_while(self.gate.lock().unwrap(), |open| !*open).unwrap()),
                _ => {}
            }
        }
    }

    fn state_digest(&self) -> Digest {
        Digest::default()
    }

    fn work(&self, worker: &mut Worker) {
        worker.run();
    }
}

/// An executor with an obedient service. Its gate opens at the latest when the rig goes, so that a test that fails
/// does not hang.
struct Rig {
    service: Arc<Obedient>,
    sink: Arc<Recorder>,
    executor: Executor,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.service.open();
    }
}

fn start(workers: usize, run_length_max: usize) -> Rig {
    let (service, sink) = (Obedient::new(), Arc::new(Recorder::default()));
    let config = ExecutorConfig { workers, run_length_max, ..ExecutorConfig::default() };
    let executor = Executor::start(service.clone(), &config, sink.clone()).unwrap();
    Rig { service, sink, executor }
}

fn submit(executor: &Executor, first: u64, payloads: &[&'static str]) {
    let commands = (first..).zip(payloads).map(|(position, payload)| {
        command(position, position, CommandKind::Application, Bytes::from_static(payload.as_bytes()))
    });
    executor.submit(commands, Slot(first + payloads.len() as u64 - 1));
}

#[test]
fn a_long_command_delays_only_its_own_watermark() {
    let rig = start(2, 1);
    submit(&rig.executor, 1, &["", "wait", "", ""]);
    rig.sink.wait(1);
    while rig.sink.told.lock().unwrap().completions.len() < 3 {
        std::thread::yield_now();
    }
    assert_eq!(rig.executor.executed(), Watermark { position: 1, slot: Slot(1) });
    assert_eq!(rig.executor.pending(), 3);
    rig.service.open();
    rig.sink.wait(4);
    assert_eq!(rig.executor.executed(), Watermark { position: 4, slot: Slot(4) });
}

#[test]
fn workers_that_are_too_many_end_and_commands_go_on() {
    let model = Arc::new(Model { steps: Vec::new(), state: Mutex::default(), threads: AtomicUsize::new(0) });
    let sink = Arc::new(Recorder::default());
    let config = ExecutorConfig { workers: 6, ..ExecutorConfig::default() };
    let executor = Executor::start(model.clone(), &config, sink.clone()).unwrap();
    for (position, workers) in (1..).zip([1, 4, 2]) {
        executor.resize(workers).unwrap();
        while model.threads.load(Ordering::SeqCst) != workers {
            std::thread::yield_now();
        }
        executor.submit([command(position, position, CommandKind::StateDigest, Bytes::new())], Slot(position));
        sink.wait(position);
    }
    executor.shutdown(Pending::Execute);
    executor.resize(3).unwrap();
    assert_eq!(model.threads.load(Ordering::SeqCst), 0, "after the end no worker is started");
}

#[test]
fn a_slot_without_commands_is_executed_in_its_turn() {
    let rig = start(1, 1);
    rig.executor.submit([], Slot(1));
    assert_eq!(rig.executor.executed(), Watermark { position: 0, slot: Slot(1) });
    rig.executor.submit([command(1, 2, CommandKind::Application, Bytes::from_static(b"wait"))], Slot(2));
    rig.executor.submit([], Slot(3));
    assert_eq!(rig.executor.executed().slot, Slot(1));
    rig.service.open();
    rig.sink.wait(1);
    assert_eq!(rig.executor.executed().slot, Slot(3));
}

#[test]
fn commands_that_wait_for_each_other_share_a_hand_off() {
    let rig = start(1, 8);
    submit(&rig.executor, 1, &["wait"]);
    submit(&rig.executor, 2, &["exclusive"; 100]);
    rig.service.open();
    rig.sink.wait(101);
    assert!(rig.executor.stats().runs < 101, "{:?}", rig.executor.stats());
}

#[test]
fn a_command_without_a_reply_returns_nothing() {
    let rig = start(1, 1);
    submit(&rig.executor, 1, &[""]);
    rig.sink.wait(1);
    assert_eq!(
        Reply::decode(&rig.sink.told.lock().unwrap().completions[0].reply),
        Ok(Reply::Result(Bytes::from_static(&[0xc0])))
    );
}

#[test]
fn a_panic_in_a_command_stops_the_executor_and_says_where() {
    let rig = start(2, 8);
    submit(&rig.executor, 1, &["", "panic", "exclusive", ""]);
    rig.sink.wait(4);
    rig.executor.shutdown(Pending::Execute);
    let told = rig.sink.told.lock().unwrap();
    let Some(Fatal::ServicePanicked { position, message }) = &told.fatal else { panic!("{:?}", told.fatal) };
    assert!(*position <= 2);
    assert_eq!(message, "told to");
    assert!(told.completions.iter().all(|completion| completion.position != 2 && completion.position != 3));
}

#[test]
fn a_panic_at_delivery_stops_the_executor_and_not_the_one_who_delivers() {
    let rig = start(1, 8);
    submit(&rig.executor, 1, &["panic at delivery"]);
    assert!(matches!(rig.sink.told.lock().unwrap().fatal, Some(Fatal::ServicePanicked { .. })));
    submit(&rig.executor, 2, &[""]);
    rig.executor.shutdown(Pending::Execute);
    assert!(rig.sink.told.lock().unwrap().completions.is_empty());
}

#[test]
fn shutdown_can_drop_what_has_not_begun() {
    let rig = start(1, 1);
    submit(&rig.executor, 1, &["wait", "exclusive", ""]);
    std::thread::scope(|scope| {
        scope.spawn(|| rig.executor.shutdown(Pending::Drop));
        scope.spawn(|| {
            // Whether the first command has begun by now or not, it ends or is dropped; nothing hangs. It may even end
            // before the shutdown begins, and then the others may run.
            std::thread::yield_now();
            rig.service.open();
        });
    });
    let positions: Vec<_> = rig.sink.told.lock().unwrap().completions.iter().map(|c| c.position).collect();
    assert!([1, 2, 3].starts_with(&positions), "what is dropped comes after what was executed: {positions:?}");
    rig.executor.shutdown(Pending::Execute);
}

/// Leaves its loop though there is work.
struct Quitter;

impl Service for Quitter {
    fn footprint(&self, _: &[u8], _: &mut FootprintBuilder) -> Result<Extraction, Refusal> {
        Ok(Extraction::default())
    }

    fn execute(&self, _: WorkerId, _: &mut [Task]) {}

    fn state_digest(&self) -> Digest {
        Digest::default()
    }

    fn work(&self, _: &mut Worker) {}
}

#[test]
fn a_worker_that_leaves_its_loop_is_fatal() {
    let sink = Arc::new(Recorder::default());
    let config = ExecutorConfig { workers: 1, ..ExecutorConfig::default() };
    let executor = Executor::start(Arc::new(Quitter), &config, sink.clone()).unwrap();
    sink.wait(1);
    executor.shutdown(Pending::Execute);
    assert!(matches!(sink.told.lock().unwrap().fatal, Some(Fatal::WorkerDied { worker: 0, .. })));
}
