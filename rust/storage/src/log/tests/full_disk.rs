//! The disk gets full, and there is room again.

use super::*;

/// Commits like the workload of a replica: what fails for want of space is tried again once.
fn commit_with_retry(log: &mut Log, count: u64, refused: &mut u32) {
    append(log, count).unwrap();
    for attempt in 0.. {
        match log.write().and_then(|()| log.sync()) {
            Ok(()) => return,
            Err(StorageError::NoSpace { .. }) if attempt == 0 => *refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn no_space_at_any_operation_loses_nothing_and_passes() {
    let mut refused_in_all = 0;
    let faults = [Fault::NoSpace, Fault::Short(1), Fault::Short(70), Fault::Short(600)];
    for (fault, can_reserve) in faults.into_iter().flat_map(|fault| [(fault, true), (fault, false)]) {
        for at in 0.. {
            let disk = FaultyDisk::new();
            if !can_reserve {
                disk.stop_reserving();
            }
            drop(DataDirectory::open_on(Arc::new(disk.clone()), "/data", CLUSTER, ReplicaId(0)).unwrap());
            let first = disk.operations() + at;
            disk.fail_at(first, fault);
            if matches!(fault, Fault::Short(_)) {
                disk.fail_at(first + 1, Fault::NoSpace);
            }
            let mut refused = 0;
            let mut log = (0..3).find_map(|_| try_open(&disk).ok()).expect("the faults pass").log;
            for step in 0..6 {
                append(&mut log, 1 + step).unwrap();
                let mut result = log.write().and_then(|()| log.sync());
                if matches!(result, Err(StorageError::NoSpace { .. })) {
                    refused += 1;
                    // In the middle of it the power may go: what is left of the write is not damage.
                    for loss in crashes::losses() {
                        let disk = disk.fork();
                        disk.power_on(loss);
                        let process = open(&disk);
                        process.assert_genuine();
                        assert_eq!(process.recovery.damage, None, "{fault:?} at {at}");
                        assert!(process.recovery.next_index >= log.synced_index());
                    }
                    result = log.write().and_then(|()| log.sync());
                }
                match result {
                    Ok(()) => assert_eq!(log.synced_index(), log.next_index()),
                    Err(StorageError::SyncFailed { .. }) => break,
                    Err(error) => panic!("{error}"),
                }
            }
            refused_in_all += refused;
            let synced = log.synced_index();
            let done = disk.operations() <= first;
            disk.heal();
            disk.power_on(Loss::Everything);
            let process = open(&disk);
            process.assert_genuine();
            assert_eq!(process.recovery.damage, None, "{fault:?} at {at}");
            assert_eq!(process.recovery.next_index, synced);
            if done {
                break;
            }
        }
    }
    assert!(refused_in_all > 20, "writes were refused: {refused_in_all}");
}

#[test]
fn a_full_disk_is_used_up_and_the_log_goes_on_when_there_is_room() {
    let disk = FaultyDisk::new();
    let mut log = open(&disk).log;
    disk.set_capacity(Some(disk.used() + 3000));
    let mut refused = 0;
    for _ in 0..100 {
        append(&mut log, 3).unwrap();
        match log.write().and_then(|()| log.sync()) {
            Ok(()) => assert_eq!(refused, 0),
            Err(StorageError::NoSpace { .. }) => refused += 1,
            Err(error) => panic!("{error}"),
        }
        // The log can still be read, but not opened: that takes a new segment.
        if refused == 1 {
            let disk = disk.fork();
            assert!(matches!(try_open(&disk).map(|process| process.recovery), Err(StorageError::NoSpace { .. })));
            disk.set_capacity(None);
            open(&disk).assert_genuine();
        }
    }
    assert!(refused > 50);
    disk.set_capacity(None);
    commit_with_retry(&mut log, 1, &mut refused);
    assert_eq!(log.synced_index(), 301);
    drop(log);
    let process = open(&disk);
    process.assert_genuine();
    assert_eq!((process.recovery.next_index, process.recovery.damage), (301, None));
}

#[test]
fn without_room_for_a_new_segment_the_old_one_grows() {
    let disk = FaultyDisk::new();
    let mut log = open(&disk).log;
    for _ in 0..4 {
        commit(&mut log, 1).unwrap();
    }
    disk.set_capacity(Some(disk.used() + 600));
    commit(&mut log, 1).unwrap();
    assert_eq!(log.sealed.len(), 0);
    assert!(matches!(log.roll(), Err(StorageError::NoSpace { .. })));
    disk.set_capacity(None);
    log.write().unwrap();
    assert_eq!(log.sealed.len(), 1);
}
