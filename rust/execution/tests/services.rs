//! The services in Rust, called as clients call them.

use std::sync::{Arc, Condvar, Mutex};

use bytes::Bytes;
use pssmr_execution::messagepack::{write_signed, write_str};
use pssmr_execution::services::{Counter, KeyValue, Null};
use pssmr_execution::{
    Command, CommandKind, Completion, CompletionSink, Executor, ExecutorConfig, Fatal, Pending, Reply, Service,
    Watermark, payload,
};
use pssmr_types::{Digest, Slot};

#[derive(Default)]
struct Replies(Mutex<Vec<Completion>>, Condvar);

impl CompletionSink for Replies {
    fn completed(&self, completions: &mut Vec<Completion>) {
        self.0.lock().unwrap().append(completions);
        self.1.notify_all();
    }

    fn executed(&self, _: Watermark) {}

    fn failed(&self, fatal: Fatal) {
        panic!("{fatal}");
    }
}

/// A service, executed by two workers.
struct Replica {
    executor: Executor,
    replies: Arc<Replies>,
    position: u64,
}

impl Replica {
    fn of(service: Arc<dyn Service>) -> Self {
        let replies = Arc::new(Replies::default());
        let config = ExecutorConfig { workers: 2, ..ExecutorConfig::default() };
        let executor = Executor::start(service, &config, replies.clone()).unwrap();
        Self { executor, replies, position: 0 }
    }

    fn submit(&mut self, kind: CommandKind, payload: Bytes) {
        self.position += 1;
        self.executor.submit([Command::alone(self.position, kind, payload)], Slot(self.position));
    }

    /// The reply of the command that was submitted last.
    fn reply(&self) -> Bytes {
        let known = self.replies.0.lock().unwrap();
        let known = self
            .replies
            .1
            .wait_while(known, |known| known.iter().all(|completion| completion.position != self.position))
            .unwrap();
        known.iter().find(|completion| completion.position == self.position).unwrap().reply.clone()
    }

    fn call(&mut self, name: &str, arguments: &[&[u8]]) -> Reply {
        self.submit(CommandKind::Application, payload(name, arguments));
        Reply::decode(&self.reply()).unwrap()
    }

    fn digest(&mut self) -> Digest {
        self.submit(CommandKind::StateDigest, Bytes::new());
        Digest(self.reply()[..].try_into().unwrap())
    }
}

fn text(value: &str) -> Vec<u8> {
    let mut out = Vec::new();
    write_str(&mut out, value);
    out
}

fn number(value: i64) -> Vec<u8> {
    let mut out = Vec::new();
    write_signed(&mut out, value);
    out
}

fn result(value: &[u8]) -> Reply {
    Reply::Result(Bytes::copy_from_slice(value))
}

const NIL: [u8; 1] = [0xc0];
const FALSE: [u8; 1] = [0xc2];
const TRUE: [u8; 1] = [0xc3];

#[test]
fn what_is_settled_already_never_comes_to_the_service() {
    let mut store = Replica::of(Arc::new(KeyValue::new()));
    let before = store.digest();
    // As a command of the application it would be refused: it is none.
    store.submit(CommandKind::Settled, Bytes::from_static(b"the result"));
    assert_eq!(store.reply(), "the result");
    store.submit(CommandKind::Settled, Bytes::new());
    assert_eq!(store.reply(), "");
    assert_eq!(store.digest(), before);
}

#[test]
fn a_key_value_store_keeps_what_is_put() {
    let mut store = Replica::of(Arc::new(KeyValue::new()));
    let key = text("a");
    assert_eq!(store.call("get", &[&key]), result(&NIL));
    assert_eq!(store.call("put", &[&key, &text("1")]), result(&NIL));
    assert_eq!(store.call("get", &[&key]), result(&text("1")));
    assert_eq!(store.call("cas", &[&key, &text("2"), &text("3")]), result(&FALSE));
    assert_eq!(store.call("cas", &[&key, &text("1"), &text("3")]), result(&TRUE));
    assert_eq!(store.call("get", &[&key]), result(&text("3")));
    assert_eq!(store.call("delete", &[&key]), result(&TRUE));
    assert_eq!(store.call("delete", &[&key]), result(&FALSE));
    assert_eq!(store.call("cas", &[&key, &NIL, &text("4")]), result(&TRUE));
}

#[test]
fn a_key_value_store_adds() {
    let mut store = Replica::of(Arc::new(KeyValue::new()));
    assert_eq!(store.call("add", &[&text("n"), &number(40)]), result(&NIL));
    assert_eq!(store.call("add", &[&text("n"), &number(-50)]), result(&NIL));
    assert_eq!(store.call("get", &[&text("n")]), result(&number(-10)));
    let failed = Reply::HandlerFailed { exception: "TypeError".into() };
    assert_eq!(store.call("add", &[&text("n"), &text("x")]), failed);
    store.call("put", &[&text("s"), &text("x")]);
    assert_eq!(store.call("add", &[&text("s"), &number(1)]), failed);
    assert_eq!(store.call("get", &[&text("s")]), result(&text("x")));
}

#[test]
fn a_key_value_store_refuses_what_it_does_not_know() {
    let mut store = Replica::of(Arc::new(KeyValue::new()));
    assert!(matches!(store.call("pop", &[&text("a")]), Reply::Refused { code: 2, .. }));
    assert!(matches!(store.call("get", &[]), Reply::Refused { code: 3, .. }));
    assert!(matches!(store.call("get", &[&[0x80]]), Reply::Refused { code: 4, .. }));
}

#[test]
fn stores_of_equal_content_have_equal_digests() {
    let (mut one, mut other) = (Replica::of(Arc::new(KeyValue::new())), Replica::of(Arc::new(KeyValue::new())));
    one.call("put", &[&text("a"), &number(1)]);
    one.call("put", &[&text("b"), &number(2)]);
    other.call("put", &[&text("b"), &number(2)]);
    assert_ne!(one.digest(), other.digest());
    other.call("add", &[&text("a"), &number(1)]);
    assert_eq!(one.digest(), other.digest());
}

#[test]
fn a_counter_counts() {
    let mut counter = Replica::of(Arc::new(Counter::new()));
    let before = counter.digest();
    assert_eq!(counter.call("increment", &[&number(5)]), result(&number(5)));
    assert_eq!(counter.call("increment", &[&number(-7)]), result(&number(-2)));
    assert_eq!(counter.call("value", &[]), result(&number(-2)));
    assert_eq!(counter.call("increment", &[&NIL]), Reply::HandlerFailed { exception: "TypeError".into() });
    assert_ne!(counter.digest(), before);
}

#[test]
fn the_null_service_answers_with_as_many_bytes_as_it_was_told() {
    let mut null = Replica::of(Arc::new(Null::new(3)));
    null.submit(CommandKind::Application, Bytes::from_static(b"anything"));
    assert_eq!(Reply::decode(&null.reply()), Ok(result(&[0xc4, 3, 0, 0, 0])));
    null.executor.shutdown(Pending::Execute);
}
