//! Owns the values of a server's messages, common to all dialects, and the position of a client. Never parses.

use crate::payload::Stamp;

/// A publication on the hot path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StampedDelivery {
    /// Its seq, if the dialect has one.
    pub seq: Option<u64>,
    /// The generator's stamp; `None` if the data has none.
    pub stamp: Option<Stamp>,
}

/// A message of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// A numbered message of a room.
    Message(RoomMessage),
    /// Reply to a join.
    Joined {
        /// The room.
        room: String,
        /// The room's epoch, as 16 hex digits.
        epoch: String,
        /// The room's head.
        seq: u64,
        /// Whether all messages after the given position follow.
        recovered: bool,
        /// Messages within the reply (JSON).
        messages: Vec<RoomMessage>,
        /// Number of messages after the reply (binary).
        following: u32,
    },
    /// Reply to a leave, or a removal.
    Left {
        /// The room.
        room: String,
    },
    /// Reply to a publish.
    Accepted {
        /// The room.
        room: String,
        /// The seq of the publication.
        seq: Option<u64>,
    },
    /// Publications that will not arrive.
    Gap {
        /// The room.
        room: String,
        /// First missing seq.
        from: u64,
        /// Last missing seq.
        to: u64,
    },
    /// Error reply.
    Error {
        /// Name of the error code.
        code: String,
        /// Error text.
        message: String,
    },
    /// A heartbeat to answer (raw).
    Asked {
        /// The answer.
        answer: Vec<u8>,
    },
    /// Reply to a history read.
    History {
        /// The room.
        room: String,
        /// The room's epoch.
        epoch: String,
        /// Lowest seq that the server still has.
        first: u64,
        /// The room's head.
        head: u64,
        /// The requested messages, oldest first.
        messages: Vec<RoomMessage>,
    },
    /// Reply to a presence query.
    Presence {
        /// The room.
        room: String,
        /// Users present.
        total: u64,
    },
    /// The server is about to close the connection.
    Reconnect,
    /// Any other message.
    Other,
    /// Invalid message.
    Garbage(String),
}

/// A numbered message of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomMessage {
    /// The room.
    pub room: String,
    /// The seq.
    pub seq: u64,
    /// The published data, as delivered.
    pub data: Vec<u8>,
}

/// The position of a client that rejoins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientPosition {
    /// The room's epoch, as 16 hex digits.
    pub epoch: String,
    /// The last seq received.
    pub seq: u64,
}
