//! Publications as a link or a store holds them: not encoded.

use std::sync::Arc;

use bytes::Bytes;

use crate::base::ids::{Position, Seq, UserName};
use crate::wire::publication::DataKind;

/// A publication as the link numbers it and the store keeps it: not encoded.
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
    /// The publishing connection, if it asked not to receive its own message (`echo:false`), as node name and
    /// connection id.
    pub except: Option<Arc<str>>,
}

/// A run of a room's records, as the link or the store holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The room's numbering and head. `None`: nothing was ever published to the room (an open creates its epoch).
    pub head: Option<Position>,
    /// Records in order without holes, the last one at most the head. Starts later than requested if older ones are
    /// gone.
    pub records: Vec<Record>,
}
