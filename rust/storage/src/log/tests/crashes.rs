//! The power goes, the process is killed, a sync fails: no record that was acknowledged is lost, and none of it is damage.

use super::*;

/// What a run of the workload got to.
#[derive(Default)]
struct Run {
    /// Records below are acknowledged: a sync returned.
    acknowledged: u64,
    /// Records below were appended.
    appended: u64,
    /// Records below were given up.
    given_up: u64,
}

/// Groups of several sizes, some written in pieces, some never synced, with new segments and deletions.
fn work(disk: &FaultyDisk, run: &mut Run) -> Result<(), StorageError> {
    let mut log = try_open(disk)?.log;
    for step in 0..8 {
        run.appended = log.next_index() + 1 + step % 4;
        append(&mut log, 1 + step % 4)?;
        log.write()?;
        if step % 3 == 1 {
            run.appended = log.next_index() + 2;
            append(&mut log, 2)?;
            log.write()?;
        }
        if step % 4 != 2 {
            log.sync()?;
            run.acknowledged = log.next_index();
        }
        if step == 5 {
            log.roll()?;
            run.acknowledged = log.next_index();
            run.given_up = log.next_index() - 3;
            log.remove_before(run.given_up)?;
        }
    }
    Ok(())
}

fn check(process: &Process, run: &Run, what: &str) {
    process.assert_genuine();
    let recovery = &process.recovery;
    assert_eq!(recovery.damage, None, "{what}");
    assert!(recovery.first_index <= run.given_up, "{what}: {recovery:?}");
    assert!((run.acknowledged..=run.appended).contains(&recovery.next_index), "{what}: {recovery:?}");
}

pub(super) fn losses() -> impl Iterator<Item = Loss> {
    [Loss::Everything, Loss::Nothing].into_iter().chain((0..6).map(|seed| Loss::Some { seed }))
}

#[test]
fn a_power_cut_at_any_operation_loses_nothing_acknowledged_and_is_not_damage() {
    for can_reserve in [true, false] {
        let mut torn = 0;
        for cut in 0.. {
            let disk = FaultyDisk::new();
            if !can_reserve {
                disk.stop_reserving();
            }
            disk.power_off_at(cut);
            let mut run = Run::default();
            if work(&disk, &mut run).is_ok() && !disk.is_off() {
                assert!(cut > 50, "the workload is of some length");
                break;
            }
            for loss in losses() {
                let disk = disk.fork();
                disk.power_on(loss);
                let mut process = open(&disk);
                check(&process, &run, &format!("cut at {cut}, {loss:?}"));
                torn += u32::from(process.recovery.torn_bytes.is_some());
                // What was replayed stays, and the log goes on.
                commit(&mut process.log, 2).unwrap();
                let next = process.log.next_index();
                disk.power_on(Loss::Everything);
                run_again(&disk, next);
            }
        }
        assert!(torn > 10, "the cuts tear records: {torn}");
    }
}

fn run_again(disk: &FaultyDisk, next: u64) {
    let process = open(disk);
    process.assert_genuine();
    assert_eq!((process.recovery.next_index, process.recovery.torn_bytes, process.recovery.damage), (next, None, None));
}

#[test]
fn a_power_cut_while_the_log_is_opened_changes_nothing() {
    let mut run = Run::default();
    let disk = FaultyDisk::new();
    disk.power_off_at(48);
    work(&disk, &mut run).unwrap_err();
    for loss in losses() {
        for cut in 0.. {
            let disk = disk.fork();
            disk.power_on(loss);
            disk.power_off_at(disk.operations() + cut);
            let opened = try_open(&disk).ok().map(|process| process.recovery.next_index);
            let was_cut = disk.is_off();
            for again in losses() {
                let disk = disk.fork();
                disk.power_on(again);
                let process = open(&disk);
                check(&process, &run, &format!("cut at {cut} of the opening, {loss:?}, {again:?}"));
                if let Some(next) = opened {
                    assert_eq!(process.recovery.next_index, next, "what an opening replayed is durable");
                }
            }
            if !was_cut {
                break;
            }
        }
    }
}

#[test]
fn what_a_killed_process_wrote_is_durable_once_it_was_replayed() {
    let disk = FaultyDisk::new();
    let mut process = open(&disk);
    commit(&mut process.log, 3).unwrap();
    append(&mut process.log, 4).unwrap();
    process.log.write().unwrap();
    disk.kill();
    assert_eq!(open(&disk).recovery.next_index, 7);
    disk.power_on(Loss::Everything);
    assert_eq!(open(&disk).recovery.next_index, 7);
}

#[test]
fn after_a_failed_sync_every_call_fails_the_same() {
    let disk = FaultyDisk::new();
    let mut log = open(&disk).log;
    commit(&mut log, 2).unwrap();
    append(&mut log, 1).unwrap();
    log.write().unwrap();
    disk.fail_at(disk.operations(), Fault::Io);
    let results = [
        log.sync(),
        log.sync(),
        log.write(),
        log.roll(),
        log.remove_before(1),
        log.append(b"").map(|_| ()),
        log.damage_repaired(),
    ];
    for result in results {
        let Err(StorageError::SyncFailed { path, source }) = result else { panic!("{result:?}") };
        assert_eq!((path, source.raw_os_error()), (super::path(1), Some(5)));
    }
}

/// The system shows what a failed sync should have written, and thinks that it is on the disk.
#[test]
fn what_a_failed_sync_left_in_the_cache_is_not_relied_on() {
    let disk = FaultyDisk::new();
    let mut log = open(&disk).log;
    commit(&mut log, 1).unwrap();
    append(&mut log, 2).unwrap();
    log.write().unwrap();
    disk.fail_at(disk.operations(), Fault::Io);
    log.sync().unwrap_err();
    disk.kill();
    let found = open(&disk).recovery;
    assert_eq!((found.next_index, found.damage), (3, None));
    disk.power_on(Loss::Everything);
    let process = open(&disk);
    process.assert_genuine();
    assert_eq!(process.recovery.next_index, 3, "what was replayed is durable");
}

#[test]
fn a_sync_that_fails_at_any_operation_is_never_reported_as_a_success() {
    for at in 0.. {
        let disk = FaultyDisk::new();
        disk.fail_at(at, Fault::Io);
        let mut run = Run::default();
        let worked = work(&disk, &mut run);
        if worked.is_ok() && disk.operations() <= at {
            break;
        }
        for loss in losses() {
            let disk = disk.fork();
            disk.power_on(loss);
            check(&open(&disk), &run, &format!("fault at {at}, {loss:?}"));
        }
    }
}

/// Whatever is done and reported as failed: a caller that goes on until the log is dead loses nothing.
#[test]
fn what_was_done_and_reported_as_failed_is_not_relied_on() {
    let mut operations = 0;
    for at in 0..160 {
        let disk = FaultyDisk::new();
        drop(open(&disk));
        let first = disk.operations() + at;
        disk.fail_at(first, Fault::DoneButFailed);
        let mut log = (0..2).find_map(|_| try_open(&disk).ok()).expect("the fault passes").log;
        for step in 0..12 {
            if append(&mut log, 1 + step % 4).and_then(|()| log.write()).and_then(|()| log.sync()).is_err() {
                // Whether it goes on or fails the same: nothing that it acknowledges later may be lost.
                let _ = log.write().and_then(|()| log.sync());
            }
            if step % 3 == 1 {
                let _ = log.roll();
                let _ = log.remove_before(9);
                let _ = log.remove_before(9);
            }
        }
        let synced = log.synced_index();
        drop(log);
        operations = disk.operations().max(operations);
        disk.heal();
        for loss in [Loss::Everything, Loss::Nothing] {
            let disk = disk.fork();
            disk.power_on(loss);
            let process = open(&disk);
            process.assert_genuine();
            let recovery = &process.recovery;
            assert_eq!(recovery.damage, None, "fault at {at}");
            assert!(recovery.next_index >= synced && recovery.first_index <= 9, "fault at {at}: {recovery:?}");
        }
    }
    assert!((80..160).contains(&operations), "faults at all operations: {operations}");
}

#[test]
fn a_new_segment_that_may_have_its_name_ends_the_log_in_the_old_one() {
    for at in 0..8 {
        let disk = FaultyDisk::new();
        let mut log = open(&disk).log;
        commit(&mut log, 1).unwrap();
        disk.fail_at(disk.operations() + at, Fault::DoneButFailed);
        let rolled = log.roll();
        let went_on = commit(&mut log, 1);
        assert!(rolled.is_err() || went_on.is_ok());
        let synced = log.synced_index();
        disk.kill();
        let process = open(&disk);
        process.assert_genuine();
        assert!(process.recovery.next_index >= synced, "fault at {at}: {rolled:?}, {went_on:?}");
    }
}
