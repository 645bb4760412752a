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
}

/// Replays what is on disk into `thread`, and makes a new promise.
pub(crate) fn recall(
    directory: &DataDirectory,
    durability: Durability,
    thread: &mut OrderingThread,
) -> Result<Files, StartError> {
    let (mut promises, promise) = PromiseFile::open(directory)?;
    let boot = boot_id();
    let bound = promise.map(|promise| Promise { view: promise.view, slot_limit: promise.slot_limit });
    let mut is_whole = durability == Durability::Sync || promise.is_some_and(|promise| promise.boot == boot);
    let log = if durability == Durability::Memory {
        is_whole = false;
        None
    } else {
        let (log, is_damaged) = replay(directory, thread)?;
        is_whole &= !is_damaged;
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
    promises.write(&pssmr_storage::Promise { view: promise.view, slot_limit: promise.slot_limit, boot })?;
    Ok(Files { log, promises })
}

/// Replays the log. Whether it is damaged, beside it.
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
    Ok((log, recovery.damage.is_some()))
}
