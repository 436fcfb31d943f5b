//! Assembles a data message as its bytes arrive. Checks every byte of text as UTF-8 once, as soon as it arrives.
//! Never sees a frame.

use super::error::ProtocolError;
use super::event::{Event, Whole};
use crate::wire::deflate::compressed_bytes_max;
use crate::wire::frame::Opcode;

/// The bytes of a data message that have arrived.
#[derive(Debug)]
pub(super) enum Assembly {
    /// Complete characters, and the first bytes of an incomplete one.
    Text {
        text: String,
        tail: [u8; 3],
        tail_len: u8,
    },
    Binary(Vec<u8>),
    /// Compressed bytes, which are inflated once all have arrived.
    Compressed {
        opcode: Opcode,
        bytes: Vec<u8>,
    },
}

const NOT_UTF8: ProtocolError = ProtocolError::invalid_utf8("the text message is not UTF-8");

impl Assembly {
    pub(super) const fn text() -> Self {
        Self::Text { text: String::new(), tail: [0; 3], tail_len: 0 }
    }

    pub(super) const fn binary() -> Self {
        Self::Binary(Vec::new())
    }

    /// A compressed message that begins with a frame of this opcode.
    pub(super) const fn compressed(opcode: Opcode) -> Self {
        Self::Compressed { opcode, bytes: Vec::new() }
    }

    pub(super) const fn is_compressed(&self) -> bool {
        matches!(self, Self::Compressed { .. })
    }

    /// Maximum bytes of the message before it is inflated, where `max` bounds the inflated message.
    pub(super) const fn bytes_max(&self, max: usize) -> usize {
        if self.is_compressed() { compressed_bytes_max(max) } else { max }
    }

    /// Bytes that have arrived.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Text { text, tail_len, .. } => text.len() + usize::from(*tail_len),
            Self::Binary(bytes) | Self::Compressed { bytes, .. } => bytes.len(),
        }
    }

    /// Bytes of memory held.
    pub(super) fn capacity(&self) -> usize {
        match self {
            Self::Text { text, .. } => text.capacity(),
            Self::Binary(bytes) | Self::Compressed { bytes, .. } => bytes.capacity(),
        }
    }

    /// Adds unmasked bytes. Capacity doubles as needed, up to `total_max`, the bound of the message.
    pub(super) fn append(&mut self, chunk: &[u8], total_max: usize) -> Result<(), ProtocolError> {
        let needed = self.len() + chunk.len();
        let held = self.capacity();
        if needed > held {
            let wanted = (held * 2).min(total_max).max(needed);
            match self {
                Self::Text { text, .. } => text.reserve_exact(wanted - text.len()),
                Self::Binary(bytes) | Self::Compressed { bytes, .. } => {
                    bytes.reserve_exact(wanted - bytes.len());
                }
            }
        }
        match self {
            Self::Text { text, tail, tail_len } => append_text(text, tail, tail_len, chunk),
            Self::Binary(bytes) | Self::Compressed { bytes, .. } => {
                bytes.extend_from_slice(chunk);
                Ok(())
            }
        }
    }

    /// Checks that the message may end here.
    pub(super) fn check_end(&self) -> Result<(), ProtocolError> {
        match self {
            Self::Text { tail_len: 1.., .. } => Err(NOT_UTF8),
            Self::Text { .. } | Self::Binary(_) | Self::Compressed { .. } => Ok(()),
        }
    }

    /// The complete message, not inflated.
    pub(super) fn whole(&self) -> Whole<'_> {
        match self {
            Self::Text { text, .. } => Whole::Event(Event::Text(text)),
            Self::Binary(bytes) => Whole::Event(Event::Binary(bytes)),
            Self::Compressed { opcode, bytes } => Whole::Compressed { opcode: *opcode, payload: bytes },
        }
    }
}

/// Completes the character in `tail`, appends the complete characters of `chunk`, and keeps the first bytes of an
/// incomplete one in `tail`.
fn append_text(text: &mut String, tail: &mut [u8; 3], tail_len: &mut u8, chunk: &[u8]) -> Result<(), ProtocolError> {
    let mut chunk = chunk;
    while *tail_len > 0 {
        let Some((&byte, rest)) = chunk.split_first() else { return Ok(()) };
        chunk = rest;
        let have = usize::from(*tail_len);
        let mut character = [0; 4];
        character[..have].copy_from_slice(&tail[..have]);
        character[have] = byte;
        match std::str::from_utf8(&character[..=have]) {
            Ok(character) => {
                text.push_str(character);
                *tail_len = 0;
            }
            Err(error) if error.error_len().is_none() => {
                tail[have] = byte;
                *tail_len += 1;
            }
            Err(_) => return Err(NOT_UTF8),
        }
    }
    let error = match simdutf8::compat::from_utf8(chunk) {
        Ok(valid) => {
            text.push_str(valid);
            return Ok(());
        }
        Err(error) => error,
    };
    if error.error_len().is_some() {
        return Err(NOT_UTF8);
    }
    let (valid, begun) = chunk.split_at(error.valid_up_to());
    text.push_str(simdutf8::basic::from_utf8(valid).expect("valid up to here"));
    tail[..begun.len()].copy_from_slice(begun);
    *tail_len = begun.len() as u8;
    Ok(())
}
