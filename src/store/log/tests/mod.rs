//! Tests of the whole log, over the model of a disk and over a real one.

mod crashes;
mod damage;
mod failures;
mod real;
mod roundtrip;

use std::io::IoSlice;

use super::disk::Disk;
use super::error::AppendError;
use super::model::ModelDisk;
use super::writer::{Log, Options, Recovered};

/// The smallest segment with room for a few small groups.
const SEGMENT_BYTES: u64 = 8_192;

fn options(salt: u64) -> Options {
    Options { segment_bytes: SEGMENT_BYTES, salt }
}

fn open(disk: &ModelDisk) -> (Log<ModelDisk>, Recovered) {
    Log::open(disk.clone(), options(7)).expect("the log opens")
}

fn append<D: Disk>(log: &mut Log<D>, payload: &[u8]) -> Result<u64, AppendError> {
    log.append(&[IoSlice::new(payload)])
}

/// All groups after a number.
fn groups<D: Disk + Clone>(log: &Log<D>, after: u64) -> Vec<(u64, Vec<u8>)> {
    let mut reader = log.groups(after).expect("the log holds them");
    let mut found = Vec::new();
    while let Some(group) = reader.next_group().expect("they can be read") {
        found.push((group.commit, group.payload.to_vec()));
    }
    found
}

/// A payload of its own for each number.
fn payload(number: u64, length: usize) -> Vec<u8> {
    (0..length as u64).map(|at| (number.wrapping_mul(31) ^ at.wrapping_mul(7) ^ (at >> 8)) as u8).collect()
}

/// Groups from 1 with payloads of this length.
fn numbered(count: u64, length: usize) -> Vec<(u64, Vec<u8>)> {
    (1..=count).map(|number| (number, payload(number, length))).collect()
}

fn append_numbered(log: &mut Log<ModelDisk>, numbers: std::ops::RangeInclusive<u64>, length: usize) {
    for number in numbers {
        assert_eq!(append(log, &payload(number, length)).expect("the disk works"), number);
    }
}
