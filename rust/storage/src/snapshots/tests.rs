//! Snapshots on disks that fail.

use std::io::{Read, Write};

use pssmr_types::{ClusterId, ReplicaId};

use super::*;
use crate::faults::{FaultyDisk, Loss};

const OPTIONS: SnapshotOptions = SnapshotOptions { chunk_bytes: 1024 };

fn open(disk: &FaultyDisk) -> Snapshots {
    open_of(disk, 1)
}

fn open_of(disk: &FaultyDisk, cluster: u8) -> Snapshots {
    let directory =
        DataDirectory::open_on(Arc::new(disk.clone()), "/data", ClusterId([cluster; 16]), ReplicaId(0)).unwrap();
    Snapshots::open(&directory, OPTIONS).unwrap()
}

/// A state of some chunks and a bit.
fn state(chunks: usize) -> Vec<u8> {
    (0..chunks * 1024 + 100).map(|at| (at * 7 + at / 256) as u8).collect()
}

fn take(snapshots: &Snapshots, slot: u64, state: &[u8]) -> Manifest {
    let mut writer = snapshots.begin(Slot(slot)).unwrap();
    for piece in state.chunks(333) {
        writer.write_all(piece).unwrap();
    }
    writer.finish().unwrap()
}

fn read_all(snapshot: &Snapshot) -> io::Result<Vec<u8>> {
    let mut state = Vec::new();
    snapshot.reader().read_to_end(&mut state).map(|_| state)
}

#[test]
fn a_snapshot_reads_as_it_was_written_after_a_power_cut() {
    for length in [0, 1, 1023, 1024, 1025, 5000] {
        let disk = FaultyDisk::new();
        let snapshots = open(&disk);
        let manifest = take(&snapshots, 7, &state(8)[..length]);
        assert_eq!((manifest.bytes, manifest.chunks.len()), (length as u64, length.div_ceil(1024)));
        drop(snapshots);
        disk.power_on(Loss::Everything);
        let snapshot = open(&disk).open_snapshot(Slot(7)).unwrap();
        assert_eq!(snapshot.manifest(), &manifest);
        assert_eq!(read_all(&snapshot).unwrap(), &state(8)[..length]);
    }
}

#[test]
fn an_unfinished_writer_leaves_nothing() {
    let disk = FaultyDisk::new();
    let snapshots = open(&disk);
    let files = disk.files();
    let mut writer = snapshots.begin(Slot(1)).unwrap();
    writer.write_all(&state(3)).unwrap();
    drop(writer);
    assert_eq!(disk.files(), files);
    // And what a killed process leaves goes when the snapshots are opened.
    let mut writer = snapshots.begin(Slot(1)).unwrap();
    writer.write_all(&state(3)).unwrap();
    disk.kill();
    std::mem::forget(writer);
    drop(snapshots);
    assert_ne!(disk.files(), files);
    assert_eq!(open(&disk).list().unwrap(), []);
    assert_eq!(disk.files(), files);
}
