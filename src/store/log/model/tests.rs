//! What the model of a disk keeps, loses and refuses.

use std::collections::BTreeSet;
use std::io::{self, IoSlice};

use super::super::disk::{Disk, DiskFile};
use super::{Failure, ModelDisk};

fn write(file: &mut impl DiskFile, bytes: &[u8], offset: u64) -> io::Result<()> {
    file.write_at(&mut [IoSlice::new(bytes)], offset)
}

#[test]
fn what_is_synced_survives_a_crash() {
    for seed in 0..50 {
        let disk = ModelDisk::new(seed);
        let mut file = disk.create("a", 2_048).expect("it works");
        write(&mut file, &[1; 2_048], 0).expect("it works");
        file.sync().expect("it works");
        disk.sync_directory().expect("it works");
        disk.crash(seed);
        assert_eq!(disk.bytes("a"), [1; 2_048]);
    }
}

#[test]
fn any_subset_of_unsynced_sectors_survives() {
    let mut seen = BTreeSet::new();
    for seed in 0..400 {
        let disk = ModelDisk::new(seed);
        let mut file = disk.create("a", 1_024).expect("it works");
        file.sync().expect("it works");
        disk.sync_directory().expect("it works");
        write(&mut file, &[1; 1_024], 0).expect("it works");
        write(&mut file, &[2; 1_024], 0).expect("it works");
        disk.crash(seed);
        let bytes = disk.bytes("a");
        seen.insert((bytes[0], bytes[1_023]));
        assert!(bytes[..512].iter().all(|byte| *byte == bytes[0]), "a sector is whole");
    }
    assert_eq!(seen.len(), 9, "each sector by itself is old, older or new: {seen:?}");
}

#[test]
fn names_are_undone_each_by_itself() {
    let mut seen = BTreeSet::new();
    for seed in 0..200 {
        let disk = ModelDisk::new(seed);
        disk.set_bytes("old", vec![1]);
        disk.set_bytes("gone", vec![2]);
        disk.rename("old", "new").expect("it works");
        disk.remove("gone").expect("it works");
        disk.crash(seed);
        seen.insert(disk.names());
    }
    assert_eq!(seen.len(), 8, "{seen:?}");
}

#[test]
fn a_failed_sync_is_not_mended_by_a_later_one() {
    let mut lost = 0;
    for seed in 0..100 {
        let disk = ModelDisk::new(seed);
        let mut file = disk.create("a", 512).expect("it works");
        file.sync().expect("it works");
        disk.sync_directory().expect("it works");
        write(&mut file, &[1; 512], 0).expect("it works");
        disk.set_failure(Some(Failure::Syncs));
        file.sync().expect_err("it fails");
        disk.set_failure(None);
        file.sync().expect("it works");
        assert_eq!(disk.bytes("a"), [1; 512], "it can still be read");
        disk.crash(seed);
        lost += usize::from(disk.bytes("a") == [0; 512]);
    }
    assert!((20..80).contains(&lost), "{lost}");
}

#[test]
fn failures_are_those_that_were_asked_for() {
    let disk = ModelDisk::new(1);
    let mut file = disk.create("a", 512).expect("it works");
    disk.set_failure(Some(Failure::Once(1)));
    write(&mut file, b"1", 0).expect("operation 0");
    write(&mut file, b"2", 0).expect_err("operation 1");
    write(&mut file, b"3", 0).expect("operation 2");
    assert_eq!(disk.operations(), 3);
    let kind = |failure, act: &mut dyn FnMut() -> io::Result<()>| {
        disk.set_failure(Some(failure));
        act().map_err(|error| error.kind())
    };
    let full = Err(io::ErrorKind::StorageFull);
    assert_eq!(kind(Failure::Full, &mut || disk.create("b", 1).map(|_| ())), full);
    assert_eq!(kind(Failure::Full, &mut || write(&mut file, b"4", 0)), full);
    assert_eq!(kind(Failure::Full, &mut || file.sync()), Ok(()));
    let read_only = Err(io::ErrorKind::ReadOnlyFilesystem);
    assert_eq!(kind(Failure::ReadOnly, &mut || disk.remove("a")), read_only);
    assert_eq!(kind(Failure::ReadOnly, &mut || file.read_at(&mut [0], 0)), Ok(()));
    assert_eq!(disk.bytes("a").len(), 512);
    disk.crash(1);
    file.length().expect_err("the process that opened it is gone");
}

#[test]
fn nothing_happens_after_the_power_is_gone() {
    let disk = ModelDisk::new(1);
    let mut file = disk.create("a", 512).expect("it works");
    file.sync().expect("it works");
    disk.sync_directory().expect("it works");
    disk.set_failure(Some(Failure::From(0)));
    disk.sync_directory().expect_err("the power is gone");
    write(&mut file, &[1; 512], 0).expect_err("the power is gone");
    disk.rename("a", "b").expect_err("the power is gone");
    disk.crash(1);
    assert_eq!((disk.names(), disk.bytes("a")), (vec!["a".to_owned()], vec![0; 512]));
}
