//! Operations of the disk fail: what was acknowledged stays, what failed is never read, and the log heals by itself.

use super::super::error::{AppendError, LogError};
use super::super::model::{Failure, ModelDisk};
use super::super::writer::Log;
use super::{append, append_numbered, groups, numbered, open, options, payload};

/// Does with a log whatever can be done with one. Returns what was acknowledged.
fn use_log(log: &mut Log<ModelDisk>) -> Vec<Vec<u8>> {
    let mut acknowledged = Vec::new();
    for attempt in 0..14_u64 {
        let size = if attempt == 9 { 9_000 } else { 1_000 };
        let bytes = payload(attempt, size);
        if let Ok(commit) = append(log, &bytes) {
            acknowledged.push(bytes);
            assert_eq!(commit, acknowledged.len() as u64);
        }
        let _ = log.prepare();
        if attempt == 6 {
            let _ = log.truncate_to(3);
        }
    }
    acknowledged
}

fn assert_holds(log: &Log<ModelDisk>, acknowledged: &[Vec<u8>], what: &str) {
    let oldest = log.figures().oldest;
    assert!(oldest <= 4, "{what}: groups are gone");
    let expected: Vec<_> = (1..).zip(acknowledged.iter().cloned()).skip(oldest as usize - 1).collect();
    assert_eq!(groups(log, oldest - 1), expected, "{what}");
}

#[test]
fn any_one_operation_may_fail() {
    let disk = ModelDisk::new(1);
    let (mut log, _) = open(&disk);
    disk.set_failure(None);
    assert_eq!(use_log(&mut log).len(), 14);
    let operations = disk.operations();
    assert!(operations > 40, "everything is used: {operations}");
    for seed in 0..8 {
        for at in 0..operations {
            let disk = ModelDisk::new(seed);
            let (mut log, _) = open(&disk);
            disk.set_failure(Some(Failure::Once(at)));
            let acknowledged = use_log(&mut log);
            let what = format!("seed {seed}, operation {at}");
            assert!(acknowledged.len() >= 13, "{what}: only the group in question fails");
            disk.set_failure(None);
            assert_holds(&log, &acknowledged, &what);
            drop(log);
            disk.crash(at);
            let (mut log, recovered) = open(&disk);
            assert_eq!(recovered.newest, acknowledged.len() as u64, "{what}");
            assert_holds(&log, &acknowledged, &what);
            append(&mut log, b"next").expect(&what);
        }
    }
}

#[test]
fn any_one_operation_may_fail_at_the_start() {
    for seed in 0..20 {
        for at in 0.. {
            let disk = ModelDisk::new(seed);
            let (mut log, _) = open(&disk);
            append_numbered(&mut log, 1..=5, 1_000);
            log.prepare().expect("the disk works");
            // A torn tail.
            disk.set_failure(Some(Failure::From(0)));
            append(&mut log, &payload(6, 1_000)).expect_err("the power is gone");
            drop(log);
            disk.crash(seed);
            disk.set_failure(Some(Failure::Once(at)));
            let failed = Log::open(disk.clone(), options(7)).map(|_| ());
            let was_reached = disk.operations() > at;
            disk.set_failure(None);
            match failed {
                Err(error) => assert!(matches!(error, LogError::Io { .. } | LogError::Append(_)), "{error}"),
                Ok(()) => assert!(!was_reached, "an operation failed, and nobody noticed"),
            }
            let (log, recovered) = open(&disk);
            let expected = numbered(recovered.newest, 1_000);
            assert!(expected.len() >= 5, "seed {seed}, operation {at}");
            assert_eq!(groups(&log, 0), expected, "seed {seed}, operation {at}");
            if !was_reached {
                break;
            }
        }
    }
}

#[test]
fn a_full_disk_refuses_until_there_is_space() {
    let disk = ModelDisk::new(1);
    let (mut log, _) = open(&disk);
    append_numbered(&mut log, 1..=3, 1_000);
    disk.set_failure(Some(Failure::Full));
    for attempt in 0..100 {
        let before = disk.operations();
        let error = append(&mut log, &payload(100 + attempt, 1_000)).expect_err("there is no space");
        assert!(matches!(error, AppendError::Full { .. }), "{error}");
        assert!(error.to_string().starts_with("the disk is full: cannot allocate model/spare.rrl: "), "{error}");
        assert!(disk.operations() - before <= 2, "an attempt is cheap");
        assert!(matches!(log.prepare(), Err(AppendError::Full { .. })));
    }
    assert_eq!(groups(&log, 0), numbered(3, 1_000), "reads go on");
    disk.set_failure(None);
    log.prepare().expect("there is space");
    append_numbered(&mut log, 4..=6, 1_000);
    drop(log);
    assert_eq!(groups(&open(&disk).0, 0), numbered(6, 1_000));
}

#[test]
fn a_write_that_failed_for_space_is_never_read() {
    for seed in 0..50 {
        let disk = ModelDisk::new(seed);
        let (mut log, _) = open(&disk);
        append_numbered(&mut log, 1..=1, 1_000);
        disk.set_failure(Some(Failure::Full));
        for attempt in 0..5 {
            append(&mut log, &payload(100 + attempt, 500)).expect_err("there is no space");
        }
        disk.set_failure(None);
        append_numbered(&mut log, 2..=2, 1_000);
        drop(log);
        disk.crash(seed);
        assert_eq!(groups(&open(&disk).0, 0), numbered(2, 1_000));
    }
}

#[test]
fn a_file_system_that_turns_read_only_is_named() {
    let disk = ModelDisk::new(1);
    let (mut log, _) = open(&disk);
    append_numbered(&mut log, 1..=1, 10);
    disk.set_failure(Some(Failure::ReadOnly));
    let error = append(&mut log, b"x").expect_err("it is read-only");
    assert!(matches!(error, AppendError::ReadOnly { .. }), "{error}");
    assert!(error.to_string().starts_with("the file system is read-only: cannot write model/log-"), "{error}");
    let error = log.prepare().expect_err("it is read-only");
    assert!(matches!(error, AppendError::ReadOnly { .. }), "{error}");
    assert_eq!(groups(&log, 0), numbered(1, 10), "reads go on");
    disk.set_failure(None);
    append_numbered(&mut log, 2..=2, 10);
    assert_eq!(groups(&log, 0), numbered(2, 10));
}

#[test]
fn groups_whose_sync_failed_are_never_read_after_a_later_one() {
    for seed in 0..200 {
        let disk = ModelDisk::new(seed);
        let (mut log, _) = open(&disk);
        append_numbered(&mut log, 1..=2, 100);
        disk.set_failure(Some(Failure::Syncs));
        for attempt in 0..4 {
            let error = append(&mut log, &payload(100 + attempt, 100)).expect_err("the sync fails");
            assert!(matches!(error, AppendError::Io { .. }), "{error}");
        }
        disk.set_failure(None);
        append_numbered(&mut log, 3..=4, 100);
        assert_eq!(groups(&log, 0), numbered(4, 100));
        drop(log);
        if seed % 2 == 0 {
            disk.crash(seed);
        }
        assert_eq!(groups(&open(&disk).0, 0), numbered(4, 100), "seed {seed}");
    }
}

#[test]
fn a_smaller_group_does_not_go_behind_an_end_that_a_next_segment_has_named() {
    for seed in 0..50 {
        let disk = ModelDisk::new(seed);
        let (mut log, _) = open(&disk);
        append_numbered(&mut log, 1..=3, 1_000);
        // Allocated, written, synced and renamed; the sync of the names fails.
        disk.set_failure(Some(Failure::Once(4)));
        let error = append(&mut log, &payload(4, 1_000)).expect_err("the sync fails").to_string();
        assert!(error.starts_with("cannot sync model/"), "{error}");
        disk.set_failure(None);
        append_numbered(&mut log, 4..=4, 10);
        drop(log);
        disk.crash(seed);
        let expected: Vec<_> = numbered(3, 1_000).into_iter().chain([(4, payload(4, 10))]).collect();
        assert_eq!(groups(&open(&disk).0, 0), expected);
    }
}

#[test]
fn what_a_killed_process_left_in_the_page_cache_is_durable_once_it_was_read() {
    let mut found = 0;
    for seed in 0..200 {
        let disk = ModelDisk::new(seed);
        let (mut log, _) = open(&disk);
        append_numbered(&mut log, 1..=1, 1_000);
        disk.set_failure(Some(Failure::Syncs));
        append(&mut log, &payload(2, 1_000)).expect_err("the sync fails");
        // The process is killed; the machine goes on.
        drop(log);
        disk.set_failure(None);
        let (log, recovered) = open(&disk);
        assert_eq!(recovered.newest, 2, "the group is in the page cache");
        drop(log);
        disk.crash(seed);
        let (log, _) = open(&disk);
        assert_eq!(groups(&log, 0), numbered(2, 1_000), "seed {seed}");
        found += 1;
    }
    assert_eq!(found, 200);
}
