//! A simulated log: records reach it late, and a crash takes those that have not.

use pssmr_ordering::{Durability, Promise, Record};
use pssmr_types::{Slot, View};

use crate::random::Random;

/// How a host goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The process is killed: what was written stays.
    Kill,
    /// The machine loses power: what was synced stays, and some of what was only written.
    PowerCut,
}

/// One host's log. Records are kept encoded.
#[derive(Debug)]
pub(super) struct Disk {
    records: Vec<Vec<u8>>,
    /// How many of them are kept for sure: written or synced, as the durability asks.
    kept: usize,
    /// How many there were at the last start.
    at_start: usize,
    /// How many are on their way.
    under_way: Option<usize>,
    /// The promise that is on disk, and the one on its way.
    promise: Promise,
    next_promise: Option<Promise>,
}

impl Default for Disk {
    fn default() -> Self {
        let promise = Promise { view: View(0), slot_limit: Slot(0) };
        Self { records: Vec::new(), kept: 0, at_start: 0, under_way: None, promise, next_promise: None }
    }
}

impl Disk {
    /// Takes a record. True if a write has to begin.
    pub(super) fn append(&mut self, record: &Record) -> bool {
        let mut bytes = Vec::new();
        if let Some(batch) = record.encode(&mut bytes) {
            let batch = batch.clone();
            bytes.extend_from_slice(&batch);
        }
        self.records.push(bytes);
        self.begin()
    }

    /// Takes a promise. True if a write has to begin.
    pub(super) fn promise(&mut self, promise: Promise) -> bool {
        self.next_promise.replace(promise).is_none()
    }

    /// The promise on its way is on disk.
    pub(super) fn promised(&mut self) -> Promise {
        self.promise = self.next_promise.take().expect("a promise is under way");
        self.promise
    }

    /// What the replica may have promised.
    pub(super) fn last_promise(&self) -> Promise {
        self.promise
    }

    fn begin(&mut self) -> bool {
        let begins = self.under_way.is_none() && self.records.len() > self.kept;
        if begins {
            self.under_way = Some(self.records.len());
        }
        begins
    }

    /// The write under way has ended. The number of records kept since the start, and whether another write begins.
    pub(super) fn done(&mut self) -> (u64, bool) {
        self.kept = self.under_way.take().expect("a write is under way");
        ((self.kept - self.at_start) as u64, self.begin())
    }

    /// The host goes down.
    pub(super) fn stop(&mut self, how: Stop, durability: Durability, random: &mut Random) {
        // Of a write under way, some may have got there. A kill in the middle of a sync loses nothing of what is written.
        let most = match how {
            Stop::Kill if durability == Durability::Sync => self.under_way.unwrap_or(self.kept),
            _ => self.records.len(),
        };
        let keep = random.between(self.kept as u64, most.max(self.kept) as u64) as usize;
        self.records.truncate(keep);
        if let Some(promise) = self.next_promise.take().filter(|_| random.chance(1, 2)) {
            self.promise = promise;
        }
        (self.kept, self.at_start, self.under_way) = (keep, keep, None);
    }

    /// What is in the log.
    pub(super) fn records(&self) -> Vec<Record> {
        let decode = |bytes: &Vec<u8>| Record::decode(bytes.clone().into()).expect("it was encoded here");
        self.records.iter().map(decode).collect()
    }
}
