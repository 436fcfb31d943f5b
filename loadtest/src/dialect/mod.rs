//! How a server is spoken to: what a client sends to join and to publish, and what the messages that come back mean.
//! Bytes <-> values, nothing else.

pub mod binary;
pub mod json;
pub mod raw;

use roomring::wire::frame::Opcode;
use serde::{Deserialize, Serialize};

use crate::payload::{Payload, Stamp};
use raw::Templates;

/// A dialect, and what it needs to remember to read publications fast.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Dialect {
    /// Roomring, text messages.
    Json(json::Hints),
    /// Roomring, binary messages.
    Binary,
    /// Any server whose join and publish messages are templates.
    Raw(Templates),
}

/// A publication as the hot path sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The room's number for it, where the dialect has one.
    pub seq: Option<u64>,
    /// The generator's own stamp; `None` when the data holds none.
    pub stamp: Option<Stamp>,
}

/// A message from the server, read whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// A numbered message of a room.
    Message(Published),
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
        messages: Vec<Published>,
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
        messages: Vec<Published>,
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
pub struct Published {
    /// Which room.
    pub room: String,
    /// Its number.
    pub seq: u64,
    /// The published value's bytes, as delivered.
    pub data: Vec<u8>,
}

/// Where a client that comes back says it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The room's epoch, as 16 hex digits.
    pub epoch: String,
    /// The last seq received.
    pub seq: u64,
}

impl Dialect {
    /// Roomring's text dialect.
    #[must_use]
    pub fn json() -> Self {
        Dialect::Json(json::Hints::default())
    }

    /// The WebSocket subprotocol to ask for.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&'static str> {
        match self {
            Dialect::Json(_) => Some("roomring.v1.json"),
            Dialect::Binary => Some("roomring.v1.binary"),
            Dialect::Raw(_) => None,
        }
    }

    /// Whether a message from the server may hold several, one in each line.
    #[must_use]
    pub fn divides_lines(&self) -> bool {
        matches!(self, Dialect::Raw(templates) if templates.lines)
    }

    /// The kind of frame that commands travel in.
    #[must_use]
    pub fn opcode(&self) -> Opcode {
        match self {
            Dialect::Json(_) => Opcode::Text,
            Dialect::Binary => Opcode::Binary,
            Dialect::Raw(templates) => templates.opcode(),
        }
    }

    /// The request target of a client's upgrade: `path`, with what this dialect adds.
    #[must_use]
    pub fn request_target(&self, path: &str, room: &str, user: &str) -> String {
        match self {
            Dialect::Json(_) | Dialect::Binary => format!("{path}?user={user}"),
            Dialect::Raw(templates) => templates.request_target(path, room, user),
        }
    }

    /// Whether an open connection must send a join and wait for its answer before it is a member.
    #[must_use]
    pub fn joins_by_message(&self) -> bool {
        match self {
            Dialect::Json(_) | Dialect::Binary => true,
            Dialect::Raw(templates) => templates.joins_by_message(),
        }
    }

    /// Whether publications carry a seq, and a client that was away can ask for those that it missed.
    #[must_use]
    pub fn is_numbered(&self) -> bool {
        !matches!(self, Dialect::Raw(_))
    }

    /// Writes a join.
    pub fn write_join(&self, room: &str, position: Option<&Position>, out: &mut Vec<u8>) {
        match self {
            Dialect::Json(_) => json::write_join(room, position, out),
            Dialect::Binary => binary::write_join(room, position, out),
            Dialect::Raw(templates) => templates.write_join(room, out),
        }
    }

    /// Writes a publish of a stamp in a payload, whose reply is not wanted.
    pub fn write_publish(&self, room: &str, stamp: Stamp, payload: Payload, out: &mut Vec<u8>) {
        match self {
            Dialect::Json(_) => json::write_publish(room, stamp, payload, false, out),
            Dialect::Binary => binary::write_publish(room, stamp, payload, out),
            Dialect::Raw(templates) => templates.write_publish(room, stamp, payload, out),
        }
    }

    /// Reads a publication, fast; `None` when the message is something else: then [`Dialect::parse`] tells what.
    pub fn delivery(&mut self, message: &[u8]) -> Option<Delivery> {
        match self {
            Dialect::Json(hints) => hints.delivery(message),
            Dialect::Binary => binary::delivery(message),
            Dialect::Raw(templates) => templates.delivery(message),
        }
    }

    /// Reads any message.
    #[must_use]
    pub fn parse(&self, message: &[u8]) -> Said {
        match self {
            // Replies come in the form of their command, pushes in that of the subprotocol: here both are one.
            Dialect::Json(_) => json::parse(message),
            Dialect::Binary => binary::parse(message),
            Dialect::Raw(templates) => templates.parse(message),
        }
    }
}
