//! Snapshots on disks that fail.

use std::io::{Read, Write};

use bytes::Bytes;
use pssmr_types::{ClusterId, DecodeError, Digest, ReplicaId};

use super::*;
use crate::faults::{Fault, FaultyDisk, Loss};

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

fn path(slot: u64) -> PathBuf {
    Path::new("/data/snapshots").join(snapshot_name(Slot(slot)))
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

#[test]
fn snapshots_are_listed_newest_first_and_removed_by_slot() {
    let disk = FaultyDisk::new();
    let snapshots = open(&disk);
    for slot in [5, 20, 3, 1, 2, 100] {
        take(&snapshots, slot, &state(1));
    }
    assert_eq!(snapshots.list().unwrap(), [100, 20, 5, 3, 2, 1].map(Slot));
    snapshots.remove(Slot(100)).unwrap();
    snapshots.remove(Slot(77)).unwrap();
    snapshots.remove_before(Slot(5), &[Slot(2)]).unwrap();
    assert_eq!(snapshots.list().unwrap(), [20, 5, 2].map(Slot));
    assert!(matches!(snapshots.open_snapshot(Slot(3)), Err(StorageError::NoSnapshot { slot: Slot(3) })));
}

#[test]
fn equal_states_have_equal_roots_and_others_do_not() {
    let disk = FaultyDisk::new();
    let snapshots = open(&disk);
    let root = take(&snapshots, 5, &state(3)).root();
    assert_eq!(take(&snapshots, 5, &state(3)).root(), root);
    assert_ne!(take(&snapshots, 6, &state(3)).root(), root);
    assert_ne!(take(&snapshots, 5, &state(3)[1..]).root(), root);
}

#[test]
fn every_flipped_byte_is_harmless_or_an_error_and_never_another_state() {
    let whole = FaultyDisk::new();
    take(&open(&whole), 7, &state(2));
    let length = whole.contents(&path(7)).unwrap().len();
    let mut noticed = 0;
    for offset in (0..length).filter(|offset| *offset < 200 || *offset > 4000) {
        let disk = whole.fork();
        disk.flip(&path(7), offset, 1 << (offset % 8));
        match open(&disk).open_snapshot(Slot(7)) {
            Err(StorageError::Damaged { path: named, .. }) if named == path(7) => noticed += 1,
            Err(error) => panic!("byte {offset}: {error}"),
            Ok(snapshot) => match read_all(&snapshot) {
                Ok(read) => assert_eq!(read, state(2), "byte {offset}"),
                Err(error) => {
                    let error = error.downcast::<StorageError>().unwrap();
                    let chunk = (offset as u32 - 4096) / 1024;
                    assert!(
                        matches!(&error, StorageError::ChunkDamaged { path: named, chunk: number }
                            if *named == path(7) && *number == chunk),
                        "byte {offset}: {error}"
                    );
                    noticed += 1;
                }
            },
        }
    }
    assert!(noticed > 2000);
}

#[test]
fn a_file_cut_off_anywhere_is_not_a_snapshot() {
    let whole = FaultyDisk::new();
    take(&open(&whole), 7, &state(2));
    let bytes = whole.contents(&path(7)).unwrap();
    for length in (0..bytes.len()).step_by(13) {
        let disk = whole.fork();
        disk.set_contents(&path(7), &bytes[..length]);
        assert!(matches!(open(&disk).open_snapshot(Slot(7)), Err(StorageError::Damaged { .. })), "{length}");
    }
}

#[test]
fn an_unreadable_sector_is_the_damage_of_its_chunk() {
    let disk = FaultyDisk::new();
    take(&open(&disk), 7, &state(3));
    disk.make_unreadable(&path(7), 4096 + 1024 + 600);
    let snapshot = open(&disk).open_snapshot(Slot(7)).unwrap();
    assert!(matches!(snapshot.read_chunk(1), Err(StorageError::ChunkDamaged { chunk: 1, .. })));
    assert_eq!(snapshot.read_chunk(0).unwrap(), &state(3)[..1024]);
    assert_eq!(snapshot.read_chunk(3).unwrap(), &state(3)[3 * 1024..]);
    assert!(matches!(snapshot.read_chunk(4), Err(StorageError::ChunkDamaged { chunk: 4, .. })));
}

#[test]
fn another_slots_or_clusters_snapshot_is_refused() {
    let disk = FaultyDisk::new();
    take(&open(&disk), 7, &state(1));
    let bytes = disk.contents(&path(7)).unwrap();
    disk.set_contents(&path(8), &bytes);
    assert!(matches!(open(&disk).open_snapshot(Slot(8)), Err(StorageError::Damaged { .. })));
    let other = FaultyDisk::new();
    drop(open_of(&other, 2));
    other.set_contents(&path(7), &bytes);
    let refused = open_of(&other, 2).open_snapshot(Slot(7));
    assert!(matches!(refused, Err(StorageError::OtherCluster { found: ClusterId([1, ..]), .. })));
}

#[test]
fn a_power_cut_at_any_operation_leaves_whole_snapshots() {
    for seed in 0..4 {
        for cut in 0.. {
            let disk = FaultyDisk::new();
            let snapshots = open(&disk);
            disk.power_off_at(disk.operations() + cut);
            let mut finished = Vec::new();
            let mut certified = false;
            let mut work = || -> Result<(), StorageError> {
                for slot in [1, 2] {
                    let mut writer = snapshots.begin(Slot(slot))?;
                    if writer.write_all(&state(3)).is_err() {
                        return Ok(());
                    }
                    writer.finish()?;
                    finished.push(Slot(slot));
                }
                snapshots.open_snapshot(Slot(2))?.set_certificate(b"certified")?;
                certified = true;
                snapshots.remove_before(Slot(2), &[])
            };
            let _ = work();
            let was_cut = disk.is_off();
            disk.power_on(Loss::Some { seed });
            let snapshots = open(&disk);
            let listed = snapshots.list().unwrap();
            if finished.contains(&Slot(2)) {
                assert!(listed.contains(&Slot(2)), "cut at {cut}");
            } else if finished.contains(&Slot(1)) {
                assert!(listed.contains(&Slot(1)), "cut at {cut}");
            }
            for slot in listed {
                let snapshot = snapshots.open_snapshot(slot).unwrap();
                assert_eq!(read_all(&snapshot).unwrap(), state(3), "cut at {cut}");
                let certificate = snapshot.certificate().unwrap();
                assert!(certificate.is_none() || certificate.as_deref() == Some(b"certified"));
                assert!(!certified || slot != Slot(2) || certificate.is_some(), "cut at {cut}");
            }
            if !was_cut {
                break;
            }
        }
    }
}

#[test]
fn a_full_disk_interrupts_a_writer_and_does_not_end_it() {
    let disk = FaultyDisk::new();
    let snapshots = open(&disk);
    let mut writer = snapshots.begin(Slot(1)).unwrap();
    disk.set_capacity(Some(disk.used() + 2500));
    let state = state(6);
    let mut written = 0;
    let refused = loop {
        match writer.write(&state[written..]) {
            Ok(length) => written += length,
            Err(error) => break error,
        }
    };
    assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
    disk.set_capacity(None);
    writer.write_all(&state[written..]).unwrap();
    writer.finish().unwrap();
    assert_eq!(read_all(&snapshots.open_snapshot(Slot(1)).unwrap()).unwrap(), state);
}

#[test]
fn a_snapshot_that_cannot_be_made_durable_is_none() {
    let disk = FaultyDisk::new();
    let snapshots = open(&disk);
    let mut writer = snapshots.begin(Slot(1)).unwrap();
    writer.write_all(&state(1)).unwrap();
    // The last chunk, the manifest, the sync.
    disk.fail_at(disk.operations() + 2, Fault::Io);
    assert!(matches!(writer.finish(), Err(StorageError::SyncFailed { .. })));
    assert_eq!(snapshots.list().unwrap(), []);
}

#[test]
fn a_certificate_is_kept_with_the_state_that_it_was_given_for() {
    let disk = FaultyDisk::new();
    let snapshots = open(&disk);
    take(&snapshots, 1, &state(2));
    let snapshot = snapshots.open_snapshot(Slot(1)).unwrap();
    assert_eq!(snapshot.certificate().unwrap(), None);
    snapshot.set_certificate(b"first").unwrap();
    snapshot.set_certificate(b"second").unwrap();
    disk.power_on(Loss::Everything);
    drop(snapshots);
    let snapshots = open(&disk);
    let certificate = snapshots.open_snapshot(Slot(1)).unwrap().certificate().unwrap();
    assert_eq!(certificate.as_deref(), Some(&b"second"[..]));
    take(&snapshots, 1, &state(3));
    assert_eq!(snapshots.open_snapshot(Slot(1)).unwrap().certificate().unwrap(), None);
    snapshots.remove(Slot(1)).unwrap();
    take(&snapshots, 1, &state(2));
    assert_eq!(snapshots.open_snapshot(Slot(1)).unwrap().certificate().unwrap(), None);
}

#[test]
fn a_damaged_certificate_is_an_error() {
    let disk = FaultyDisk::new();
    let snapshots = open(&disk);
    take(&snapshots, 1, &state(1));
    let snapshot = snapshots.open_snapshot(Slot(1)).unwrap();
    snapshot.set_certificate(b"certified").unwrap();
    let file = Path::new("/data/snapshots").join(certificate_name(Slot(1)));
    for offset in 0..disk.contents(&file).unwrap().len() {
        disk.flip(&file, offset, 4);
        assert!(matches!(snapshot.certificate(), Err(StorageError::Damaged { .. })), "byte {offset}");
        disk.flip(&file, offset, 4);
    }
    let refused = snapshot.set_certificate(&vec![0; (1 << 20) + 1]);
    assert!(matches!(refused, Err(StorageError::RecordTooLarge { .. })));
}

/// A manifest and its chunks, as a peer has them.
fn at_peer(slot: u64, chunks: usize) -> (Manifest, Vec<Bytes>) {
    let disk = FaultyDisk::new();
    let snapshots = open(&disk);
    let manifest = take(&snapshots, slot, &state(chunks));
    let snapshot = snapshots.open_snapshot(Slot(slot)).unwrap();
    (manifest.clone(), (0..manifest.count()).map(|chunk| snapshot.read_chunk(chunk).unwrap()).collect())
}

#[test]
fn a_download_takes_chunks_in_any_order_and_gives_the_peers_snapshot() {
    let (manifest, chunks) = at_peer(9, 6);
    let disk = FaultyDisk::new();
    let snapshots = open(&disk);
    let mut download = snapshots.begin_download(manifest.clone()).unwrap();
    for chunk in [3, 6, 0, 5, 3, 1, 4] {
        download.put_chunk(chunk, &chunks[chunk as usize]).unwrap();
    }
    assert_eq!((download.missing().collect::<Vec<_>>(), download.missing_count()), (vec![2], 1));
    download.put_chunk(2, &chunks[2]).unwrap();
    assert_eq!(snapshots.list().unwrap(), []);
    assert_eq!(download.finish().unwrap(), manifest);
    drop(snapshots);
    disk.power_on(Loss::Everything);
    let snapshot = open(&disk).open_snapshot(Slot(9)).unwrap();
    assert_eq!((snapshot.manifest().root(), read_all(&snapshot).unwrap()), (manifest.root(), state(6)));
}

#[test]
fn a_wrong_chunk_is_refused_and_an_incomplete_download_is_no_snapshot() {
    let (manifest, chunks) = at_peer(9, 2);
    let disk = FaultyDisk::new();
    let snapshots = open(&disk);
    let mut download = snapshots.begin_download(manifest).unwrap();
    let wrong = [(0, &chunks[1][..]), (0, b""), (2, &chunks[2][..50]), (3, &chunks[2]), (u32::MAX, &chunks[0])];
    for (chunk, bytes) in wrong {
        let refused = download.put_chunk(chunk, bytes);
        assert!(matches!(refused, Err(StorageError::WrongChunk { chunk: number }) if number == chunk));
    }
    download.put_chunk(0, &chunks[0]).unwrap();
    assert!(matches!(download.finish(), Err(StorageError::Incomplete { missing: 2 })));
    assert_eq!(snapshots.list().unwrap(), []);
}

#[test]
fn a_download_goes_on_after_a_power_cut_with_what_is_whole() {
    let (manifest, chunks) = at_peer(9, 6);
    let mut kept = 0;
    for seed in 0..20 {
        let disk = FaultyDisk::new();
        let mut download = open(&disk).begin_download(manifest.clone()).unwrap();
        for chunk in [0, 2, 6] {
            download.put_chunk(chunk, &chunks[chunk as usize]).unwrap();
        }
        disk.power_on(Loss::Some { seed });
        let snapshots = open(&disk);
        let mut download = snapshots.begin_download(manifest.clone()).unwrap();
        kept += 7 - download.missing_count();
        let missing: Vec<_> = download.missing().collect();
        assert!([1, 3, 4, 5].iter().all(|chunk| missing.contains(chunk)));
        for chunk in missing {
            download.put_chunk(chunk, &chunks[chunk as usize]).unwrap();
        }
        download.finish().unwrap();
        assert_eq!(read_all(&snapshots.open_snapshot(Slot(9)).unwrap()).unwrap(), state(6), "seed {seed}");
    }
    assert!(kept > 0);
    // A process that is killed loses nothing.
    let disk = FaultyDisk::new();
    let mut download = open(&disk).begin_download(manifest.clone()).unwrap();
    download.put_chunk(2, &chunks[2]).unwrap();
    disk.kill();
    assert_eq!(open(&disk).begin_download(manifest).unwrap().missing_count(), 6);
}

#[test]
fn one_download_is_kept_and_it_goes_with_its_slot() {
    let disk = FaultyDisk::new();
    let snapshots = open(&disk);
    let (first, chunks) = at_peer(9, 1);
    let (second, _) = at_peer(12, 1);
    let mut download = snapshots.begin_download(first.clone()).unwrap();
    download.put_chunk(0, &chunks[0]).unwrap();
    drop(snapshots.begin_download(second.clone()).unwrap());
    assert_eq!(snapshots.begin_download(first).unwrap().missing_count(), 2, "the first was given up");
    drop(snapshots.begin_download(second).unwrap());
    let downloads = || disk.files().iter().filter(|path| path.to_string_lossy().ends_with(DOWNLOAD)).count();
    snapshots.remove_before(Slot(12), &[]).unwrap();
    assert_eq!(downloads(), 1);
    snapshots.remove_before(Slot(13), &[]).unwrap();
    assert_eq!(downloads(), 0);
}

#[test]
fn a_manifest_has_one_encoding_and_no_other_bytes_are_one() {
    let manifest = Manifest { slot: Slot(3), bytes: 2500, chunk_bytes: 1024, chunks: vec![Digest([7; 32]); 3] };
    let bytes = manifest.encode();
    assert_eq!(Manifest::decode(bytes.clone().into()).unwrap(), manifest);
    for length in 0..bytes.len() {
        assert!(Manifest::decode(Bytes::copy_from_slice(&bytes[..length])).is_err(), "{length}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert_eq!(Manifest::decode(longer.into()), Err(DecodeError::Trailing(1)));
    let mut endless = bytes[..24].to_vec();
    endless[20..24].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(Manifest::decode(endless.into()), Err(DecodeError::TooLarge { what: "chunks", .. })));
    for (size, chunk_bytes) in [(1024, 1024), (3073, 1024), (u64::MAX, 1024), (2500, 0), (2500, CHUNK_BYTES_MAX + 1)] {
        let wrong = Manifest { bytes: size, chunk_bytes, ..manifest.clone() };
        assert!(matches!(Manifest::decode(wrong.encode().into()), Err(DecodeError::Invalid(_))));
        let disk = FaultyDisk::new();
        assert!(matches!(open(&disk).begin_download(wrong), Err(StorageError::Manifest(_))));
    }
}
