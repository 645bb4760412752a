use std::sync::Arc;

use super::*;
use crate::faults::{FaultyDisk, Loss};

fn directory(disk: &FaultyDisk, replica: u16) -> DataDirectory {
    DataDirectory::open_on(Arc::new(disk.clone()), "/data", ClusterId([1; 16]), ReplicaId(replica)).unwrap()
}

fn open(disk: &FaultyDisk) -> (PromiseFile, Option<Promise>) {
    PromiseFile::open(&directory(disk, 0)).unwrap()
}

fn promise(view: u64) -> Promise {
    Promise { view: View(view), slot_limit: Slot(view * 1000), boot: [view as u8; 16] }
}

/// A disk on which the promise of view 5 is the newest.
fn promised() -> FaultyDisk {
    let disk = FaultyDisk::new();
    let (mut file, _) = open(&disk);
    for view in 1..=5 {
        file.write(&promise(view)).unwrap();
    }
    drop(file);
    disk
}

fn path(name: &str) -> PathBuf {
    PathBuf::from("/data").join(name)
}

#[test]
fn a_new_directory_has_no_promise() {
    assert_eq!(open(&FaultyDisk::new()).1, None);
}

#[test]
fn what_was_promised_is_kept() {
    let disk = promised();
    disk.power_on(Loss::Everything);
    let (file, found) = open(&disk);
    assert_eq!((found, file.copies()), (Some(promise(5)), Copies::Whole));
}

#[test]
fn if_one_copy_rots_the_other_has_the_same_promise_and_restores_it() {
    for name in NAMES {
        for at in 0..BYTES {
            let disk = promised();
            disk.flip(&path(name), at, 0x40);
            let (file, found) = open(&disk);
            assert_eq!((found, file.copies()), (Some(promise(5)), Copies::OneRestored), "byte {at} of {name}");
            drop(file);
            assert_eq!(open(&disk).0.copies(), Copies::Whole);
        }
        let disk = promised();
        disk.lose(&path(name));
        assert_eq!(open(&disk).1, Some(promise(5)));
        let disk = promised();
        disk.make_unreadable(&path(name), 0);
        assert_eq!(PromiseFile::open(&directory(&disk, 0)).unwrap().1, Some(promise(5)));
    }
}

#[test]
fn if_neither_copy_is_whole_the_promise_is_not_taken_for_none() {
    for [rotten, other] in [NAMES, [NAMES[1], NAMES[0]]] {
        let disk = promised();
        disk.flip(&path(rotten), BYTES - 1, 1);
        let lost = disk.fork();
        lost.lose(&path(other));
        disk.flip(&path(other), 0, 1);
        for disk in [disk, lost] {
            assert!(matches!(PromiseFile::open(&directory(&disk, 0)), Err(StorageError::Damaged { .. })));
        }
    }
}

#[test]
fn another_replicas_promise_is_refused() {
    let disk = promised();
    let other = FaultyDisk::new();
    drop(directory(&other, 1));
    for name in NAMES {
        other.set_contents(&path(name), &disk.contents(&path(name)).unwrap());
    }
    let refused = PromiseFile::open(&directory(&other, 1));
    assert!(matches!(refused, Err(StorageError::OtherReplica { found: ReplicaId(0), .. })));
}

#[test]
fn at_every_moment_a_power_cut_leaves_the_last_promise_or_the_one_being_made() {
    for seed in 0..8 {
        for cut in 0.. {
            let disk = FaultyDisk::new();
            drop(directory(&disk, 0));
            disk.power_off_at(disk.operations() + cut);
            let mut made = 0;
            if let Ok((mut file, _)) = PromiseFile::open(&directory(&disk, 0)) {
                while made < 4 && file.write(&promise(made + 1)).is_ok() {
                    made += 1;
                }
            }
            let was_cut = disk.is_off();
            disk.power_on(Loss::Some { seed });
            let found = open(&disk).1.map_or(0, |found| {
                assert_eq!(found, promise(found.view.0));
                found.view.0
            });
            assert!(found == made || found == made + 1, "made {made}, found {found} after a cut at {cut}");
            // What one opening found, the next finds, whatever the system had not written yet.
            disk.power_on(Loss::Everything);
            assert_eq!(open(&disk).1.map_or(0, |found| found.view.0), found);
            if !was_cut {
                break;
            }
        }
    }
}

#[test]
fn after_a_failed_sync_nothing_more_is_promised() {
    let disk = promised();
    let (mut file, _) = open(&disk);
    disk.fail_at(disk.operations() + 1, crate::faults::Fault::Io);
    assert!(matches!(file.write(&promise(6)), Err(StorageError::Io { .. })));
    assert!(matches!(file.write(&promise(7)), Err(StorageError::Io { .. })));
}

#[test]
fn a_boot_has_one_id() {
    assert_eq!(boot_id(), boot_id());
    let id = parse_boot_id("0b6b4a0c-8d1e-4f5a-9c3b-2a1908f7e6d5\n").unwrap();
    assert_eq!((id[0], id[15]), (0x0b, 0xd5));
    assert_eq!(parse_boot_id("nonsense"), None);
}
