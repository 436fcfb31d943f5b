//! One frame header of a client (RFC 6455 section 5.2), judged byte by byte. Sees no payload.

use super::ProtocolError;
use crate::base::codes::CloseCode;
use crate::wire::deflate::{COMPRESSED_BIT, compressed_bytes_max};
use crate::wire::frame::{CONTROL_BYTES_MAX, Opcode};

/// Bytes of a frame header with 64-bit length and mask key.
pub(super) const CLIENT_HEADER_BYTES_MAX: usize = 14;

/// A whole header that breaks no rule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    /// Last frame of its message.
    pub(super) fin: bool,
    /// First frame of a compressed message (RFC 7692 section 6).
    pub(super) compressed: bool,
    /// What it is.
    pub(super) opcode: Opcode,
    /// Mask key.
    pub(super) key: [u8; 4],
    /// Bytes of payload, within the limits.
    pub(super) payload_len: usize,
    /// Bytes of the header itself.
    pub(super) len: usize,
}

/// What has come of a fragmented message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    /// Bytes of payload.
    pub(super) bytes: usize,
    /// Whether it is compressed.
    pub(super) compressed: bool,
}

/// What came before the header, and the limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context {
    /// The fragmented message that is under way, if one is.
    pub(super) message: Option<Begun>,
    /// Most bytes of a whole message.
    pub(super) max_message_bytes: usize,
    /// Compression was negotiated.
    pub(super) may_compress: bool,
}

impl Header {
    /// Reads the header at the front of `bytes`; `None` while it is incomplete and nothing is wrong so far.
    ///
    /// # Errors
    /// 1002 or 1009, even for an incomplete header.
    #[inline]
    pub(super) fn parse(bytes: &[u8], context: Context) -> Result<Option<Header>, ProtocolError> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let (fin, opcode) = first_byte(first, context)?;
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        if second & 0x80 == 0 {
            return Err(ProtocolError::violation("a frame without mask"));
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
                return Err(ProtocolError { code: CloseCode::TooBig, what: "a message over the limit" });
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
        return Err(ProtocolError::violation("a reserved opcode"));
    };
    let fin = first & 0x80 != 0;
    let in_message = context.message.is_some();
    match opcode {
        Opcode::Close | Opcode::Ping | Opcode::Pong if !fin => {
            Err(ProtocolError::violation("a fragmented control frame"))
        }
        Opcode::Continuation if !in_message => {
            Err(ProtocolError::violation("a continuation without a message to continue"))
        }
        Opcode::Text | Opcode::Binary if in_message => {
            Err(ProtocolError::violation("a new message inside a fragmented one"))
        }
        _ => Ok((fin, opcode)),
    }
}

/// Of the reserved bits only the first may be set, where compression was negotiated, by a frame that begins a message.
#[cold]
fn reserved_bits(first: u8, context: Context) -> Result<(), ProtocolError> {
    let begins_message = matches!(Opcode::from_bits(first & 0x0f), Some(Opcode::Text | Opcode::Binary));
    if first & 0x70 == COMPRESSED_BIT && context.may_compress && begins_message {
        return Ok(());
    }
    Err(ProtocolError::violation("a reserved bit is set"))
}

fn control_length(opcode: Opcode, short: u8) -> Result<(), ProtocolError> {
    if usize::from(short) > CONTROL_BYTES_MAX {
        return Err(ProtocolError::violation("a control frame over 125 bytes"));
    }
    if opcode == Opcode::Close && short == 1 {
        return Err(ProtocolError::violation("a close payload of one byte"));
    }
    Ok(())
}

/// The payload's length and where the mask key begins; `after` is what follows the header's first two bytes.
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
                return Err(ProtocolError::violation("a length with its highest bit set"));
            }
            let Some(bytes) = after.first_chunk::<8>() else { return Ok(None) };
            let length = u64::from_be_bytes(*bytes);
            if length <= 0xffff { Err(NOT_MINIMAL) } else { Ok(Some((length, 10))) }
        }
        _ => Ok(Some((u64::from(short), 2))),
    }
}

const NOT_MINIMAL: ProtocolError = ProtocolError::violation("a length that is not written in its shortest form");
