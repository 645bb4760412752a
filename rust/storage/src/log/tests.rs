//! The log on disks that fail.

mod crashes;
mod damage;
mod full_disk;

use std::sync::Arc;

use pssmr_types::{ClusterId, ReplicaId};

use super::*;
use crate::faults::{Fault, FaultyDisk, Loss};

const CLUSTER: ClusterId = ClusterId([1; 16]);
const SMALL: LogOptions = LogOptions { segment_bytes: 2048, buffer_bytes_max: 1 << 20 };

/// A process that has the data directory and the log open.
struct Process {
    log: Log,
    recovery: Recovery,
    replayed: Vec<Vec<u8>>,
}

impl Process {
    /// What was replayed are records of the workload, at their indexes.
    fn assert_genuine(&self) {
        for (index, found) in (self.recovery.first_index..).zip(&self.replayed) {
            assert_eq!(*found, record(index), "record {index}");
        }
        assert_eq!(self.recovery.next_index, self.recovery.first_index + self.replayed.len() as u64);
        assert_eq!(self.log.next_index(), self.recovery.next_index);
    }
}

fn try_open_of(disk: &FaultyDisk, cluster: ClusterId, replica: u16) -> Result<Process, StorageError> {
    let directory = DataDirectory::open_on(Arc::new(disk.clone()), "/data", cluster, ReplicaId(replica))?;
    let mut replayed: Vec<Vec<u8>> = Vec::new();
    let mut first = None;
    let (log, recovery) = Log::open(&directory, SMALL, &mut |index, record| {
        assert_eq!(index, *first.get_or_insert(index) + replayed.len() as u64, "indexes ascend by one");
        replayed.push(record.to_vec());
    })?;
    if let Some(first) = first {
        assert_eq!(first, recovery.first_index);
    }
    Ok(Process { log, recovery, replayed })
}

fn try_open(disk: &FaultyDisk) -> Result<Process, StorageError> {
    try_open_of(disk, CLUSTER, 0)
}

fn open(disk: &FaultyDisk) -> Process {
    try_open(disk).unwrap()
}

/// A record that tells its index, of a length that depends on it, without a sector of zeros.
fn record(index: u64) -> Vec<u8> {
    let length = [0, 5, 63, 200, 700, 64][index as usize % 6];
    let mut record = vec![(index % 255) as u8 + 1; length];
    record.extend_from_slice(&index.to_le_bytes());
    record
}

fn append(log: &mut Log, count: u64) -> Result<(), StorageError> {
    for _ in 0..count {
        log.append(&record(log.next_index()))?;
    }
    Ok(())
}

/// Group commit of so many records.
fn commit(log: &mut Log, count: u64) -> Result<(), StorageError> {
    append(log, count)?;
    log.write()?;
    log.sync()
}

fn path(number: u64) -> PathBuf {
    PathBuf::from("/data/log").join(file_name(number))
}

/// The log's files and what is in them.
fn files(disk: &FaultyDisk) -> Vec<(PathBuf, Vec<u8>)> {
    let inside = disk.files().into_iter().filter(|path| path.starts_with("/data/log"));
    inside.map(|path| (path.clone(), disk.contents(&path).unwrap())).collect()
}

#[test]
fn what_is_synced_is_replayed_in_order_over_segments() {
    let disk = FaultyDisk::new();
    let mut process = open(&disk);
    assert!(process.log.is_empty());
    for group in 1..10 {
        commit(&mut process.log, group).unwrap();
    }
    assert!(files(&disk).len() > 2, "the records take several segments");
    assert!(!process.log.is_empty());
    drop(process);
    disk.power_on(Loss::Everything);
    let process = open(&disk);
    process.assert_genuine();
    let expected = Recovery { first_index: 0, next_index: 45, is_new: false, torn_bytes: None, damage: None };
    assert_eq!(process.recovery, expected);
}

#[test]
fn a_log_that_is_gone_is_told_from_one_that_goes_on() {
    let disk = FaultyDisk::new();
    assert!(open(&disk).recovery.is_new);
    assert!(!open(&disk).recovery.is_new, "it is there, though nothing is in it");
    disk.flip(&path(2), 3, 1);
    assert!(!open(&disk).recovery.is_new, "it is there, though it is set aside");
    for (path, _) in files(&disk) {
        disk.lose(&path);
    }
    assert!(open(&disk).recovery.is_new);
}

#[test]
fn a_record_in_parts_is_one_record() {
    let disk = FaultyDisk::new();
    let mut process = open(&disk);
    process.log.append_parts(&[b"a", b"", b"bcd"]).unwrap();
    process.log.write().unwrap();
    process.log.sync().unwrap();
    drop(process);
    assert_eq!(open(&disk).replayed, [b"abcd"]);
}

#[test]
fn a_group_takes_one_write_and_one_sync_and_a_mark() {
    let disk = FaultyDisk::new();
    let mut process = open(&disk);
    let before = disk.operations();
    append(&mut process.log, 3).unwrap();
    assert_eq!(disk.operations(), before);
    process.log.write().unwrap();
    assert_eq!(disk.operations(), before + 1);
    process.log.sync().unwrap();
    assert_eq!(disk.operations(), before + 3);
    process.log.write().unwrap();
    process.log.sync().unwrap();
    assert_eq!(disk.operations(), before + 3, "nothing new, nothing to do");
}

#[test]
fn a_sync_covers_what_was_written_and_not_what_was_only_appended() {
    let disk = FaultyDisk::new();
    let mut log = open(&disk).log;
    append(&mut log, 1).unwrap();
    log.write().unwrap();
    append(&mut log, 1).unwrap();
    log.sync().unwrap();
    assert_eq!(log.synced_index(), 1);
    log.write().unwrap();
    log.sync().unwrap();
    assert_eq!(log.synced_index(), 2);
    drop(log);
    disk.power_on(Loss::Everything);
    let process = open(&disk);
    process.assert_genuine();
    assert_eq!(process.recovery.next_index, 2);
}

#[test]
fn a_record_larger_than_a_segment_has_one_of_its_own() {
    let disk = FaultyDisk::new();
    let mut process = open(&disk);
    commit(&mut process.log, 1).unwrap();
    process.log.append(&[7; 10_000]).unwrap();
    process.log.write().unwrap();
    process.log.sync().unwrap();
    process.log.append(b"next").unwrap();
    process.log.write().unwrap();
    process.log.sync().unwrap();
    drop(process);
    let replayed = open(&disk).replayed;
    assert_eq!((replayed.len(), replayed[1].len(), &replayed[2][..]), (3, 10_000, &b"next"[..]));
}

#[test]
fn what_is_too_large_is_refused_before_it_is_copied() {
    let disk = FaultyDisk::new();
    let mut process = open(&disk);
    let part = vec![1; 1 << 20];
    let refused = process.log.append_parts(&[&part[..]; 129]);
    assert!(matches!(refused, Err(StorageError::RecordTooLarge { limit: RECORD_BYTES_MAX, .. })));
    process.log.append(&part).unwrap();
    assert!(matches!(process.log.append(&part), Err(StorageError::BufferFull { .. })));
    process.log.write().unwrap();
    assert_eq!(process.log.append(&part).unwrap(), 1);
}

#[test]
fn segments_before_an_index_are_deleted_and_a_checkpoint_can_begin_one() {
    let disk = FaultyDisk::new();
    let mut process = open(&disk);
    for _ in 0..12 {
        commit(&mut process.log, 2).unwrap();
    }
    let count = files(&disk).len();
    process.log.remove_before(1).unwrap();
    assert_eq!(files(&disk).len(), count, "no whole segment is below 1");
    process.log.roll().unwrap();
    process.log.remove_before(24).unwrap();
    assert_eq!((process.log.first_index(), files(&disk).len()), (24, 1));
    assert!(process.log.is_empty());
    commit(&mut process.log, 1).unwrap();
    drop(process);
    disk.power_on(Loss::Everything);
    let process = open(&disk);
    process.assert_genuine();
    assert_eq!((process.recovery.first_index, process.recovery.next_index), (24, 25));
}

#[test]
fn rolling_an_empty_segment_does_nothing() {
    let disk = FaultyDisk::new();
    let mut process = open(&disk);
    let before = disk.operations();
    process.log.roll().unwrap();
    assert_eq!(disk.operations(), before);
}

#[test]
fn restarts_without_records_leave_no_segments_behind() {
    let disk = FaultyDisk::new();
    commit(&mut open(&disk).log, 3).unwrap();
    let mut used = 0;
    for restart in 0..10 {
        drop(open(&disk));
        if restart == 1 {
            used = disk.used();
        }
    }
    assert_eq!(disk.used(), used);
    open(&disk).assert_genuine();
}

#[test]
fn another_replicas_or_clusters_log_is_refused_and_left_as_it_is() {
    let disk = FaultyDisk::new();
    commit(&mut open(&disk).log, 3).unwrap();
    for (cluster, replica) in [(CLUSTER, 1), (ClusterId([2; 16]), 0)] {
        let other = FaultyDisk::new();
        drop(try_open_of(&other, cluster, replica).unwrap());
        for (path, bytes) in files(&disk) {
            other.set_contents(&path, &bytes);
        }
        let before = files(&other);
        let refused = try_open_of(&other, cluster, replica).map(|process| process.recovery);
        assert!(
            matches!(refused, Err(StorageError::OtherReplica { .. } | StorageError::OtherCluster { .. })),
            "{refused:?}"
        );
        assert_eq!(files(&other), before);
    }
}

#[test]
fn on_the_systems_disk_it_is_the_same() {
    let root = tempfile::tempdir().unwrap();
    let open = |replayed: &mut Vec<Vec<u8>>| {
        let directory = DataDirectory::open(root.path(), CLUSTER, ReplicaId(0)).unwrap();
        Log::open(&directory, SMALL, &mut |_, record| replayed.push(record.to_vec())).unwrap()
    };
    let mut replayed = Vec::new();
    let (mut log, _) = open(&mut replayed);
    for group in 1..6 {
        commit(&mut log, group).unwrap();
    }
    log.roll().unwrap();
    log.remove_before(10).unwrap();
    commit(&mut log, 2).unwrap();
    append(&mut log, 1).unwrap();
    log.write().unwrap();
    let first = log.first_index();
    assert!(first > 0);
    drop(log);
    let (log, recovery) = open(&mut replayed);
    assert_eq!(replayed, (first..18).map(record).collect::<Vec<_>>());
    assert_eq!(
        recovery,
        Recovery { first_index: first, next_index: 18, is_new: false, torn_bytes: None, damage: None }
    );
    drop(log);
    let refused = DataDirectory::open(root.path(), CLUSTER, ReplicaId(1));
    assert!(matches!(refused, Err(StorageError::OtherReplica { .. })));
}
