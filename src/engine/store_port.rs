//! The port between an engine and the store that keeps rooms: requests and events. Values only.

use super::kept::{KeptAnswer, KeptAsk};
use super::record::{Record, Stretch};
use crate::base::ids::{Epoch, RoomName, Seq, UserName};

/// A request to the store of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreRequest {
    /// Reads a room (`StoreEvent::Loaded`): its newest `count` records, and the newest
    /// [`KEYS_PER_ROOM_MAX`](crate::base::limits::KEYS_PER_ROOM_MAX) keys of records published since `keys_since`. A
    /// room that the store does not know gets `epoch`, so that it has the same one after a restart.
    Load {
        /// Which room.
        room: RoomName,
        /// Maximum number of records.
        count: usize,
        /// Unix milliseconds.
        keys_since: u64,
        /// The epoch of a new room.
        epoch: Epoch,
    },
    /// Keeps one record (`StoreEvent::Committed` or `Failed`).
    Append {
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
}

/// An event from the store of this machine. Answers for one room come in the order of its requests.
#[derive(Debug)]
pub enum StoreEvent {
    /// Answer to `StoreRequest::Load`.
    Loaded {
        /// Which room.
        room: RoomName,
        /// The records that the store holds.
        stretch: Stretch,
        /// The requested keys, in the order of their seqs.
        keys: Vec<KeptKey>,
    },
    /// Every record of the room up to `seq` is on disk.
    Committed {
        /// Which room.
        room: RoomName,
        /// Its numbering.
        epoch: Epoch,
        /// The last record on disk.
        seq: Seq,
    },
    /// This append failed, and so did all later ones of the room that are not committed.
    Failed {
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
