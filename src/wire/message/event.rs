//! Owns complete messages and control frames, and checks the payload of a close. Never sees a frame's header.

use super::error::ProtocolError;
use crate::wire::frame::{CONTROL_BYTES_MAX, Opcode};

/// The result of one call of [`Decoder::next`](super::Decoder::next).
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// Bytes of the input that were consumed. Call again with the rest while there is an event or bytes remain.
    pub used: usize,
    /// A complete message or control frame.
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
    /// A close frame's status code and reason, if it has them. The code may be sent back unchanged.
    Close(Option<(u16, &'a str)>),
}

/// A complete message or control frame, before it is inflated.
pub(super) enum Whole<'a> {
    Event(Event<'a>),
    Compressed { opcode: Opcode, payload: &'a [u8] },
}

/// The event of a complete, unmasked frame that is a message by itself.
pub(super) fn whole_event(opcode: Opcode, payload: &[u8]) -> Result<Event<'_>, ProtocolError> {
    Ok(match opcode {
        Opcode::Text => Event::Text(
            simdutf8::basic::from_utf8(payload)
                .map_err(|_| ProtocolError::invalid_utf8("the text message is not UTF-8"))?,
        ),
        Opcode::Binary => Event::Binary(payload),
        Opcode::Ping => Event::Ping(payload),
        Opcode::Pong => Event::Pong(payload),
        Opcode::Close => Event::Close(close_payload(payload)?),
        Opcode::Continuation => unreachable!("a continuation is never a message by itself"),
    })
}

/// Reads a complete close payload. A payload of one byte is refused by its header.
fn close_payload(payload: &[u8]) -> Result<Option<(u16, &str)>, ProtocolError> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else { return Ok(None) };
    let code = u16::from_be_bytes(*code);
    if !may_be_sent(code) {
        return Err(ProtocolError::violation("the close code is reserved and must not be sent"));
    }
    let reason =
        std::str::from_utf8(reason).map_err(|_| ProtocolError::invalid_utf8("the close reason is not UTF-8"))?;
    Ok(Some((code, reason)))
}

/// Checks the first bytes of an incomplete close payload.
pub(super) fn check_close_so_far(payload: &[u8]) -> Result<(), ProtocolError> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else { return Ok(()) };
    let reason = match std::str::from_utf8(reason) {
        Err(error) if error.error_len().is_none() => &reason[..error.valid_up_to()],
        _ => reason,
    };
    let mut checked = [0; CONTROL_BYTES_MAX];
    checked[..2].copy_from_slice(code);
    checked[2..2 + reason.len()].copy_from_slice(reason);
    close_payload(&checked[..2 + reason.len()]).map(|_| ())
}

/// Close codes that an endpoint may send (RFC 6455 section 7.4 and the IANA registry).
const fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
