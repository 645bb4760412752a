//! The log on disks that fail.

use std::sync::Arc;

use pssmr_types::{ClusterId, ReplicaId};

use super::*;
use crate::faults::{FaultyDisk, Loss};

const CLUSTER: ClusterId = ClusterId([1; 16]);
const SMALL: LogOptions = LogOptions { segment_bytes: 2048, buffer_bytes_max: 1 << 20 };

/// A process that has the data directory and the log open.
struct Process {
    log: Log,
    recovery: Recovery,
    replayed: Vec<Vec<u8>>,
}

fn try_open(disk: &FaultyDisk, replica: u16) -> Result<Process, StorageError> {
    let directory = DataDirectory::open_on(Arc::new(disk.clone()), "/data", CLUSTER, ReplicaId(replica))?;
    let mut replayed: Vec<Vec<u8>> = Vec::new();
    let mut first = None;
    let (log, recovery) = Log::open(&directory, SMALL, &mut |index, record| {
        assert_eq!(index, *first.get_or_insert(index) + replayed.len() as u64, "indexes ascend by one");
        replayed.push(record.to_vec());
    })?;
    Ok(Process { log, recovery, replayed })
}

fn open(disk: &FaultyDisk) -> Process {
    try_open(disk, 0).unwrap()
}

/// A record that tells its index, of a length that depends on it.
fn record(index: u64) -> Vec<u8> {
    let length = [0, 5, 63, 200, 700, 64][index as usize % 6];
    let mut record = vec![index as u8 + 1; length];
    record.extend_from_slice(&index.to_le_bytes());
    record
}

#[test]
fn what_is_synced_is_replayed_in_order_over_segments() {
    let disk = FaultyDisk::new();
    let mut process = open(&disk);
    for index in 0..40 {
        assert_eq!(process.log.append(&record(index)).unwrap(), index);
        if index % 3 == 0 {
            process.log.write().unwrap();
            process.log.sync().unwrap();
        }
    }
    drop(process);
    let process = open(&disk);
    assert_eq!(process.replayed, (0..40).map(record).collect::<Vec<_>>());
}

#[test]
fn what_was_never_synced_may_be_lost_and_the_log_goes_on() {
    for seed in 0..50 {
        let disk = FaultyDisk::new();
        let mut process = open(&disk);
        for index in 0..7 {
            process.log.append(&record(index)).unwrap();
            process.log.write().unwrap();
            if index == 3 {
                process.log.sync().unwrap();
            }
        }
        disk.power_on(Loss::Some { seed });
        let mut process = open(&disk);
        assert_eq!(process.recovery.damage, None);
        assert!((4..=7).contains(&process.recovery.next_index), "{:?}", process.recovery);
        let next = process.log.next_index();
        assert_eq!(process.replayed, (0..next).map(record).collect::<Vec<_>>());
        process.log.append(b"more").unwrap();
        process.log.write().unwrap();
        process.log.sync().unwrap();
        disk.power_on(Loss::Everything);
        assert_eq!(open(&disk).replayed.last().unwrap(), b"more");
    }
}
