//! What the Rust crates log, on its way to Python's `logging`: through a bounded queue that one Python thread empties,
//! so that no other thread needs the interpreter to log.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::OnceLock;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use parking_lot::{Condvar, Mutex};
use pyo3::prelude::*;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};

/// Most records that wait. More are counted, not kept.
const RECORDS_MAX: usize = 4096;

/// The crates whose records are forwarded.
const TARGET_PREFIX: &str = "pssmr";

static QUEUE: OnceLock<Queue> = OnceLock::new();

/// A record for Python: level, logger, message, and its other fields.
type Line = (u8, String, String, Vec<(&'static str, String)>);

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Records>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Records {
    kept: VecDeque<Line>,
    dropped: u64,
    ended: bool,
}

struct Forwarder;

/// The level above which nothing is kept: a place in [`LEVELS`].
static LEVEL: AtomicUsize = AtomicUsize::new(0);

const LEVELS: [LevelFilter; 6] = [
    LevelFilter::OFF,
    LevelFilter::ERROR,
    LevelFilter::WARN,
    LevelFilter::INFO,
    LevelFilter::DEBUG,
    LevelFilter::TRACE,
];

/// Begins to keep records of this level of `logging` and above, for `next_logs`. Returns whether it does: not if some
/// other Rust code of this process takes them already.
#[pyfunction]
pub(crate) fn forward_logs(level: u8) -> bool {
    QUEUE.get_or_init(Queue::default);
    LEVEL.store(place_of(level), Relaxed);
    tracing::subscriber::set_global_default(Forwarder).is_ok()
}

/// From now on records of this level of `logging` and above are kept.
#[pyfunction]
pub(crate) fn set_log_level(level: u8) {
    LEVEL.store(place_of(level), Relaxed);
    // What a place in the code found out about its level holds no more.
    tracing::callsite::rebuild_interest_cache();
}

fn place_of(level: u8) -> usize {
    5 - usize::from(level / 10).min(5)
}

fn level() -> LevelFilter {
    LEVELS[LEVEL.load(Relaxed)]
}

/// Waits for records, and returns them: level, logger, message, and its other fields by name. None after the end.
#[pyfunction]
pub(crate) fn next_logs(py: Python<'_>) -> Option<Vec<Line>> {
    let queue = QUEUE.get()?;
    py.detach(|| {
        let mut waiting = queue.waiting.lock();
        while waiting.kept.is_empty() && !waiting.ended {
            queue.changed.wait(&mut waiting);
        }
        if waiting.kept.is_empty() {
            return None;
        }
        let mut lines: Vec<_> = waiting.kept.drain(..).collect();
        let dropped = std::mem::take(&mut waiting.dropped);
        if dropped > 0 {
            let message = "records were dropped: too many at once".to_owned();
            lines.push((30, "pssmr".to_owned(), message, vec![("count", dropped.to_string())]));
        }
        Some(lines)
    })
}

/// Ends `next_logs`, once it has returned what there is.
#[pyfunction]
pub(crate) fn end_logs() {
    if let Some(queue) = QUEUE.get() {
        queue.waiting.lock().ended = true;
        queue.changed.notify_all();
    }
}

impl Subscriber for Forwarder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= level() && metadata.target().starts_with(TARGET_PREFIX)
    }

    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(level())
    }

    fn event(&self, event: &Event<'_>) {
        let Some(queue) = QUEUE.get() else { return };
        let mut text = Text::default();
        event.record(&mut text);
        let metadata = event.metadata();
        let target = metadata.target().split("::").next().unwrap_or_default().replace('_', ".");
        let mut waiting = queue.waiting.lock();
        if waiting.kept.len() < RECORDS_MAX {
            waiting.kept.push_back((level_of(*metadata.level()), target, text.message, text.fields));
            queue.changed.notify_one();
        } else {
            waiting.dropped += 1;
        }
    }

    // The crates use no spans.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn level_of(level: Level) -> u8 {
    match level {
        Level::ERROR => 40,
        Level::WARN => 30,
        Level::INFO => 20,
        Level::DEBUG => 10,
        Level::TRACE => 5,
    }
}

/// A record's message, and its other fields as text.
#[derive(Default)]
struct Text {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, format!("{value:?}"));
    }
}

impl Text {
    fn put(&mut self, field: &Field, value: String) {
        if field.name() == "message" {
            self.message = value;
        } else {
            self.fields.push((field.name(), value));
        }
    }
}
