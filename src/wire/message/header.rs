//! Reads one frame header of a client (RFC 6455 section 5.2) and checks it byte by byte. Never reads a payload.

use super::error::ProtocolError;
use crate::base::codes::CloseCode;
use crate::wire::deflate::{COMPRESSED_BIT, compressed_bytes_max};
use crate::wire::frame::{CONTROL_BYTES_MAX, Opcode};

/// Bytes of the longest frame header: 64-bit length and mask key.
pub(super) const CLIENT_HEADER_BYTES_MAX: usize = 14;

/// A complete, valid header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    /// Whether the frame is the last of its message.
    pub(super) fin: bool,
    /// Whether the frame is the first of a compressed message (RFC 7692 section 6).
    pub(super) compressed: bool,
    pub(super) opcode: Opcode,
    /// The mask key.
    pub(super) key: [u8; 4],
    /// Bytes of payload, checked against the limit.
    pub(super) payload_len: usize,
    /// Bytes of the header.
    pub(super) len: usize,
}

/// The earlier fragments of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct FragmentsBefore {
    /// Bytes of their payloads.
    pub(super) bytes: usize,
    pub(super) compressed: bool,
}

/// The state of the stream before a header, and the limits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context {
    /// The fragmented message under way.
    pub(super) message: Option<FragmentsBefore>,
    /// Maximum bytes of a message.
    pub(super) max_message_bytes: usize,
    /// Whether compression was negotiated.
    pub(super) may_compress: bool,
}

impl Header {
    /// Reads the header at the front of `bytes`; `None` if it is incomplete and valid so far.
    ///
    /// # Errors
    /// 1002 or 1009, for an incomplete header too.
    #[inline]
    pub(super) fn parse(bytes: &[u8], context: Context) -> Result<Option<Header>, ProtocolError> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let (fin, opcode) = first_byte(first, context)?;
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        if second & 0x80 == 0 {
            return Err(ProtocolError::violation("the frame is not masked"));
        }
        let compressed = first & COMPRESSED_BIT != 0;
        let short = second & 0x7f;
        if opcode.is_control() {
            control_length(opcode, short)?;
        }
        let Some((payload_len, key_at)) = payload_length(&bytes[2..], short)? else { return Ok(None) };
        if !opcode.is_control() {
            let (before, compressed) = match context.message {
                Some(message) => (message.bytes as u64, message.compressed),
                None => (0, compressed),
            };
            let max = context.max_message_bytes;
            let max = if compressed { compressed_bytes_max(max) } else { max };
            if before.saturating_add(payload_len) > max as u64 {
                return Err(ProtocolError { code: CloseCode::TooBig, what: "the message exceeds the size limit" });
            }
        }
        let Some(key) = bytes[key_at..].first_chunk::<4>() else { return Ok(None) };
        Ok(Some(Header { fin, compressed, opcode, key: *key, payload_len: payload_len as usize, len: key_at + 4 }))
    }

    /// Whether the frame is a control frame or a data message that is not fragmented.
    pub(super) const fn is_message(&self) -> bool {
        self.fin && !matches!(self.opcode, Opcode::Continuation)
    }
}

fn first_byte(first: u8, context: Context) -> Result<(bool, Opcode), ProtocolError> {
    if first & 0x70 != 0 {
        reserved_bits(first, context)?;
    }
    let Some(opcode) = Opcode::from_bits(first & 0x0f) else {
        return Err(ProtocolError::violation("the frame has a reserved opcode"));
    };
    let fin = first & 0x80 != 0;
    let in_message = context.message.is_some();
    match opcode {
        Opcode::Close | Opcode::Ping | Opcode::Pong if !fin => {
            Err(ProtocolError::violation("the control frame is fragmented"))
        }
        Opcode::Continuation if !in_message => {
            Err(ProtocolError::violation("the continuation frame continues no message"))
        }
        Opcode::Text | Opcode::Binary if in_message => {
            Err(ProtocolError::violation("a new message starts inside a fragmented one"))
        }
        _ => Ok((fin, opcode)),
    }
}

/// Checks that only the first reserved bit is set, and only by the first frame of a message where compression was
/// negotiated.
#[cold]
fn reserved_bits(first: u8, context: Context) -> Result<(), ProtocolError> {
    let begins_message = matches!(Opcode::from_bits(first & 0x0f), Some(Opcode::Text | Opcode::Binary));
    if first & 0x70 == COMPRESSED_BIT && context.may_compress && begins_message {
        return Ok(());
    }
    Err(ProtocolError::violation("the frame sets a reserved bit"))
}

fn control_length(opcode: Opcode, short: u8) -> Result<(), ProtocolError> {
    if usize::from(short) > CONTROL_BYTES_MAX {
        return Err(ProtocolError::violation("the control frame has more than 125 bytes"));
    }
    if opcode == Opcode::Close && short == 1 {
        return Err(ProtocolError::violation(
            "the close payload has one byte; it must be empty or begin with a two-byte code",
        ));
    }
    Ok(())
}

/// Returns the payload's length and the offset of the mask key; `after` are the bytes behind the header's first two.
#[inline]
fn payload_length(after: &[u8], short: u8) -> Result<Option<(u64, usize)>, ProtocolError> {
    match short {
        126 => {
            let Some(bytes) = after.first_chunk::<2>() else { return Ok(None) };
            let length = u64::from(u16::from_be_bytes(*bytes));
            if length < 126 { Err(NOT_MINIMAL) } else { Ok(Some((length, 4))) }
        }
        127 => {
            if after.first().is_some_and(|first| first & 0x80 != 0) {
                return Err(ProtocolError::violation("the frame length has its highest bit set"));
            }
            let Some(bytes) = after.first_chunk::<8>() else { return Ok(None) };
            let length = u64::from_be_bytes(*bytes);
            if length <= 0xffff { Err(NOT_MINIMAL) } else { Ok(Some((length, 10))) }
        }
        _ => Ok(Some((u64::from(short), 2))),
    }
}

const NOT_MINIMAL: ProtocolError = ProtocolError::violation("the frame length is not in its shortest form");
