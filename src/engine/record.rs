//! Publications as a link or a store holds them: not encoded.

use std::sync::Arc;

use bytes::Bytes;

use crate::base::ids::{Epoch, Position, RoomName, Seq, UserName};
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

/// A question for records of one room that its owner does not hold in memory: those with numbers above `after` and below
/// `before`. With `after` the oldest of them are wanted, without it the newest.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct PageRequest {
    /// Comes back in the answer.
    pub token: u64,
    pub room: RoomName,
    /// The numbering meant.
    pub epoch: Epoch,
    pub after: Option<Seq>,
    pub before: Seq,
    /// What was published at this time or before (Unix milliseconds) is not shown any more, nor what stands below it.
    pub expired_at: u64,
    /// Most records in the answer.
    pub count: usize,
    /// Most bytes of data in the answer; one record that has more by itself is given all the same.
    pub bytes: usize,
}

/// The answer to a [`PageRequest`]. May be lost: the engine asks again, with the same token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct PageAnswer {
    pub token: u64,
    pub room: RoomName,
    /// Or it could not be read; then when to try again, in milliseconds.
    pub result: Result<RecordPage, u64>,
}

/// Records of one numbering, in order. A number that is missing among them is not held now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordPage {
    /// The lowest number held that has not expired. `None`: there is none of this numbering.
    pub first_seq: Option<Seq>,
    /// What was asked for.
    pub records: Vec<Record>,
}
