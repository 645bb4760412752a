//! Requests of several operations: what a batch and a transaction promise, under every scheduler.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};

use bytes::Bytes;
use proptest::prelude::*;
use pssmr_execution::compound::{OPERATIONS_MAX, TRANSACTION_CLAIMS_MAX};
use pssmr_execution::messagepack::{write_array, write_bool, write_signed, write_str, write_unsigned};
use pssmr_execution::scheduler::{Conflicts, GraphVariant};
use pssmr_execution::services::{Counter, KeyValue, Null};
use pssmr_execution::{
    Command, CommandKind, Completion, CompletionSink, Compound, Executor, ExecutorConfig, Extraction, Fatal, Footprint,
    FootprintBuilder, Mode, Pending, Refusal, Reply, SchedulerConfig, Service, TableId, Task, Watermark, WorkerId,
    alone, payload, reply,
};
use pssmr_types::{Digest, Slot};

/// A command of the key-value store.
#[derive(Clone, Debug)]
enum Operation {
    Get(u8),
    Put(u8, i64),
    /// No number, so that later additions fail.
    PutText(u8),
    Add(u8, i64),
    Cas(u8, i64, i64),
    Delete(u8),
    /// Refused before it is executed.
    Unknown,
}

#[derive(Clone, Debug)]
enum Request {
    Alone(Operation),
    Batch(Vec<Operation>),
    Transaction(Vec<Operation>),
}

fn number(value: i64) -> Vec<u8> {
    let mut out = Vec::new();
    write_signed(&mut out, value);
    out
}

fn text(value: &str) -> Vec<u8> {
    let mut out = Vec::new();
    write_str(&mut out, value);
    out
}

fn boolean(value: bool) -> Vec<u8> {
    let mut out = Vec::new();
    write_bool(&mut out, value);
    out
}

const NIL: &[u8] = &[0xc0];

impl Operation {
    fn payload(&self) -> Bytes {
        let key = |key: &u8| number(i64::from(*key));
        match self {
            Self::Get(at) => payload("get", &[&key(at)]),
            Self::Put(at, value) => payload("put", &[&key(at), &number(*value)]),
            Self::PutText(at) => payload("put", &[&key(at), &text("x")]),
            Self::Add(at, amount) => payload("add", &[&key(at), &number(*amount)]),
            Self::Cas(at, expected, value) => payload("cas", &[&key(at), &number(*expected), &number(*value)]),
            Self::Delete(at) => payload("delete", &[&key(at)]),
            Self::Unknown => payload("unknown", &[]),
        }
    }

    fn execute(&self, state: &mut BTreeMap<u8, Vec<u8>>) -> Bytes {
        let get = |state: &BTreeMap<u8, Vec<u8>>, at: &u8| state.get(at).cloned().unwrap_or_else(|| NIL.to_vec());
        let result = match self {
            Self::Get(at) => get(state, at),
            Self::Put(at, value) => {
                state.insert(*at, number(*value));
                NIL.to_vec()
            }
            Self::PutText(at) => {
                state.insert(*at, text("x"));
                NIL.to_vec()
            }
            Self::Add(at, amount) => {
                let held = state.get(at).cloned().unwrap_or_else(|| number(0));
                let sum = (-1000..1000).find(|value| number(*value) == held);
                let Some(sum) = sum else { return reply::handler_failed("TypeError") };
                state.insert(*at, number(sum + amount));
                NIL.to_vec()
            }
            Self::Cas(at, expected, value) => {
                let equal = get(state, at) == number(*expected);
                if equal {
                    state.insert(*at, number(*value));
                }
                boolean(equal)
            }
            Self::Delete(at) => boolean(state.remove(at).is_some()),
            Self::Unknown => return reply::refused(&Refusal::UnknownCommand),
        };
        reply::result(&result)
    }
}

fn is_result(reply: &Bytes) -> bool {
    matches!(Reply::decode(reply), Ok(Reply::Result(_)))
}

impl Request {
    fn payload(&self) -> Bytes {
        let several = |compound: Compound, operations: &[Operation]| {
            let payloads: Vec<_> = operations.iter().map(Operation::payload).collect();
            compound.payload(&payloads.iter().map(|payload| &payload[..]).collect::<Vec<_>>())
        };
        match self {
            Self::Alone(operation) => operation.payload(),
            Self::Batch(operations) => several(Compound::Batch, operations),
            Self::Transaction(operations) => several(Compound::Transaction, operations),
        }
    }

    /// One after the other, as the documentation says it.
    fn execute(&self, state: &mut BTreeMap<u8, Vec<u8>>) -> Reply {
        match self {
            Self::Alone(operation) => Reply::decode(&operation.execute(state)).unwrap(),
            Self::Batch(operations) => Reply::Several(operations.iter().map(|each| each.execute(state)).collect()),
            Self::Transaction(operations) => {
                if let Some(place) = operations.iter().position(|each| matches!(each, Operation::Unknown)) {
                    return Reply::Refused { code: 2, message: format!("operation {place}: unknown command") };
                }
                let before = state.clone();
                let mut replies = Vec::new();
                for (place, operation) in (0..).zip(operations) {
                    let reply = operation.execute(state);
                    if !is_result(&reply) {
                        *state = before;
                        return Reply::OperationFailed { place, reply };
                    }
                    replies.push(reply);
                }
                Reply::Several(replies)
            }
        }
    }
}

#[derive(Default)]
struct Recorder {
    told: Mutex<(Vec<Completion>, Watermark)>,
    changed: Condvar,
}

impl CompletionSink for Recorder {
    fn completed(&self, completions: &mut Vec<Completion>) {
        self.told.lock().unwrap().0.append(completions);
    }

    fn executed(&self, watermark: Watermark) {
        let mut told = self.told.lock().unwrap();
        let known = told.0.iter().filter(|completion| completion.position <= watermark.position).count() as u64;
        assert_eq!(known, watermark.position, "a request is answered once, before the watermark passes it");
        told.1 = told.1.max(watermark);
        self.changed.notify_all();
    }

    fn failed(&self, fatal: Fatal) {
        panic!("{fatal}");
    }
}

fn command(position: u64, payload: Bytes) -> Command {
    Command::alone(position, CommandKind::Application, payload)
}

/// The replies to these requests, in their order.
fn replies(service: Arc<dyn Service>, config: &ExecutorConfig, requests: &[Bytes]) -> Vec<Reply> {
    let sink = Arc::new(Recorder::default());
    let executor = Executor::start(service, config, sink.clone()).unwrap();
    let last = requests.len() as u64;
    executor.submit((1..).zip(requests).map(|(position, payload)| command(position, payload.clone())), Slot(last));
    let told = sink.told.lock().unwrap();
    let mut told = sink.changed.wait_while(told, |told| told.1.position < last).unwrap();
    executor.shutdown(Pending::Execute);
    assert_eq!((executor.pending(), executor.executed().position), (0, last));
    told.0.sort_by_key(|completion| completion.position);
    told.0.iter().map(|completion| Reply::decode(&completion.reply).unwrap()).collect()
}

fn operation() -> impl Strategy<Value = Operation> {
    let key = 0..4u8;
    prop_oneof![
        4 => key.clone().prop_map(Operation::Get),
        4 => (key.clone(), 0..3i64).prop_map(|(key, value)| Operation::Put(key, value)),
        1 => key.clone().prop_map(Operation::PutText),
        6 => (key.clone(), -2..3i64).prop_map(|(key, amount)| Operation::Add(key, amount)),
        3 => (key.clone(), 0..3i64, 0..3i64).prop_map(|(key, expected, value)| Operation::Cas(key, expected, value)),
        1 => key.prop_map(Operation::Delete),
    ]
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    prop::collection::vec(prop_oneof![30 => operation(), 1 => Just(Operation::Unknown)], 1..6)
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        1 => operation().prop_map(Request::Alone),
        2 => operations().prop_map(Request::Batch),
        3 => operations().prop_map(Request::Transaction),
    ]
}

fn scheduler() -> impl Strategy<Value = SchedulerConfig> {
    let graph = |variant| SchedulerConfig::Graph { variant, window: 20, conflicts: Conflicts::default() };
    prop::sample::select(vec![
        SchedulerConfig::Sequential,
        SchedulerConfig::Keyed { entries: 1 },
        SchedulerConfig::Keyed { entries: 1 << 10 },
        graph(GraphVariant::Coarse),
        graph(GraphVariant::Fine),
        graph(GraphVariant::LockFree),
        SchedulerConfig::Early { mapping: None },
        SchedulerConfig::Static { lanes: Some(3) },
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn replies_and_state_are_those_of_one_operation_after_the_other(
        requests in prop::collection::vec(request(), 1..60),
        workers in 1..=6usize,
        run_length_max in 1..=32usize,
        scheduler in scheduler(),
    ) {
        let mut state = BTreeMap::new();
        let expected: Vec<_> = requests.iter().map(|request| request.execute(&mut state)).collect();
        let mut payloads: Vec<_> = requests.iter().map(Request::payload).collect();
        let keys: Vec<_> = (0..4).map(Operation::Get).collect();
        let in_the_end: Vec<_> = keys.iter().map(|get| get.execute(&mut state)).collect();
        payloads.push(Request::Batch(keys).payload());
        let store = Arc::new(KeyValue::new());
        let config = ExecutorConfig { scheduler, workers, run_length_max, secret: 7, ..ExecutorConfig::default() };
        let mut replies = replies(store.clone(), &config, &payloads);
        prop_assert_eq!(replies.pop(), Some(Reply::Several(in_the_end)));
        prop_assert_eq!(replies, expected);
        // The same in one thread.
        let other = KeyValue::new();
        for (position, payload) in (1..).zip(payloads) {
            alone::execute(&other, command(position, payload));
        }
        prop_assert_eq!(other.state_digest(), store.state_digest());
    }
}

fn alone_on(service: &dyn Service, payload: Bytes) -> Reply {
    Reply::decode(&alone::execute(service, command(1, payload))).unwrap()
}

fn refusal(code: u8, message: &str) -> Reply {
    Reply::Refused { code, message: message.into() }
}

#[test]
fn a_malformed_request_of_several_operations_is_refused() {
    let store = KeyValue::new();
    let get = payload("get", &[NIL]);
    let put_bin = |operation: &[u8]| [&[0xc4, operation.len() as u8], operation].concat();
    for (body, message) in [
        (vec![0x90], "a request of no operations"),
        (vec![0x91, 0x01], "a request of no operations"),
        (vec![0x92, 0x03, 0xc4, 0x00], "neither a batch nor a transaction"),
        (vec![0x92, 0x01, 0x01], "an operation is not a byte string"),
        (vec![0x93, 0x01, 0xc4, 0x00], "the value is cut short"),
        ([&[0x92, 0x02][..], &put_bin(&get), &[0x00]].concat(), "bytes follow the arguments"),
    ] {
        let expected = refusal(1, &format!("malformed payload: {message}"));
        assert_eq!(alone_on(&store, [&[0x00][..], &body].concat().into()), expected);
    }
    assert_eq!(alone_on(&store, Bytes::from_static(b"\x00\x01")), refusal(2, "unknown command"));
}

#[test]
fn a_request_says_how_many_operations_it_has_and_too_many_take_no_memory() {
    let null = Null::new(0);
    let many = |count: u32| Compound::Batch.payload(&vec![&b""[..]; count as usize]);
    let Reply::Several(replies) = alone_on(&null, many(OPERATIONS_MAX)) else { panic!("it is a batch") };
    assert_eq!(replies.len(), OPERATIONS_MAX as usize);
    let too_many = refusal(7, "a request has at most 1024 operations");
    assert_eq!(alone_on(&null, many(OPERATIONS_MAX + 1)), too_many);
    let mut liar = vec![0x00, 0xdd, 0xff, 0xff, 0xff, 0xff, 0x01];
    liar.resize(100, 0xc4);
    // The length alone shows that it is a lie; it is not believed even as a sign of a request of several operations.
    assert!(matches!(alone_on(&KeyValue::new(), liar.into()), Reply::Refused { code: 2 | 7, .. }));
}

/// More operations than are unfolded at a time, behind each other.
#[test]
fn many_large_requests_are_executed_though_not_all_are_unfolded_at_once() {
    let batch = Compound::Batch.payload(&vec![&payload("increment", &[&number(1)])[..]; OPERATIONS_MAX as usize]);
    let requests = vec![batch; 80];
    for workers in [1, 3] {
        let counter = Arc::new(Counter::new());
        let config = ExecutorConfig { workers, ..ExecutorConfig::default() };
        let last = replies(counter.clone(), &config, &requests).pop();
        let Some(Reply::Several(replies)) = last else { panic!("{last:?}") };
        assert_eq!(replies.last(), Some(&reply::result(&number(80 * i64::from(OPERATIONS_MAX)))));
    }
}

#[test]
fn a_request_is_no_operation_of_another_one() {
    let store = KeyValue::new();
    let inner = Compound::Batch.payload(&[&payload("get", &[&number(1)])]);
    let unknown = reply::refused(&Refusal::UnknownCommand);
    assert_eq!(alone_on(&store, Compound::Batch.payload(&[&inner])), Reply::Several(vec![unknown]));
    let transaction = alone_on(&store, Compound::Transaction.payload(&[&inner]));
    assert_eq!(transaction, refusal(2, "operation 0: unknown command"));
}

#[test]
fn a_counter_is_what_it_was_before_a_transaction_that_failed() {
    let counter = Counter::new();
    let increment = |by: &[u8]| payload("increment", &[by]);
    let well = Compound::Transaction.payload(&[&increment(&number(2)), &increment(&number(3))]);
    let results = [2, 5].map(|value| reply::result(&number(value))).to_vec();
    assert_eq!(alone_on(&counter, well), Reply::Several(results));
    let badly = Compound::Transaction.payload(&[&increment(&number(7)), &increment(NIL)]);
    let failed = Reply::OperationFailed { place: 1, reply: reply::handler_failed("TypeError") };
    assert_eq!(alone_on(&counter, badly), failed);
    assert_eq!(alone_on(&counter, payload("value", &[])), Reply::Result(number(5).into()));
}

/// Writes the keys that the arguments' bytes are. A command `late` says so to a worker only.
struct Keys;

impl Keys {
    fn keys(payload: &[u8], out: &mut FootprintBuilder) {
        payload[2..].chunks(2).for_each(|key| out.key(TableId(0), key, Mode::Write));
    }
}

impl Service for Keys {
    fn footprint(&self, payload: &[u8], out: &mut FootprintBuilder) -> Result<Extraction, Refusal> {
        if payload[1] == b'l' {
            return Ok(Extraction { handler: 0, deferred: true });
        }
        Self::keys(payload, out);
        Ok(Extraction::default())
    }

    fn compute_footprint(&self, payload: &[u8], out: &mut FootprintBuilder) -> Result<(), Refusal> {
        if payload[2..].is_empty() {
            return Err(Refusal::Footprint("KeyError".into()));
        }
        Self::keys(payload, out);
        Ok(())
    }

    fn execute(&self, _: WorkerId, run: &mut [Task]) {
        for task in run {
            task.reply = reply::result(&count(task.footprint.claims().len()));
        }
    }

    fn execute_transaction(&self, _: WorkerId, footprint: &Footprint, run: &mut [Task]) -> Result<(), usize> {
        let places: Vec<_> = run.iter().map(|task| task.operation).collect();
        assert_eq!(places, (0..run.len() as u32).collect::<Vec<_>>());
        for task in run {
            let within = task.footprint.claims().iter().all(|claim| footprint.claims().contains(claim));
            assert!(within, "an operation touches no more than the transaction");
            task.reply = reply::result(&count(footprint.claims().len()));
        }
        Ok(())
    }

    fn state_digest(&self) -> Digest {
        Digest::default()
    }
}

fn count(count: usize) -> Vec<u8> {
    let mut out = Vec::new();
    write_unsigned(&mut out, count as u64);
    out
}

fn counts(counts: &[usize]) -> Reply {
    Reply::Several(counts.iter().map(|each| reply::result(&count(*each))).collect())
}

#[test]
fn a_transaction_touches_what_its_operations_touch_also_what_only_a_worker_can_say() {
    let operations: [&[u8]; 3] = [b"\x01naabb", b"\x01lbbcc", b"\x01ndd"];
    let requests = [Compound::Transaction, Compound::Batch].map(|compound| compound.payload(&operations));
    let refused = Compound::Transaction.payload(&[b"\x01naa", b"\x01l"]);
    let config = ExecutorConfig { workers: 2, ..ExecutorConfig::default() };
    let replies = replies(Arc::new(Keys), &config, &[&requests[..], &[refused]].concat());
    let refusal = refusal(5, "operation 1: the footprint could not be computed: KeyError");
    assert_eq!(replies, [counts(&[4, 4, 4]), counts(&[2, 2, 1]), refusal]);
    let touched = alone::footprint(&Keys, command(1, requests[0].clone()));
    assert_eq!(touched.claims().len(), 4);
    assert_eq!(touched, alone::footprint(&Keys, command(1, requests[1].clone())));
}

#[test]
fn a_transaction_of_too_many_keys_is_refused() {
    let operation = |from: usize, count: usize| {
        let mut out = b"\x01n".to_vec();
        (from..from + count).for_each(|key| out.extend_from_slice(&(key as u16).to_le_bytes()));
        out
    };
    let half = TRANSACTION_CLAIMS_MAX / 2;
    let transaction =
        |more: usize| Compound::Transaction.payload(&[&operation(0, half), &operation(half, half + more)]);
    assert_eq!(alone_on(&Keys, transaction(0)), counts(&[TRANSACTION_CLAIMS_MAX; 2]));
    assert_eq!(alone_on(&Keys, transaction(1)), refusal(7, "a transaction touches at most 4096 keys"));
}

/// It can't undo anything.
struct Rigid;

impl Service for Rigid {
    fn footprint(&self, _: &[u8], _: &mut FootprintBuilder) -> Result<Extraction, Refusal> {
        Ok(Extraction::default())
    }

    fn execute(&self, _: WorkerId, _: &mut [Task]) {}

    fn state_digest(&self) -> Digest {
        Digest::default()
    }
}

#[test]
fn a_service_that_undoes_nothing_has_batches_and_no_transactions() {
    let operations: [&[u8]; 2] = [b"\x01a", b"\x01b"];
    let nil = reply::result(NIL);
    assert_eq!(alone_on(&Rigid, Compound::Batch.payload(&operations)), Reply::Several(vec![nil.clone(), nil]));
    let reply = reply::refused(&Refusal::NoTransactions);
    let refused = Reply::OperationFailed { place: 0, reply };
    assert_eq!(alone_on(&Rigid, Compound::Transaction.payload(&operations)), refused);
}

/// The golden form: clients of every version write it so.
#[test]
fn a_request_of_several_operations_is_written_in_one_way() {
    let mut expected = vec![0];
    write_array(&mut expected, 3);
    expected.extend_from_slice(b"\x02\xc4\x02ab\xc4\x00");
    assert_eq!(Compound::Transaction.payload(&[b"ab", b""]), expected);
    assert_eq!(expected[..3], [0x00, 0x93, 0x02]);
}
