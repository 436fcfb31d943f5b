//! The dialects that clients may choose by a WebSocket subprotocol: how their messages are read, and the form in which
//! they are sent pushes. A further dialect is an entry of [`DIALECTS`]. Knows no connection.

use super::form::Form;
use super::protocol::{BadRequest, Request};
use super::{binary, json};

/// Reads a text message as a command.
pub type ReadText = fn(&str) -> Result<Request<'_>, BadRequest>;

/// Reads a binary message as a command.
pub type ReadBinary = fn(&[u8]) -> Result<Request<'_>, BadRequest>;

/// When a connection says who its user is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identifies {
    /// By the token or user of the upgrade.
    ByUpgrade,
    /// By its first message, a [`Command::Identify`](super::protocol::Command::Identify).
    ByMessage,
}

/// A way of speaking over one WebSocket. Two dialects are equal if their subprotocols are.
#[derive(Clone, Copy, Debug)]
pub struct Dialect {
    /// The WebSocket subprotocol that stands for it.
    pub subprotocol: &'static str,
    /// The form of pushes. A reply has the form of its command.
    pub form: Form,
    /// How text messages are read.
    pub read_text: ReadText,
    /// How binary messages are read.
    pub read_binary: ReadBinary,
    /// When connections identify themselves.
    pub identifies: Identifies,
}

impl PartialEq for Dialect {
    fn eq(&self, other: &Self) -> bool {
        self.subprotocol == other.subprotocol
    }
}

impl Eq for Dialect {}

/// The dialects of PROTOCOL section 1. The first is spoken where the client names none that is known.
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
