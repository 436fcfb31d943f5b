//! Reads a whole log and says what stands in it and what is wrong. Changes nothing.

use super::disk::Disk;
use super::error::{Fault, LogError, kind_name};
use super::format::{HEADER_BYTES, Header, Kind, Named, SPARE, file_name, read_name};
use super::reader::{SegmentReader, is_unwritten};

/// A log as it stands on the disk.
#[derive(Debug, Default)]
pub struct Survey {
    /// From the oldest to the newest, without those whose header cannot be read.
    pub segments: Vec<Surveyed>,
    /// Whether a next segment was made and not used.
    pub has_spare: bool,
    /// Everything that is wrong, in the order of the segments.
    pub faults: Vec<LogError>,
}

/// A segment as it stands on the disk.
#[derive(Clone, Debug)]
pub struct Surveyed {
    /// Its header.
    pub header: Header,
    /// End of the last record that is part of the log.
    pub end: u64,
    /// Commit number of the last group; the one before the segment's first if there is none.
    pub last: u64,
    /// Offset of the last group.
    pub last_group: Option<u64>,
    /// Whether a mark stands behind the last group.
    pub is_marked: bool,
    /// What stands behind `end` and is the rest of a group that was never acknowledged.
    pub tail: Option<Tail>,
}

/// A torn tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// Where it begins.
    pub offset: u64,
    /// Bytes up to its last one that is not zero.
    pub bytes: u64,
}

/// How far a segment is part of the log.
#[derive(Clone, Copy, Debug)]
enum Extent {
    /// To here, says the next segment, which begins with this commit number.
    Known { end: u64, next: u64 },
    /// The next segment cannot say it.
    Unknown,
    /// It is the newest segment.
    Newest,
}

/// Reads a log.
pub fn survey<D: Disk>(disk: &D) -> Result<Survey, LogError> {
    let mut found = Survey::default();
    let mut firsts = Vec::new();
    let names = disk.list().map_err(LogError::io("list", disk.place("")))?;
    for name in names {
        match read_name(&name) {
            Named::Segment(first) => firsts.push(first),
            Named::Foreign => found.faults.push(LogError::Foreign { file: disk.place(&name) }),
            Named::Other => found.has_spare |= name == SPARE,
        }
    }
    firsts.sort_unstable();
    let mut headers = Vec::new();
    let mut reader_faults = Vec::new();
    for first in &firsts {
        match SegmentReader::open(disk, *first) {
            Ok(reader) => {
                headers.push(Some(*reader.header()));
                reader_faults.push(None);
            }
            Err(fault) => {
                headers.push(None);
                reader_faults.push(Some(fault));
            }
        }
    }
    for (index, fault) in reader_faults.into_iter().enumerate() {
        let Some(header) = headers[index] else {
            found.faults.extend(fault);
            continue;
        };
        if let Some(before) = index.checked_sub(1) {
            found.faults.extend(chain_fault(disk, &header, firsts[before]));
        }
        let extent = match headers.get(index + 1) {
            None => Extent::Newest,
            Some(Some(Header { first: next, previous: Some(previous), .. })) if previous.first == header.first => {
                Extent::Known { end: previous.end, next: *next }
            }
            Some(_) => Extent::Unknown,
        };
        let (surveyed, fault) = read_segment(SegmentReader::open(disk, header.first)?, extent, disk)?;
        found.segments.push(surveyed);
        found.faults.extend(fault);
    }
    Ok(found)
}

/// What is wrong between a segment and the one before it.
fn chain_fault(disk: &impl Disk, header: &Header, before: u64) -> Option<LogError> {
    let file = disk.place(&file_name(header.first));
    match header.previous {
        Some(previous) if previous.first == before => None,
        Some(previous) if previous.first > before => {
            Some(LogError::Missing { missing: disk.place(&file_name(previous.first)), named_by: file })
        }
        _ => Some(LogError::Unchained { file, before: disk.place(&file_name(before)) }),
    }
}

/// Reads a segment's records.
fn read_segment<D: Disk>(
    mut reader: SegmentReader<D::File>,
    extent: Extent,
    disk: &D,
) -> Result<(Surveyed, Option<LogError>), LogError> {
    let header = *reader.header();
    let mut found = Surveyed {
        header,
        end: HEADER_BYTES as u64,
        last: header.first - 1,
        last_group: None,
        is_marked: false,
        tail: None,
    };
    let limit = match extent {
        Extent::Known { end, .. } => end,
        Extent::Unknown | Extent::Newest => header.length,
    };
    let file = reader.place().to_owned();
    if limit > header.length || limit < found.end {
        let fault = Fault::Cut { end: limit };
        return Ok((found, Some(LogError::Record { file, offset: header.length.min(limit), fault })));
    }
    let invalid = loop {
        if found.end == limit {
            break None;
        }
        let (at, expected) = (found.end, found.last + 1);
        let head = match reader.record(at, limit, expected)? {
            Ok(record) => record.head,
            Err(fault) => break Some(fault),
        };
        match head.kind {
            Kind::Group => (found.last, found.last_group, found.is_marked) = (head.commit, Some(at), false),
            Kind::Mark => found.is_marked = true,
            Kind::Seal if matches!(extent, Extent::Newest) => {
                let missing = disk.place(&file_name(head.commit));
                return Ok((found, Some(LogError::Missing { missing, named_by: file })));
            }
            Kind::Seal => break None,
        }
        found.end += head.record_bytes();
    };
    let fault = match extent {
        Extent::Unknown => None,
        Extent::Known { next, .. } => known_end_fault(&found, invalid, next, file),
        Extent::Newest => tail_fault(&mut reader, &mut found, invalid, file)?,
    };
    Ok((found, fault))
}

/// What is wrong with a segment whose end is known.
fn known_end_fault(found: &Surveyed, invalid: Option<Fault>, next: u64, file: String) -> Option<LogError> {
    let wrong = Fault::Last { expected: next - 1, found: found.last };
    let fault = invalid.or((found.last + 1 != next).then_some(wrong))?;
    Some(LogError::Record { file, offset: found.end, fault })
}

/// Tells damage from a torn tail and from the normal end, in the newest segment.
fn tail_fault<F: super::disk::DiskFile>(
    reader: &mut SegmentReader<F>,
    found: &mut Surveyed,
    invalid: Option<Fault>,
    file: String,
) -> Result<Option<LogError>, LogError> {
    let Some(fault) = invalid else { return Ok(None) };
    let offset = found.end;
    // A head with right checksums was written as it stands. So with another number than the next one, or of a group that
    // goes beyond the segment, it is no rest of the group that was being written.
    if matches!(fault, Fault::Commit { .. } | Fault::Long { .. }) {
        return Ok(Some(LogError::Record { file, offset, fault }));
    }
    if let Some((later_offset, head)) = reader.find_head(offset + 1)? {
        let later = kind_name(head.kind);
        return Ok(Some(LogError::Followed { file, offset, fault, later, later_offset }));
    }
    let bytes = reader.end_of_bytes(offset)? - offset;
    debug_assert!(bytes > 0 || is_unwritten(&fault), "an invalid record has bytes");
    found.tail = (bytes > 0).then_some(Tail { offset, bytes });
    Ok(None)
}
