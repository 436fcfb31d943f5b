//! Checks a log for an operator. Changes nothing, and goes on after damage.

use std::collections::VecDeque;

use super::disk::Disk;
use super::error::LogError;
use super::format::file_name;
use super::groups::{Groups, Source};
use super::survey::{Tail, survey};

/// What a log holds and what is wrong with it.
#[derive(Debug)]
pub struct Report {
    /// The segments whose header can be read, from the oldest to the newest.
    pub segments: Vec<SegmentReport>,
    /// Everything that is wrong; the log opens if there is nothing. A torn tail is not wrong.
    pub damage: Vec<LogError>,
}

/// A segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentReport {
    /// Where it stands.
    pub file: String,
    /// Commit number of its first group.
    pub first: u64,
    /// Of its last group that can be read; one less than `first` if there is none.
    pub last: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// End of the last record that can be read.
    pub end: u64,
    /// Whether a mark stands behind the last group, so that damage to the group is noticed.
    pub is_marked: bool,
    /// The rest of a group that was never acknowledged; removed at the next start.
    pub torn: Option<Tail>,
}

impl SegmentReport {
    /// Groups that can be read.
    #[must_use]
    pub fn groups(&self) -> u64 {
        self.last + 1 - self.first
    }
}

impl Report {
    /// Whether the log opens.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty()
    }
}

/// Checks every group of a log that no process has open. An error: the directory cannot be read.
pub fn check(disk: &impl Disk) -> Result<Report, LogError> {
    let found = survey(disk)?;
    let segments = found.segments.iter().map(|one| SegmentReport {
        file: disk.place(&file_name(one.header.first)),
        first: one.header.first,
        last: one.last,
        bytes: one.header.length,
        end: one.end,
        is_marked: one.is_marked,
        torn: one.tail,
    });
    Ok(Report { segments: segments.collect(), damage: found.faults })
}

/// Reads the groups of a segment that can be read, as the check has found them.
pub fn groups_of<D: Disk + Clone>(disk: &D, segment: &SegmentReport) -> Groups<D> {
    let source = Source { first: segment.first, end: segment.end };
    Groups::new(disk.clone(), VecDeque::from([source]), segment.first - 1)
}
