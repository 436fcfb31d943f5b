//! What a message from the server says, in every dialect, and where a client that comes back says it was.

use crate::payload::Stamp;

/// A publication as the hot path sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StampedDelivery {
    /// The room's number for it, where the dialect has one.
    pub seq: Option<u64>,
    /// The generator's own stamp; `None` when the data holds none.
    pub stamp: Option<Stamp>,
}

/// A message from the server, read whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// A numbered message of a room.
    Message(RoomMessage),
    /// The answer to a join.
    Joined {
        /// Which room.
        room: String,
        /// The room's epoch, as 16 hex digits.
        epoch: String,
        /// Its head.
        seq: u64,
        /// Whether everything after the given position follows.
        recovered: bool,
        /// Messages inside the answer (JSON).
        messages: Vec<RoomMessage>,
        /// Messages that follow the answer (binary).
        following: u32,
    },
    /// The answer to a leave, or told to leave.
    Left {
        /// Which room.
        room: String,
    },
    /// A publish was taken.
    Accepted {
        /// Which room.
        room: String,
        /// Its number.
        seq: Option<u64>,
    },
    /// Publications that will not come.
    Gap {
        /// Which room.
        room: String,
        /// First missing.
        from: u64,
        /// Last missing.
        to: u64,
    },
    /// A refusal.
    Error {
        /// The code's name.
        code: String,
        /// Plain words.
        message: String,
    },
    /// A heartbeat that wants this message in return (raw).
    Asked {
        /// The answer.
        answer: Vec<u8>,
    },
    /// The answer to a history read.
    History {
        /// Which room.
        room: String,
        /// The room's head.
        head: u64,
        /// What was asked for, oldest first.
        messages: Vec<RoomMessage>,
    },
    /// The answer to a presence query.
    Presence {
        /// Which room.
        room: String,
        /// Users present.
        total: u64,
    },
    /// The server is about to close.
    Reconnect,
    /// Welcome, pong, status and all else.
    Other,
    /// Not a message of this dialect.
    Garbage(String),
}

/// A numbered message of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomMessage {
    /// Which room.
    pub room: String,
    /// Its number.
    pub seq: u64,
    /// The published value's bytes, as delivered.
    pub data: Vec<u8>,
}

/// Where a client that comes back says it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientPosition {
    /// The room's epoch, as 16 hex digits.
    pub epoch: String,
    /// The last seq received.
    pub seq: u64,
}
