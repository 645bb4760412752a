//! Disks that rot, lose, misdirect; operators that move files. Either nothing is lost or the damage is reported, and
//! nothing is deleted.

use super::*;

const RECORDS: u64 = 15;

/// A log of three segments, all synced, as a process left it that ended.
fn three_segments() -> FaultyDisk {
    three_segments_of(record)
}

fn three_segments_of(record: impl Fn(u64) -> Vec<u8>) -> FaultyDisk {
    let disk = FaultyDisk::new();
    let mut log = open(&disk).log;
    for records in [6, 6, 3] {
        for _ in 0..records {
            log.append(&record(log.next_index())).unwrap();
        }
        log.write().unwrap();
        log.sync().unwrap();
        if records == 6 {
            log.roll().unwrap();
        }
    }
    assert_eq!((files(&disk).len(), log.next_index()), (3, RECORDS));
    drop(log);
    disk
}

/// Opens a log with which something happened: all is there, or damage is reported and every file is kept.
fn assert_whole_or_damaged(disk: &FaultyDisk, what: &str) -> bool {
    let before = files(disk);
    let process = open(disk);
    process.assert_genuine();
    let Some(damage) = &process.recovery.damage else {
        assert_eq!((process.recovery.first_index, process.recovery.next_index), (0, RECORDS), "{what}");
        return false;
    };
    assert_eq!(damage.first_lost, process.recovery.next_index, "{what}");
    assert!(disk.contents(&damage.file).is_some(), "{what}: {damage:?}");
    let after = files(disk);
    for (path, bytes) in before {
        assert!(after.iter().any(|(_, kept)| *kept == bytes), "{what}: {} is gone", path.display());
    }
    true
}

#[test]
fn every_flipped_byte_is_harmless_or_reported() {
    let whole = three_segments();
    let mut reported = 0;
    for (path, bytes) in files(&whole) {
        for offset in 0..bytes.len() {
            let disk = whole.fork();
            disk.flip(&path, offset, 1 << (offset % 8));
            reported += u32::from(assert_whole_or_damaged(&disk, &format!("byte {offset} of {}", path.display())));
        }
    }
    assert!(reported > 3000, "most bytes matter: {reported}");
}

/// The mark of the last sync is lost, so only the kind of the break tells.
#[test]
fn rot_of_the_last_group_is_told_from_a_tear_even_without_a_mark() {
    let disk = FaultyDisk::new();
    let mut log = open(&disk).log;
    commit(&mut log, 2).unwrap();
    let from = log.active.end as usize;
    commit(&mut log, 3).unwrap();
    disk.power_on(Loss::Everything);
    let bytes = disk.contents(&path(1)).unwrap();
    let to = bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    let mut reported = 0;
    for offset in from..to {
        let disk = disk.fork();
        disk.flip(&path(1), offset, 1 << (offset % 8));
        let process = open(&disk);
        process.assert_genuine();
        assert!(process.recovery.damage.is_some() || process.recovery.next_index == 5, "byte {offset}");
        assert_eq!(process.recovery.torn_bytes, None, "byte {offset}");
        reported += usize::from(process.recovery.damage.is_some());
    }
    assert!(reported > (to - from) / 2);
}

/// A record of zeros looks as if sectors of it had never been written; only the mark tells.
#[test]
fn rot_of_a_record_of_zeros_is_told_from_a_tear_by_the_mark() {
    let disk = FaultyDisk::new();
    let mut log = open(&disk).log;
    log.append(&[0; 1200]).unwrap();
    log.write().unwrap();
    log.sync().unwrap();
    assert_eq!(log.sealed.len(), 0, "it is in the last segment");
    drop(log);
    disk.flip(&path(1), 1200, 1);
    assert!(open(&disk).recovery.damage.is_some());
}

#[test]
fn a_sector_that_has_become_zeros_is_reported_if_anything_is_lost() {
    let whole = three_segments();
    let mut reported = 0;
    for (path, bytes) in files(&whole) {
        for offset in (0..bytes.len()).step_by(512) {
            let disk = whole.fork();
            let mut bytes = bytes.clone();
            let end = (offset + 512).min(bytes.len());
            bytes[offset..end].fill(0);
            disk.set_contents(&path, &bytes);
            reported += u32::from(assert_whole_or_damaged(&disk, &format!("{offset} of {}", path.display())));
        }
    }
    assert!(reported > 10);
}

#[test]
fn a_file_cut_off_anywhere_is_reported_if_anything_is_lost() {
    let whole = three_segments();
    for (path, bytes) in files(&whole) {
        for length in (0..bytes.len()).step_by(7) {
            let disk = whole.fork();
            disk.set_contents(&path, &bytes[..length]);
            assert_whole_or_damaged(&disk, &format!("{} cut off at {length}", path.display()));
        }
    }
}

#[test]
fn a_lost_file_is_reported() {
    let whole = three_segments();
    for number in [2, 3] {
        let disk = whole.fork();
        disk.lose(&path(number));
        assert!(assert_whole_or_damaged(&disk, &format!("{number} lost")));
    }
    // The oldest is as if it had been deleted: whether that may be, the caller knows.
    let disk = whole.fork();
    disk.lose(&path(1));
    let process = open(&disk);
    process.assert_genuine();
    assert_eq!(process.recovery.first_index, 6);
}

#[test]
fn swapped_doubled_and_older_segments_are_reported() {
    let whole = three_segments();
    let content = |number| whole.contents(&path(number)).unwrap();
    for (a, b) in [(1, 2), (2, 3), (1, 3)] {
        let disk = whole.fork();
        disk.set_contents(&path(a), &content(b));
        disk.set_contents(&path(b), &content(a));
        assert!(assert_whole_or_damaged(&disk, &format!("{a} and {b} swapped")));
    }
    for (from, to) in [(1, 2), (2, 3), (3, 2), (1, 4), (3, 4)] {
        let disk = whole.fork();
        disk.set_contents(&path(to), &content(from));
        assert!(assert_whole_or_damaged(&disk, &format!("{from} copied to {to}")));
    }
    // A segment that the same replica wrote under the same number in another life.
    let disk = whole.fork();
    disk.set_contents(&path(2), &three_segments().contents(&path(2)).unwrap());
    assert!(!assert_whole_or_damaged(&disk, "another segment with the same records"));
}

#[test]
fn a_sector_of_an_older_life_of_the_file_does_not_pass() {
    let whole = three_segments();
    let older = three_segments_of(|index| record(index).into_iter().rev().collect());
    for number in 1..=3 {
        let stale = older.contents(&path(number)).unwrap();
        for sector in 0..stale.len() / 512 {
            let disk = whole.fork();
            let mut bytes = disk.contents(&path(number)).unwrap();
            let range = sector * 512..((sector + 1) * 512).min(bytes.len());
            if range.is_empty() {
                continue;
            }
            bytes[range.clone()].copy_from_slice(&stale[range]);
            disk.set_contents(&path(number), &bytes);
            assert_whole_or_damaged(&disk, &format!("sector {sector} of {number} is stale"));
        }
    }
}

#[test]
fn an_unreadable_sector_is_reported_or_holds_nothing() {
    let whole = three_segments();
    for (path, bytes) in files(&whole) {
        for offset in (0..bytes.len()).step_by(512) {
            let disk = whole.fork();
            disk.make_unreadable(&path, offset);
            let process = open(&disk);
            process.assert_genuine();
            assert!(process.recovery.damage.is_some() || process.recovery.next_index == RECORDS);
        }
    }
}

#[test]
fn a_write_that_is_lost_or_lands_elsewhere_is_reported() {
    for fault in [Fault::Lost, Fault::Misdirected(512), Fault::Misdirected(1024), Fault::Misdirected(64)] {
        for at in 0..40 {
            let disk = FaultyDisk::new();
            drop(open(&disk));
            disk.fail_at(disk.operations() + at, fault);
            let mut log = open(&disk).log;
            for _ in 0..8 {
                commit(&mut log, 2).unwrap();
            }
            let synced = log.synced_index();
            drop(log);
            let process = open(&disk);
            process.assert_genuine();
            assert!(
                process.recovery.damage.is_some() || process.recovery.next_index == synced,
                "{fault:?} at {at}: {:?}",
                process.recovery
            );
        }
    }
}

#[test]
fn damage_is_reported_until_it_is_repaired_and_the_log_goes_on_meanwhile() {
    let disk = three_segments();
    disk.flip(&path(2), 740, 1);
    let mut process = open(&disk);
    let damage = process.recovery.damage.clone().unwrap();
    assert_eq!(damage.file, path(2));
    assert!((6..12).contains(&damage.first_lost));
    commit(&mut process.log, 20).unwrap();
    drop(process);
    disk.power_on(Loss::Everything);
    let mut process = open(&disk);
    process.assert_genuine();
    assert_eq!(process.recovery.next_index, damage.first_lost + 20);
    assert_eq!(process.recovery.damage.as_ref(), Some(&damage));
    process.log.damage_repaired().unwrap();
    drop(process);
    disk.power_on(Loss::Everything);
    assert_eq!(open(&disk).recovery.damage, None);
}

#[test]
fn the_damaged_segment_is_kept_when_its_time_has_come() {
    let disk = three_segments();
    disk.flip(&path(1), 740, 1);
    let rotten = disk.contents(&path(1)).unwrap();
    let mut log = open(&disk).log;
    commit(&mut log, 10).unwrap();
    log.roll().unwrap();
    log.remove_before(log.next_index()).unwrap();
    drop(log);
    assert!(files(&disk).iter().any(|(path, bytes)| path.extension().unwrap() == "damaged" && *bytes == rotten));
    let recovery = open(&disk).recovery;
    assert!(recovery.first_index > 5);
    assert!(disk.contents(&recovery.damage.unwrap().file).is_some());
}

#[test]
fn a_power_cut_while_damage_is_set_aside_hides_nothing() {
    for (number, offset) in [(1, 740), (2, 740), (2, 70), (3, 70), (3, 600), (1, 3)] {
        let rotten = three_segments();
        rotten.flip(&path(number), offset, 1);
        let expected = {
            let disk = rotten.fork();
            let recovery = open(&disk).recovery;
            (recovery.next_index, recovery.damage.unwrap().first_lost)
        };
        for seed in 0..4 {
            for cut in 0.. {
                let disk = rotten.fork();
                disk.power_off_at(disk.operations() + cut);
                let _ = try_open(&disk);
                let was_cut = disk.is_off();
                disk.power_on(Loss::Some { seed });
                let process = open(&disk);
                process.assert_genuine();
                let damage = process.recovery.damage.clone().expect("the damage is still reported");
                assert_eq!((process.recovery.next_index, damage.first_lost), expected, "cut at {cut}");
                let kept = files(&disk).into_iter().filter(|(path, _)| path.to_string_lossy().contains("log")).count();
                assert!(kept > 3, "three segments and a new one are there");
                if !was_cut {
                    break;
                }
            }
        }
    }
}

#[test]
fn a_segment_from_a_newer_version_is_refused_and_left_as_it_is() {
    let disk = three_segments();
    let mut bytes = disk.contents(&path(3)).unwrap();
    bytes[..crate::preamble::BYTES].copy_from_slice(&crate::preamble::encode(*b"pssmrlog", 2));
    disk.set_contents(&path(3), &bytes);
    let before = files(&disk);
    let refused = try_open(&disk).map(|process| process.recovery);
    assert!(matches!(refused, Err(StorageError::Format { found: 2, expected: 1, .. })), "{refused:?}");
    assert_eq!(files(&disk), before);
}

#[test]
fn a_broken_note_of_damage_is_damage() {
    let disk = three_segments();
    disk.flip(&path(2), 740, 1);
    drop(open(&disk));
    let note = PathBuf::from("/data/log/damage");
    for offset in 0..disk.contents(&note).unwrap().len() {
        let disk = disk.fork();
        disk.flip(&note, offset, 1);
        assert!(open(&disk).recovery.damage.is_some(), "byte {offset}");
    }
}
