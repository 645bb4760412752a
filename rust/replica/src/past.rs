//! What a replica knows of its past when it starts.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pssmr_ordering::{Durability, Promise, Record};
use pssmr_storage::{DataDirectory, Log, LogOptions, PromiseFile, boot_id};
use pssmr_types::{Slot, View};

use crate::error::StartError;
use crate::log::ImageAt;
use crate::ordering::{OrderingThread, RestoreFailure};

/// How often a long replay says how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

/// What a replica knows of its past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Past {
    /// It has none that it knows of: it has lost its directory, or is new. The others know.
    None,
    /// All that it has promised.
    Remembered,
    /// It may have promised what it does not remember: as far as this, if that is known.
    Forgotten(Option<Promise>),
}

/// What the log thread works on.
pub(crate) struct Files {
    pub(crate) log: Option<Log>,
    pub(crate) promises: PromiseFile,
    /// The replica has forgotten something: what is missing in the log no longer matters when it makes a promise again.
    pub(crate) has_forgotten: bool,
    /// The images in the log, ascending.
    pub(crate) images: VecDeque<ImageAt>,
}

/// In a promise, in the place of the boot: the log beside it is synced before votes leave, so it lacks none, ever.
pub(crate) const SYNCED: [u8; 16] = [0; 16];

/// In a promise, in the place of the boot: the log beside it, if there is one, does not have all votes.
const FORGETS: [u8; 16] = [0xff; 16];

/// What a promise says of the log beside it: for how long that has all votes.
pub(crate) fn kept_for(durability: Durability) -> [u8; 16] {
    match durability {
        Durability::Memory => FORGETS,
        Durability::Async => boot_id(),
        Durability::Sync => SYNCED,
    }
}

/// Replays what is on disk into `thread`, and makes a new promise.
pub(crate) fn recall(
    directory: &DataDirectory,
    durability: Durability,
    thread: &mut OrderingThread,
) -> Result<Files, StartError> {
    let (mut promises, promise) = PromiseFile::open(directory)?;
    let bound = promise.map(|promise| Promise { view: promise.view, slot_limit: promise.slot_limit });
    let mut is_whole = promise.is_some_and(|promise| promise.boot == SYNCED || promise.boot == boot_id());
    // One that never promised anything has never voted.
    let has_promised = promise.is_some_and(|promise| promise.view > View(0) || promise.slot_limit > Slot(0));
    let mut has_run = has_promised || directory.has_voted();
    let mut images = VecDeque::new();
    let log = if durability == Durability::Memory {
        is_whole = false;
        None
    } else {
        let replayed = replay(directory, thread)?;
        is_whole &= replayed.is_whole;
        // A log without the promise that is made before it: somebody has removed that.
        has_run |= replayed.has_records && promise.is_none();
        images = replayed.images;
        Some(replayed.log)
    };
    let past = if !has_run {
        Past::None
    } else if is_whole {
        Past::Remembered
    } else {
        Past::Forgotten(bound)
    };
    if past == Past::None {
        tracing::info!(
            "nothing in the data directory: the replica asks the others whether the cluster has begun, and then votes"
        );
    }
    if let Past::Forgotten(bound) = past {
        tracing::warn!(
            ?bound,
            "this replica has voted before and may not remember how: it follows without voting until that is settled"
        );
    }
    let promise = thread.begin(past, bound);
    let has_forgotten = past != Past::Remembered;
    let boot = if has_forgotten { FORGETS } else { kept_for(durability) };
    promises.write(&pssmr_storage::Promise { view: promise.view, slot_limit: promise.slot_limit, boot })?;
    Ok(Files { log, promises, has_forgotten, images })
}

/// A log that was replayed.
struct Replayed {
    log: Log,
    images: VecDeque<ImageAt>,
    /// It lacks nothing: it is not damaged, and there was one.
    is_whole: bool,
    has_records: bool,
}

fn replay(directory: &DataDirectory, thread: &mut OrderingThread) -> Result<Replayed, StartError> {
    let started = Instant::now();
    let mut told_at = started;
    let mut failed = None;
    let damaged = |index, reason| StartError::Log { directory: directory.path().to_owned(), index, reason };
    let mut lost = false;
    let mut images = Images::default();
    let mut begun = false;
    let (log, recovery) = Log::open(directory, LogOptions::default(), &mut |index, record| {
        if told_at.elapsed() >= PROGRESS_INTERVAL {
            told_at = Instant::now();
            tracing::info!(record = index, decided = %thread.decided(), "replaying the log");
        }
        if failed.is_some() || lost {
            return;
        }
        let record = match Record::decode(Bytes::copy_from_slice(record)) {
            Ok(record) => record,
            Err(error) => return failed = Some(damaged(index, error.to_string())),
        };
        images.see(index, &record);
        // A log that is cut off goes on from an image. Before it there may be what a crash left of the cutting, which is
        // done file by file.
        begun |= index == 0 || thread.can_begin_with(&record);
        if !begun {
            return;
        }
        match thread.replay(&record) {
            Ok(()) => {}
            Err(RestoreFailure::Lost(reason)) => {
                tracing::error!(
                    record = index,
                    reason,
                    "the log goes on from a snapshot that can't be read: what is lost comes back from the other replicas"
                );
                lost = true;
            }
            Err(RestoreFailure::Fatal(reason)) => failed = Some(damaged(index, reason)),
            Err(RestoreFailure::Version(error)) => failed = Some(error.into()),
        }
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    if !begun && recovery.next_index > recovery.first_index {
        tracing::error!(
            "the log goes on from snapshots that can't be read: what is lost comes back from the other replicas"
        );
        lost = true;
    }
    if let Some(bytes) = recovery.torn_bytes {
        tracing::info!(bytes, "cut off what a crash left at the end of the log; it was never acknowledged");
    }
    if let Some(damage) = &recovery.damage {
        tracing::error!(
            file = %damage.file.display(),
            offset = damage.offset,
            what = damage.what,
            "the log is damaged: what is lost comes back from the other replicas"
        );
    }
    if recovery.next_index > 0 {
        let records = recovery.next_index - recovery.first_index;
        let milliseconds = started.elapsed().as_millis() as u64;
        tracing::info!(records, decided = %thread.decided(), milliseconds, "replayed the log");
    }
    let is_whole = recovery.damage.is_none() && !recovery.is_new && !lost;
    Ok(Replayed { log, images: images.whole, is_whole, has_records: recovery.next_index > 0 })
}

/// Finds the images that are whole: what a crash has torn is of no use.
#[derive(Debug, Default)]
struct Images {
    whole: VecDeque<ImageAt>,
    torn: Option<ImageAt>,
}

impl Images {
    fn see(&mut self, index: u64, record: &Record) {
        match record {
            Record::Image(image) => {
                let end = index + 1 + u64::from(image.follow());
                self.torn = Some(ImageAt { slot: image.slot, first: index, end });
            }
            Record::OfImage(_) => {}
            _ => self.torn = None,
        }
        self.whole.extend(self.torn.take_if(|image| image.end == index + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pssmr_types::Batch;

    #[test]
    fn an_image_counts_when_all_of_it_is_there() {
        let mut images = Images::default();
        let of_image =
            || Record::OfImage(Box::new(Record::Slot { slot: Slot(6), proposed: false, batch: Batch::new(0, vec![]) }));
        let image = |slot, follow| {
            let mut bytes = vec![8];
            bytes.extend(u64::to_le_bytes(slot));
            // View 0, no base, no votes, no lock, an empty writeset, no handovers.
            bytes.extend([0; 8 + 1 + 2 + 1 + 4 + 4]);
            bytes.extend(u32::to_le_bytes(follow));
            Record::decode(bytes.into()).expect("an image")
        };
        let records =
            [image(5, 2), of_image(), Record::Cut(Slot(6)), of_image(), image(10, 1), of_image(), image(15, 0)];
        for (index, record) in (100..).zip(&records) {
            images.see(index, record);
        }
        let found: Vec<_> = images.whole.iter().map(|image| (image.slot.0, image.first, image.end)).collect();
        assert_eq!(found, [(10, 104, 106), (15, 106, 107)]);
    }
}
