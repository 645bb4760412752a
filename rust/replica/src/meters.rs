//! What the threads of a replica count for people, beside what they show in [`crate::state`]: additions that never wait,
//! and that nobody on the way of a vote reads.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use pssmr_execution::Histogram;

use crate::status::{HistogramStatus, LogStatus, SnapshotStatus};

/// Totals since the start.
#[derive(Debug, Default)]
pub(crate) struct Meters {
    /// From a request's arrival at this replica to its result there, in nanoseconds: of samples.
    pub(crate) request_ns: Histogram,
    /// Commands per decided slot.
    pub(crate) slot_commands: Histogram,
    pub(crate) log: LogMeters,
    pub(crate) snapshots: SnapshotMeters,
}

/// The snapshots written.
#[derive(Debug, Default)]
pub(crate) struct SnapshotMeters {
    begun: AtomicU64,
    written: AtomicU64,
    last_bytes: AtomicU64,
    last_ms: AtomicU64,
}

impl SnapshotMeters {
    /// One is going to be written.
    pub(crate) fn began(&self) {
        self.begun.fetch_add(1, Relaxed);
    }

    /// One of so many bytes took so long.
    pub(crate) fn wrote(&self, bytes: u64, duration: Duration) {
        self.written.fetch_add(1, Relaxed);
        self.last_bytes.store(bytes, Relaxed);
        self.last_ms.store(duration.as_millis() as u64, Relaxed);
    }

    /// How long writing the last one took.
    pub(crate) fn time_of_last(&self) -> Duration {
        Duration::from_millis(self.last_ms.load(Relaxed))
    }

    pub(crate) fn status(&self) -> SnapshotStatus {
        SnapshotStatus {
            begun: self.begun.load(Relaxed),
            written: self.written.load(Relaxed),
            last_bytes: self.last_bytes.load(Relaxed),
            last_ms: self.last_ms.load(Relaxed),
        }
    }
}

/// What the log does.
#[derive(Debug, Default)]
pub(crate) struct LogMeters {
    /// Bytes that ordering gave to the log.
    given_bytes: AtomicU64,
    /// Bytes of them that are written.
    written_bytes: AtomicU64,
    records: AtomicU64,
    group_records: Histogram,
    sync_ns: Histogram,
}

impl LogMeters {
    /// Ordering gave so much to the log.
    pub(crate) fn given(&self, bytes: usize) {
        self.given_bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// A group of records was written.
    pub(crate) fn wrote(&self, records: usize, bytes: usize) {
        self.records.fetch_add(records as u64, Relaxed);
        self.written_bytes.fetch_add(bytes as u64, Relaxed);
        self.group_records.add(records as u64);
    }

    /// A sync took so long.
    pub(crate) fn synced(&self, duration: Duration) {
        self.sync_ns.add_duration(duration);
    }

    pub(crate) fn status(&self) -> LogStatus {
        let written = self.written_bytes.load(Relaxed);
        LogStatus {
            records: self.records.load(Relaxed),
            bytes: written,
            queued_bytes: self.given_bytes.load(Relaxed).saturating_sub(written),
            group_records: HistogramStatus::of(&self.group_records.read()),
            sync_ns: HistogramStatus::of(&self.sync_ns.read()),
        }
    }
}
