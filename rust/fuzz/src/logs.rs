//! A log on a disk that fails: what a replay hands out was appended, and what was synced is there or reported lost.

use std::path::PathBuf;
use std::sync::Arc;

use pssmr_storage::faults::{Fault, FaultyDisk, Loss};
use pssmr_storage::{DataDirectory, Log, LogOptions, Recovery, StorageError};
use pssmr_types::{ClusterId, ReplicaId};

use crate::choices::Choices;

const STEPS_MAX: usize = 60;
const OPTIONS: LogOptions = LogOptions { segment_bytes: 3000, buffer_bytes_max: 1 << 20 };

/// One replica's log, through processes and power cuts.
struct Story {
    disk: FaultyDisk,
    /// What was appended, by index.
    appended: Vec<Vec<u8>>,
    /// So many of it were synced.
    synced: u64,
    /// Something was changed on the disk that no crash changes.
    is_corrupt: bool,
    /// The fault drawn last may still come.
    has_fault: bool,
}

/// A log, written and read back on a disk that fails and rots as the input says.
pub fn log(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let disk = FaultyDisk::new();
    let mut story = Story { disk, appended: Vec::new(), synced: 0, is_corrupt: false, has_fault: false };
    let Some(mut log) = story.open() else { return };
    for _ in 0..STEPS_MAX {
        if choices.is_over() {
            break;
        }
        let done = match choices.below(12) {
            0..=2 => {
                let record = vec![choices.byte(); 3 * choices.below(256)];
                let appended = log.append(&record);
                if let Ok(index) = appended {
                    assert_eq!(index, story.appended.len() as u64, "indexes follow on each other");
                    story.appended.push(record);
                }
                appended.map(drop)
            }
            3 => log.write(),
            4 | 5 => log.write().and_then(|()| log.sync()),
            6 => log.roll(),
            7 => log.remove_before(choices.number().min(story.synced)),
            8 => {
                story.draw_fault(&mut choices);
                Ok(())
            }
            ending => {
                story.synced = story.synced.max(log.synced_index());
                drop(log);
                if !story.end_process(ending, &mut choices) {
                    return;
                }
                let Some(again) = story.open() else { return };
                log = again;
                Ok(())
            }
        };
        story.synced = story.synced.max(log.synced_index());
        if matches!(done, Err(StorageError::SyncFailed { .. } | StorageError::Io { .. })) {
            drop(log);
            story.disk.kill();
            let Some(again) = story.open() else { return };
            log = again;
        }
    }
    drop(log);
    story.disk.kill();
    story.open();
}

impl Story {
    fn draw_fault(&mut self, choices: &mut Choices<'_>) {
        let fault = match choices.below(6) {
            0 => Fault::Io,
            1 => Fault::DoneButFailed,
            2 => Fault::NoSpace,
            3 => Fault::Short(choices.below(256)),
            4 => Fault::Misdirected(64 * choices.below(256) as u64),
            _ => Fault::Lost,
        };
        self.is_corrupt |= matches!(fault, Fault::Misdirected(_) | Fault::Lost);
        self.has_fault = true;
        self.disk.fail_at(self.disk.operations() + choices.below(8) as u64, fault);
    }

    /// The process ends, and what it left on the disk may change. False if there is nothing left to open.
    fn end_process(&mut self, ending: usize, choices: &mut Choices<'_>) -> bool {
        match ending {
            9 => self.disk.kill(),
            10 => self.disk.power_on(match choices.below(4) {
                0 => Loss::Everything,
                1 => Loss::Nothing,
                _ => Loss::Some { seed: choices.number() },
            }),
            _ => {
                self.disk.kill();
                let segments: Vec<PathBuf> = self.disk.files().into_iter().filter(|path| is_segment(path)).collect();
                if segments.is_empty() {
                    return false;
                }
                let path = &segments[choices.below(segments.len())];
                let mut bytes = self.disk.contents(path).expect("it is among the files");
                if bytes.is_empty() {
                    return false;
                }
                let at = choices.number() as usize % bytes.len();
                match choices.below(4) {
                    0 => bytes.truncate(at),
                    1 => {
                        let with = choices.bytes(64);
                        let end = (at + with.len()).min(bytes.len());
                        bytes[at..end].copy_from_slice(&with[..end - at]);
                    }
                    _ => bytes[at] ^= choices.byte(),
                }
                self.disk.set_contents(path, &bytes);
                self.is_corrupt = true;
            }
        }
        true
    }

    /// A process begins with what is on the disk. None if it can't, which only faults excuse, or if damage is reported.
    fn open(&mut self) -> Option<Log> {
        let mut replayed = Vec::new();
        let opened = self.try_open(&mut replayed);
        let (log, recovery) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                assert!(self.is_corrupt || self.has_fault, "nothing was wrong with the disk: {error}");
                // What stood in the way is over.
                self.disk.heal();
                self.disk.kill();
                self.has_fault = false;
                replayed.clear();
                match self.try_open(&mut replayed) {
                    Ok(opened) => opened,
                    Err(error) => {
                        assert!(self.is_corrupt, "nothing is wrong with the disk: {error}");
                        return None;
                    }
                }
            }
        };
        let next = recovery.first_index + replayed.len() as u64;
        assert_eq!(next, recovery.next_index, "the replay is what the recovery says");
        for (index, (said, record)) in (recovery.first_index..).zip(&replayed) {
            assert_eq!(*said, index, "records come in order");
            assert_eq!(Some(record), self.appended.get(index as usize), "record {index} is not what was appended");
        }
        if recovery.damage.is_some() {
            assert!(self.is_corrupt, "a crash is no damage: {:?}", recovery.damage);
            return None;
        }
        assert!(self.is_corrupt || next >= self.synced, "{next} of {} synced records are left", self.synced);
        if next < self.synced {
            // Rot of more than one place can hide what it did.
            return None;
        }
        self.appended.truncate(next as usize);
        self.synced = next;
        Some(log)
    }

    fn try_open(&self, replayed: &mut Vec<(u64, Vec<u8>)>) -> Result<(Log, Recovery), StorageError> {
        let disk = Arc::new(self.disk.clone());
        let directory = DataDirectory::open_on(disk, "/replica", ClusterId([3; 16]), ReplicaId(1))?;
        Log::open(&directory, OPTIONS, &mut |index, record| replayed.push((index, record.to_vec())))
    }
}

fn is_segment(path: &std::path::Path) -> bool {
    path.parent().is_some_and(|parent| parent.ends_with("log"))
}
