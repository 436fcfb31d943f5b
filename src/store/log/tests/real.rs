//! The log on a file system.

use std::fs;
use std::io::IoSlice;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::super::error::LogError;
use super::super::real::RealDisk;
use super::super::writer::Log;
use super::{append, groups, numbered, options, payload};

fn open(directory: &Path) -> Result<Log<RealDisk>, LogError> {
    Log::open(RealDisk::new(directory), options(7)).map(|(log, _)| log)
}

#[test]
fn groups_survive_in_files_that_are_allocated_and_private() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut log = open(directory.path()).expect("it is made");
    for number in 1..=8 {
        assert_eq!(append(&mut log, &payload(number, 1_000)).expect("the disk works"), number);
        log.prepare().expect("the disk works");
    }
    log.truncate_to(4).expect("the disk works");
    let file = fs::metadata(directory.path().join("log-00000000000000000004.rrl")).expect("it is there");
    assert_eq!((file.len(), file.permissions().mode() & 0o777), (8_192, 0o600));
    assert!(file.blocks() * 512 >= 8_192, "all blocks are allocated");
    assert!(!directory.path().join("log-00000000000000000001.rrl").exists());
    log.close().expect("the disk works");
    assert_eq!(groups(&open(directory.path()).expect("it opens"), 3), numbered(8, 1_000)[3..]);
}

#[test]
fn more_parts_than_the_kernel_takes_in_one_call() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut log = open(directory.path()).expect("it is made");
    let bytes = payload(1, 5_000);
    let parts: Vec<IoSlice<'_>> = bytes.chunks(2).flat_map(|part| [IoSlice::new(part), IoSlice::new(&[])]).collect();
    log.append(&parts).expect("the disk works");
    assert_eq!(groups(&log, 0), [(1, bytes)]);
}

#[test]
fn a_group_larger_than_what_is_read_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut log = open(directory.path()).expect("it is made");
    let sizes = [700_000, 3, 1_000_000];
    for (number, size) in (1..).zip(sizes) {
        append(&mut log, &payload(number, size)).expect("the disk works");
    }
    drop(log);
    let expected: Vec<_> = (1..).zip(sizes).map(|(number, size)| (number, payload(number, size))).collect();
    assert_eq!(groups(&open(directory.path()).expect("it opens"), 0), expected);
}

#[test]
fn a_torn_tail_is_removed_from_the_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut log = open(directory.path()).expect("it is made");
    append(&mut log, &payload(1, 100)).expect("the disk works");
    append(&mut log, &payload(2, 100)).expect("the disk works");
    drop(log);
    let path = directory.path().join("log-00000000000000000001.rrl");
    let mut bytes = fs::read(&path).expect("it can be read");
    bytes[4_096 + 124 + 123] ^= 1;
    fs::write(&path, &bytes).expect("it can be written");
    let (log, recovered) = Log::open(RealDisk::new(directory.path()), options(7)).expect("it opens");
    let (file, tail) = recovered.torn.expect("a tail was removed");
    assert_eq!((file, tail.offset, tail.bytes), (path.display().to_string(), 4_096 + 124, 124));
    assert_eq!(groups(&log, 0), numbered(1, 100));
    let bytes = fs::read(&path).expect("it can be read");
    // The mark of the start has 24 bytes.
    assert!(bytes[4_096 + 124 + 24..].iter().all(|byte| *byte == 0));
}

#[test]
fn damage_names_the_file_and_the_offset() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut log = open(directory.path()).expect("it is made");
    append(&mut log, &payload(1, 100)).expect("the disk works");
    append(&mut log, &payload(2, 100)).expect("the disk works");
    drop(log);
    let path = directory.path().join("log-00000000000000000001.rrl");
    let mut bytes = fs::read(&path).expect("it can be read");
    bytes[4_096 + 50] ^= 1;
    fs::write(&path, &bytes).expect("it can be written");
    let error = open(directory.path()).expect_err("it is damaged").to_string();
    let place = path.display().to_string();
    assert!(error.starts_with(&format!("{place} is damaged at offset 4096: the payload of group 1 has")), "{error}");
    assert!(error.ends_with("but a group stands behind it, at offset 4220"), "{error}");
    assert_eq!(fs::read(&path).expect("it can be read"), bytes, "nothing is changed");
}

#[test]
fn a_missing_directory_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let missing = directory.path().join("missing");
    let error = open(&missing).expect_err("it does not exist").to_string();
    assert!(error.starts_with(&format!("cannot list {}", missing.display())), "{error}");
}
