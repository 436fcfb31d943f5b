//! How a server is spoken to: what a client sends to join and to publish, and what the messages that come back mean.
//! Bytes <-> values, nothing else.

pub mod binary;
pub mod json;
pub mod raw;
mod said;

use roomring::wire::frame::Opcode;
use serde::{Deserialize, Serialize};

use crate::payload::{Payload, Stamp};
use raw::Templates;
pub use said::{ClientPosition, RoomMessage, Said, StampedDelivery};

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
    pub fn write_join(&self, room: &str, position: Option<&ClientPosition>, out: &mut Vec<u8>) {
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
    pub fn delivery(&mut self, message: &[u8]) -> Option<StampedDelivery> {
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
