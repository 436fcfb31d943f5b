//! The log as its one writer has it: appends groups, goes on in new segments, removes old ones. Never reads a group
//! (`groups` does), and never keeps one in memory.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use smallvec::SmallVec;

use super::disk::{Disk, DiskFile};
use super::error::{AppendError, LogError};
use super::format::{HEAD_BYTES, HEADER_BYTES, Head, Header, Kind, Previous, SPARE, file_name, payload_checksum};
use super::groups::{Groups, Source};
use super::recovery::{remove_spare, repair};
use super::survey::{Surveyed, Tail, survey};
use crate::base::limits::{LOG_GROUP_BYTES_MAX, LOG_SEGMENT_BYTES};

/// Room for a mark and a seal behind the last group.
const CLOSING_BYTES: u64 = 2 * HEAD_BYTES as u64;

/// Segments are whole pages.
const PAGE: u64 = 4_096;

/// How a log is kept.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bytes of a segment.
    pub segment_bytes: u64,
    /// Random, and known to nobody else: see the parent module on checksums.
    pub salt: u64,
}

impl Options {
    /// Segments of the usual length.
    #[must_use]
    pub fn new(salt: u64) -> Self {
        Self { segment_bytes: LOG_SEGMENT_BYTES, salt }
    }
}

/// What was found at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Number of the oldest group; one more than `newest` if there is none.
    pub oldest: u64,
    /// Number of the newest group that is part of the log; 0 in a new log.
    pub newest: u64,
    /// A torn tail that was removed, with its file.
    pub torn: Option<(String, Tail)>,
}

/// The log in figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Segments.
    pub segments: usize,
    /// Bytes on the disk, with what is allocated ahead.
    pub bytes: u64,
    /// Number of the oldest group that is held; one more than `newest` if there is none.
    pub oldest: u64,
    /// Number of the newest group that is held or was; 0 in a new log.
    pub newest: u64,
}

/// A segment of the open log.
#[derive(Clone, Copy, Debug)]
struct Segment {
    header: Header,
    /// End of its last acknowledged record.
    end: u64,
}

/// An open log.
#[derive(Debug)]
pub struct Log<D: Disk> {
    disk: D,
    options: Options,
    /// From the oldest to the newest; never empty.
    segments: VecDeque<Segment>,
    /// The newest segment's.
    file: D::File,
    /// First commit number of a segment that is not part of the log any more, and whose file may be there.
    removing: Option<u64>,
    /// Number of the last acknowledged group.
    newest: u64,
    /// Nothing may be appended to the newest segment: a write or a sync of it has failed, or a next segment may exist.
    is_closed: bool,
    /// A mark stands behind the last group.
    is_marked: bool,
    /// The next segment, allocated and synced, with its length.
    spare: Option<(D::File, u64)>,
}

impl<D: Disk> Log<D> {
    /// Opens the log of a directory, or makes one. Checks every group. On an error about the log's content nothing is changed.
    pub fn open(disk: D, options: Options) -> Result<(Self, Recovered), LogError> {
        let found = survey(&disk)?;
        if let Some(fault) = found.faults.into_iter().next() {
            return Err(fault);
        }
        if found.has_spare {
            remove_spare(&disk)?;
        }
        let mut segments: VecDeque<Segment> =
            found.segments.iter().map(|one| Segment { header: one.header, end: one.end }).collect();
        let Some(newest) = found.segments.last() else {
            return Self::make(disk, options);
        };
        let (file, end) = repair(&disk, newest)?;
        // A segment of a process that was killed may have its name in memory only.
        disk.sync_directory().map_err(LogError::io("sync", disk.place("")))?;
        if let Some(segment) = segments.back_mut() {
            segment.end = end;
        }
        let Surveyed { last, tail, .. } = *newest;
        let torn = tail.map(|tail| (disk.place(&file_name(newest.header.first)), tail));
        let log = Self::with(disk, options, segments, file, last);
        let recovered = Recovered { oldest: log.oldest(), newest: last, torn };
        Ok((log, recovered))
    }

    fn make(disk: D, options: Options) -> Result<(Self, Recovered), LogError> {
        let header = Header { first: 1, length: segment_length(options, 0), salt: options.salt, previous: None };
        let file = make_spare(&disk, header.length)?;
        let file = publish(&disk, file, &header)?;
        let segments = VecDeque::from([Segment { header, end: HEADER_BYTES as u64 }]);
        let log = Self::with(disk, options, segments, file, 0);
        Ok((log, Recovered { oldest: 1, newest: 0, torn: None }))
    }

    /// A log whose newest segment has a mark at its end, or no group.
    fn with(disk: D, options: Options, segments: VecDeque<Segment>, file: D::File, newest: u64) -> Self {
        Self { disk, options, segments, file, removing: None, newest, is_closed: false, is_marked: true, spare: None }
    }

    /// Appends a group, given in parts, and returns its commit number once it is on disk.
    pub fn append(&mut self, parts: &[IoSlice<'_>]) -> Result<u64, AppendError> {
        self.write(parts)?.sync()
    }

    /// The first half of [`append`](Self::append): writes a group, which is part of the log after [`Written::sync`] only.
    pub fn write(&mut self, parts: &[IoSlice<'_>]) -> Result<Written<'_, D>, AppendError> {
        let bytes = parts.iter().map(|part| part.len()).sum();
        let length = match u32::try_from(bytes) {
            Ok(length) if bytes <= LOG_GROUP_BYTES_MAX => length,
            _ => return Err(AppendError::TooLarge { bytes, max: LOG_GROUP_BYTES_MAX }),
        };
        let record_bytes = HEAD_BYTES as u64 + u64::from(length);
        if self.is_closed || self.current().end + record_bytes + CLOSING_BYTES > self.current().header.length {
            self.roll(record_bytes)?;
        }
        let Segment { header, end } = self.current();
        let commit = self.newest + 1;
        let checksum = payload_checksum(header.salt, length, commit, parts.iter().map(|part| &**part));
        let head = Head { kind: Kind::Group, length, commit, checksum }.encode(header.salt);
        let mut all: SmallVec<[IoSlice<'_>; 8]> = SmallVec::with_capacity(parts.len() + 1);
        all.push(IoSlice::new(&head));
        all.extend(parts.iter().copied());
        // Until the sync has succeeded.
        self.is_closed = true;
        self.file.write_at(&mut all, end).map_err(AppendError::io("write", self.place()))?;
        Ok(Written { log: self, record_bytes })
    }

    /// Makes the next segment once half of the current one is used, so that no append waits for it; after a failure tries
    /// to go on in a new segment. To be called after each append, once its group is acknowledged, and from time to time while
    /// appends fail. `Ok`: as far as one can tell the next append succeeds.
    pub fn prepare(&mut self) -> Result<(), AppendError> {
        if self.is_closed {
            return self.roll(0);
        }
        let Segment { header, end } = self.current();
        if self.spare.is_none() && end - HEADER_BYTES as u64 >= (header.length - HEADER_BYTES as u64) / 2 {
            let length = segment_length(self.options, 0);
            let mut file = make_spare(&self.disk, length)?;
            let synced = file.sync().and_then(|()| self.disk.sync_directory());
            synced.map_err(AppendError::io("sync", self.disk.place(SPARE)))?;
            self.spare = Some((file, length));
        }
        Ok(())
    }

    /// Removes the segments of which every group is at or below a number, but never the newest segment. Returns the number of
    /// removed ones. After an error the next call goes on.
    pub fn truncate_to(&mut self, commit: u64) -> Result<usize, LogError> {
        let mut removed = 0;
        loop {
            if self.removing.is_none() && self.segments.get(1).is_some_and(|next| next.header.first - 1 <= commit) {
                self.removing = self.segments.pop_front().map(|segment| segment.header.first);
            }
            let Some(first) = self.removing else { return Ok(removed) };
            let place = self.disk.place(&file_name(first));
            match self.disk.remove(&file_name(first)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(LogError::io("remove", place)(error));
                }
                _ => {}
            }
            // One at a time: a crash that brings back an older segment, but not a newer one, would leave a hole.
            self.disk.sync_directory().map_err(LogError::io("sync", self.disk.place("")))?;
            self.removing = None;
            removed += 1;
        }
    }

    /// Reads the groups after a number again, up to the newest one now. The reader may move to another thread; segments that
    /// are removed meanwhile are an error of it.
    pub fn groups(&self, after: u64) -> Result<Groups<D>, LogError>
    where
        D: Clone,
    {
        let (oldest, newest) = (self.oldest(), self.newest);
        if after > newest || after + 1 < oldest {
            return Err(LogError::Outside { after, oldest, newest });
        }
        let behind = self.segments.iter().skip(1).map(|next| next.header.first - 1).chain([newest]);
        let wanted = self.segments.iter().zip(behind).filter(|(_, last)| *last > after);
        let sources = wanted.map(|(segment, _)| Source { first: segment.header.first, end: segment.end });
        Ok(Groups::new(self.disk.clone(), sources.collect(), after))
    }

    /// The log in figures.
    pub fn figures(&self) -> Figures {
        let spare = self.spare.as_ref().map_or(0, |(_, length)| *length);
        Figures {
            segments: self.segments.len(),
            bytes: self.segments.iter().map(|segment| segment.header.length).sum::<u64>() + spare,
            oldest: self.oldest(),
            newest: self.newest,
        }
    }

    /// Ends the log with a mark, so that damage to the last group is noticed at the next start.
    pub fn close(mut self) -> Result<(), AppendError> {
        if self.is_closed || self.is_marked {
            return Ok(());
        }
        let Segment { header, end } = self.current();
        let mark = Head::bare(Kind::Mark, self.newest, header.salt).encode(header.salt);
        self.file.write_at(&mut [IoSlice::new(&mark)], end).map_err(AppendError::io("write", self.place()))?;
        self.file.sync().map_err(AppendError::io("sync", self.place()))
    }

    /// Goes on in a new segment with room for a record.
    fn roll(&mut self, record_bytes: u64) -> Result<(), AppendError> {
        let length = segment_length(self.options, record_bytes);
        let current = self.current();
        let first = self.newest + 1;
        // A segment without a group is replaced: the new one has its name.
        let is_replaced = current.header.first == first;
        let previous = if is_replaced {
            current.header.previous
        } else {
            Some(Previous { first: current.header.first, end: current.end })
        };
        // What fails from here on takes the spare with it: the next attempt makes a new file.
        let file = match self.spare.take() {
            Some((file, held)) if held == length => file,
            _ => make_spare(&self.disk, length)?,
        };
        let header = Header { first, length, salt: self.options.salt, previous };
        // The new segment may exist even after an error, and says where this one ended.
        self.is_closed = true;
        let file = publish(&self.disk, file, &header)?;
        let mut old = std::mem::replace(&mut self.file, file);
        if is_replaced {
            self.segments.pop_back();
        } else {
            seal(&mut old, &current, first);
        }
        self.segments.push_back(Segment { header, end: HEADER_BYTES as u64 });
        (self.is_closed, self.is_marked) = (false, true);
        Ok(())
    }

    fn current(&self) -> Segment {
        *self.segments.back().expect("a log has a segment")
    }

    fn oldest(&self) -> u64 {
        self.segments[0].header.first
    }

    /// The newest segment, for errors.
    fn place(&self) -> String {
        self.disk.place(&file_name(self.current().header.first))
    }
}

/// A group that is written and not synced. Dropped, it has failed.
#[must_use]
pub struct Written<'a, D: Disk> {
    log: &'a mut Log<D>,
    record_bytes: u64,
}

impl<D: Disk> Written<'_, D> {
    /// Makes the group part of the log, and returns its commit number.
    pub fn sync(self) -> Result<u64, AppendError> {
        let log = self.log;
        log.file.sync().map_err(AppendError::io("sync", log.place()))?;
        log.newest += 1;
        (log.is_closed, log.is_marked) = (false, false);
        let segment = log.segments.back_mut().expect("a log has a segment");
        segment.end += self.record_bytes;
        Ok(log.newest)
    }
}

/// Bytes of a segment that has room for a record.
fn segment_length(options: Options, record_bytes: u64) -> u64 {
    let least = HEADER_BYTES as u64 + record_bytes + CLOSING_BYTES;
    options.segment_bytes.max(least).next_multiple_of(PAGE)
}

fn make_spare<D: Disk>(disk: &D, length: u64) -> Result<D::File, AppendError> {
    disk.create(SPARE, length).map_err(AppendError::io("allocate", disk.place(SPARE)))
}

/// Makes the spare file a segment: its header is durable before its name.
fn publish<D: Disk>(disk: &D, mut file: D::File, header: &Header) -> Result<D::File, AppendError> {
    let spare = || disk.place(SPARE);
    file.write_at(&mut [IoSlice::new(&header.encode())], 0).map_err(AppendError::io("write", spare()))?;
    file.sync().map_err(AppendError::io("sync", spare()))?;
    disk.rename(SPARE, &file_name(header.first)).map_err(AppendError::io("rename", spare()))?;
    disk.sync_directory().map_err(AppendError::io("sync", disk.place("")))?;
    Ok(file)
}

/// Says at the end of a segment that there is a next one. Only helps to notice that the next one is missing, so it is not
/// synced, and a failure does not matter.
fn seal(file: &mut impl DiskFile, segment: &Segment, next: u64) {
    if segment.end + HEAD_BYTES as u64 <= segment.header.length {
        let seal = Head::bare(Kind::Seal, next, segment.header.salt).encode(segment.header.salt);
        let _ = file.write_at(&mut [IoSlice::new(&seal)], segment.end);
    }
}
