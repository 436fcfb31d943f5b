//! Damage is found, or harmless. The one exception, as the parent module says: the last group of a log that was not closed.

use super::super::check::check;
use super::super::error::LogError;
use super::super::format::{Header, Previous};
use super::super::model::ModelDisk;
use super::super::writer::Log;
use super::{append, append_numbered, groups, numbered, open, options, payload};

const FIRST: &str = "log-00000000000000000001.rrl";
const SECOND: &str = "log-00000000000000000004.rrl";
const THIRD: &str = "log-00000000000000000007.rrl";
const HEADER: usize = 4_096;
const GROUP: usize = 1_024;

/// Two segments with three and two groups.
fn two_segments(is_closed: bool) -> ModelDisk {
    let disk = ModelDisk::new(1);
    let (mut log, _) = open(&disk);
    append_numbered(&mut log, 1..=5, 1_000);
    if is_closed {
        log.close().expect("the disk works");
    }
    disk
}

fn change(disk: &ModelDisk, name: &str, act: impl FnOnce(&mut Vec<u8>)) -> ModelDisk {
    let disk = disk.fork();
    let mut bytes = disk.bytes(name);
    act(&mut bytes);
    disk.set_bytes(name, bytes);
    disk
}

fn content(disk: &ModelDisk) -> Vec<(String, Vec<u8>)> {
    disk.names().into_iter().map(|name| (name.clone(), disk.bytes(&name))).collect()
}

/// The groups of a damaged log; `None` if the damage was reported, and then nothing was changed.
fn opened(disk: &ModelDisk) -> Option<Vec<(u64, Vec<u8>)>> {
    let before = content(disk);
    let report = check(disk).expect("the disk works");
    assert_eq!(content(disk), before, "a check changes nothing");
    match Log::open(disk.clone(), options(9)) {
        Ok((log, _)) => {
            assert!(report.is_sound(), "{:?}", report.damage);
            Some(groups(&log, 0))
        }
        Err(error) => {
            assert_eq!(report.damage[0].to_string(), error.to_string());
            assert!(error.to_string().starts_with("model/log-"), "{error}");
            assert_eq!(content(disk), before, "a log with damage is not changed");
            None
        }
    }
}

/// Opens a damaged log of five groups. `may_lose_last`: the damage may be taken for a torn tail.
fn assert_found_or_harmless(disk: &ModelDisk, may_lose_last: bool, what: &str) -> bool {
    let Some(found) = opened(disk) else { return true };
    let is_whole = found == numbered(5, 1_000);
    assert!(is_whole || may_lose_last && found == numbered(4, 1_000), "{what}: groups are lost or changed");
    false
}

#[test]
fn every_changed_byte_is_found_or_harmless() {
    for is_closed in [true, false] {
        let disk = two_segments(is_closed);
        for (name, count) in [(FIRST, 3), (SECOND, 2)] {
            let records = HEADER..HEADER + count * GROUP;
            let last_group = records.end - GROUP..records.end;
            for at in 0..disk.bytes(name).len() {
                let is_head = at < 64 || records.contains(&at) && (at - HEADER) % GROUP < 24;
                let one_bit = [1 << (at % 8)];
                let changes: &[u8] = if is_head { &[1, 2, 4, 8, 16, 32, 64, 128, 255] } else { &one_bit };
                for change_by in changes {
                    let damaged = change(&disk, name, |bytes| bytes[at] ^= change_by);
                    let may_lose_last = !is_closed && name == SECOND && last_group.contains(&at);
                    let what = format!("{name} at {at} changed by {change_by}, closed: {is_closed}");
                    let is_found = assert_found_or_harmless(&damaged, may_lose_last, &what);
                    assert_eq!(is_found, at < records.end && !may_lose_last, "{what}");
                }
            }
        }
    }
}

#[test]
fn every_lost_sector_is_found_or_harmless() {
    for is_closed in [true, false] {
        let disk = two_segments(is_closed);
        for name in [FIRST, SECOND] {
            for sector in 0..16 {
                let damaged = change(&disk, name, |bytes| bytes[sector * 512..(sector + 1) * 512].fill(0));
                let in_last = name == SECOND && (HEADER / 512 + 2..HEADER / 512 + 4).contains(&sector);
                let what = format!("{name}, sector {sector}, closed: {is_closed}");
                let has_mark = is_closed && sector != HEADER / 512 + 4;
                assert_found_or_harmless(&damaged, in_last && !has_mark, &what);
            }
        }
    }
}

#[test]
fn a_file_cut_at_any_length_is_found() {
    let disk = two_segments(true);
    for name in [FIRST, SECOND] {
        for length in 0..disk.bytes(name).len() {
            let cut = change(&disk, name, |bytes| bytes.truncate(length));
            assert_eq!(opened(&cut), None, "{name} of {length} bytes");
        }
        let longer = change(&disk, name, |bytes| bytes.push(0));
        assert_eq!(opened(&longer), None, "{name} with a byte more");
    }
}

#[test]
fn a_mark_of_the_start_protects_what_was_found_then() {
    let disk = two_segments(false);
    drop(open(&disk));
    let damaged = change(&disk, SECOND, |bytes| bytes[HEADER + GROUP + 100] ^= 1);
    let error = Log::open(damaged, options(7)).expect_err("it is damaged").to_string();
    assert!(error.contains("at offset 5120: the payload of group 5"), "{error}");
    assert!(error.ends_with("but a mark stands behind it, at offset 6144"), "{error}");
}

#[test]
fn several_groups_that_are_damaged_are_no_torn_tail() {
    let disk = two_segments(false);
    let damaged = change(&disk, SECOND, |bytes| {
        bytes[HEADER + 100] ^= 1;
        // The later group is damaged too; its head is proof enough.
        bytes[HEADER + GROUP + 100] ^= 1;
    });
    assert_eq!(opened(&damaged), None);
}

#[test]
fn a_torn_tail_that_holds_a_forged_group_is_a_torn_tail() {
    let disk = ModelDisk::new(1);
    let (mut log, _) = open(&disk);
    append_numbered(&mut log, 1..=5, 1_000);
    // A later group of another log, byte for byte, as data in the last group.
    let other = ModelDisk::new(2);
    let (mut others, _) = Log::open(other.clone(), options(8)).expect("it opens");
    for number in 1..=8 {
        append(&mut others, &payload(number, 100)).expect("the disk works");
    }
    let forged = other.bytes(FIRST)[HEADER + 6 * 124..HEADER + 8 * 124].to_vec();
    append(&mut log, &forged).expect("the disk works");
    drop(log);
    let torn = change(&disk, SECOND, |bytes| bytes[HEADER + 2 * GROUP + 3] ^= 1);
    assert_eq!(opened(&torn), Some(numbered(5, 1_000)));
    // With the log's own salt it is damage.
    let disk = two_segments(false);
    let moved = change(&disk, SECOND, |bytes| bytes.copy_within(HEADER..HEADER + 24, HEADER + 2 * GROUP + 300));
    assert_eq!(opened(&moved), None);
}

#[test]
fn a_missing_segment_is_named() {
    let disk = ModelDisk::new(1);
    let (mut log, _) = open(&disk);
    append_numbered(&mut log, 1..=8, 1_000);
    drop(log);
    let without = |name: &str| {
        let copy = ModelDisk::new(1);
        for (other, bytes) in content(&disk).into_iter().filter(|(other, _)| other != name) {
            copy.set_bytes(&other, bytes);
        }
        Log::open(copy, options(7)).map(|(log, recovered)| (groups(&log, recovered.oldest - 1), log))
    };
    let error = without(SECOND).expect_err("it is missing").to_string();
    assert_eq!(error, format!("model/{SECOND} is missing: model/{THIRD} says that the log goes on there"));
    let error = without(THIRD).expect_err("it is missing").to_string();
    assert_eq!(error, format!("model/{THIRD} is missing: model/{SECOND} says that the log goes on there"));
    // As if it had been removed on purpose: whoever needs its groups is told.
    let (found, log) = without(FIRST).expect("a log may begin later");
    assert_eq!(found, numbered(8, 1_000)[3..]);
    let error = log.groups(0).expect_err("they are gone");
    assert!(matches!(error, LogError::Outside { after: 0, oldest: 4, newest: 8 }), "{error}");
}

#[test]
fn files_that_are_not_the_logs_are_named() {
    let disk = two_segments(true);
    let error_with = |name: &str, bytes: Vec<u8>| {
        let disk = disk.fork();
        disk.set_bytes(name, bytes);
        assert_eq!(opened(&disk), None);
        Log::open(disk, options(7)).expect_err(name).to_string()
    };
    for name in ["log-old.rrl", "log-4.rrl", "log-00000000000000000000.rrl", "log-99999999999999999999.rrl"] {
        let error = error_with(name, disk.bytes(FIRST));
        assert!(error.starts_with(&format!("model/{name} is not a segment of a Roomring log")), "{error}");
    }
    let error = error_with("log-00000000000000000009.rrl", vec![b'x'; 9_000]);
    assert!(error.starts_with("model/log-00000000000000000009.rrl is not a segment"), "{error}");
    let error = error_with("log-00000000000000000009.rrl", disk.bytes(SECOND));
    assert_eq!(
        error,
        format!("model/log-00000000000000000009.rrl was renamed: its header says that its name was {SECOND}")
    );
    let header = Header { first: 6, length: 8_192, salt: 1, previous: Some(Previous { first: 2, end: 5_000 }) };
    let mut bytes = header.encode();
    bytes.resize(8_192, 0);
    let error = error_with("log-00000000000000000006.rrl", bytes.clone());
    let words =
        format!("does not belong to this log: its header does not name model/{SECOND} as the segment before it");
    assert_eq!(error, format!("model/log-00000000000000000006.rrl {words}"));
    bytes[8] = 2;
    let error = error_with("log-00000000000000000006.rrl", bytes);
    let words = "has version 2 of the log's format; this program reads version 1 only";
    assert_eq!(error, format!("model/log-00000000000000000006.rrl {words}"));
}

#[test]
fn names_of_others_do_not_matter() {
    let disk = two_segments(true);
    for name in ["VERSION", "lock", "index", "log.txt", "xlog-1.rrl"] {
        disk.set_bytes(name, vec![1; 10]);
    }
    assert_eq!(opened(&disk), Some(numbered(5, 1_000)));
}

#[test]
fn a_next_segment_that_contradicts_the_one_before_is_found() {
    let disk = two_segments(true);
    let end = (HEADER + 3 * GROUP) as u64;
    for (first, end, words) in [
        (4, end - GROUP as u64, "the segment ends with group 2, expected group 3"),
        (4, end + 10, "expected the end of a record at offset 7178, found none"),
        (4, 9_000, "expected the end of a record at offset 9000, found none"),
        (4, 10, "expected the end of a record at offset 10, found none"),
        (4, end - 10, "a record says that it has 1024 bytes, expected at most 1014"),
    ] {
        let header = Header { first, length: 8_192, salt: 7, previous: Some(Previous { first: 1, end }) };
        let changed = change(&disk, SECOND, |bytes| bytes[..HEADER].copy_from_slice(&header.encode()));
        assert_eq!(opened(&changed), None);
        let error = Log::open(changed, options(7)).expect_err(words).to_string();
        assert!(error.starts_with(&format!("model/{FIRST} is damaged")) && error.ends_with(words), "{error}");
    }
}

#[test]
fn a_check_names_all_damage() {
    let disk = ModelDisk::new(1);
    let (mut log, _) = open(&disk);
    append_numbered(&mut log, 1..=8, 1_000);
    drop(log);
    let damaged = change(&disk, FIRST, |bytes| bytes[HEADER + 2 * GROUP + 30] ^= 1);
    let damaged = change(&damaged, SECOND, |bytes| bytes[100] ^= 1);
    let damaged = change(&damaged, THIRD, |bytes| bytes[HEADER + 5] ^= 1);
    let report = check(&damaged).expect("the disk works");
    let texts: Vec<String> = report.damage.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(texts[0].starts_with(&format!("model/{SECOND} is damaged at offset 0: its header")), "{texts:?}");
    assert!(
        texts[1].starts_with(&format!("model/{THIRD} is damaged at offset 4096: the head of group 7")),
        "{texts:?}"
    );
    assert_eq!(report.segments.iter().map(|one| (one.first, one.last)).collect::<Vec<_>>(), [(1, 2), (7, 6)]);
}
