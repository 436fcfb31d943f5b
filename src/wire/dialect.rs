//! The dialects that clients choose by a WebSocket subprotocol: how their messages are read, and the form of their pushes. A
//! new dialect is an entry of [`DIALECTS`]. Never sees a connection.

use super::form::Form;
use super::protocol::{BadRequest, Request};
use super::{binary, json};

/// Reads a text message as a command.
pub type ReadText = fn(&str) -> Result<Request<'_>, BadRequest>;

/// Reads a binary message as a command.
pub type ReadBinary = fn(&[u8]) -> Result<Request<'_>, BadRequest>;

/// How a connection identifies its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identifies {
    /// By the token or user name of the upgrade.
    ByUpgrade,
    /// By its first message, a [`Command::Identify`](super::protocol::Command::Identify).
    ByMessage,
}

/// A protocol over one WebSocket. Dialects with the same subprotocol are equal.
#[derive(Clone, Copy, Debug)]
pub struct Dialect {
    /// Its WebSocket subprotocol.
    pub subprotocol: &'static str,
    /// The form of pushes. A reply has the form of its command.
    pub form: Form,
    /// Reads text messages.
    pub read_text: ReadText,
    /// Reads binary messages.
    pub read_binary: ReadBinary,
    /// How its connections identify their user.
    pub identifies: Identifies,
}

impl PartialEq for Dialect {
    fn eq(&self, other: &Self) -> bool {
        self.subprotocol == other.subprotocol
    }
}

impl Eq for Dialect {}

/// The dialects of PROTOCOL section 1. The first is used if the client names no known subprotocol.
pub static DIALECTS: [Dialect; 2] = [
    Dialect {
        subprotocol: "roomring.v1.json",
        form: Form::Json,
        read_text: json::parse_command,
        read_binary: binary::parse_command,
        identifies: Identifies::ByUpgrade,
    },
    Dialect {
        subprotocol: "roomring.v1.binary",
        form: Form::Binary,
        read_text: json::parse_command,
        read_binary: binary::parse_command,
        identifies: Identifies::ByUpgrade,
    },
];
