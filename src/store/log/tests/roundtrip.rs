//! What was appended is read again: in one segment and over several, of any length, and after segments are removed.

use std::io::IoSlice;

use super::super::check::check;
use super::super::error::{AppendError, LogError};
use super::super::model::ModelDisk;
use super::super::writer::{Log, Recovered};
use super::{append, append_numbered, groups, numbered, open, options, payload};
use crate::base::limits::LOG_GROUP_BYTES_MAX;

#[test]
fn groups_are_read_again_after_a_new_start() {
    let disk = ModelDisk::new(1);
    let (mut log, recovered) = open(&disk);
    assert_eq!(recovered, Recovered { oldest: 1, newest: 0, torn: None });
    assert_eq!(groups(&log, 0), []);
    append_numbered(&mut log, 1..=3, 100);
    assert_eq!(groups(&log, 0), numbered(3, 100));
    drop(log);
    let (mut log, recovered) = open(&disk);
    assert_eq!(recovered, Recovered { oldest: 1, newest: 3, torn: None });
    append_numbered(&mut log, 4..=5, 100);
    assert_eq!(groups(&log, 2), numbered(5, 100)[2..]);
    assert_eq!(groups(&log, 5), []);
    log.close().expect("the disk works");
    assert_eq!(groups(&open(&disk).0, 0), numbered(5, 100));
}

#[test]
fn a_group_of_parts_is_one_payload() {
    let disk = ModelDisk::new(1);
    let (mut log, _) = open(&disk);
    log.append(&[b"".as_slice(), b"ab", b"", b"c", b""].map(IoSlice::new)).expect("the disk works");
    log.append(&[]).expect("the disk works");
    drop(log);
    assert_eq!(groups(&open(&disk).0, 0), [(1, b"abc".to_vec()), (2, Vec::new())]);
}

#[test]
fn a_group_costs_one_write_and_one_sync() {
    let disk = ModelDisk::new(1);
    let (mut log, _) = open(&disk);
    append_numbered(&mut log, 1..=1, 100);
    disk.set_failure(None);
    log.append(&[b"a".as_slice(), b"b"].map(IoSlice::new)).expect("the disk works");
    assert_eq!(disk.operations(), 2);
}

#[test]
fn the_log_goes_on_in_further_segments() {
    let disk = ModelDisk::new(1);
    let (mut log, _) = open(&disk);
    append_numbered(&mut log, 1..=20, 1_000);
    // 4,096 bytes hold three groups of 1,024 bytes with a mark and a seal behind them.
    let expected: Vec<String> = [1, 4, 7, 10, 13, 16, 19].map(|first| format!("log-{first:020}.rrl")).to_vec();
    assert_eq!(disk.names(), expected);
    assert_eq!((log.figures().segments, log.figures().bytes), (7, 7 * 8_192));
    for after in 0..=20 {
        assert_eq!(groups(&log, after), numbered(20, 1_000)[after as usize..]);
    }
    drop(log);
    assert_eq!(groups(&open(&disk).0, 0), numbered(20, 1_000));
}

#[test]
fn the_next_segment_is_made_ahead() {
    let disk = ModelDisk::new(1);
    let (mut log, _) = open(&disk);
    log.prepare().expect("the disk works");
    assert_eq!(log.figures().bytes, 8_192, "an empty segment needs no next one yet");
    append_numbered(&mut log, 1..=3, 1_000);
    log.prepare().expect("the disk works");
    log.prepare().expect("the disk works");
    assert_eq!(disk.names(), ["log-00000000000000000001.rrl", "spare.rrl"]);
    assert_eq!(log.figures().bytes, 16_384);
    disk.set_failure(None);
    append_numbered(&mut log, 4..=4, 1_000);
    // Header, its sync, name, sync of names, seal, group, its sync: nothing is allocated.
    assert_eq!(disk.operations(), 7);
    assert_eq!(disk.names(), ["log-00000000000000000001.rrl", "log-00000000000000000004.rrl"]);
    append_numbered(&mut log, 5..=6, 1_000);
    log.prepare().expect("the disk works");
    drop(log);
    let (log, _) = open(&disk);
    assert_eq!(disk.names(), ["log-00000000000000000001.rrl", "log-00000000000000000004.rrl"], "no spare is left over");
    assert_eq!(groups(&log, 0), numbered(6, 1_000));
}

#[test]
fn a_large_group_gets_a_segment_of_its_size() {
    let disk = ModelDisk::new(1);
    let (mut log, _) = open(&disk);
    let sizes = [300_000, 10, 20_000, 4_023, 4_024, 4_025, 600_000, 0];
    for (number, size) in (1..).zip(sizes) {
        append(&mut log, &payload(number, size)).expect("the disk works");
        log.prepare().expect("the disk works");
    }
    let expected: Vec<_> = (1..).zip(sizes).map(|(number, size)| (number, payload(number, size))).collect();
    assert_eq!(groups(&log, 0), expected);
    assert!(disk.bytes("log-00000000000000000001.rrl").len() > 300_000, "an empty segment is replaced");
    drop(log);
    assert_eq!(groups(&open(&disk).0, 0), expected);
}

#[test]
fn a_group_over_the_bound_is_refused_and_changes_nothing() {
    let disk = ModelDisk::new(1);
    let (mut log, _) = open(&disk);
    let part = vec![0; LOG_GROUP_BYTES_MAX / 8];
    let mut parts = vec![IoSlice::new(&part); 8];
    parts.push(IoSlice::new(b"x"));
    let error = log.append(&parts).expect_err("it is too large");
    assert!(matches!(error, AppendError::TooLarge { .. }), "{error}");
    append_numbered(&mut log, 1..=1, 10);
    assert_eq!(disk.names().len(), 1);
}

#[test]
fn a_group_that_is_not_synced_has_failed() {
    let disk = ModelDisk::new(1);
    let (mut log, _) = open(&disk);
    append_numbered(&mut log, 1..=1, 10);
    drop(log.write(&[IoSlice::new(b"never")]).expect("the disk works"));
    assert_eq!(groups(&log, 0), numbered(1, 10));
    append_numbered(&mut log, 2..=2, 10);
    drop(log);
    assert_eq!(groups(&open(&disk).0, 0), numbered(2, 10));
}

#[test]
fn old_segments_go_as_a_whole_and_the_newest_stays() {
    let disk = ModelDisk::new(1);
    let (mut log, _) = open(&disk);
    append_numbered(&mut log, 1..=8, 1_000);
    assert_eq!(log.truncate_to(2).expect("the disk works"), 0);
    assert_eq!(log.truncate_to(3).expect("the disk works"), 1);
    let mut reader = log.groups(5).expect("it is held");
    assert_eq!((log.figures().oldest, log.figures().newest), (4, 8));
    assert_eq!(groups(&log, 3), numbered(8, 1_000)[3..]);
    let error = log.groups(2).expect_err("group 3 is gone").to_string();
    assert_eq!(error, "the log holds groups 4 to 8, so the groups after 2 cannot be read from it");
    let error = log.groups(9).expect_err("there was never a group 9");
    assert!(matches!(error, LogError::Outside { after: 9, oldest: 4, newest: 8 }), "{error}");
    assert_eq!(log.truncate_to(u64::MAX - 1).expect("the disk works"), 1);
    assert_eq!(disk.names(), ["log-00000000000000000007.rrl"]);
    let error = reader.next_group().expect_err("its segment is gone").to_string();
    assert!(error.starts_with("cannot open model/log-00000000000000000004.rrl"), "{error}");
    append_numbered(&mut log, 9..=9, 1_000);
    drop(log);
    let (log, recovered) = open(&disk);
    assert_eq!(recovered, Recovered { oldest: 7, newest: 9, torn: None });
    assert_eq!(groups(&log, 6), numbered(9, 1_000)[6..]);
}

#[test]
fn a_reader_sees_what_was_acknowledged_when_it_was_made() {
    let disk = ModelDisk::new(1);
    let (mut log, _) = open(&disk);
    append_numbered(&mut log, 1..=2, 10);
    let mut reader = log.groups(0).expect("they are held");
    append_numbered(&mut log, 3..=3, 10);
    assert_eq!(reader.next_group().expect("it can be read").map(|group| group.commit), Some(1));
    assert_eq!(reader.next_group().expect("it can be read").map(|group| group.commit), Some(2));
    assert_eq!(reader.next_group().expect("it can be read"), None);
}

#[test]
fn segments_of_several_starts_have_salts_of_their_own() {
    let disk = ModelDisk::new(1);
    for start in 0..6 {
        let (mut log, _) = Log::open(disk.clone(), options(start)).expect("it opens");
        append_numbered(&mut log, start * 2 + 1..=start * 2 + 2, 1_000);
    }
    assert_eq!(groups(&open(&disk).0, 0), numbered(12, 1_000));
}

#[test]
fn a_report_names_segments_and_groups() {
    let disk = ModelDisk::new(1);
    let (mut log, _) = open(&disk);
    append_numbered(&mut log, 1..=4, 1_000);
    let report = check(&disk).expect("it can be read");
    assert!(report.is_sound());
    let segments: Vec<_> =
        report.segments.iter().map(|one| (one.first, one.last, one.groups(), one.is_marked)).collect();
    assert_eq!(segments, [(1, 3, 3, false), (4, 4, 1, false)]);
    log.close().expect("the disk works");
    assert!(check(&disk).expect("it can be read").segments[1].is_marked);
    let before = disk.names().into_iter().map(|name| disk.bytes(&name)).collect::<Vec<_>>();
    check(&disk).expect("it can be read");
    assert_eq!(disk.names().into_iter().map(|name| disk.bytes(&name)).collect::<Vec<_>>(), before);
}
