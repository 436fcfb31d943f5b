//! Socket bytes -> WebSocket messages: incremental, in place, fail-fast (RFC 6455 sections 5 and 8.1).
//! Holds memory only while a message is incomplete.

use crate::base::codes::CloseCode;

/// What one call of [`Decoder::next`] found.
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// Bytes of the input that are done with. Call again with the rest while an event comes or bytes remain.
    pub used: usize,
    /// A complete message or control frame, if there is one.
    pub event: Option<Event<'a>>,
}

/// A complete message or control frame, unmasked; borrowed from the input or from the decoder.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A text message, valid UTF-8.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// A ping's payload, at most 125 bytes.
    Ping(&'a [u8]),
    /// A pong's payload, at most 125 bytes.
    Pong(&'a [u8]),
    /// A close frame: its status code and reason, if it had any. The code may be sent back as it is.
    Close(Option<(u16, &'a str)>),
}

/// The peer broke a rule: the connection must be closed with `code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct ProtocolError {
    /// 1002, 1007 or 1009.
    pub code: CloseCode,
    /// Plain words for the log.
    pub what: &'static str,
}

/// A client's byte stream being turned into messages. Eight bytes while no message is incomplete.
#[derive(Debug, Default)]
pub struct Decoder {
    partial: Option<Box<Partial>>,
}

#[derive(Debug)]
struct Partial {}

impl Decoder {
    /// Takes the next message out of `input`, unmasking in place.
    ///
    /// # Errors
    /// The first violation; the decoder must not be used again.
    pub fn next<'a>(&'a mut self, input: &'a mut [u8], max_message_bytes: usize) -> Result<Decoded<'a>, ProtocolError> {
        let _ = (input, max_message_bytes, &self.partial);
        todo!()
    }

    /// Bytes of memory held for an incomplete message: charged to the memory budget.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        todo!()
    }
}
