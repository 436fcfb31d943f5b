//! Owns the dialects: how clients join and publish, and what a server's messages mean. Converts between bytes and
//! values; never opens a socket.

pub mod binary;
pub mod json;
pub mod people;
pub mod raw;
mod said;

use roomring::wire::frame::Opcode;
use serde::{Deserialize, Serialize};

use crate::payload::{Payload, Stamp};
use raw::Templates;
pub use said::{ClientPosition, RoomMessage, Said, StampedDelivery};

/// A dialect, with the state that speeds up parsing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Dialect {
    /// Roomring's JSON form.
    Json(json::Hints),
    /// Roomring's binary form.
    Binary,
    /// Any server, by templates for join and publish.
    Raw(Templates),
}

impl Dialect {
    /// Roomring's JSON form.
    #[must_use]
    pub fn json() -> Self {
        Dialect::Json(json::Hints::default())
    }

    /// The WebSocket subprotocol to offer.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&'static str> {
        match self {
            Dialect::Json(_) => Some("roomring.v1.json"),
            Dialect::Binary => Some("roomring.v1.binary"),
            Dialect::Raw(_) => None,
        }
    }

    /// Whether each line of a server message is a message.
    #[must_use]
    pub fn divides_lines(&self) -> bool {
        matches!(self, Dialect::Raw(templates) if templates.lines)
    }

    /// The opcode of commands.
    #[must_use]
    pub fn opcode(&self) -> Opcode {
        match self {
            Dialect::Json(_) => Opcode::Text,
            Dialect::Binary => Opcode::Binary,
            Dialect::Raw(templates) => templates.opcode(),
        }
    }

    /// The request target of an upgrade: `path` with the additions of this dialect.
    #[must_use]
    pub fn request_target(&self, path: &str, room: &str, user: &str) -> String {
        match self {
            Dialect::Json(_) | Dialect::Binary => format!("{path}?user={user}"),
            Dialect::Raw(templates) => templates.request_target(path, room, user),
        }
    }

    /// Whether a client joins by a message and waits for its reply.
    #[must_use]
    pub fn joins_by_message(&self) -> bool {
        match self {
            Dialect::Json(_) | Dialect::Binary => true,
            Dialect::Raw(templates) => templates.joins_by_message(),
        }
    }

    /// Whether publications carry a seq, so that clients can recover by position.
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

    /// Writes a publish without a reply.
    pub fn write_publish(&self, room: &str, stamp: Stamp, payload: Payload, out: &mut Vec<u8>) {
        match self {
            Dialect::Json(_) => json::write_publish(room, stamp, payload, false, out),
            Dialect::Binary => binary::write_publish(room, stamp, payload, out),
            Dialect::Raw(templates) => templates.write_publish(room, stamp, payload, out),
        }
    }

    /// Parses a publication fast; `None` for other messages, which [`Dialect::parse`] parses.
    pub fn delivery(&mut self, message: &[u8]) -> Option<StampedDelivery> {
        match self {
            Dialect::Json(hints) => hints.delivery(message),
            Dialect::Binary => binary::delivery(message),
            Dialect::Raw(templates) => templates.delivery(message),
        }
    }

    /// Parses any message.
    #[must_use]
    pub fn parse(&self, message: &[u8]) -> Said {
        match self {
            // Replies have the form of their command, pushes that of the subprotocol; here both are the same.
            Dialect::Json(_) => json::parse(message),
            Dialect::Binary => binary::parse(message),
            Dialect::Raw(templates) => templates.parse(message),
        }
    }
}
