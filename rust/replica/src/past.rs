//! What a replica knows of its past when it starts.

use pssmr_ordering::{Durability, Promise};
use pssmr_storage::{DataDirectory, Log, LogOptions, PromiseFile, boot_id};

use crate::error::StartError;
use crate::ordering::OrderingThread;

/// What a replica knows of its past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Past {
    /// It has none.
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
}

/// In a promise, in the place of the boot: the log beside it is synced before votes leave, so it lacks none, ever.
const SYNCED: [u8; 16] = [0; 16];

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
    let log = if durability == Durability::Memory {
        is_whole = false;
        None
    } else {
        let (log, lacks) = replay(directory, thread)?;
        is_whole &= !lacks;
        Some(log)
    };
    let has_run = promise.is_some() || directory.has_voted();
    let past = match has_run {
        false => Past::None,
        true if is_whole => Past::Remembered,
        true => Past::Forgotten(bound),
    };
    if let Past::Forgotten(bound) = past {
        tracing::warn!(
            ?bound,
            "this replica has voted before and may not remember how: it follows without voting until that is settled"
        );
    }
    let promise = thread.begin(past, bound);
    let has_forgotten = matches!(past, Past::Forgotten(_));
    let boot = if has_forgotten { FORGETS } else { kept_for(durability) };
    promises.write(&pssmr_storage::Promise { view: promise.view, slot_limit: promise.slot_limit, boot })?;
    Ok(Files { log, promises, has_forgotten })
}

/// Replays the log. Whether it lacks something, beside it: it is damaged, or not there.
fn replay(directory: &DataDirectory, thread: &mut OrderingThread) -> Result<(Log, bool), StartError> {
    let started = std::time::Instant::now();
    let mut failed = None;
    let (log, recovery) = Log::open(directory, LogOptions::default(), &mut |index, record| {
        if failed.is_none()
            && let Err(reason) = thread.replay(record)
        {
            failed = Some((index, reason));
        }
    })?;
    if let Some((index, reason)) = failed {
        return Err(StartError::Log { directory: directory.path().to_owned(), index, reason });
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
    Ok((log, recovery.damage.is_some() || recovery.is_new))
}
