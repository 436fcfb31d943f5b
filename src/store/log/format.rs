//! The bytes of a segment: names, header, heads of records, checksums. Never reads or writes a file.
//!
//! Integers are in little-endian order. A segment is a header of 4,096 bytes, so that no group shares a page with it, then
//! records, then zeros.
//!
//! ```text
//! header   0 "RRLOGSEG"   8 version u32   12 0 u32   16 first commit u64   24 bytes of the segment u64   32 salt u64
//!         40 first commit of the segment before, 0: none u64   48 where the log ended in it u64   56 zeros
//!       4092 CRC32 over everything before
//! record   0 kind, four bytes   4 bytes of the payload u32   8 commit number u64
//!         16 CRC32 over salt, length, commit number and payload   20 CRC32 over salt and everything before
//!         24 payload
//! ```
//!
//! The head has a checksum of its own, so that a search for heads in a torn tail need not try the payload of each.

use crc32fast::Hasher;

/// Bytes of a segment's header.
pub const HEADER_BYTES: usize = 4_096;

/// Bytes of a record's head.
pub const HEAD_BYTES: usize = 24;

/// The format that this program writes and reads.
pub const VERSION: u32 = 1;

/// Name of the next segment, until it is used.
pub const SPARE: &str = "spare.rrl";

const HEADER_MAGIC: &[u8; 8] = b"RRLOGSEG";

/// First byte of every kind.
pub const KIND_FIRST: u8 = b'R';

const GROUP: [u8; 4] = *b"RRg\x01";
const MARK: [u8; 4] = *b"RRm\x02";
const SEAL: [u8; 4] = *b"RRs\x03";

/// What a file's name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// A segment; its first commit number.
    Segment(u64),
    /// Looks like a segment's, but no segment has such a name.
    Foreign,
    /// Another file's, which is none of the log's business.
    Other,
}

/// The name of the segment that begins with a commit number.
#[must_use]
pub fn file_name(first: u64) -> String {
    format!("log-{first:020}.rrl")
}

/// Reads a file's name.
#[must_use]
pub fn read_name(name: &str) -> Named {
    let Some(number) = name.strip_prefix("log-").and_then(|rest| rest.strip_suffix(".rrl")) else {
        return Named::Other;
    };
    match number.parse() {
        Ok(first) if first > 0 && name == file_name(first) => Named::Segment(first),
        _ => Named::Foreign,
    }
}

/// Where the log ended in the segment before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Previous {
    /// First commit number of that segment.
    pub first: u64,
    /// End of its last acknowledged record. What stands behind it is ignored.
    pub end: u64,
}

/// A segment's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Commit number of its first group.
    pub first: u64,
    /// Bytes of the segment, header included.
    pub length: u64,
    /// Begins every checksum of its records.
    pub salt: u64,
    /// `None`: the log begins here.
    pub previous: Option<Previous>,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderFault {
    /// It begins otherwise.
    Magic,
    /// Another version.
    Version(u32),
    /// The checksum that it holds, and that of its bytes.
    Checksum(u32, u32),
}

impl Header {
    /// As bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let previous = self.previous.unwrap_or(Previous { first: 0, end: 0 });
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[..8].copy_from_slice(HEADER_MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        let fields = [self.first, self.length, self.salt, previous.first, previous.end];
        bytes[16..56].copy_from_slice(&fields.map(u64::to_le_bytes).concat());
        let checksum = crc32fast::hash(&bytes[..HEADER_BYTES - 4]);
        bytes[HEADER_BYTES - 4..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// From bytes.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, HeaderFault> {
        if bytes[..8] != *HEADER_MAGIC {
            return Err(HeaderFault::Magic);
        }
        // The version comes first: another one may have its checksum elsewhere.
        let version = u32_at(bytes, 8);
        if version != VERSION {
            return Err(HeaderFault::Version(version));
        }
        let (held, found) = (u32_at(bytes, HEADER_BYTES - 4), crc32fast::hash(&bytes[..HEADER_BYTES - 4]));
        if held != found {
            return Err(HeaderFault::Checksum(held, found));
        }
        let first = u64_at(bytes, 40);
        Ok(Self {
            first: u64_at(bytes, 16),
            length: u64_at(bytes, 24),
            salt: u64_at(bytes, 32),
            previous: (first > 0).then(|| Previous { first, end: u64_at(bytes, 48) }),
        })
    }
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A group; the commit number is its own.
    Group,
    /// Says that the group with the commit number, the last one before, is part of the log. No payload.
    Mark,
    /// Says that the log goes on in the segment that begins with the commit number. No payload.
    Seal,
}

/// A record's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What the record is.
    pub kind: Kind,
    /// Bytes of the payload.
    pub length: u32,
    /// Commit number.
    pub commit: u64,
    /// Of salt, length, commit number and payload.
    pub checksum: u32,
}

/// Why bytes are no head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadFault {
    /// All zero: nothing was written here.
    Zero,
    /// They begin otherwise.
    Kind([u8; 4]),
    /// The checksum that they hold, and that of the bytes.
    Checksum(u32, u32),
}

impl Head {
    /// The head of a record without payload.
    #[must_use]
    pub fn bare(kind: Kind, commit: u64, salt: u64) -> Self {
        Self { kind, length: 0, commit, checksum: payload_checksum(salt, 0, commit, []) }
    }

    /// As bytes.
    #[must_use]
    pub fn encode(&self, salt: u64) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..4].copy_from_slice(match self.kind {
            Kind::Group => &GROUP,
            Kind::Mark => &MARK,
            Kind::Seal => &SEAL,
        });
        bytes[4..8].copy_from_slice(&self.length.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.commit.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.checksum.to_le_bytes());
        let checksum = head_checksum(salt, &bytes);
        bytes[20..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// From bytes.
    pub fn decode(bytes: &[u8; HEAD_BYTES], salt: u64) -> Result<Self, HeadFault> {
        let kind = match [bytes[0], bytes[1], bytes[2], bytes[3]] {
            GROUP => Kind::Group,
            MARK => Kind::Mark,
            SEAL => Kind::Seal,
            _ if bytes.iter().all(|byte| *byte == 0) => return Err(HeadFault::Zero),
            other => return Err(HeadFault::Kind(other)),
        };
        let (held, found) = (u32_at(bytes, 20), head_checksum(salt, bytes));
        if held != found {
            return Err(HeadFault::Checksum(held, found));
        }
        Ok(Self { kind, length: u32_at(bytes, 4), commit: u64_at(bytes, 8), checksum: u32_at(bytes, 16) })
    }

    /// Bytes of the record.
    #[must_use]
    pub fn record_bytes(&self) -> u64 {
        HEAD_BYTES as u64 + u64::from(self.length)
    }
}

/// The checksum of a payload in parts.
#[must_use]
pub fn payload_checksum<'a>(salt: u64, length: u32, commit: u64, parts: impl IntoIterator<Item = &'a [u8]>) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&salt.to_le_bytes());
    hasher.update(&length.to_le_bytes());
    hasher.update(&commit.to_le_bytes());
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
}

fn head_checksum(salt: u64, bytes: &[u8; HEAD_BYTES]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&salt.to_le_bytes());
    hasher.update(&bytes[..20]);
    hasher.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests;
