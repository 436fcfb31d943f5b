//! Publications as values between a room and what numbers or keeps it: not yet, or no longer, encoded.

use std::sync::Arc;

use bytes::Bytes;

use crate::base::ids::{Position, Seq, UserName};
use crate::wire::publication::DataKind;

/// What is numbered by a link or kept by a store: a publication, not yet or no longer encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number (0 while the link has not numbered it).
    pub seq: Seq,
    /// When it was published, Unix milliseconds.
    pub at: u64,
    /// Who published it.
    pub from: UserName,
    /// How `data` was written.
    pub kind: DataKind,
    /// The data, verbatim.
    pub data: Bytes,
    /// The publisher's idempotency key.
    pub key: Option<Box<str>>,
    /// The connection that published it asked to be spared (`echo:false`), as node name and connection id.
    pub except: Option<Arc<str>>,
}

/// A stretch of a room as the link or the store holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The room's numbering and head. `None`: the room has never been published to (an open makes its epoch).
    pub head: Option<Position>,
    /// Records in order without holes, the last one at most the head. May begin later than asked when older ones are gone.
    pub records: Vec<Record>,
}
