//! Reads groups of an open log again, one at a time. Holds one group in memory, and never one that is not acknowledged.

use std::collections::VecDeque;

use super::disk::Disk;
use super::error::LogError;
use super::format::{HEADER_BYTES, Head, Kind};
use super::reader::SegmentReader;

/// A segment to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// Commit number of its first group.
    pub first: u64,
    /// Where to end.
    pub end: u64,
}

/// A group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group<'a> {
    /// Its commit number.
    pub commit: u64,
    /// Its payload.
    pub payload: &'a [u8],
}

/// The groups after a number.
#[derive(Debug)]
pub struct Groups<D: Disk> {
    disk: D,
    /// Segments to read, the one that is being read included.
    waiting: VecDeque<Source>,
    /// The open one, and where its next record begins.
    open: Option<(SegmentReader<D::File>, u64)>,
    /// The number of the last group that was read or passed over.
    last: u64,
    after: u64,
}

impl<D: Disk> Groups<D> {
    /// The segments must follow each other.
    pub(super) fn new(disk: D, segments: VecDeque<Source>, after: u64) -> Self {
        Self { disk, waiting: segments, open: None, last: after, after }
    }

    /// The next group, checked once more.
    pub fn next_group(&mut self) -> Result<Option<Group<'_>>, LogError> {
        let Some((at, head, end)) = self.find()? else { return Ok(None) };
        let (reader, _) = self.open.as_mut().expect("the group was found in it");
        Ok(Some(Group { commit: head.commit, payload: reader.payload(at, &head, end)? }))
    }

    /// Goes behind the next group. Returns its offset, its head and the end of its segment.
    fn find(&mut self) -> Result<Option<(u64, Head, u64)>, LogError> {
        while let Some(source) = self.waiting.front().copied() {
            let (reader, next) = match &mut self.open {
                Some(open) => open,
                None => {
                    self.last = source.first - 1;
                    self.open.insert((SegmentReader::open(&self.disk, source.first)?, HEADER_BYTES as u64))
                }
            };
            while *next < source.end {
                let at = *next;
                let head = match reader.record(at, source.end, self.last + 1)? {
                    Ok(record) => record.head,
                    Err(fault) => {
                        return Err(LogError::Record { file: reader.place().to_owned(), offset: at, fault });
                    }
                };
                *next += head.record_bytes();
                if head.kind == Kind::Group {
                    self.last = head.commit;
                    if head.commit > self.after {
                        return Ok(Some((at, head, source.end)));
                    }
                }
            }
            self.open = None;
            self.waiting.pop_front();
        }
        Ok(None)
    }
}
