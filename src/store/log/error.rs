//! What can be wrong with a log, in words for the operator. Never decides how to react.

use std::fmt;
use std::io;

use super::format::{HeadFault, Kind, VERSION};

/// A log cannot be opened or read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum LogError {
    /// The system refused something.
    #[error("cannot {action} {file}: {reason}")]
    Io { action: &'static str, file: String, reason: io::Error },
    /// Named like a segment, and is none.
    #[error("{file} is not a segment of a Roomring log, although its name begins with \"log-\" and ends with \".rrl\"")]
    Foreign { file: String },
    /// Written by another version.
    #[error("{file} has version {found} of the log's format; this program reads version {VERSION} only")]
    Version { file: String, found: u32 },
    /// The header's bytes have changed.
    #[error("{file} is damaged at offset 0: its header has the checksum {found:08x}, expected {expected:08x}")]
    Header { file: String, expected: u32, found: u32 },
    /// The header does not fit the name.
    #[error("{file} was renamed: its header says that its name was {expected}")]
    Renamed { file: String, expected: String },
    /// A part of the file is gone, or something was added.
    #[error("{file} is damaged at offset {}: it has {found} bytes, expected {expected}", expected.min(found))]
    Length { file: String, expected: u64, found: u64 },
    /// A record is not as it was written.
    #[error("{file} is damaged at offset {offset}: {fault}")]
    Record { file: String, offset: u64, fault: Fault },
    /// Not a torn tail: something was written after it.
    #[error("{file} is damaged at offset {offset}: {fault}; but {later} stands behind it, at offset {later_offset}")]
    Followed { file: String, offset: u64, fault: Fault, later: &'static str, later_offset: u64 },
    /// A segment is gone.
    #[error("{missing} is missing: {named_by} says that the log goes on there")]
    Missing { missing: String, named_by: String },
    /// A segment does not belong to this log.
    #[error("{file} does not belong to this log: its header does not name {before} as the segment before it")]
    Unchained { file: String, before: String },
    /// Groups are wanted that have been removed, or that never were.
    #[error("the log holds groups {oldest} to {newest}, so the groups after {after} cannot be read from it")]
    Outside { after: u64, oldest: u64, newest: u64 },
    /// A new segment or a mark cannot be written.
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl LogError {
    /// The file at fault, with the offset where one is known.
    #[must_use]
    pub fn place(&self) -> Option<(&str, Option<u64>)> {
        match self {
            LogError::Io { file, .. }
            | LogError::Foreign { file }
            | LogError::Version { file, .. }
            | LogError::Renamed { file, .. }
            | LogError::Unchained { file, .. } => Some((file, None)),
            LogError::Missing { missing, .. } => Some((missing, None)),
            LogError::Header { file, .. } => Some((file, Some(0))),
            LogError::Length { file, expected, found } => Some((file, Some(*expected.min(found)))),
            LogError::Record { file, offset, .. } | LogError::Followed { file, offset, .. } => {
                Some((file, Some(*offset)))
            }
            LogError::Outside { .. } | LogError::Append(_) => None,
        }
    }

    pub(super) fn io(action: &'static str, file: String) -> impl FnOnce(io::Error) -> Self {
        move |reason| LogError::Io { action, file, reason }
    }
}

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its head.
    Head {
        /// Commit number of the group that is expected.
        expected: u64,
        /// What is wrong.
        fault: HeadFault,
    },
    /// The record is longer than the bytes up to the end.
    Long {
        /// Its bytes.
        length: u64,
        /// Bytes up to the end.
        room: u64,
    },
    /// The log ended at an offset at which no record ends.
    Cut {
        /// Where it ended.
        end: u64,
    },
    /// Another commit number.
    Commit {
        /// What should stand here.
        kind: Kind,
        /// The right number.
        expected: u64,
        /// The number.
        found: u64,
    },
    /// The payload's checksum.
    Payload {
        /// The group's commit number.
        commit: u64,
        /// What the group holds.
        expected: u32,
        /// What its bytes have.
        found: u32,
    },
    /// The segment's last group is not the one before the next segment's first.
    Last {
        /// The right number.
        expected: u64,
        /// The number.
        found: u64,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Head { expected, fault: HeadFault::Zero } => write!(f, "expected group {expected}, found zeros"),
            Fault::Head { expected, fault: HeadFault::Kind(bytes) } => {
                write!(f, "expected group {expected}, found the bytes {}", bytes.escape_ascii())
            }
            Fault::Head { expected, fault: HeadFault::Checksum(held, found) } => {
                write!(f, "the head of group {expected} has the checksum {found:08x}, expected {held:08x}")
            }
            Fault::Long { length, room } => {
                write!(f, "a record says that it has {length} bytes, expected at most {room}")
            }
            Fault::Cut { end } => write!(f, "expected the end of a record at offset {end}, found none"),
            Fault::Commit { kind, expected, found } => {
                write!(f, "expected {} with commit number {expected}, found {found}", kind_name(*kind))
            }
            Fault::Payload { commit, expected, found } => {
                write!(f, "the payload of group {commit} has the checksum {found:08x}, expected {expected:08x}")
            }
            Fault::Last { expected, found } => {
                write!(f, "the segment ends with group {found}, expected group {expected}")
            }
        }
    }
}

/// A kind of record in a sentence.
pub(super) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Group => "a group",
        Kind::Mark => "a mark",
        Kind::Seal => "a seal",
    }
}

/// A group was not appended: it did not happen, and its commit number is given to the next one.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum AppendError {
    /// No space, or over a quota.
    #[error("the disk is full: cannot {action} {file}: {reason}")]
    Full { action: &'static str, file: String, reason: io::Error },
    /// The file system takes no writes.
    #[error("the file system is read-only: cannot {action} {file}: {reason}")]
    ReadOnly { action: &'static str, file: String, reason: io::Error },
    /// Another error of the system.
    #[error("cannot {action} {file}: {reason}")]
    Io { action: &'static str, file: String, reason: io::Error },
    /// Over the bound; nothing was written.
    #[error("a group has {bytes} bytes, over the maximum of {max}")]
    TooLarge { bytes: usize, max: usize },
}

impl AppendError {
    pub(super) fn io(action: &'static str, file: String) -> impl FnOnce(io::Error) -> Self {
        move |reason| match reason.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => AppendError::Full { action, file, reason },
            io::ErrorKind::ReadOnlyFilesystem => AppendError::ReadOnly { action, file, reason },
            _ => AppendError::Io { action, file, reason },
        }
    }
}
