//! A simulated disk: what is given to it reaches it late, and a crash takes what has not.

use std::collections::BTreeMap;

use bytes::Bytes;
use pssmr_ordering::{CoreSnapshot, Durability, Promise, Record};
use pssmr_types::{Certificate, Digest, Slot, View};

use super::service::Service;
use crate::random::Random;

/// How a host goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The process is killed: what was written stays.
    Kill,
    /// The machine loses power: what was synced stays, and some of what was only written.
    PowerCut,
    /// The disk is gone.
    DiskLoss,
}

/// The state after a slot.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) core: Bytes,
    pub(super) service: Service,
    pub(super) replies: Bytes,
}

impl Snapshot {
    /// The digest of all of it.
    pub(super) fn root(&self) -> Digest {
        let service = format!("{:?}", self.service);
        Digest::of("pssmr simulated snapshot 1", &[&self.core, &self.replies, service.as_bytes()].concat())
    }

    /// Ordering's part.
    pub(super) fn core(&self) -> CoreSnapshot {
        CoreSnapshot::decode(self.core.clone()).expect("it was encoded by a core")
    }
}

/// One host's disk. Records are kept encoded, and counted since the disk was new.
#[derive(Debug)]
pub(super) struct Disk {
    records: Vec<Vec<u8>>,
    /// The number of the first of them: those before were removed.
    first: usize,
    /// How many are kept for sure: written or synced, as the durability asks.
    kept: usize,
    /// How many there were at the last start.
    at_start: usize,
    /// How many are on their way.
    under_way: Option<usize>,
    /// The promise that is on disk, and the one on its way.
    promise: Promise,
    next_promise: Option<Promise>,
    pub(super) snapshots: BTreeMap<Slot, Snapshot>,
    /// The proof of the last stable one.
    pub(super) certificate: Option<Certificate>,
}

impl Default for Disk {
    fn default() -> Self {
        let promise = Promise { view: View(0), slot_limit: Slot(0) };
        Self {
            records: Vec::new(),
            first: 0,
            kept: 0,
            at_start: 0,
            under_way: None,
            promise,
            next_promise: None,
            snapshots: BTreeMap::new(),
            certificate: None,
        }
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

    fn end(&self) -> usize {
        self.first + self.records.len()
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

    /// Whether the replica never promised anything, so that it has never voted; or its disk was lost.
    pub(super) fn has_no_promise(&self) -> bool {
        self.promise == Self::default().promise
    }

    /// What the replica may have promised.
    pub(super) fn last_promise(&self) -> Promise {
        self.promise
    }

    fn begin(&mut self) -> bool {
        let begins = self.under_way.is_none() && self.end() > self.kept;
        if begins {
            self.under_way = Some(self.end());
        }
        begins
    }

    /// The write under way has ended. The number of records kept since the start, and whether another write begins.
    pub(super) fn done(&mut self) -> (u64, bool) {
        self.kept = self.under_way.take().expect("a write is under way");
        self.remove_superseded();
        ((self.kept - self.at_start) as u64, self.begin())
    }

    /// The checkpoint is stable.
    pub(super) fn stable(&mut self, certificate: Certificate) {
        self.certificate = Some(certificate);
        self.remove_superseded();
    }

    /// What the last stable checkpoint makes superfluous goes, once all that takes its place is kept.
    fn remove_superseded(&mut self) {
        let Some(slot) = self.certificate.as_ref().map(|certificate| certificate.checkpoint.slot) else { return };
        let is_image = |bytes: &Vec<u8>| matches!(decode(bytes), Record::Image(image) if image.slot == slot);
        let Some(index) = self.records.iter().position(is_image) else { return };
        let Record::Image(image) = decode(&self.records[index]) else { unreachable!("it was one just now") };
        // One that a crash has torn is of no use.
        let follow = image.follow() as usize;
        let whole = self.records[index + 1..].iter().take(follow).filter(|r| matches!(decode(r), Record::OfImage(_)));
        if whole.count() < follow || self.first + index + 1 + follow > self.kept {
            return;
        }
        self.records.drain(..index);
        self.first += index;
        self.snapshots.retain(|of, _| *of >= slot);
    }

    /// The host goes down.
    pub(super) fn stop(&mut self, how: Stop, durability: Durability, random: &mut Random) {
        if how == Stop::DiskLoss {
            *self = Self::default();
            return;
        }
        // Of a write under way, some may have got there. A kill in the middle of a sync loses nothing of what is written.
        let most = match how {
            Stop::Kill if durability == Durability::Sync => self.under_way.unwrap_or(self.kept),
            _ => self.end(),
        };
        let keep = random.between(self.kept as u64, most.max(self.kept) as u64) as usize;
        self.records.truncate(keep - self.first);
        if let Some(promise) = self.next_promise.take().filter(|_| random.chance(1, 2)) {
            self.promise = promise;
        }
        (self.kept, self.at_start, self.under_way) = (keep, keep, None);
        if durability == Durability::Memory {
            self.snapshots.clear();
            self.certificate = None;
        }
    }

    /// What is in the log.
    pub(super) fn records(&self) -> Vec<Record> {
        self.records.iter().map(|bytes| decode(bytes)).collect()
    }
}

fn decode(bytes: &[u8]) -> Record {
    Record::decode(bytes.to_vec().into()).expect("it was encoded here")
}
