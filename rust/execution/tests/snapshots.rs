//! Snapshots: the state at one position, as bytes that another replica goes on from.

use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use bytes::Bytes;
use proptest::prelude::*;
use pssmr_execution::messagepack::{write_signed, write_str};
use pssmr_execution::services::{Counter, KeyValue, Null};
use pssmr_execution::{
    Access, Command, CommandKind, Completion, CompletionSink, Executor, ExecutorConfig, Extraction, Fatal,
    FootprintBuilder, Pending, Refusal, RestoreError, Service, SnapshotError, SnapshotSource, TableId, Tables, Task,
    Watermark, WorkerId, payload,
};
use pssmr_types::{Digest, Slot};

const ACCOUNTS: TableId = TableId(0);
const ORDERS: TableId = TableId(1);

fn tables() -> Arc<Tables> {
    Arc::new(Tables::new(["accounts", "orders"]))
}

fn put(tables: &Arc<Tables>, table: TableId, key: &[u8], value: &[u8]) {
    Access::unguarded(tables.clone()).put(table, key, Bytes::copy_from_slice(value)).unwrap();
}

fn encoded(tables: &Tables) -> Vec<u8> {
    let mut out = Vec::new();
    tables.snapshot_all().encode(&mut out).unwrap();
    out
}

#[test]
fn the_encoding_of_tables_is_the_same_in_every_version() {
    let tables = Arc::new(Tables::new(["a"]));
    put(&tables, TableId(0), b"k", b"xy");
    let expected = [
        &b"pssmr tables 1"[..],
        &[1, 0, 0, 0, 0, 0, 0, 0],
        b"\x01\0\0\0\0\0\0\0a",
        &[1, 0, 0, 0, 0, 0, 0, 0],
        b"\x01\0\0\0\0\0\0\0k",
        b"\x02\0\0\0\0\0\0\0xy",
    ];
    assert_eq!(encoded(&tables), expected.concat());
}

#[test]
fn restoring_reads_no_byte_more_than_was_written() {
    let tables = tables();
    put(&tables, ORDERS, b"k", b"v");
    let mut bytes = encoded(&tables);
    bytes.extend_from_slice(b"of the service itself");
    let mut source = &bytes[..];
    self::tables().restore_all(&mut source).unwrap();
    assert_eq!(source, b"of the service itself");
}

#[test]
fn what_is_no_snapshot_of_these_tables_changes_nothing() {
    let written = tables();
    put(&written, ACCOUNTS, b"a", b"1");
    put(&written, ACCOUNTS, b"b", b"2");
    let bytes = encoded(&written);
    let held = tables();
    put(&held, ORDERS, b"old", b"0");
    let before = held.digest();
    let refused = |bytes: &[u8]| {
        let error = held.restore_all(&mut &*bytes).unwrap_err();
        assert_eq!(held.digest(), before);
        error.to_string()
    };
    for length in 0..bytes.len() {
        assert!(refused(&bytes[..length]).contains("can't be read"), "{length} bytes of {}", bytes.len());
    }
    let with = |place: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[place] = byte;
        bytes
    };
    assert!(refused(&with(0, b'x')).contains("\"pssmr tables 1\" expected"));
    assert!(refused(&with(14, 3)).contains("3 tables, where 2 are expected"));
    assert!(refused(&with(30, b'x')).contains("table \"xccounts\", where \"accounts\" or \"orders\" is expected"));
    assert!(refused(&with(54, b'c')).contains("do not ascend"));
    assert!(refused(&with(54, b'b')).contains("do not ascend"));
    assert!(refused(&with(53, 1)).contains("where at most"), "a key that claims to have 2^56 bytes");
}

/// Claims to have a value of a gigabyte and ends.
#[test]
fn a_length_that_lies_takes_no_memory() {
    struct Counted<'a>(&'a [u8], usize);
    impl Read for Counted<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.1 = self.1.max(out.len());
            self.0.read(out)
        }
    }
    let tables = Arc::new(Tables::new(["a"]));
    put(&tables, TableId(0), b"k", b"xy");
    let mut bytes = encoded(&tables);
    let length = bytes.len() - 10;
    bytes[length..length + 8].copy_from_slice(&(1u64 << 30).to_le_bytes());
    let mut source = Counted(&bytes, 0);
    assert!(matches!(tables.restore_all(&mut source), Err(RestoreError::Read(_))));
    assert!(source.1 <= 1 << 17, "room for {} bytes at once", source.1);
}

fn contents() -> impl Strategy<Value = Vec<(bool, Vec<u8>, Vec<u8>)>> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..6);
    prop::collection::vec((any::<bool>(), bytes(), bytes()), 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn equal_tables_have_equal_bytes_and_come_back_from_them(contents in contents(), extra in contents()) {
        let (one, other) = (tables(), tables());
        let table = |second| if second { ORDERS } else { ACCOUNTS };
        for (second, key, value) in &contents {
            put(&one, table(*second), key, value);
        }
        for (second, key, value) in &extra {
            put(&other, table(*second), key, value);
        }
        let bytes = encoded(&one);
        other.restore_all(&mut &bytes[..]).unwrap();
        prop_assert_eq!(one.digest(), other.digest());
        prop_assert_eq!(encoded(&other), bytes);
    }
}

type Outcome = (Slot, u64, Result<Box<dyn SnapshotSource>, SnapshotError>);

#[derive(Default)]
struct Told {
    /// Positions of completions.
    completed: Vec<u64>,
    snapshots: Vec<Outcome>,
    /// How many replies to commands up to its position came before each snapshot.
    known_at_snapshots: Vec<u64>,
    watermark: Watermark,
    fatal: Option<Fatal>,
}

#[derive(Default)]
struct Recorder(Mutex<Told>, Condvar);

impl CompletionSink for Recorder {
    fn completed(&self, completions: &mut Vec<Completion>) {
        self.0.lock().unwrap().completed.extend(completions.drain(..).map(|completion| completion.position));
    }

    fn snapshot(&self, slot: Slot, position: u64, source: Result<Box<dyn SnapshotSource>, SnapshotError>) {
        let mut told = self.0.lock().unwrap();
        let known = told.completed.iter().filter(|completed| **completed <= position).count() as u64;
        told.known_at_snapshots.push(known);
        told.snapshots.push((slot, position, source));
        self.1.notify_all();
    }

    fn executed(&self, watermark: Watermark) {
        let mut told = self.0.lock().unwrap();
        told.watermark = told.watermark.max(watermark);
        self.1.notify_all();
    }

    fn failed(&self, fatal: Fatal) {
        self.0.lock().unwrap().fatal = Some(fatal);
        self.1.notify_all();
    }
}

impl Recorder {
    fn wait(&self, done: impl Fn(&Told) -> bool) -> MutexGuard<'_, Told> {
        let told = self.1.wait_while(self.0.lock().unwrap(), |told| !done(told) && told.fatal.is_none()).unwrap();
        assert_eq!(told.fatal, None);
        told
    }
}

struct Replica {
    executor: Executor,
    sink: Arc<Recorder>,
}

fn start(service: Arc<dyn Service>, start: Watermark) -> Replica {
    let sink = Arc::new(Recorder::default());
    let config = ExecutorConfig { workers: 3, run_length_max: 4, start, ..ExecutorConfig::default() };
    Replica { executor: Executor::start(service, &config, sink.clone()).unwrap(), sink }
}

fn command(position: u64, slot: u64, kind: CommandKind, payload: Bytes) -> Command {
    Command { slot: Slot(slot), ..Command::alone(position, kind, payload) }
}

/// Puts its position at one of a few keys.
fn put_command(position: u64, slot: u64) -> Command {
    let (mut key, mut value) = (Vec::new(), Vec::new());
    write_str(&mut key, &format!("key {}", position * position % 13));
    write_signed(&mut value, position.cast_signed());
    command(position, slot, CommandKind::Application, payload("put", &[&key, &value]))
}

fn snapshot_command(position: u64, slot: u64) -> Command {
    command(position, slot, CommandKind::Snapshot, Bytes::new())
}

fn bytes_of(source: Box<dyn SnapshotSource>) -> Vec<u8> {
    let mut bytes = Vec::new();
    source.write_to(&mut bytes).unwrap();
    bytes
}

/// The state after `position` commands, executed one after the other.
fn state_at(position: u64) -> Vec<u8> {
    let service = Arc::new(KeyValue::new());
    let replica = start(service.clone(), Watermark::default());
    for position in 1..=position {
        replica.executor.submit([put_command(position, position)], Slot(position));
        drop(replica.sink.wait(|told| told.watermark.position == position));
    }
    bytes_of(service.snapshot().unwrap())
}

#[test]
fn a_snapshot_under_load_is_the_state_at_its_position() {
    let replica = start(Arc::new(KeyValue::new()), Watermark::default());
    for slot in 1..=20u64 {
        let commands = (slot * 10 - 9..=slot * 10).map(|position| put_command(position, slot));
        let snapshot = slot.is_multiple_of(5).then(|| snapshot_command(slot * 10, slot));
        replica.executor.submit(commands.chain(snapshot), Slot(slot));
    }
    let mut told = replica.sink.wait(|told| told.snapshots.len() == 4 && told.watermark.position == 200);
    assert_eq!(told.completed.len(), 200, "a snapshot has no reply");
    assert_eq!(told.known_at_snapshots, [50, 100, 150, 200], "the replies come before the snapshot");
    for (expected, (slot, position, source)) in (1..).zip(told.snapshots.drain(..)) {
        assert_eq!((slot, position), (Slot(5 * expected), 50 * expected));
        assert_eq!(bytes_of(source.unwrap()), state_at(position));
    }
}

#[test]
fn another_replica_goes_on_from_a_snapshot() {
    let at = Watermark { position: 30, slot: Slot(3) };
    let bytes = state_at(30);
    let fresh = Arc::new(KeyValue::new());
    fresh.restore(&mut &bytes[..]).unwrap();
    let started = start(fresh.clone(), at);

    let behind = Arc::new(KeyValue::new());
    let lagging = start(behind.clone(), Watermark::default());
    lagging.executor.submit((1..=7).map(|position| put_command(position, 1)), Slot(1));
    drop(lagging.sink.wait(|told| told.watermark.slot == Slot(1)));
    lagging.executor.restore(&mut &bytes[..], at).unwrap();

    for (replica, service) in [(started, fresh), (lagging, behind)] {
        assert_eq!(replica.executor.executed(), at);
        replica.executor.submit((31..=40).map(|position| put_command(position, 4)), Slot(4));
        drop(replica.sink.wait(|told| told.watermark == Watermark { position: 40, slot: Slot(4) }));
        replica.executor.shutdown(Pending::Execute);
        assert_eq!(bytes_of(service.snapshot().unwrap()), state_at(40));
    }
}

#[test]
fn a_snapshot_that_can_not_be_restored_moves_no_watermark() {
    let replica = start(Arc::new(KeyValue::new()), Watermark::default());
    let at = Watermark { position: 30, slot: Slot(3) };
    let mut bytes = state_at(3);
    bytes.push(0);
    let error = replica.executor.restore(&mut &bytes[..], at).unwrap_err();
    assert!(matches!(error, RestoreError::Malformed(_)), "{error}");
    assert_eq!(replica.executor.executed(), Watermark::default());
}

/// Has no snapshots. Its commands take until the sender is gone.
struct Plain(Mutex<Receiver<()>>);

fn plain() -> (Sender<()>, Arc<Plain>) {
    let (sender, receiver) = channel();
    (sender, Arc::new(Plain(Mutex::new(receiver))))
}

impl Service for Plain {
    fn footprint(&self, _: &[u8], _: &mut FootprintBuilder) -> Result<Extraction, Refusal> {
        Ok(Extraction::default())
    }

    fn execute(&self, _: WorkerId, _: &mut [Task]) {
        self.0.lock().unwrap().recv().unwrap_err();
    }

    fn state_digest(&self) -> Digest {
        Digest::default()
    }
}

#[test]
#[should_panic(expected = "no command is pending")]
fn nothing_is_restored_beside_a_command() {
    let (sender, service) = plain();
    let replica = start(service, Watermark::default());
    // Gone before the replica is, which waits for its command.
    let _sender = sender;
    replica.executor.submit([command(1, 1, CommandKind::Application, Bytes::new())], Slot(1));
    drop(replica.executor.restore(&mut io::empty(), Watermark::default()));
}

#[test]
fn a_service_without_snapshots_says_so_and_goes_on() {
    let (sender, service) = plain();
    drop(sender);
    let replica = start(service.clone(), Watermark::default());
    let commands =
        [snapshot_command(1, 1), command(2, 1, CommandKind::Application, Bytes::new()), snapshot_command(2, 1)];
    replica.executor.submit(commands, Slot(1));
    let told = replica.sink.wait(|told| told.snapshots.len() == 2 && told.watermark.slot == Slot(1));
    assert!(told.snapshots.iter().all(|(_, _, source)| matches!(source, Err(SnapshotError::Unsupported))));
    assert!(matches!(service.restore(&mut io::empty()), Err(RestoreError::Unsupported)));
    assert_eq!(service.can_snapshot(), Err(SnapshotError::Unsupported));
}

#[test]
fn small_services_come_back_from_their_bytes() {
    let counter = Arc::new(Counter::new());
    assert_eq!(counter.can_snapshot(), Ok(()));
    let replica = start(counter.clone(), Watermark::default());
    let mut amount = Vec::new();
    write_signed(&mut amount, -70_000);
    replica.executor.submit([command(1, 1, CommandKind::Application, payload("increment", &[&amount]))], Slot(1));
    drop(replica.sink.wait(|told| told.watermark.position == 1));
    let bytes = bytes_of(counter.snapshot().unwrap());
    let other = Counter::new();
    other.restore(&mut &bytes[..]).unwrap();
    assert_eq!(other.state_digest(), counter.state_digest());
    assert_ne!(other.state_digest(), Counter::new().state_digest());
    assert!(other.restore(&mut &bytes[1..]).is_err() && other.restore(&mut &[&bytes[..], b"x"].concat()[..]).is_err());

    let null = Null::new(0);
    let bytes = bytes_of(null.snapshot().unwrap());
    null.restore(&mut &bytes[..]).unwrap();
    assert!(null.restore(&mut io::empty()).is_err());
}

#[test]
fn a_snapshot_that_can_not_be_written_says_so() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let source = KeyValue::new().snapshot().unwrap();
    assert_eq!(source.write_to(&mut Full).unwrap_err().kind(), io::ErrorKind::StorageFull);
}
