//! Reads one segment: its header, its records one after the other, and what stands behind its end. Never writes, and never
//! decides what a fault means.

use super::disk::{Disk, DiskFile};
use super::error::{Fault, LogError};
use super::format::{
    HEAD_BYTES, HEADER_BYTES, Head, HeadFault, Header, HeaderFault, KIND_FIRST, Kind, file_name, payload_checksum,
};

/// Bytes read at once.
const CHUNK: usize = 256 * 1024;

/// Bytes looked at together in a search: zeros are passed over by whole blocks.
const BLOCK: usize = 64;

/// A record whose checksums are right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its head.
    pub head: Head,
    /// Its payload.
    pub payload: &'a [u8],
}

/// A segment that is read.
#[derive(Debug)]
pub struct SegmentReader<F> {
    file: F,
    /// Where it stands, for errors.
    place: String,
    header: Header,
    /// The bytes read last, of which `filled` are valid, from `at` in the file.
    chunk: Vec<u8>,
    filled: usize,
    at: u64,
}

impl<F: DiskFile> SegmentReader<F> {
    /// Opens a segment and checks its header, its name and its length.
    pub fn open(disk: &impl Disk<File = F>, first: u64) -> Result<Self, LogError> {
        let name = file_name(first);
        let place = disk.place(&name);
        let file = disk.open_to_read(&name).map_err(LogError::io("open", place.clone()))?;
        let found = file.length().map_err(LogError::io("read the length of", place.clone()))?;
        if found < HEADER_BYTES as u64 {
            return Err(LogError::Length { file: place, expected: HEADER_BYTES as u64, found });
        }
        let mut bytes = [0; HEADER_BYTES];
        file.read_at(&mut bytes, 0).map_err(LogError::io("read", place.clone()))?;
        let header = Header::decode(&bytes).map_err(|fault| match fault {
            HeaderFault::Magic => LogError::Foreign { file: place.clone() },
            HeaderFault::Version(found) => LogError::Version { file: place.clone(), found },
            HeaderFault::Checksum(expected, found) => LogError::Header { file: place.clone(), expected, found },
        })?;
        if header.first != first {
            return Err(LogError::Renamed { file: place, expected: file_name(header.first) });
        }
        if header.length != found {
            return Err(LogError::Length { file: place, expected: header.length, found });
        }
        Ok(Self { file, place, header, chunk: Vec::new(), filled: 0, at: 0 })
    }

    /// Its header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Where it stands, for errors.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The record at an offset, which must end at `end` or before. `expected` is the number of the next group.
    pub fn record(&mut self, at: u64, end: u64, expected: u64) -> Result<Result<Record<'_>, Fault>, LogError> {
        let Some(head) = self.bytes::<HEAD_BYTES>(at, end)? else {
            return Ok(Err(Fault::Cut { end }));
        };
        let head = match Head::decode(&head, self.header.salt) {
            Ok(head) => head,
            Err(fault) => return Ok(Err(Fault::Head { expected, fault })),
        };
        let room = end - at;
        if head.record_bytes() > room {
            return Ok(Err(Fault::Long { length: head.record_bytes(), room }));
        }
        let right = if head.kind == Kind::Mark { expected - 1 } else { expected };
        if head.commit != right {
            return Ok(Err(Fault::Commit { kind: head.kind, expected: right, found: head.commit }));
        }
        let salt = self.header.salt;
        let payload = self.slice(at + HEAD_BYTES as u64, head.length as usize, end)?;
        let found = payload_checksum(salt, head.length, head.commit, [payload]);
        if found != head.checksum {
            return Ok(Err(Fault::Payload { commit: head.commit, expected: head.checksum, found }));
        }
        Ok(Ok(Record { head, payload }))
    }

    /// The payload of a record that was read just before. Not checked again.
    pub fn payload(&mut self, at: u64, head: &Head, end: u64) -> Result<&[u8], LogError> {
        self.slice(at + HEAD_BYTES as u64, head.length as usize, end)
    }

    /// The first head with a right checksum at or behind an offset. One is proof that it was written: the salt is secret.
    pub fn find_head(&mut self, from: u64) -> Result<Option<(u64, Head)>, LogError> {
        let salt = self.header.salt;
        let end = self.header.length;
        let mut at = from;
        while at < end {
            let now = CHUNK.min(usize::try_from(end - at).unwrap_or(CHUNK));
            let starts: Vec<usize> = {
                let chunk = self.slice(at, now, end)?;
                let blocks = chunk.chunks(BLOCK).enumerate().filter(|(_, block)| !is_zero(block));
                let starts = blocks.flat_map(|(index, block)| {
                    let first = block.iter().enumerate().filter(|(_, byte)| **byte == KIND_FIRST);
                    first.map(move |(inner, _)| index * BLOCK + inner)
                });
                starts.collect()
            };
            for start in starts {
                let start = at + start as u64;
                // A head at the chunk's end goes on behind it.
                let Some(bytes) = self.bytes::<HEAD_BYTES>(start, end)? else { continue };
                if let Ok(head) = Head::decode(&bytes, salt) {
                    return Ok(Some((start, head)));
                }
            }
            at += now as u64;
        }
        Ok(None)
    }

    /// Behind the last byte at or behind an offset that is not zero; the offset itself if there is none.
    pub fn end_of_bytes(&mut self, from: u64) -> Result<u64, LogError> {
        let end = self.header.length;
        let (mut at, mut last) = (from, from);
        while at < end {
            let now = CHUNK.min(usize::try_from(end - at).unwrap_or(CHUNK));
            let chunk = self.slice(at, now, end)?;
            if let Some(found) = chunk.chunks(BLOCK).rposition(|block| !is_zero(block)) {
                let block = &chunk[found * BLOCK..chunk.len().min((found + 1) * BLOCK)];
                let inner = block.iter().rposition(|byte| *byte != 0).unwrap_or(0);
                last = at + (found * BLOCK + inner) as u64 + 1;
            }
            at += now as u64;
        }
        Ok(last)
    }

    /// Some bytes; `None` if they do not fit before `end`.
    fn bytes<const N: usize>(&mut self, at: u64, end: u64) -> Result<Option<[u8; N]>, LogError> {
        if end.saturating_sub(at) < N as u64 {
            return Ok(None);
        }
        let slice = self.slice(at, N, end)?;
        Ok(Some(slice.try_into().expect("the slice has the length that was asked for")))
    }

    /// `length` bytes, which lie before `end`. Reads ahead up to there.
    fn slice(&mut self, at: u64, length: usize, end: u64) -> Result<&[u8], LogError> {
        let held = self.at <= at && at + length as u64 <= self.at + self.filled as u64;
        if !held {
            let ahead = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
            let wanted = length.max(ahead);
            if self.chunk.len() < wanted {
                self.chunk = vec![0; wanted];
            }
            self.filled = 0;
            let read = self.file.read_at(&mut self.chunk[..wanted], at);
            read.map_err(LogError::io("read", self.place.clone()))?;
            (self.at, self.filled) = (at, wanted);
        }
        let start = usize::try_from(at - self.at).expect("it lies in the chunk");
        Ok(&self.chunk[start..start + length])
    }

    /// The bytes of a range, whatever they are.
    pub fn copy(&mut self, from: u64, to: u64) -> Result<Vec<u8>, LogError> {
        let length = usize::try_from(to - from).expect("records are smaller than memory");
        Ok(self.slice(from, length, to)?.to_vec())
    }
}

/// Whether nothing was written here, as far as one can see.
#[must_use]
pub fn is_unwritten(fault: &Fault) -> bool {
    matches!(fault, Fault::Cut { .. } | Fault::Head { fault: HeadFault::Zero, .. })
}

fn is_zero(block: &[u8]) -> bool {
    *block == [0; BLOCK][..block.len()]
}
