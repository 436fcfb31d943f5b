//! The port between an engine and the store that keeps rooms: requests and events. Values only.

use super::kept::{KeptAnswer, KeptAsk, KeptRoom};
use super::record::{PageAnswer, PageRequest, Record, Stretch};
use crate::base::ids::{Epoch, RoomName, Seq, UserName};

/// A request to the store of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreRequest {
    /// Reads a room (`StoreEvent::Loaded`): its newest `count` records, and the newest
    /// [`KEYS_PER_ROOM_MAX`](crate::base::limits::KEYS_PER_ROOM_MAX) keys of records published since `keys_since`. A
    /// room that the store does not know gets `epoch`, so that it has the same one after a restart.
    Load {
        /// Comes back in the answer. The owner asks again where the answer is late; an answer of an attempt that is over says
        /// where the room stood then, and does not count any more.
        attempt: u64,
        /// Which room.
        room: RoomName,
        /// Maximum number of records.
        count: usize,
        /// Unix milliseconds.
        keys_since: u64,
        /// The epoch of a new room.
        epoch: Epoch,
    },
    /// Keep one record (`StoreEvent::Committed` or `Failed`). A record that is kept already is left as it is.
    Append {
        /// Comes back in the answer. Of a room that the link numbers, appends of an attempt that has failed are dropped;
        /// they come again under the next one.
        attempt: u64,
        /// Which room.
        room: RoomName,
        /// Its numbering.
        epoch: Epoch,
        /// The record.
        record: Record,
    },
    /// Keep or find something beside rooms (`StoreEvent::Answered`, if [`KeptAsk`] says that there is an answer).
    Ask {
        /// Comes back in the answer.
        token: u64,
        /// What.
        ask: KeptAsk,
    },
    /// Read a page of a room's history (`StoreEvent::Page`), everything that was appended before included.
    Page(PageRequest),
}

/// An event from the store of this machine. Commits and failures of one room come in the order of its appends; what is read
/// may come later than what was asked after it.
#[derive(Debug)]
pub enum StoreEvent {
    /// Answer to `StoreRequest::Load`.
    Loaded {
        /// The request's.
        attempt: u64,
        /// Which room.
        room: RoomName,
        /// The records that the store holds.
        stretch: Stretch,
        /// The lowest number that the store holds; the head's next where it holds none.
        first_seq: Seq,
        /// The keys that were asked for, in the order of their seqs.
        keys: Vec<KeptKey>,
        /// What was created under this name, if anything was.
        created: Option<KeptRoom>,
    },
    /// Everything of this room that was appended in this attempt up to here is on disk.
    Committed {
        /// The last append's.
        attempt: u64,
        /// Which room.
        room: RoomName,
        /// Its numbering.
        epoch: Epoch,
        /// The last record on disk.
        seq: Seq,
    },
    /// This append and all later ones of the room and the attempt that are not committed did not happen, as far as the
    /// store can tell.
    Failed {
        /// The append's.
        attempt: u64,
        /// Which room.
        room: RoomName,
        /// Its numbering.
        epoch: Epoch,
        /// The first one that failed.
        seq: Seq,
        /// When the publisher should try again.
        retry_after_ms: u64,
    },
    /// Answer to `StoreRequest::Ask`.
    Answered {
        /// The request's.
        token: u64,
        /// What.
        answer: KeptAnswer,
    },
    /// Answer to `StoreRequest::Page`.
    Page(PageAnswer),
}

/// A publish's idempotency key as the store holds it, even if its record is not among the requested ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptKey {
    /// The publisher.
    pub from: UserName,
    /// The key.
    pub key: Box<str>,
    /// The seq of its record.
    pub seq: Seq,
    /// When its record was published, Unix milliseconds.
    pub at: u64,
}
